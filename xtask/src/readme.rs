//! The commands of a README, run as they stand: in one shell, in the order in which they are written, by somebody who has
//! `ruleward` and the language's own tools in PATH and knows nothing of this repository.
//!
//! pip, npm and cargo keep what they fetch by its content, as they do for any author. Besides, cargo's intermediate files
//! are kept: it knows by the content of their sources which still fit.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::Run;
use crate::workspace;

/// Variables that cargo and a developer of Ruleward set, and that an author's shell has not; those that end with `*` are all that begin so.
const OURS: [&str; 9] = [
    "CARGO",
    "CARGO_TARGET_DIR",
    "CARGO_MANIFEST_*",
    "CARGO_PKG_*",
    "CARGO_PROFILE_*",
    "LD_LIBRARY_PATH",
    "RULEWARD_*",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A command that was run.
pub struct Done {
    /// As it is written.
    pub command: String,
    pub seconds: f64,
}

/// The commands of a page: its indented lines, one command each unless a line ends with a backslash.
pub fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in page.lines() {
        let Some(line) = line.strip_prefix("    ") else { continue };
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => *command += &format!("\n{line}"),
            None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// Runs the commands of the README at `page` in `folder`. Gives how long each took, and what the last one printed.
pub fn follow(page: &Path, folder: &Path, scratch: &Path) -> Result<(Vec<Done>, String)> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let commands = commands(&text);
    ensure!(!commands.is_empty(), "{} has no commands", page.display());
    let [script, times, printed] = ["script", "times", "printed"].map(|name| scratch.join(name));
    fs::write(&script, script_of(&commands, &times, &printed)).context("cannot write a script")?;
    fs::write(&times, "").context("cannot empty a file")?; // another README may have been followed here
    let status = shell(folder, scratch)?.arg(&script).status().context("cannot start sh")?;
    let times = fs::read_to_string(&times).unwrap_or_default();
    let times: Vec<f64> = times.lines().filter_map(|line| line.parse().ok()).collect();
    if !status.success() {
        let said = fs::read_to_string(&printed).unwrap_or_default();
        let failed = commands.get(times.len().saturating_sub(1)).map_or("sh", String::as_str);
        bail!("{}: `{failed}` ended with {status}\n{said}", page.display());
    }
    ensure!(times.len() == commands.len() + 1, "{}: a command ended the shell", page.display());
    let took = times.windows(2).map(|pair| pair[1] - pair[0]);
    let done = commands.into_iter().zip(took).map(|(command, seconds)| Done { command, seconds }).collect();
    Ok((done, fs::read_to_string(&printed).context("cannot read what the last command printed")?))
}

/// One shell for all, so that what a command changes of it holds for the next. What the last command prints goes to a file.
fn script_of(commands: &[String], times: &Path, printed: &Path) -> String {
    let mut script = String::new();
    for (number, command) in commands.iter().enumerate() {
        if number + 1 == commands.len() {
            script += &format!("exec >'{}'\n", printed.display());
        }
        script += &format!("date +%s.%N >>'{}'\n{command}\n", times.display());
        script += "status=$?; [ $status -eq 0 ] || exit $status\n";
    }
    script + &format!("date +%s.%N >>'{}'\n", times.display())
}

/// A shell of somebody who has `ruleward` in PATH.
fn shell(folder: &Path, scratch: &Path) -> Result<Command> {
    let programs = scratch.join("bin");
    fs::create_dir_all(&programs).with_context(|| format!("cannot create {}", programs.display()))?;
    let program = programs.join("ruleward");
    if !program.exists() {
        symlink(workspace::program(), &program).with_context(|| format!("cannot create {}", program.display()))?;
    }
    let mut run = Run::new("sh").within(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(&name.to_string_lossy())) {
        run = run.without(&name.to_string_lossy());
    }
    let kept = workspace::target_dir().join("toolchains/cargo");
    let mut command = run.env("CARGO_BUILD_BUILD_DIR", kept).into_command();
    let paths = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value.map(OsString::from));
    let paths: Vec<PathBuf> = std::env::split_paths(&paths.unwrap_or_default()).collect();
    command.env("PATH", std::env::join_paths(std::iter::once(programs).chain(paths))?).stdin(Stdio::null());
    command.stdout(std::io::stderr());
    Ok(command)
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.strip_suffix('*').map_or(name == *ours, |beginning| name.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\nText.\n\n    cd sub    # a comment\n    test -f a \\\n        && echo b\n\nMore.\n\n    echo c; pwd\n";

    #[test]
    fn commands_are_the_indented_lines() {
        assert_eq!(commands(PAGE), ["cd sub    # a comment", "test -f a \\\n    && echo b", "echo c; pwd"]);
    }

    fn followed(name: &str, page: &str) -> Result<(Vec<Done>, String)> {
        let folder = std::env::temp_dir().join(format!("ruleward-readme-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("sub/a"), "").unwrap();
        fs::write(folder.join("page.md"), page).unwrap();
        let result = follow(&folder.join("page.md"), &folder, &folder);
        fs::remove_dir_all(&folder).unwrap();
        result
    }

    #[test]
    fn all_run_in_one_shell_and_the_last_is_heard() {
        let (done, printed) = followed("good", PAGE).unwrap();
        assert_eq!(done.len(), 3);
        assert!(printed.starts_with("c\n") && printed.ends_with("/sub\n"), "{printed}");
    }

    #[test]
    fn the_first_that_fails_is_named() {
        let page = PAGE.replace("test -f a", "test -f nothing");
        let error = followed("bad", &page).map(drop).unwrap_err().to_string();
        assert!(error.contains("`test -f nothing \\") && error.contains("ended with exit status: 1"), "{error}");
    }
}
