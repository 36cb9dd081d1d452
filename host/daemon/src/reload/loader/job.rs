//! One component that another thread loads, and what came of it.

use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;

use ruleward_reconcile::policies::Recorded;
use ruleward_sandbox::{ComponentBytes, Limits, LoadError, LoadedPolicy, PolicyEngine, components};

/// Loading has ended.
pub struct Loaded {
    pub job: JobKind,
    pub policy: PolicyName,
    pub digest: String,
    pub result: Result<LoadedPolicy, LoadError>,
    /// Why its component is not kept.
    pub unkept: Option<String>,
}

/// For what something is loaded.
pub enum JobKind {
    /// The configuration asks for it.
    Wish,
    /// It was in force when the last process ended.
    Recall(Box<Recorded>),
}

pub(super) struct Job {
    pub kind: JobKind,
    pub policy: PolicyName,
    pub path: PathBuf,
    pub component: ComponentBytes,
    pub limits: Limits,
}

impl Job {
    pub fn run(self, engine: &PolicyEngine, state_directory: Option<&Path>) -> Loaded {
        let Self { kind, policy, path, component, limits } = self;
        let result = engine.load_bytes(&policy, &path, &component, &limits);
        let kept = match (state_directory, &result) {
            // One that is refused is kept for the history, which bounds it.
            (Some(directory), Ok(_)) => components::keep(directory, &component),
            (Some(directory), Err(error)) if !error.problem.is_passing() => components::keep(directory, &component),
            _ => Ok(()),
        };
        let unkept = kept.err().map(|error| error.to_string());
        Loaded { job: kind, policy, digest: component.digest, result, unkept }
    }
}
