complete -c eco-health -l every -d 'Ask again and again, on a fixed grid' -r
complete -c eco-health -l for -d 'With --every: end after this time' -r
complete -c eco-health -l count -d 'With --every: end after so many samples' -r
complete -c eco-health -l wait -d 'Ask until the service is healthy' -r -f -a "ok\t'Healthy'"
complete -c eco-health -l timeout -d 'With --wait: give up after this time' -r
complete -c eco-health -l openmetrics -d 'Write metrics into a file, or to stdout' -r -F
complete -c eco-health -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-health -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-health -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-health -l listen -d 'With --every: copy what eco-ctl says'
complete -c eco-health -l plugin -d 'Answer as a monitoring plugin'
complete -c eco-health -l check-config -d 'Say what eco.toml resolves to, and ask nothing'
complete -c eco-health -l json -d 'Write records, also at a terminal'
complete -c eco-health -l human -d 'Write tables for people, also into a pipe'
complete -c eco-health -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-health -s v -l verbose -d 'Say more on stderr'
complete -c eco-health -l no-progress -d 'Show no progress bar'
complete -c eco-health -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-health -s V -l version -d 'Print version'
complete -c eco-health -a '-'
