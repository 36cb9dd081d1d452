//! Running other programs: every failure names the program with its arguments and what it said.
//!
//! Debian keeps iptables and ipset in /usr/sbin, which an ordinary user's PATH lacks, and `cargo
//! install` has a folder of its own: every program that is started here finds them nevertheless.

use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace;

/// A program about to be run.
pub struct Run(Command);

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env("PATH", search_path()).stdin(Stdio::null());
        Self(command)
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs it with our own output; an exit status other than 0 is an error.
    pub fn show(mut self) -> Result<()> {
        let shown = self.shown();
        let status = self.0.status().with_context(|| format!("cannot start `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(())
    }

    /// Runs it and returns its standard output; an exit status other than 0 is an error that quotes
    /// standard error.
    pub fn text(mut self) -> Result<String> {
        let shown = self.shown();
        let output = self.0.output().with_context(|| format!("cannot start `{shown}`"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{shown}` ended with {}: {}", output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and returns its standard output whatever its exit status, which comes first.
    pub fn status_and_text(mut self) -> Result<(Option<i32>, String)> {
        let shown = self.shown();
        let output = self.0.output().with_context(|| format!("cannot start `{shown}`"))?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The command itself, for callers that need more of it.
    pub fn into_command(self) -> Command {
        self.0
    }

    fn shown(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// PATH with the folders that hold the administration tools and what cargo installs.
pub fn search_path() -> OsString {
    let given = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&given).collect();
    let installed = workspace::cargo_home().map(|home| home.join("bin"));
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    for folder in installed.into_iter().chain(system) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    std::env::join_paths(folders).unwrap_or(given)
}

/// Where PATH (with the administration folders) has `program`.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(program)).find(|file| file.is_file())
}
