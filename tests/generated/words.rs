//! The command lines of all programs, from their own sources.

use clap::{Command, CommandFactory};

/// A program's folder, and the files in it that its words are made of.
macro_rules! words {
    ($($program:ident: $folder:literal $($file:ident)+;)+) => {
        $(
            #[allow(dead_code, reason = "only the flags are of interest here")]
            #[path = $folder]
            mod $program {
                $(pub mod $file;)+
            }
        )+

        /// Every program's flags, as it parses them.
        pub fn programs() -> Vec<Command> {
            let programs = [$($program::args::Args::command()),+];
            programs.into_iter().map(|mut program| { program.build(); program }).collect()
        }
    };
}

words! {
    health: "../../tools/eco-health/src" args;
    decide: "../../tools/eco-decide/src" args;
    snap: "../../tools/eco-snap/src" args;
    ls: "../../tools/eco-ls/src" args;
    verify: "../../tools/eco-verify/src" args;
    restore: "../../tools/eco-restore/src" args;
    ctl: "../../tools/eco-ctl/src" args words;
    rollout: "../../tools/eco-rollout/src" args;
    gate: "../../tools/eco-gate/src" args;
    prune: "../../tools/eco-prune/src" args;
    report: "../../tools/eco-report/src" args;
}
