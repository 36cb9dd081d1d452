//! Every command for authors in the documentation is one that this program understands, as
//! `ruleward` passes it on. What `ruleward` does itself is its own to judge.

use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use ruleward_tests::documented;

use super::Arguments;

/// The words as `ruleward` passes them on; none where they are not for this program.
fn passed_on(words: &[String]) -> Option<Vec<String>> {
    if words[0] == "ruleward-policy" {
        return Some(words.to_vec());
    }
    let policy = words.iter().position(|word| word == "policy");
    let ours: Vec<String> =
        words.iter().enumerate().filter(|(place, _)| Some(*place) != policy).map(|(_, word)| word.clone()).collect();
    let command = ours.iter().skip(1).find(|word| !word.starts_with('-'))?;
    let known = Arguments::command().get_subcommands().any(|known| known.get_name() == command.as_str());
    (command == "dev" || (policy.is_some() && known)).then_some(ours)
}

/// Whether this is the name alone of a component that the package `ruleward` has. It is looked for
/// in the reader's folder, where it is not.
fn ships(word: &str) -> bool {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    word.strip_suffix(".wasm").is_some_and(|name| !name.contains('/') && plugins.join(name).is_dir())
}

#[test]
fn every_command_in_the_documentation_is_understood() {
    let (mut understood, mut wrong) = (0, Vec::new());
    for command in documented::commands() {
        let Some(words) = passed_on(&command.words) else { continue };
        if let Some(component) = words.last().filter(|word| ships(word)) {
            wrong.push(format!("{}: {component} is in /usr/lib/ruleward/policies: name the whole path", command.place));
        }
        match Arguments::try_parse_from(&words) {
            Ok(_) => understood += 1,
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => understood += 1,
                ErrorKind::MissingRequiredArgument if !command.whole => {}
                _ => wrong.push(format!("{}: {error}", command.place)),
            },
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(understood > 30, "only {understood} commands were found");
}
