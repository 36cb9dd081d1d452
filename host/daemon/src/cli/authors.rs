//! Commands for authors of policies: another program does them, which takes this one's place as
//! cargo's subcommands do. So nothing of it is in a program that runs as root, and arguments,
//! standard streams, exit status and signals are its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::CommandFactory;
use ruleward_files::sibling::sibling;
use ruleward_report::ErrorClass;

use super::Arguments;

/// Their program.
const PROGRAM: &str = "ruleward-policy";
/// Exit code where it is not installed: `EX_UNAVAILABLE`.
const NOT_INSTALLED: u8 = 69;

/// Their command beside the policies of a node, with what is said of it.
const DEV: (&str, &str) = ("dev", "Build, test and rehearse the policy in a folder, again whenever a source changes");
/// Their commands below `policy`, each with what is said of it.
const OF_POLICY: [(&str, &str); 9] = [
    ("new", "Make a folder with a policy that builds and tests"),
    ("build", "Build the policy of a folder, or make a component of a compiled module"),
    ("bindings", "Write the contract in the words of a language"),
    ("inspect", "Show what a component is: version, what it wants, imports, size"),
    ("schema", "Print the JSON Schema of a policy's settings"),
    ("run", "Evaluate once, and print the rules that the policy asks for"),
    ("test", "Build, run every case in tests/, and compare the rules with expected.rules"),
    (
        "conform",
        "Judge whether a component keeps to the contract in everything that can be seen from outside (exit 1 if not)",
    ),
    ("bench", "Measure: compile, load, evaluate"),
];
const WHENCE: &str = "Commands for authors (new, build, bindings, inspect, schema, run, test, conform, bench, and `ruleward \
                      dev`) are those of the program `ruleward-policy`, from the package ruleward-dev. It is started from the \
                      folder of this program, or else from PATH; `ruleward-policy COMMAND --help` says more.";

/// Adds them to the commands that help, manual and completions name.
pub fn add_to(program: clap::Command) -> clap::Command {
    let named = |(name, about): (&'static str, &'static str)| clap::Command::new(name).about(about);
    let policy = |policy: clap::Command| policy.subcommands(OF_POLICY.map(named)).after_help(WHENCE);
    program.mut_subcommand("policy", policy).subcommand(named(DEV))
}

/// Whether the command with this full name, such as `ruleward-policy-new`, is theirs.
pub fn is_theirs(name: &str) -> bool {
    let name = name.strip_prefix("ruleward-").unwrap_or(name);
    name == DEV.0
        || name.strip_prefix("policy-").is_some_and(|name| OF_POLICY.iter().any(|(theirs, _)| name == *theirs))
}

/// A command that is theirs.
#[derive(Debug, PartialEq, Eq)]
pub struct Theirs {
    /// As it is typed after `ruleward`.
    command: String,
    /// What their program is to be started with.
    words: Vec<OsString>,
}

/// The command, if the words (this program's name first) are one of theirs. All of them but the
/// word `policy` are passed on. `help` may stand before a command.
pub fn theirs(words: &[OsString]) -> Option<Theirs> {
    let mut policy = None;
    let mut place = 1;
    let command = loop {
        let word = words.get(place)?.to_str()?;
        if word.starts_with('-') {
            place += length_of_option(word)?;
            continue;
        }
        match (word, policy) {
            ("help", _) => {}
            ("policy", None) => policy = Some(place),
            (_, None) if word == DEV.0 => break word.to_owned(),
            (_, Some(_)) if OF_POLICY.iter().any(|(name, _)| word == *name) => break format!("policy {word}"),
            _ => return None,
        }
        place += 1;
    };
    let passed_on = words.iter().enumerate().skip(1).filter(|(place, _)| Some(*place) != policy);
    Some(Theirs { command, words: passed_on.map(|(_, word)| word.clone()).collect() })
}

/// How many words an option takes that may stand before a command; none if there is no such option.
fn length_of_option(word: &str) -> Option<usize> {
    let (name, value) = match word.strip_prefix("--")?.split_once('=') {
        Some((name, _)) => (name, true),
        None => (&word[2..], false),
    };
    let known = Arguments::command().get_arguments().any(|option| option.get_long() == Some(name));
    known.then_some(if value { 1 } else { 2 })
}

