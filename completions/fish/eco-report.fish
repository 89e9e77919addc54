complete -c eco-report -s f -l format -d 'What to write the report as' -r -f -a "md\t'Markdown, with places for what people write'
html\t'One HTML file with charts, without scripts, complete in itself'
text\t'Plain text for a mail or a terminal; the worst stands first'
json\t'One JSON object'"
complete -c eco-report -s o -l output -d 'Write the report to this file, the stream to stdout' -r -F
complete -c eco-report -l incident -d 'The incident to report on; else the last one' -r
complete -c eco-report -l merge -d 'Carry over what people wrote into this old report' -r -F
complete -c eco-report -l assets -d 'Write the charts into this folder, and link them' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -l evidence -d 'Gather evidence for the root cause into this folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-report -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-report -l list -d 'Write a list of the incidents instead'
complete -c eco-report -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-report -s v -l verbose -d 'Say more on stderr'
complete -c eco-report -l no-progress -d 'Show no progress bar'
complete -c eco-report -l json -d 'Write records, also at a terminal'
complete -c eco-report -l human -d 'Write tables for people, also into a pipe'
complete -c eco-report -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-report -s V -l version -d 'Print version'
