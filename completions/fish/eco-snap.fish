complete -c eco-snap -s k -l kind -d 'What the snapshot is for' -r -f -a "manual\t''
pre-deployment\t''
daily\t''
weekly\t''
monthly\t''"
complete -c eco-snap -l level -d 'Compression, from 0 (none) to 12 (smallest)' -r
complete -c eco-snap -s o -l output -d 'Write to this new file instead of the store' -r -F
complete -c eco-snap -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-snap -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-snap -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-snap -l good -d 'The service is healthy, says a person'
complete -c eco-snap -l pin -d 'Let no retention rule remove it'
complete -c eco-snap -l full -d 'Hold everything'
complete -c eco-snap -l differential -d 'Hold what differs from the newest full one'
complete -c eco-snap -l rehash -d 'Read every file, also those with unchanged times'
complete -c eco-snap -l json -d 'Write records, also at a terminal'
complete -c eco-snap -l human -d 'Write tables for people, also into a pipe'
complete -c eco-snap -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-snap -s v -l verbose -d 'Say more on stderr'
complete -c eco-snap -l no-progress -d 'Show no progress bar'
complete -c eco-snap -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-snap -s V -l version -d 'Print version'
