complete -c eco-restore -s s -l scope -d 'What to roll back; several if given again' -r -f -a "full\t''
config\t''
module:\t''
automation:\t''
optimization:\t''
experiment:\t''"
complete -c eco-restore -l target -d 'Extract into this folder, touch nothing else' -r -f -a "(__fish_complete_directories)"
complete -c eco-restore -l plan -d 'Carry out the plan in this file' -r -F
complete -c eco-restore -l undo -d 'Put the tree from before a rollback back' -r
complete -c eco-restore -l on-failure -d 'What to do if the new tree does not prove healthy' -r -f -a "revert\t'Bring the tree from before back; the exit status is 5'
keep\t'Leave the new one live, and say so; the exit status is 1'"
complete -c eco-restore -l stage -d 'How unchanged files get into the new tree' -r -f -a "clone\t'Share their blocks, where the filesystem can'
extract\t'Write them out'
link\t'Further names of the live files: only for a service that never writes into one'"
complete -c eco-restore -l wait -d 'Wait so long for another rollback to end' -r
complete -c eco-restore -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-restore -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-restore -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-restore -l dry-run -d 'Show the plan and end'
complete -c eco-restore -s y -l yes -d 'Do not ask'
complete -c eco-restore -l approve -d 'Carry out decisions that only propose, too'
complete -c eco-restore -l again -d 'Carry out decisions that were carried out before'
complete -c eco-restore -l recover -d 'Finish a rollback that was interrupted, and end'
complete -c eco-restore -l abort -d 'Take back a rollback that was interrupted, and end'
complete -c eco-restore -l quick -d 'Trust times and lengths; otherwise files are read'
complete -c eco-restore -l no-control -d 'Neither stop nor start the service'
complete -c eco-restore -l adopt -d 'Accept a snapshot of another ecosystem'
complete -c eco-restore -l only -d 'Do not copy the input'
complete -c eco-restore -l json -d 'Write records, also at a terminal'
complete -c eco-restore -l human -d 'Write tables for people, also into a pipe'
complete -c eco-restore -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-restore -s v -l verbose -d 'Say more on stderr'
complete -c eco-restore -l no-progress -d 'Show no progress bar'
complete -c eco-restore -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-restore -s V -l version -d 'Print version'
complete -c eco-restore -a 'latest
latest-good
latest:manual
latest:pre-deployment
latest:daily
latest:weekly
latest:monthly
latest:safety'
