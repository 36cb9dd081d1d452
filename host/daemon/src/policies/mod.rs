//! Runs policies in their sandbox.
//!
//! A policy is a WebAssembly component from somewhere else. It is read, compiled in a child process, judged by what it
//! imports, and then asked: `describe` once, `evaluate` for every new set of facts, each time in a fresh instance
//! within limits. Whatever it does, the answer is a value: a checked [`Contribution`], or an error that says which
//! policy, what it did and what to change. Nothing that a policy holds, says or does can stop the daemon.
//!
//! All calls block; make them from a thread that may, with at least 1 MiB of stack.

mod artefact;
mod cache;
pub mod compile;
mod component_file;
mod contract_v0_1;
mod description;
mod engine;
mod evaluate;
mod guest;
mod inspect;
pub mod last_good;
mod lift;
mod lift_addresses;
mod lift_rules;
mod lift_sets;
mod lift_targets;
mod limits;
mod load;
mod lower;
mod refusal;
mod schema_shape;
mod settings;
mod watchdog;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use thiserror::Error;

#[doc(no_inline)]
pub use ruleward_core::contribution::Contribution;

pub use self::compile::{CompileError, Compiler};
pub use self::component_file::FileError;
pub use self::description::{Description, DescriptionError};
pub use self::evaluate::{Cause, EvaluateError, Evaluation, Fault, Usage};
pub use self::guest::{Log, LogLevel, LogLine};
pub use self::inspect::ShapeError;
pub use self::lift::LiftError;
pub use self::limits::Limits;
pub use self::load::{LoadError, LoadProblem};
pub use self::refusal::Refusal;
pub use self::settings::{SchemaError, SettingsError, SettingsProblem};
pub use crate::private_dir::PrivateError;

/// How to set up the engine.
#[derive(Debug, Clone)]
pub struct PolicyEngineOptions {
    /// Holds the cache of compiled components, in its folder `cache`.
    pub state_directory: PathBuf,
    /// How to start the compiling child.
    pub compiler: Compiler,
}

impl PolicyEngineOptions {
    /// With the running executable as the compiler.
    pub fn new(state_directory: impl Into<PathBuf>) -> Self {
        Self { state_directory: state_directory.into(), compiler: Compiler::default() }
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
        Ok(Self { sandbox: Arc::new(sandbox), cache })
    }

    /// Loads the policy `name` from the component at `path`. `limits` hold for all its calls.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, name: &PolicyName, path: &Path, limits: &Limits) -> Result<LoadedPolicy, LoadError> {
        let problem = |problem| LoadError { policy: name.clone(), path: path.to_owned(), problem };
        let parts = load::load(&self.sandbox, &self.cache, path, limits).map_err(problem)?;
        Ok(LoadedPolicy { sandbox: Arc::clone(&self.sandbox), limits: limits.clone(), parts })
    }

    /// Removes compiled components from the cache, except those of `keep`. Answers how many files went.
    ///
    /// # Errors
    /// When the cache's folder can't be used.
    pub fn prune_cache(&self, keep: &[&LoadedPolicy]) -> Result<usize, PrivateError> {
        let digests: Vec<_> = keep.iter().map(|policy| policy.digest()).collect();
        self.cache.prune(&self.sandbox, &digests)
    }
}

/// A policy that can be asked.
pub struct LoadedPolicy {
    sandbox: Arc<engine::Sandbox>,
    limits: Limits,
    parts: load::Parts,
}

impl fmt::Debug for LoadedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = &self.parts.digest;
        f.debug_struct("LoadedPolicy").field("digest", digest).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl LoadedPolicy {
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

    /// Asks the policy what the node should have. `settings` is JSON text that [`LoadedPolicy::check_settings`] found
    /// right; the same arguments give the same answer.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn evaluate(&self, facts: &Facts, grants: &Grants, settings: &str) -> Result<Evaluation, Box<EvaluateError>> {
        let parts = &self.parts;
        evaluate::evaluate(&self.sandbox, &parts.pre, &parts.description, &self.limits, (facts, grants, settings))
    }
}
