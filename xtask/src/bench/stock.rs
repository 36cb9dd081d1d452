//! The stock tools, alone: what Ruleward is compared with. Timed from before the process starts until it has ended, as
//! the host times its own calls.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::command::find;

/// A lock file that no daemon watches: who writes in another namespace should not wake it.
const UNSEEN_LOCK: &str = "/run/bench-xtables.lock";

/// Which implementation of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    pub const ALL: [Self; 2] = [Self::Nft, Self::Legacy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    /// The path of `iptables-nft-save` and its like.
    fn tool(self, base: &str, action: &str) -> Result<PathBuf> {
        let name = format!("{base}-{}{action}", self.name());
        find(&name).with_context(|| format!("{name} is not installed: run `cargo xtask setup`"))
    }

    /// Loads a script with `--noflush`; gives milliseconds.
    pub fn restore(self, script: &Path) -> Result<f64> {
        timed(&mut self.restoring(script)?)
    }

    /// The same, unseen by a daemon in another namespace.
    pub fn restore_unseen(self, script: &Path) -> Result<f64> {
        timed(unseen(&mut self.restoring(script)?))
    }

    fn restoring(self, script: &Path) -> Result<Command> {
        let mut command = Command::new(self.tool("iptables", "-restore")?);
        command.env_clear().arg("--noflush").stdin(File::open(script)?);
        Ok(command)
    }

    /// `iptables-save -t filter`, then `ip6tables-save -t filter`; gives milliseconds.
    pub fn save_both(self) -> Result<f64> {
        let mut sum = 0.0;
        for base in ["iptables", "ip6tables"] {
            let mut command = Command::new(self.tool(base, "-save")?);
            sum += timed(command.env_clear().args(["-t", "filter"]).stdin(Stdio::null()))?;
        }
        Ok(sum)
    }

    /// Empties all chains of table filter, as a stranger would.
    pub fn flush_all(self) -> Result<()> {
        self.tamper(&["-F"])
    }

    /// The same, unseen by a daemon in another namespace.
    pub fn flush_all_unseen(self) -> Result<()> {
        timed(unseen(&mut self.tampering(&["-F"])?)).map(drop)
    }

    /// Deletes the rule at this place of a chain; the first one is 1.
    pub fn delete(self, chain: &str, place: usize) -> Result<()> {
        self.tamper(&["-D", chain, &place.to_string()])
    }

    fn tamper(self, arguments: &[&str]) -> Result<()> {
        timed(&mut self.tampering(arguments)?).map(drop)
    }

    fn tampering(self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.tool("iptables", "")?);
        command.env_clear().arg("-w").args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs the tool with these arguments again and again, whatever comes of it, until what is given back is dropped.
    pub fn repeating(self, arguments: &str, until: &Path) -> Result<Repeating> {
        let (tool, until) = (self.tool("iptables", "")?, until.to_owned());
        let script = format!("while [ ! -e '{}' ]; do '{}' -w {arguments}; done", until.display(), tool.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let shell = command.spawn().context("cannot run sh")?;
        Ok(Repeating { shell, until })
    }

    /// Number of rules in the chains of table filter.
    pub fn count(self) -> Result<usize> {
        let output = Command::new(self.tool("iptables", "-save")?).args(["-t", "filter"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("-A ")).count())
    }
}

/// A shell that runs a tool again and again. It ends by itself, after a run: none is cut off in a write.
pub struct Repeating {
    shell: Child,
    until: PathBuf,
}

impl Drop for Repeating {
    fn drop(&mut self) {
        if fs::write(&self.until, "").is_err() {
            let _ = self.shell.kill(); // fails only when it has ended already
        }
        let _ = self.shell.wait();
        let _ = fs::remove_file(&self.until);
    }
}

/// A file with this script.
pub fn script(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn unseen(command: &mut Command) -> &mut Command {
    command.env("XTABLES_LOCKFILE", UNSEEN_LOCK)
}

fn timed(command: &mut Command) -> Result<f64> {
    command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.spawn().and_then(Child::wait_with_output);
    let took = start.elapsed().as_secs_f64() * 1e3;
    let output = output.with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{} ended with {}: {said}", command.get_program().display(), output.status);
    }
    Ok(took)
}
