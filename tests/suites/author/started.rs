//! `ruleward policy new` and the like start the program for authors: it gets everything, gives
//! everything back, and where it is not installed the reader is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Node, Running, binary};

/// A copy of the program in a folder of its own.
struct Installed {
    node: Arc<Node>,
    program: PathBuf,
}

impl Installed {
    fn alone() -> Self {
        let node = Node::cold(Backend::Nft);
        fs::create_dir(node.path("bin")).unwrap();
        let program = node.path("bin").join("ruleward");
        fs::copy(binary(), &program).unwrap();
        Self { node, program }
    }

    /// With a script in place of the authors' program, beside it or in `PATH`.
    fn with(script: &str, place: &str) -> Self {
        let installed = Self::alone();
        let folder = installed.node.path(place);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ruleward-policy");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        installed
    }

    fn run(&self, words: &[&str]) -> ruleward_tests::Command<'_> {
        let path = format!("{}:/usr/bin:/bin", self.node.path("path").display());
        self.node.command(&self.program).args(words).env("PATH", path)
    }
}

trial!(
    "author::started::where_their_program_is_missing_the_reader_is_told",
    where_their_program_is_missing_the_reader_is_told()
);
fn where_their_program_is_missing_the_reader_is_told() {
    let installed = Installed::alone();
    for words in [&["policy", "new", "--lang", "rust", "web"][..], &["dev", "."], &["policy", "test", "--help"]] {
        let output = installed.run(words).output();
        assert_eq!((output.code, output.stdout.as_str()), (Some(69), ""), "{output:?}");
        assert!(output.stderr.contains("not installed") && output.stderr.contains("ruleward-dev"), "{output:?}");
    }
    // What operators need is there without it.
    assert!(installed.run(&["policy", "--help"]).must().contains("rollback"));
}

trial!("author::started::their_program_gets_and_gives_everything", their_program_gets_and_gives_everything());
fn their_program_gets_and_gives_everything() {
    let script = "printf '<%s>' \"$@\" \"$GIVEN\"\ncat\necho complaint >&2\nexit 42";
    for place in ["bin", "path"] {
        let installed = Installed::with(script, place);
        let words = ["--output", "json", "policy", "run", "two words", "--", "policy", "*", ""];
        let output = installed.run(&words).env("GIVEN", "kept").input("from here").output();
        assert_eq!(output.code, Some(42), "{place}: {output:?}");
        assert_eq!(output.stdout, "<--output><json><run><two words><--><policy><*><><kept>from here", "{place}");
        assert_eq!(output.stderr, "complaint\n", "{place}");
        let ended = Installed::with("kill -TERM $$", place).run(&["dev"]).output();
        assert_eq!(ended.code, None, "a signal has ended it: {ended:?}");
    }
    // The one beside the program goes before another in PATH.
    let installed = Installed::with("echo beside", "bin");
    let other = Installed::with("echo elsewhere", "path");
    let path = other.node.path("path");
    assert_eq!(installed.run(&["policy", "bench"]).env("PATH", path).must(), "beside\n");
}

trial!("author::started::their_program_takes_the_place_of_ruleward", their_program_takes_the_place_of_ruleward());
fn their_program_takes_the_place_of_ruleward() {
    let installed = Installed::with("echo $$\ncat", "bin");
    let mut running: Running = installed.run(&["dev"]).start();
    let pid = running.pid().to_string();
    running.says(&pid);
    running.write("heard\n");
    running.says("heard");
    assert!(running.finish().is_empty());
}

/// The lines of a help that name a command of this list, as `name  what is said of it`.
fn named(help: &str) -> Vec<(String, String)> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let pairs = commands.filter_map(|line| line.trim().split_once("  "));
    pairs.map(|(name, about)| (name.to_owned(), about.trim().to_owned())).collect()
}

trial!("author::started::both_programs_name_the_same_commands", both_programs_name_the_same_commands());
fn both_programs_name_the_same_commands() {
    let node = Node::cold(Backend::Nft);
    let of_ruleward =
        [&["policy", "--help"][..], &["--help"]].map(|words| named(&node.ruleward(words).must())).concat();
    let theirs = named(&node.command(binary().with_file_name("ruleward-policy")).args(&["--help"]).must());
    let own = ["completions", "man", "help"];
    let theirs: Vec<_> = theirs.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
    assert!(theirs.len() >= 10, "{theirs:?}");
    for command in &theirs {
        assert!(of_ruleward.contains(command), "{command:?} is not what `ruleward` says of it: {of_ruleward:?}");
    }
    let operators = ["list", "history", "diff", "rollback", "replay", "export", "help"];
    for (name, _) in named(&node.ruleward(&["policy", "--help"]).must()) {
        let known = operators.contains(&name.as_str()) || theirs.iter().any(|(theirs, _)| *theirs == name);
        assert!(known, "`ruleward policy {name}` is nobody's command");
    }
}
