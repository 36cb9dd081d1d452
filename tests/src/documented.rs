//! Every command in the documentation, for the tests that say whether the program understands it.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that stand for something in the documentation, and something that they may stand for.
const PLACEHOLDERS: [(&str, &str); 4] = [("LANGUAGE", "rust"), ("NAME", "web"), ("NAME@NUMBER", "web@1"), ("N", "1")];
/// Folders whose pages are no documentation of this program, or tell of their time.
const OTHERS: [&str; 4] = ["adr", "target", "node_modules", "captures"];

/// A command in the documentation.
#[derive(Debug)]
pub struct Documented {
    /// The page, and the command as it is written.
    pub place: String,
    /// It stands on a line of its own; otherwise some of its arguments may be left out.
    pub whole: bool,
    /// As somebody would type it, the program's name first.
    pub words: Vec<String>,
}

/// All commands of `ruleward` and of `ruleward-policy`.
pub fn commands() -> Vec<Documented> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "examples", "packaging"] {
        pages(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a page is text");
        for (whole, command) in commands_of(&text) {
            let place = format!("{}: `{command}`", file.display());
            found.extend(arguments(command).map(|words| Documented { place, whole, words }));
        }
    }
    found
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if !OTHERS.iter().any(|other| name == *other) {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "md" || end == "yml" || end == "toml") {
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
    (words.first().is_some_and(|word| is_ours(word)) && words.len() > 1).then_some(words)
}

fn is_ours(word: &str) -> bool {
    word == "ruleward" || word == "ruleward-policy"
}

/// Commands of a page: whole lines, and what stands between backticks; there a command may be named
/// without all of its arguments.
fn commands_of(text: &str) -> Vec<(bool, &str)> {
    let begins = |text: &&str| text.split_once(' ').is_some_and(|(word, _)| is_ours(word));
    let lines = text.lines().map(str::trim_start).filter(begins).map(|line| (true, line));
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(begins);
    lines.chain(spans.map(|span| (false, span))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_pipes_and_placeholders_are_no_arguments() {
        let of = |command| arguments(command).map(|words| words.join(" "));
        assert_eq!(of("ruleward plan    # what would change").as_deref(), Some("ruleward plan"));
        assert_eq!(of("ruleward status --output json | jq .").as_deref(), Some("ruleward status --output json"));
        assert_eq!(of("ruleward policy replay NAME@NUMBER").as_deref(), Some("ruleward policy replay web@1"));
        assert_eq!(of("ruleward policy ...").as_deref(), Some("ruleward policy"));
        assert_eq!(of("ruleward-policy man folder").as_deref(), Some("ruleward-policy man folder"));
        assert_eq!(of("cargo xtask demo"), None);
        let text = "see `ruleward check`\n    ruleward run\nruleward-agent x\n";
        assert_eq!(commands_of(text), [(true, "ruleward run"), (false, "ruleward check")]);
    }
}
