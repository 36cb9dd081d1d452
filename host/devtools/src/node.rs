//! The daemon of this node, asked through its own program: `ruleward` knows its configuration and
//! its sockets, and nothing else has to.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ruleward_core::names::PolicyName;
use ruleward_files::sibling::sibling;
use ruleward_report::Report;
use ruleward_report::output::Output;
use serde::Deserialize;

use crate::error::AuthorError;

/// What `ruleward` puts before each problem that it tells.
const PROBLEM: &str = "ruleward: ";

/// A node with a daemon.
pub struct Node<'a> {
    /// Its configuration; none: where `ruleward` looks for it.
    pub config: Option<&'a PathBuf>,
    /// Where its warnings go.
    pub output: Output,
}

/// Where a policy is on a node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Located {
    /// Its component.
    pub component: PathBuf,
    /// With the compiled components of the daemon.
    pub state_directory: PathBuf,
}

impl Node<'_> {
    /// Where the node has this policy.
    ///
    /// # Errors
    /// When it can't be asked, or has no such policy.
    pub fn locate(&self, policy: &PolicyName) -> Result<Located, AuthorError> {
        self.ask(&["policy", "locate", policy.as_str()]).map_err(AuthorError::Other)
    }

    /// Has the daemon load what is new, and waits for its report.
    ///
    /// # Errors
    /// Why there is no report.
    pub fn reload(&self) -> Result<Report, String> {
        self.ask(&["reload"])
    }

    /// What `ruleward` answers, whatever its exit status; without an answer its last complaint.
    fn ask<A: for<'a> Deserialize<'a>>(&self, words: &[&str]) -> Result<A, String> {
        let program = sibling("ruleward");
        let mut command = Command::new(&program);
        command.args(["--output", "json"]).args(words);
        if let Some(file) = self.config {
            command.arg("--config").arg(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| {
            format!("can't ask the node: {} can't be run: {error}; the package ruleward has it", program.display())
        };
        let mut child = command.spawn().map_err(failed)?;
        let said = child.stderr.take();
        let output = self.output;
        // It may say for what it waits, before it answers.
        let complaint = std::thread::spawn(move || {
            let mut complaint = None;
            for line in said.into_iter().flat_map(|said| BufReader::new(said).lines()).map_while(Result::ok) {
                match line.strip_prefix(PROBLEM) {
                    Some(problem) => complaint = Some(problem.to_owned()),
                    None => output.complain(&format!("{line}\n")),
                }
            }
            complaint
        });
        let answer = child.wait_with_output().map_err(failed)?;
        let complaint = complaint.join().unwrap_or_default();
        serde_json::from_slice(&answer.stdout).map_err(|_| {
            complaint.unwrap_or_else(|| format!("`ruleward {}` ended with {}", words.join(" "), answer.status))
        })
    }
}
