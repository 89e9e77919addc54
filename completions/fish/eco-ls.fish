complete -c eco-ls -s k -l kind -d 'Only this kind' -r -f -a "manual\t''
pre-deployment\t''
daily\t''
weekly\t''
monthly\t''
safety\t''"
complete -c eco-ls -l before -d 'Only those taken before this time' -r
complete -c eco-ls -l after -d 'Only those taken after this time' -r
complete -c eco-ls -l files -d 'List the entries of each snapshot, too' -r
complete -c eco-ls -l diff -d 'Say what changed from snapshot A to B instead' -r -F
complete -c eco-ls -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-ls -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-ls -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-ls -l good -d 'Only those taken in good health, and verified'
complete -c eco-ls -l json -d 'Write records, also at a terminal'
complete -c eco-ls -l human -d 'Write tables for people, also into a pipe'
complete -c eco-ls -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-ls -s v -l verbose -d 'Say more on stderr'
complete -c eco-ls -l no-progress -d 'Show no progress bar'
complete -c eco-ls -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-ls -s V -l version -d 'Print version'
complete -c eco-ls -a 'latest
latest-good
latest:manual
latest:pre-deployment
latest:daily
latest:weekly
latest:monthly
latest:safety'
