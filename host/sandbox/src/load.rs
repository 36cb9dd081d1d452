//! Turns a component's file into a policy that can be asked. Everything that can be known without facts is found out
//! here: that the file is a component, that it compiles, that it imports nothing but the contract, that its functions
//! have the right types, what it says of itself, and that its settings have a usable schema.

use std::path::PathBuf;
use std::sync::Arc;

use ruleward_core::limit::{Limit, Limits, Usage};
use ruleward_core::names::PolicyName;
use thiserror::Error;
use wasmtime::component::Component;

use super::cache::Cache;
use super::compile::CompileError;
use super::component_file::{ComponentBytes, FileError};
use super::contract::Linked;
use super::description::{Description, DescriptionError};
use super::engine::Sandbox;
use super::evaluate::{Callee, Fault};
use super::guest::{Log, one_line};
use super::inspect::{self, ShapeError};
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

impl LoadProblem {
    /// Whether the same bytes may be loaded later: the machine was to blame, not they.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::File(FileError::Unreadable(_))
                | Self::Compile(CompileError::Io(_) | CompileError::TimedOut(_) | CompileError::Killed)
        )
    }
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
    pub policy: Box<dyn Linked>,
    /// What it says of itself.
    pub description: Description,
    /// Of its settings.
    pub schema: SettingsSchema,
    /// Held so that other policies with this component share it.
    _component: Arc<Component>,
    /// Core instances, memories and tables that every call has.
    pub footprint: Usage,
    /// What it logged in `describe`.
    pub log: Log,
    /// It was compiled just now, not taken from the cache.
    pub compiled: bool,
    /// What is wrong with the cache.
    pub warnings: Vec<String>,
}

/// Loads a component.
///
/// # Errors
/// [`LoadProblem`].
pub fn load(
    sandbox: &Sandbox,
    cache: &Cache,
    component: &ComponentBytes,
    limits: &Limits,
) -> Result<Parts, LoadProblem> {
    let digest = component.digest.clone();
    let loaded = cache.load(sandbox, &component.bytes, &digest)?;
    let version = inspect::check(&sandbox.engine, &loaded.component)?;
    let mistyped = |e: wasmtime::Error| ShapeError::WrongType(version.number, one_line(&format!("{e:#}"), 600));
    let policy = sandbox.linker.instantiate_pre(&loaded.component).and_then(version.link).map_err(mistyped)?;
    let callee = Callee { sandbox, policy: &*policy, limits };
    let (described, _, log) = callee.describe();
    let description = match described {
        Ok(described) => described?,
        Err(fault) => return Err(LoadProblem::Describe { fault, log }),
    };
    let schema = SettingsSchema::new(&description.settings_schema)?;
    let footprint = footprint(&callee, &loaded.component);
    let _component = loaded.component;
    Ok(Parts {
        digest,
        policy,
        description,
        schema,
        _component,
        footprint,
        log,
        compiled: loaded.compiled,
        warnings: loaded.warnings,
    })
}

/// What an instance is made of. wasmtime does not tell the number of core instances: it is the least limit with which there is
/// an instance.
fn footprint(callee: &Callee<'_>, component: &Component) -> Usage {
    let mut usage = Usage::default();
    if let Some(required) = component.resources_required() {
        usage[Limit::Memories] = u64::from(required.num_memories);
        usage[Limit::Tables] = u64::from(required.num_tables);
    }
    let fits = |instances: u64| {
        let limits = callee.limits.clone().with(Limit::Instances, instances);
        Callee { limits: &limits, ..*callee }.instantiate().is_ok()
    };
    let (mut too_few, mut enough) = (0, callee.limits[Limit::Instances]);
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if fits(middle) { enough = middle } else { too_few = middle }
    }
    usage[Limit::Instances] = enough;
    usage
}