/// Becomes their program. Comes back only if that is not possible, with the exit code.
pub fn become_their_program(theirs: &Theirs) -> ExitCode {
    let program = sibling(PROGRAM);
    let error = Command::new(&program).args(&theirs.words).exec();
    // Of one that is there, what its first line asks for may be missing.
    let (code, problem) = if error.kind() == io::ErrorKind::NotFound && !program.is_absolute() {
        (NOT_INSTALLED, not_installed(&theirs.command))
    } else {
        let class = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorClass::Permission,
            _ => ErrorClass::Internal,
        };
        (class.exit_code(), format!("{} can't be started: {error}", program.display()))
    };
    eprintln!("ruleward: {problem}");
    ExitCode::from(code)
}

fn not_installed(command: &str) -> String {
    format!(
        "`ruleward {command}` is a command for authors of policies, and their program `{PROGRAM}` is not installed: it is \
         neither beside this program nor in PATH. Install the package ruleward-dev, or from Ruleward's sources: \
         cargo install --path host/devtools"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command, and what is passed on.
    fn parts(line: &str) -> Option<(String, String)> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let Theirs { command, words } = theirs(&words)?;
        Some((command, words.join(" ".as_ref()).into_string().unwrap()))
    }

    #[test]
    fn every_word_but_policy_is_passed_on() {
        for (line, command, passed) in [
            ("ruleward policy new --lang rust web", "policy new", "new --lang rust web"),
            ("ruleward dev", "dev", "dev"),
            ("ruleward dev . --live new", "dev", "dev . --live new"),
            ("ruleward policy run -- policy --output", "policy run", "run -- policy --output"),
            ("ruleward --output json policy --config=x schema f", "policy schema", "--output json --config=x schema f"),
            ("ruleward --config policy policy test policy", "policy test", "--config policy test policy"),
            ("ruleward --config dev policy new", "policy new", "--config dev new"),
            ("ruleward policy new --help", "policy new", "new --help"),
            ("ruleward help policy new", "policy new", "help new"),
            ("ruleward policy help bench", "policy bench", "help bench"),
        ] {
            assert_eq!(parts(line), Some((command.to_owned(), passed.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_is_not_theirs_stays_here() {
        for line in [
            "ruleward",
            "ruleward run",
            "ruleward policy",
            "ruleward policy list",
            "ruleward policy --help",
            "ruleward policy history new",
            "ruleward policy nwe",
            "ruleward new",
            "ruleward policy dev",
            "ruleward --nonsense dev",
            "ruleward --output",
            "ruleward -- dev",
            "ruleward plan dev",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    /// Every option that may stand before a command takes one value.
    #[test]
    fn no_option_is_taken_for_a_command() {
        let program = Arguments::command();
        let global = program.get_arguments().filter(|option| option.is_global_set());
        for option in global {
            assert!(option.get_long().is_some() && option.get_short().is_none(), "{option}");
            assert!(
                option.get_action().takes_values() && option.get_num_args().is_none_or(|number| number == 1.into())
            );
        }
    }

    #[test]
    fn their_commands_are_named_and_the_reader_is_told_whose_they_are() {
        let mut program = super::super::command();
        program.build();
        let policy = program.find_subcommand_mut("policy").unwrap();
        let help = policy.render_help().to_string();
        for (name, about) in OF_POLICY {
            assert!(help.contains(about) && WHENCE.contains(name), "{help}");
            assert_eq!(parts(&format!("ruleward policy {name}")).unwrap().1, name);
        }
        assert!(help.contains("ruleward-dev") && help.contains("Put an earlier version in force"), "{help}");
        assert!(program.render_help().to_string().contains(DEV.1));
    }

    #[test]
    fn the_reader_is_told_what_to_install() {
        let told = not_installed("policy new");
        assert!(told.starts_with("`ruleward policy new` is"), "{told}");
        assert!(told.contains("package ruleward-dev") && told.contains("cargo install"), "{told}");
    }
}
