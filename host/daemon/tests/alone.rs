//! The program alone, as it is on a node without the package for authors: it says of their commands
//! whose they are and what to install, and does its own work as ever.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const OF_POLICY: [&str; 9] = ["new", "build", "bindings", "inspect", "schema", "run", "test", "conform", "bench"];

/// The program in a folder of its own; an empty folder is its `PATH`.
struct Alone {
    folder: TempDir,
}

impl Alone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_ruleward"), folder.path().join("ruleward")).unwrap();
        std::fs::create_dir(folder.path().join("path")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(self.path("ruleward")).args(words).env("PATH", self.path("path")).output().unwrap()
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn commands_for_authors_say_what_to_install() {
    let alone = Alone::new();
    let of_policy = OF_POLICY.iter().map(|name| vec!["policy", name, "x"]);
    for words in of_policy.chain([vec!["dev", "."], vec!["--output", "json", "policy", "run"]]) {
        let output = alone.run(&words);
        let told = said(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(69), true), "{words:?}: {told}");
        assert!(
            told.starts_with("ruleward: `ruleward ") && told.contains("`ruleward-policy` is not installed"),
            "{told}"
        );
        assert!(told.contains("the package ruleward-dev") && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn what_is_no_program_is_told() {
    let alone = Alone::new();
    std::fs::write(alone.path("ruleward-policy"), "no program").unwrap();
    let output = alone.run(&["policy", "new"]);
    let told = said(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{told}");
    assert!(told.contains(&format!("{} can't be started", Path::new("ruleward-policy").display())), "{told}");
}

/// A script without its interpreter is installed, and yet there is nothing that could be started.
#[test]
fn what_can_not_be_started_is_not_called_missing() {
    let alone = Alone::new();
    let script = alone.path("ruleward-policy");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = alone.run(&["policy", "new"]);
    let told = said(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{told}");
    assert!(told.contains("can't be started") && !told.contains("not installed"), "{told}");
}

#[test]
fn commands_for_operators_need_no_other_program() {
    let alone = Alone::new();
    let state = format!("state-directory = {:?}\nruntime-directory = {:?}\n", alone.path("state"), alone.path("run"));
    std::fs::write(alone.path("ruleward.toml"), state).unwrap();
    let config = alone.path("ruleward.toml");
    let output = alone.run(&["--config", config.to_str().unwrap(), "policy", "list"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
    assert_eq!(alone.run(&["policy", "nwe"]).status.code(), Some(64));
}
