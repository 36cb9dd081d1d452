//! Tools for authors of policies: they look at, run, measure and test one component on facts that come from files. They
//! need no root, no configuration and no kernel, and write nothing but what they are asked to write and a cache of
//! compiled components.

pub mod answer;
pub mod case;
pub mod conform;
pub mod dev;
pub mod project;
pub mod rehearsal;
pub mod scaffold;
pub mod suite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::names::PolicyName;
use thiserror::Error;

use ruleward_sandbox::{Compiler, EngineError, Limits, LoadError, LoadedPolicy, PolicyEngine, PolicyEngineOptions};

/// How long compiling may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why an author's command can't do its work.
#[derive(Debug, Error)]
pub enum AuthorError {
    /// The component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file of the author's: which, and what is wrong with it.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A build that failed.
    #[error("{0}")]
    Build(String),
}

impl AuthorError {
    /// `path` can't be used, because `reason`.
    pub fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Loads a component within the default limits.
///
/// # Errors
/// [`AuthorError`] in the words that an operator would read.
pub fn load(component: &Path) -> Result<LoadedPolicy, AuthorError> {
    load_with(&cache(), component)
}

/// The same with the compiled components of another state directory.
///
/// # Errors
/// [`AuthorError`] in the words that an operator would read.
pub fn load_with(state_directory: &Path, component: &Path) -> Result<LoadedPolicy, AuthorError> {
    // A busy laptop may take its time; what a node would not have the processor time for is refused here as well.
    let compiler = Compiler { timeout: PATIENCE, ..Compiler::default() };
    let engine = PolicyEngine::new(PolicyEngineOptions { compiler, ..PolicyEngineOptions::new(state_directory) })?;
    let name = component.file_stem().and_then(|stem| stem.to_str()).unwrap_or("policy");
    let name = PolicyName::new(&name.to_lowercase().replace('_', "-")).or_else(|_| PolicyName::new("policy"));
    let name = name.map_err(|error| AuthorError::file(component, error))?;
    Ok(engine.load(&name, component, &Limits::default())?)
}

/// Where compiled components are kept for the next time.
pub fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("ruleward")
}
