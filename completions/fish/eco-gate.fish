complete -c eco-gate -l deploy -d 'The version that is to be deployed' -r
complete -c eco-gate -l scope -d 'What must be able to be brought back' -r -f -a "full\t''
config\t''
module:\t''
automation:\t''
optimization:\t''
experiment:\t''"
complete -c eco-gate -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-gate -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-gate -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-gate -l only -d 'Do not copy stdin to stdout'
complete -c eco-gate -l json -d 'Write records, also at a terminal'
complete -c eco-gate -l human -d 'Write tables for people, also into a pipe'
complete -c eco-gate -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-gate -s v -l verbose -d 'Say more on stderr'
complete -c eco-gate -l no-progress -d 'Show no progress bar'
complete -c eco-gate -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-gate -s V -l version -d 'Print version'
