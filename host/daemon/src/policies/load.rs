//! Turns a component's file into a policy that can be asked. Everything that can be known without facts is found out
//! here: that the file is a component, that it compiles, that it imports nothing but the contract, that its functions
//! have the right types, what it says of itself, and that its settings have a usable schema.

use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;
use thiserror::Error;

use super::cache::Cache;
use super::compile::CompileError;
use super::component_file::{self, FileError};
use super::contract_v0_1::PolicyPre;
use super::description::{self, Description, DescriptionError};
use super::engine::{self, Sandbox};
use super::evaluate::{self, Fault};
use super::guest::{Guest, Log, one_line};
use super::inspect::{self, ShapeError};
use super::limits::Limits;
use super::settings::{SchemaError, SettingsSchema};

/// Why a policy can't be loaded.
#[derive(Debug, Error)]
#[error("policy {policy}: {} {problem}", .path.display())]
pub struct LoadError {
    /// Which, as the operator calls it.
    pub policy: PolicyName,
    /// Its component.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: LoadProblem,
}

/// What is wrong with a component.
#[derive(Debug, Error)]
pub enum LoadProblem {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Compiling it.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its imports, exports and types.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Its `describe`.
    #[error("failed in `describe`: it {fault}{}", last_words(.log))]
    Describe {
        /// How.
        fault: Fault,
        /// What it logged.
        log: Log,
    },
    /// What it says of itself.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The schema of its settings.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// The last log line, as the end of a message.
fn last_words(log: &Log) -> String {
    log.lines.last().map(|line| format!(" (its last log line: {})", line.message)).unwrap_or_default()
}

/// What loading yields.
pub struct Parts {
    /// Digest of the bytes, `sha256:...`.
    pub digest: String,
    /// Linked, ready for instances.
    pub pre: PolicyPre<Guest>,
    /// What it says of itself.
    pub description: Description,
    /// Of its settings.
    pub schema: SettingsSchema,
    /// What it logged in `describe`.
    pub log: Log,
    /// It was compiled just now, not taken from the cache.
    pub compiled: bool,
    /// What is wrong with the cache.
    pub warnings: Vec<String>,
}

/// Loads the component at `path`.
///
/// # Errors
/// [`LoadProblem`].
pub fn load(sandbox: &Sandbox, cache: &Cache, path: &Path, limits: &Limits) -> Result<Parts, LoadProblem> {
    let bytes = component_file::read(path)?;
    let digest = format!("sha256:{}", engine::sha256(&bytes));
    let loaded = cache.load(sandbox, &bytes, &digest)?;
    inspect::check(&sandbox.engine, &loaded.component)?;
    let mistyped = |e: wasmtime::Error| ShapeError::WrongType(one_line(&format!("{e:#}"), 600));
    let pre = sandbox.linker.instantiate_pre(&loaded.component).and_then(PolicyPre::new).map_err(mistyped)?;
    let (described, _, log) = evaluate::describe(sandbox, &pre, limits);
    let described = match described {
        Ok(described) => described,
        Err(fault) => return Err(LoadProblem::Describe { fault, log }),
    };
    let description = description::lift(described)?;
    let schema = SettingsSchema::new(&description.settings_schema)?;
    Ok(Parts { digest, pre, description, schema, log, compiled: loaded.compiled, warnings: loaded.warnings })
}
