//! `dev`: a policy from edit to kernel, again with every change of its sources.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use ruleward_core::names::PolicyName;
use ruleward_kernel::verdict::Verdict;
use ruleward_report::output::Output;
use serde::Serialize;

use crate::component::cache;
use crate::dev::{Judged, Round, Sources, Workshop};
use crate::error::AuthorError;
use crate::node::Node;
use crate::project::Project;

/// One round, and what the node made of it.
#[derive(Serialize)]
#[serde(untagged, rename_all = "kebab-case")]
enum Shown<'a> {
    Round {
        #[serde(flatten)]
        round: &'a Round,
        #[serde(flatten)]
        live: Option<&'a Live>,
    },
    Failed {
        failed: &'a str,
    },
}

/// What the node made of a round.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Live {
    /// In words.
    live: String,
    /// From the component to rules in force, milliseconds; none if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    live_ms: Option<u128>,
}

/// Goes on until nobody reads it, or it is interrupted. `live` names the policy on a node that is
/// to become this one.
pub fn run(folder: &Path, live: Option<(&Node<'_>, &PolicyName)>, output: Output) -> Result<u8, AuthorError> {
    let project = Project::read(folder)?;
    let mut sources = Sources::watch(folder, &project)?;
    let located = live.map(|(node, policy)| node.locate(policy)).transpose()?;
    let state_directory = located.as_ref().map_or_else(cache, |located| located.state_directory.clone());
    let mut workshop = Workshop::new(folder, state_directory);
    loop {
        let shown = match workshop.round() {
            Err(error) => {
                let failed = error.to_string();
                output.stream(&Shown::Failed { failed: &failed }, |_| format!("FAILED   {failed}\n"))
            }
            Ok(round) => {
                let target = live.zip(located.as_ref());
                let live = target.map(|((node, _), located)| go_live(&round, &located.component, node));
                let live = live.as_ref();
                output.stream(&Shown::Round { round: &round, live }, |_| text(&round, live))
            }
        };
        if shown.is_err() {
            return Ok(0);
        }
        sources.built();
        sources.changed()?;
    }
}

/// Whoever reads the file sees all of the old or all of the new.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut fresh = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    fresh.write_all(bytes)?;
    fresh.persist(file)?;
    Ok(())
}

/// Puts the component where the running daemon has it from, and waits until its rules are in force.
fn go_live(round: &Round, target: &Path, node: &Node<'_>) -> Live {
    let not = |live: String| Live { live, live_ms: None };
    if !round.is_good() {
        return not("not put on the node: see above".to_owned());
    }
    let start = Instant::now();
    let placed = std::fs::read(&round.component).and_then(|bytes| replace(target, &bytes));
    if let Err(error) = placed {
        return not(format!("not put on the node: {}: {error}", target.display()));
    }
    match node.reload() {
        Err(error) => not(format!("{} is replaced, and {error}", target.display())),
        Ok(report) if report.problems.is_empty() && report.in_sync => {
            let took = start.elapsed().as_millis();
            Live { live: format!("in force on the node after {took} ms"), live_ms: Some(took) }
        }
        Ok(report) => {
            let refused = report.policies.iter().filter_map(|policy| policy.candidate.as_ref()?.reason.clone());
            let reasons: Vec<String> = report.problems.iter().cloned().chain(refused).collect();
            not(format!("refused by the node: {}", reasons.join("; ")))
        }
    }
}

fn text(round: &Round, live: Option<&Live>) -> String {
    let mut text = String::new();
    for case in &round.cases {
        push_case(&mut text, case);
    }
    let Round { round: number, component, built_ms, loaded_ms, judged_ms, .. } = round;
    let component = component.display();
    let _ = writeln!(
        text,
        "round {number}: {component} built in {built_ms} ms, compiled to machine code in {loaded_ms} ms, judged in {judged_ms} ms"
    );
    if let Some(Live { live, .. }) = live {
        let _ = writeln!(text, "live     {live}");
    }
    text
}

fn push_case(text: &mut String, judged: &Judged) {
    let Judged { case, unexpected, difference, rehearsal } = judged;
    let _ = match unexpected {
        None => writeln!(text, "ok       {case}"),
        Some(difference) => writeln!(text, "FAILED   {case}\n{difference}"),
    };
    if let Some(difference) = difference {
        let _ = writeln!(text, "rules    {case}\n{}", difference.trim_end());
    }
    let _ = match rehearsal {
        None => Ok(()),
        Some(Verdict::Takes { .. }) => writeln!(text, "kernel   {case}: takes them, in a private namespace"),
        Some(Verdict::Refuses { reason, .. }) => writeln!(text, "kernel   {case}: REFUSES them: {reason}"),
        Some(Verdict::NotAsked { reason }) => writeln!(text, "kernel   {case}: was not asked: {reason}"),
    };
}
