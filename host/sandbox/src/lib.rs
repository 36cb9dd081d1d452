//! Runs policies in their sandbox.
//!
//! A policy is a WebAssembly component from somewhere else. It is read, compiled in a child process, judged by what it
//! imports, and then asked: `describe` once, `evaluate` for every new set of facts, each time in a fresh instance
//! within limits. Whatever it does, the answer is a value: a checked [`Contribution`], or an error that says which
//! policy, what it did and what to change. Nothing that a policy holds, says or does can stop the daemon.
//!
//! All calls block; make them from a thread that may, with at least 1 MiB of stack.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod artefact;
mod cache;
pub mod compile;
mod component_file;
pub mod components;
mod contract;
mod description;
mod engine;
mod evaluate;
mod guest;
mod inspect;
pub mod last_good;
mod lift_error;
mod load;
mod refusal;
mod repeat;
mod schema_shape;
mod settings;
mod trace;
mod v0_1;
mod watchdog;

#[cfg(any(test, feature = "sim"))]
#[allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub mod testkit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use thiserror::Error;

use ruleward_files::digest;

#[doc(no_inline)]
pub use ruleward_core::contribution::Contribution;
#[doc(no_inline)]
pub use ruleward_core::limit::{Exceeded, Limit, Limits, Usage};

pub use self::compile::{CompileError, Compiler};
pub use self::component_file::{ComponentBytes, FileError};
pub use self::description::{Description, DescriptionError};
pub use self::evaluate::{Cause, EvaluateError, Evaluation, Fault};
pub use self::guest::{Log, LogLevel, LogLine};
pub use self::inspect::ShapeError;
pub use self::lift_error::LiftError;
pub use self::load::{LoadError, LoadProblem};
pub use self::refusal::Refusal;
pub use self::repeat::Difference;
pub use self::settings::{SchemaError, SettingsError, SettingsProblem};
pub use ruleward_files::private_dir::PrivateError;

type Listener = dyn Fn(&PolicyName, &Usage, bool) + Send + Sync;

/// Hears of each evaluation: of which policy, what it used, and whether there was an answer.
#[derive(Clone)]
pub struct OnEvaluation(Arc<Listener>);

impl OnEvaluation {
    /// Tells it to this.
    pub fn new(listener: impl Fn(&PolicyName, &Usage, bool) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Nobody wants to know.
    pub fn nobody() -> Self {
        Self::new(|_, _, _| {})
    }
}

impl fmt::Debug for OnEvaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEvaluation")
    }
}

/// How to set up the engine.
#[derive(Debug, Clone)]
pub struct PolicyEngineOptions {
    /// Holds the cache of compiled components, in its folder `cache`.
    pub state_directory: PathBuf,
    /// How to start the compiling child.
    pub compiler: Compiler,
    /// Is told of each evaluation.
    pub on_evaluation: OnEvaluation,
}

impl PolicyEngineOptions {
    /// With the running executable as the compiler.
    pub fn new(state_directory: impl Into<PathBuf>) -> Self {
        Self {
            state_directory: state_directory.into(),
            compiler: Compiler::default(),
            on_evaluation: OnEvaluation::nobody(),
        }
    }
}

/// The engine can't be set up on this machine.
#[derive(Debug, Error)]
#[error("the WebAssembly engine can't be set up: {0}")]
pub struct EngineError(String);

/// Runs policies. One is enough for a process.
pub struct PolicyEngine {
    sandbox: Arc<engine::Sandbox>,
    cache: cache::Cache,
    on_evaluation: OnEvaluation,
}

impl fmt::Debug for PolicyEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyEngine").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl PolicyEngine {
    /// Sets up the engine. No file is touched yet.
    ///
    /// # Errors
    /// When the processor or the system can't do it.
    pub fn new(options: PolicyEngineOptions) -> Result<Self, EngineError> {
        let sandbox = engine::sandbox().map_err(|e| EngineError(format!("{e:#}")))?;
        let cache = cache::Cache::new(options.state_directory.join("cache"), options.compiler);
        Ok(Self { sandbox: Arc::new(sandbox), cache, on_evaluation: options.on_evaluation })
    }

    /// Loads the policy `name` from the component at `path`. `limits` hold for all its calls.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, name: &PolicyName, path: &Path, limits: &Limits) -> Result<LoadedPolicy, LoadError> {
        let component = ComponentBytes::read(path);
        let component = component.map_err(|problem| LoadError {
            policy: name.clone(),
            path: path.to_owned(),
            problem: problem.into(),
        })?;
        self.load_bytes(name, path, &component, limits)
    }

    /// The same with bytes that were read before; `path` is where they come from.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load_bytes(
        &self,
        name: &PolicyName,
        path: &Path,
        component: &ComponentBytes,
        limits: &Limits,
    ) -> Result<LoadedPolicy, LoadError> {
        let problem = |problem| LoadError { policy: name.clone(), path: path.to_owned(), problem };
        let parts = load::load(&self.sandbox, &self.cache, component, limits).map_err(problem)?;
        Ok(LoadedPolicy {
            name: name.clone(),
            on_evaluation: self.on_evaluation.clone(),
            sandbox: Arc::clone(&self.sandbox),
            limits: limits.clone(),
            parts: Arc::new(parts),
            calls: Arc::default(),
        })
    }

    /// Removes compiled components from the cache, except those of components with the digests in `keep`. Answers how
    /// many files went.
    ///
    /// # Errors
    /// When the cache's folder can't be used.
    pub fn prune_cache(&self, keep: &[&str]) -> Result<usize, PrivateError> {
        self.cache.prune(&self.sandbox, keep)
    }
}

