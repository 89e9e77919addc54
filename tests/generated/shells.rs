//! What bash, zsh and fish complete, and whether they do.

use super::{here, words};
use crate::harness::not_shown;
use clap::{Arg, Command};
use clap_complete::{Shell, generate};
use std::collections::BTreeSet;
use std::process;

/// Words that a value may begin with, by the name of the value: the program takes others, too.
const HINTS: [(&str, &[&str]); 4] = [
    ("SCOPE", &["full", "config", "module:", "automation:", "optimization:", "experiment:"]),
    ("UNIT", &["full", "config", "module:", "automation:", "optimization:", "experiment:"]),
    ("KIND", &["manual", "pre-deployment", "daily", "weekly", "monthly", "safety"]),
    (
        "SELECTOR",
        &["latest", "latest-good", "latest:manual", "latest:pre-deployment", "latest:daily", "latest:weekly", "latest:monthly", "latest:safety"],
    ),
];

/// Each shell's file for this program, under the name by which the shell looks for it.
pub fn completions(program: Command) -> Vec<(String, String)> {
    let name = program.get_name().to_owned();
    // zsh takes its actions as they are, and an archive may be named by its path as well.
    let either = format!(": _alternative \"snapshots:snapshot:({})\" \"files:archive:_files\"' \\\n", HINTS[3].1.join(" ").replace(':', "\\\\:"));
    let zsh = written(Shell::Zsh, &hinted(program.clone(), false));
    let zsh = zsh.split_inclusive('\n').map(|line| {
        let is_selector = line.contains(":selector -- ") || line.contains(":selectors -- ");
        if is_selector { line.replace(":_files' \\\n", &either) } else { line.to_owned() }
    });
    let program = hinted(program, true);
    vec![
        (format!("completions/bash/{name}"), written(Shell::Bash, &program)),
        (format!("completions/zsh/_{name}"), zsh.collect()),
        (format!("completions/fish/{name}.fish"), written(Shell::Fish, &program) + &fish_operands(&program)),
    ]
}

fn written(shell: Shell, program: &Command) -> String {
    let mut text = Vec::new();
    generate(shell, &mut program.clone(), program.get_name(), &mut text);
    String::from_utf8(text).unwrap()
}

/// The flags with their hints, and without the backticks that only a page has a use for.
fn hinted(program: Command, operands: bool) -> Command {
    program.mut_args(|arg| {
        let hints = HINTS.iter().find(|(value, _)| arg.get_value_names().is_some_and(|names| names.len() == 1 && names[0] == *value));
        let arg = match hints {
            Some((_, hints)) if arg.get_possible_values().is_empty() && (operands || !arg.is_positional()) => arg.value_parser(hints.to_vec()),
            _ => arg,
        };
        let help = arg.get_help().map(|help| help.to_string().replace('`', ""));
        arg.help(help.unwrap_or_default())
    })
}

/// The words that an operand may be, of which the generator for fish knows nothing. Files are offered beside them where they make sense.
fn fish_operands(program: &Command) -> String {
    let line = |arg: &Arg| {
        let values = arg.get_possible_values();
        let words = values.iter().map(|value| {
            let help = value.get_help().map(|help| format!("\\t{}", help.to_string().replace(['`', '\''], ""))).unwrap_or_default();
            format!("{}{help}", value.get_name())
        });
        let words = words.collect::<Vec<_>>().join("\n");
        let first = if arg.is_required_set() { " -f -n 'test (count (commandline -opc)) -eq 1'" } else { "" };
        (!values.is_empty()).then(|| format!("complete -c {}{first} -a '{words}'\n", program.get_name()))
    };
    program.get_positionals().filter_map(line).collect()
}

/// Runs a shell over all programs; `None` where it is not there, which is said aloud.
fn run(shell: &str, args: &[&str], what: &str) -> Option<String> {
    let mut command = process::Command::new("timeout");
    command.arg("120").arg(shell).args(args).current_dir(here("completions")).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    let done = command.output().unwrap();
    if done.status.code() == Some(127) {
        not_shown(what, &format!("{shell} is not installed"));
        return None;
    }
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{shell}: {}\n{text}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{shell}");
    Some(text)
}

