complete -c eco-report -s f -l format -d 'What to write the report as' -r -f -a "md\t'Markdown'"
complete -c eco-report -s o -l output -d 'Write the report to this file, the stream to stdout' -r -F
complete -c eco-report -s c -l config -d 'Not needed: a report comes from the stream alone' -r -F
complete -c eco-report -l root -d 'Not needed: a report comes from the stream alone' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -l store -d 'Not needed: a report comes from the stream alone' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-report -s v -l verbose -d 'Say more on stderr'
complete -c eco-report -l no-progress -d 'Show no progress bar'
complete -c eco-report -l json -d 'Write records, also at a terminal'
complete -c eco-report -l human -d 'Write tables for people, also into a pipe'
complete -c eco-report -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-report -s V -l version -d 'Print version'
