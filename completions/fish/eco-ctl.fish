complete -c eco-ctl -l until -d 'hold: until this time' -r
complete -c eco-ctl -l for -d 'hold: for so long, as in 90m' -r
complete -c eco-ctl -l target -d 'signal: what is to blame' -r -f -a "full\t''
config\t''
module:\t''
automation:\t''
optimization:\t''
experiment:\t''"
complete -c eco-ctl -l source -d 'signal: who raises it' -r
complete -c eco-ctl -l since -d 'signal, change: since when it has been so' -r
complete -c eco-ctl -l from -d 'change: what was there before' -r
complete -c eco-ctl -l to -d 'change: what is there now' -r
complete -c eco-ctl -l id -d 'change: a name for it, by which reports call it' -r
complete -c eco-ctl -l affects -d 'change: a module that it touches beside its unit' -r
complete -c eco-ctl -l by -d 'change: who or what made it' -r
complete -c eco-ctl -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-ctl -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-ctl -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-ctl -l cleared -d 'signal: it is over'
complete -c eco-ctl -l irreversible -d 'change: going back past it needs a person'
complete -c eco-ctl -l no-inbox -d 'Keep what is said from the running pipeline'
complete -c eco-ctl -l json -d 'Write records, also at a terminal'
complete -c eco-ctl -l human -d 'Write tables for people, also into a pipe'
complete -c eco-ctl -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-ctl -s v -l verbose -d 'Say more on stderr'
complete -c eco-ctl -l no-progress -d 'Show no progress bar'
complete -c eco-ctl -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-ctl -s V -l version -d 'Print version'
complete -c eco-ctl -f -n 'test (count (commandline -opc)) -eq 1' -a 'status\tDoes the service run?
stop\tEnd it, and prove that it ended
start\tStart it
restart\tStop it, then start it
disable\tSwitch a unit off
enable\tSwitch a unit on again
revert\tTake back what a unit did
tell\tTell people: the command of [notify], with the text on stdin
pin\tKeep a snapshot, whatever the retention rules say
unpin\tLeave it to the retention rules again
hold\tSay: no rollback without a person
resume\tSay: the hold is over
approve\tSay: carry out what is proposed
reject\tSay: do not
release\tSay: this version may be rolled out again
resolve\tSay: all signals are dealt with
signal\tRaise an alarm, or end it
change\tSay that a unit was changed'
