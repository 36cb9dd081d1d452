//! Every command in the documentation is one that the program understands.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use super::Arguments;

/// Words that stand for something in the documentation, and something that they may stand for.
const PLACEHOLDERS: [(&str, &str); 4] = [("LANGUAGE", "rust"), ("NAME", "web"), ("NAME@NUMBER", "web@1"), ("N", "1")];
/// Folders whose pages are no documentation of this program, or tell of their time.
const OTHERS: [&str; 4] = ["adr", "target", "node_modules", "captures"];

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if !OTHERS.iter().any(|other| name == *other) {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "md" || end == "yml") {
            found.push(path);
        }
    }
}

/// The arguments of a command as somebody would type it; none if it is another program's.
fn arguments(command: &str) -> Option<Vec<String>> {
    let command = command.trim_start_matches("sudo ").split(" #").next()?.split(['|', ';', '&', '>']).next()?.trim();
    let words = command.split_whitespace().take_while(|word| *word != "...");
    let words: Vec<String> = words
        .map(|word| {
            let known = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == word);
            known.map_or(word, |(_, meaning)| meaning).to_owned()
        })
        .collect();
    (words.first().is_some_and(|word| word == "ruleward") && words.len() > 1).then_some(words)
}

/// Commands of a page: whole lines, and what stands between backticks; there a command may be named without all of its
/// arguments.
fn commands(text: &str) -> Vec<(bool, &str)> {
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("ruleward ")).map(|line| (true, line));
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(|span| (false, span));
    lines.chain(spans.filter(|(_, span)| span.starts_with("ruleward "))).collect()
}

#[test]
fn every_command_in_the_documentation_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "examples", "packaging"] {
        pages(&root.join(folder), &mut files);
    }
    let (mut understood, mut wrong) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (whole, command) in commands(&text) {
            let Some(words) = arguments(command) else { continue };
            match Arguments::try_parse_from(&words) {
                Ok(_) => understood += 1,
                Err(error) => match error.kind() {
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => understood += 1,
                    ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        if !whole => {}
                    _ => wrong.push(format!("{}: `{command}`: {error}", file.display())),
                },
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(understood > 50, "only {understood} commands were found");
}

#[test]
fn comments_pipes_and_placeholders_are_no_arguments() {
    let of = |command| arguments(command).map(|words| words.join(" "));
    assert_eq!(of("ruleward plan    # what would change").as_deref(), Some("ruleward plan"));
    assert_eq!(of("ruleward status --output json | jq .").as_deref(), Some("ruleward status --output json"));
    assert_eq!(of("ruleward policy replay NAME@NUMBER").as_deref(), Some("ruleward policy replay web@1"));
    assert_eq!(of("ruleward policy ...").as_deref(), Some("ruleward policy"));
    assert_eq!(of("cargo xtask demo"), None);
    let text = "see `ruleward check`\n    ruleward run\n";
    assert_eq!(commands(text), [(true, "ruleward run"), (false, "ruleward check")]);
}
