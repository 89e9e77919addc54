complete -c eco-prune -l keep-last -d 'Keep the newest N' -r
complete -c eco-prune -l keep-hourly -d 'Keep the newest of each of N hours that have one' -r
complete -c eco-prune -l keep-daily -d 'Keep the newest of each of N days that have one' -r
complete -c eco-prune -l keep-weekly -d 'Keep the newest of each of N weeks that have one' -r
complete -c eco-prune -l keep-monthly -d 'Keep the newest of each of N months that have one' -r
complete -c eco-prune -l keep-yearly -d 'Keep the newest of each of N years that have one' -r
complete -c eco-prune -l keep-within -d 'Keep what is less than this older than the newest' -r
complete -c eco-prune -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-prune -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-prune -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-prune -l apply -d 'Remove what no rule keeps'
complete -c eco-prune -s y -l yes -d 'Do not ask before removing'
complete -c eco-prune -l only -d 'Do not copy stdin to stdout'
complete -c eco-prune -l json -d 'Write records, also at a terminal'
complete -c eco-prune -l human -d 'Write tables for people, also into a pipe'
complete -c eco-prune -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-prune -s v -l verbose -d 'Say more on stderr'
complete -c eco-prune -l no-progress -d 'Show no progress bar'
complete -c eco-prune -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-prune -s V -l version -d 'Print version'
complete -c eco-prune -a 'latest
latest-good
latest:manual
latest:pre-deployment
latest:daily
latest:weekly
latest:monthly
latest:safety'
