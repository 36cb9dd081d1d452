//! What the kernel says of an answer: it is loaded into a private network namespace with the stock
//! tools, by a child process that becomes root in a user namespace where its user is not. No rule
//! of the machine is touched or seen.
//!
//! The child is the calling program itself, with [`COMMAND`] as its only argument: whoever asks for
//! a verdict answers to that word with [`child_main`].

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::check::{self, OutputLimits};
use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::grants::Grants;
use ruleward_core::merge::merge;
use ruleward_core::names::{Backend, PolicyName};
use ruleward_core::ownership::Ownership;
use serde::{Deserialize, Serialize};

use super::live::Live;
use super::rehearse::{RehearseError, TriedOut, try_out};
use super::scratch;
use super::target_names;
use super::tools::Tools;

/// What the child is started with.
pub const COMMAND: &str = "rehearse";
/// How long the tools may take.
const TIME: Duration = Duration::from_secs(60);

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kernel", rename_all = "kebab-case")]
pub enum Verdict {
    /// It has the rules, in these words of `iptables-save`.
    Takes {
        /// Of all tables that the policy asks for something in.
        rules: String,
        /// Rules that can never match.
        warnings: Vec<String>,
    },
    /// It, or a tool, refuses one.
    Refuses {
        /// Which, and why.
        reason: String,
        /// The refused rules, in the words in which they were written.
        rules: Vec<String>,
    },
    /// It could not be asked.
    NotAsked {
        /// Why, and what to do.
        reason: String,
    },
}

impl Verdict {
    fn not_asked(reason: impl ToString) -> Self {
        Self::NotAsked { reason: reason.to_string() }
    }
}

/// For the child.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    policy: PolicyName,
    backend: Backend,
    families: Families,
    grants: Grants,
    contribution: Contribution,
}

/// Asks the kernel about an answer of a policy that may own this, with the tools of `backend`.
pub fn verdict(
    policy: &PolicyName,
    backend: Backend,
    families: Families,
    grants: &Grants,
    contribution: &Contribution,
) -> Verdict {
    let question = Question {
        policy: policy.clone(),
        backend,
        families,
        grants: grants.clone(),
        contribution: contribution.clone(),
    };
    ask(&question).unwrap_or_else(|error| Verdict::not_asked(format!("the rehearsal's process failed: {error}")))
}

fn ask(question: &Question) -> io::Result<Verdict> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let text = serde_json::to_vec(question)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&text)?;
    }
    let output = child.wait_with_output()?;
    if output.stdout.is_empty() {
        return Err(io::Error::other(output.status.to_string()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child: reads the question, writes the verdict. Before any thread is started.
///
/// # Errors
/// When nobody asks or hears.
pub fn child_main() -> io::Result<()> {
    let verdict = match scratch::become_root() {
        Err(reason) => Verdict::NotAsked { reason },
        Ok(()) => answer(&serde_json::from_reader(io::stdin().lock())?),
    };
    Ok(serde_json::to_writer(io::stdout().lock(), &verdict)?)
}

fn answer(question: &Question) -> Verdict {
    let Question { policy, backend, families, grants, contribution } = question;
    let limits = OutputLimits::default();
    let checked = check::check(policy, grants, |family| families.contains(family), limits, contribution);
    let reserved = target_names::refusals(contribution);
    let checked = match checked.and_then(|checked| if reserved.is_empty() { Ok(checked) } else { Err(reserved) }) {
        Ok(checked) => checked,
        Err(refusals) => {
            return Verdict::Refuses {
                reason: refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                rules: Vec::new(),
            };
        }
    };
    let ownership = Ownership::new(vec![(policy.clone(), grants.clone())]);
    let desired = merge(&[checked], ownership, families.iter().collect());
    let tools = Tools::new(*backend).with_command_timeout(TIME);
    let port = Live::new(tools, TIME, Arc::new(|_| ControlFlow::Continue(())));
    match try_out(&port, &desired) {
        Err(error) => Verdict::not_asked(error),
        Ok(Ok(TriedOut { text, warnings })) => Verdict::Takes { rules: text, warnings },
        Ok(Err(RehearseError::Refused(refused))) => {
            let rules = refused.iter().filter_map(|one| one.origin.as_ref()).map(|one| one.text.to_string()).collect();
            let reason = RehearseError::Refused(refused).to_string();
            Verdict::Refuses { reason, rules }
        }
        Ok(Err(error)) => Verdict::not_asked(error),
    }
}
