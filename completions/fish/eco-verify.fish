complete -c eco-verify -l depth -d 'How deep to look' -r -f -a "index\t'The index: structure, names, bounds'
data\t'Every byte against its digest, every header against the index'
restored\t'And all of it restored into a private folder and compared'"
complete -c eco-verify -l sample -d 'Read only this share of the content, as in 10%' -r
complete -c eco-verify -l scratch -d 'Where --depth restored makes its folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-verify -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-verify -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-verify -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-verify -l live -d 'Compare the live tree with the snapshot instead'
complete -c eco-verify -l changes -d 'With --live: one change record for each unit'
complete -c eco-verify -l only -d 'Do not copy the input'
complete -c eco-verify -l json -d 'Write records, also at a terminal'
complete -c eco-verify -l human -d 'Write tables for people, also into a pipe'
complete -c eco-verify -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-verify -s v -l verbose -d 'Say more on stderr'
complete -c eco-verify -l no-progress -d 'Show no progress bar'
complete -c eco-verify -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-verify -s V -l version -d 'Print version'
complete -c eco-verify -a 'latest
latest-good
latest:manual
latest:pre-deployment
latest:daily
latest:weekly
latest:monthly
latest:safety'