/// `PROGRAM WORD` lines must name every long flag of every program.
fn names_every_flag(shell: &str, said: &str) {
    let said: BTreeSet<&str> = said.lines().collect();
    for program in words::programs() {
        for long in program.get_arguments().filter_map(Arg::get_long) {
            let line = format!("{} --{long}", program.get_name());
            assert!(said.contains(line.as_str()), "{shell} does not complete {line}");
        }
    }
}

#[test]
fn bash_completes_every_flag_and_words() {
    const LOOK: &str = r#"
        complete_of() { # WORD...: what the last word may become
            source "bash/$1"
            local of=$(complete -p "$1"); of=${of#*-F }
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            "${of%% *}" "$1" "${@: -1}" "${@: -2:1}"
            printf "$1 %s\n" "${COMPREPLY[@]}"
        }
        for file in bash/*; do complete_of "${file#*/}" --; done
        complete_of eco-ctl rel
        complete_of eco-restore --stage ''
        complete_of eco-restore latest-
        complete_of eco-restore --scope conf
        complete_of eco-snap --kind pre
    "#;
    let Some(said) = run("bash", &["--norc", "-c", LOOK], "bash completes") else { return };
    names_every_flag("bash", &said);
    let rest = said.split_once("eco-ctl release\n").expect("eco-ctl release").1;
    assert_eq!(
        rest,
        "eco-restore clone\neco-restore extract\neco-restore link\neco-restore latest-good\neco-restore config\neco-snap pre-deployment\n"
    );
}

#[test]
fn fish_completes_every_flag_and_words() {
    const LOOK: &str = r#"
        for file in fish/*.fish
            fish --no-execute $file; or exit 1
            source $file
        end
        for file in fish/*.fish
            set -l program (string replace -r '.*/(.*)\.fish' '$1' $file)
            complete -C "$program --" | string replace -r '\t.*' '' | string replace -r '^' "$program "
        end
        for line in 'eco-ctl rel' 'eco-restore --stage ' 'eco-restore latest-' 'eco-restore --scope conf' 'eco-snap --kind pre'
            complete -C $line | string replace -r '\t.*' '' | string replace -r '^' (string split -f1 ' ' $line)' '
        end
    "#;
    let Some(said) = run("fish", &["--no-config", "-c", LOOK], "fish completes") else { return };
    names_every_flag("fish", &said);
    let rest = said.split_once("eco-ctl release\n").expect("eco-ctl release").1;
    assert_eq!(
        rest,
        "eco-restore clone\neco-restore extract\neco-restore link\neco-restore latest-good\neco-restore config\neco-snap pre-deployment\n"
    );
}

#[test]
fn zsh_completes_flags_and_words() {
    // A shell of its own at a terminal of its own, where the key is pressed; what it writes is read until the word is there.
    const LOOK: &str = r#"
        for file in zsh/_*; do zsh -n $file || exit 1; done
        zmodload zsh/zpty
        zpty eco "zsh -f -i"
        zpty -w eco "fpath=($PWD/zsh \$fpath); autoload -Uz compinit && compinit -u -D; LISTMAX=500; PS1=; unsetopt beep; echo REA''DY"
        zpty -r eco said '*READY*'
        pressed() { # LINE WORD: after the tab key, the word is there
            zpty -w -n eco "$1"$'\t'
            zpty -r eco said "*$2*" || exit 1
            zpty -w -n eco $'\x15'
            echo "$1 -> $2"
        }
        for file in zsh/_*; do pressed "${file#zsh/_} --no-prog" --no-progress; done
        pressed 'eco-restore --sc' --scope
        pressed 'eco-ctl rel' release
        pressed 'eco-restore --stage=ex' extract
        pressed 'eco-restore latest-g' latest-good
        zpty -d eco
    "#;
    let Some(said) = run("zsh", &["-f", "-c", LOOK], "zsh completes") else { return };
    assert_eq!(said.lines().count(), words::programs().len() + 4, "{said}");
}
