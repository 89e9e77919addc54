complete -c eco-decide -s p -l policy -d 'Decide by this policy instead of the built-in one' -r -F
complete -c eco-decide -l check -d 'Look for mistakes in a policy file; read no records' -r -F
complete -c eco-decide -l diff -d 'Compare with the policy in use over a history' -r -F
complete -c eco-decide -l state -d 'Remember the stream in this file, and go on from it' -r -F
complete -c eco-decide -l root -d 'The ecosystem\'s root folder' -r -f -a "(__fish_complete_directories)"
complete -c eco-decide -s c -l config -d 'The service\'s description [default: the nearest eco.toml]' -r -F
complete -c eco-decide -l store -d 'Where snapshots live' -r -f -a "(__fish_complete_directories)"
complete -c eco-decide -l print-policy -d 'Write the built-in policy to stdout'
complete -c eco-decide -l now -d 'One sample is proof enough: a person is asking'
complete -c eco-decide -l dry-run -d 'Propose what would otherwise be rolled back'
complete -c eco-decide -l exit-status -d 'End with 1 if an incident is open'
complete -c eco-decide -l only -d 'Write decisions only, not the records that were read'
complete -c eco-decide -l json -d 'Write records, also at a terminal'
complete -c eco-decide -l human -d 'Write tables for people, also into a pipe'
complete -c eco-decide -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c eco-decide -s v -l verbose -d 'Say more on stderr'
complete -c eco-decide -l no-progress -d 'Show no progress bar'
complete -c eco-decide -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eco-decide -s V -l version -d 'Print version'
