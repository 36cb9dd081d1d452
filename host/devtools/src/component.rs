//! Loads a component as the daemon would, within the default limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::names::PolicyName;
use ruleward_sandbox::{Compiler, Limits, LoadedPolicy, PolicyEngine, PolicyEngineOptions};

use crate::error::AuthorError;

/// How long compiling may take.
const PATIENCE: Duration = Duration::from_secs(600);

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
