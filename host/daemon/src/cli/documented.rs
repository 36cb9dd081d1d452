//! Every command in the documentation is one that the program understands; those for authors are
//! their program's to judge.

use std::ffi::OsString;

use clap::error::ErrorKind;
use ruleward_tests::documented;

use super::{authors, parse};

#[test]
fn every_command_in_the_documentation_is_understood() {
    let (mut understood, mut wrong) = (0, Vec::new());
    for command in documented::commands() {
        let words: Vec<OsString> = command.words.iter().map(OsString::from).collect();
        if command.words[0] != "ruleward" || authors::theirs(&words).is_some() {
            continue;
        }
        match parse(&words) {
            Ok(_) => understood += 1,
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => understood += 1,
                ErrorKind::MissingRequiredArgument
                | ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    if !command.whole => {}
                _ => wrong.push(format!("{}: {error}", command.place)),
            },
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(understood > 50, "only {understood} commands were found");
}