/// A policy that can be asked.
#[derive(Clone)]
pub struct LoadedPolicy {
    name: PolicyName,
    on_evaluation: OnEvaluation,
    sandbox: Arc<engine::Sandbox>,
    limits: Limits,
    parts: Arc<load::Parts>,
    calls: Arc<Mutex<Calls>>,
}

/// What is known of a policy from being asked.
#[derive(Debug, Default)]
struct Calls {
    /// Asked twice, it gave the same answer.
    confirmed: bool,
    /// What the last evaluation used, and of each limit the most of all.
    usage: Option<(Usage, Usage)>,
}

impl fmt::Debug for LoadedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = &self.parts.digest;
        f.debug_struct("LoadedPolicy").field("digest", digest).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl LoadedPolicy {
    /// The same component under these limits, as if it had never been asked.
    #[must_use]
    pub fn with_limits(&self, limits: &Limits) -> Self {
        Self { limits: limits.clone(), calls: Arc::default(), ..self.clone() }
    }

    /// Of the component's bytes: `sha256:...`.
    pub fn digest(&self) -> &str {
        &self.parts.digest
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.parts.description
    }

    /// What it logged while it described itself.
    pub fn log(&self) -> &Log {
        &self.parts.log
    }

    /// Whether it was compiled just now rather than taken from the cache.
    pub fn was_compiled(&self) -> bool {
        self.parts.compiled
    }

    /// What the operator should know about how it was loaded: a cache that can't be used, entries that were damaged.
    pub fn warnings(&self) -> &[String] {
        &self.parts.warnings
    }

    /// Judges settings by the schema that the policy describes.
    ///
    /// # Errors
    /// [`SettingsError`] with the path of each value that does not fit.
    pub fn check_settings(&self, settings: &serde_json::Value) -> Result<(), SettingsError> {
        self.parts.schema.check(settings)
    }

    /// What its calls may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the last evaluation used, successful or not, and of each limit the most of all evaluations; none before the first.
    pub fn usage(&self) -> Option<(Usage, Usage)> {
        self.calls().usage.clone()
    }

    /// Makes an instance as each call does, and drops it: for measurements.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn instantiate(&self) -> Result<(), Fault> {
        self.callee().instantiate()
    }

    fn callee(&self) -> evaluate::Callee<'_> {
        evaluate::Callee { sandbox: &self.sandbox, policy: &*self.parts.policy, limits: &self.limits }
    }

    /// Asks the policy what the node should have. `settings` is JSON text that [`LoadedPolicy::check_settings`] found
    /// right; the same arguments give the same answer. Until one answer has been confirmed, each is asked for twice.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn evaluate(&self, facts: &Facts, grants: &Grants, settings: &str) -> Result<Evaluation, Box<EvaluateError>> {
        self.confirmed(|| self.callee().evaluate(&self.parts.description, (facts, grants, settings)))
    }

    /// What `ask` answers; asked twice until one answer has been confirmed.
    fn confirmed(
        &self,
        mut ask: impl FnMut() -> Result<Evaluation, Box<EvaluateError>>,
    ) -> Result<Evaluation, Box<EvaluateError>> {
        let confirmed = self.calls().confirmed;
        let answer = match ask() {
            Ok(first) if !confirmed => repeat::confirm(first, ask()),
            answer => answer,
        };
        let used = answer.as_ref().map_or_else(|error| &error.usage, |evaluation| &evaluation.usage);
        let used = used.clone().or_worse(&self.parts.footprint);
        (self.on_evaluation.0)(&self.name, &used, answer.is_ok());
        let mut calls = self.calls();
        calls.confirmed |= answer.is_ok();
        let worst = calls.usage.take().map_or_else(|| used.clone(), |(_, worst)| worst.or_worse(&used));
        calls.usage = Some((used, worst));
        answer
    }

    /// Plain data that is whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a contribution: equal contributions have equal digests, on every machine. `sha256:...`.
pub fn contribution_digest(contribution: &Contribution) -> String {
    digest::of_json(contribution)
}

#[cfg(test)]
#[test]
fn compiling_child_entry_point() {
    testkit::compiling_child();
}
