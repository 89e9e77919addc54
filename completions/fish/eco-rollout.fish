complete -c eco-rollout -s p -l plan -d 'Follow this plan instead of the one in eco.toml' -r -F
complete -c eco-rollout -l resume -d 'Go on where this log of an earlier run ends' -r -F
complete -c eco-rollout -l start -d 'Write the record that asks for a rollout, and end' -r
complete -c eco-rollout -l target -d 'What VERSION is a version of' -r -f -a "full\t''
config\t''
module:\t''
automation:\t''
optimization:\t''
experiment:\t''"
complete -c eco-rollout -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-rollout -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-rollout -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-rollout -l only -d 'Write rollouts and decisions only, not what was read'
complete -c eco-rollout -l json -d 'Write records, also at a terminal'
complete -c eco-rollout -l human -d 'Write tables for people, also into a pipe'
complete -c eco-rollout -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-rollout -s v -l verbose -d 'Say more on stderr'
complete -c eco-rollout -l no-progress -d 'Show no progress bar'
complete -c eco-rollout -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-rollout -s V -l version -d 'Print version'
