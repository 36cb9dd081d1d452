//! Reads `ruleward.toml` and `conf.d/*.toml` beside it into a [`Config`]: plain data, complete, every value checked.
//!
//! Nothing is guessed: a key that nobody knows, a value of the wrong type, the same key in two files and grants that
//! overlap are refused. A [`ConfigError`] lists everything that is wrong, each with file, line, key and remedy.
//! Relative paths count from the folder of the main file, also those in `conf.d`.

mod decode;
mod files;
mod forms;
mod grants;
mod kept;
mod keys;
mod limits;
mod policy;
mod problem;
#[cfg(test)]
mod reference;
mod salvage;
mod section;
mod settings;
mod special;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::grants::Grants;
use ruleward_core::limit::Limits;
use ruleward_core::names::{Backend, PolicyName};
use ruleward_core::settle::Bounds;
use ruleward_reconcile::Settings;

pub use files::MAX_FILE_SIZE;
pub use keys::Config;
pub use limits::Ceiling;
pub use problem::{ConfigError, Place, Problem, Source};
pub use written::{ConfigFile, Written};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/ruleward/ruleward.toml";
/// Where the state is unless the configuration says otherwise.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/ruleward";
/// Where the sockets are unless the configuration says otherwise.
pub const DEFAULT_RUNTIME_DIRECTORY: &str = "/run/ruleward";

/// Which backend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// The one that the node already uses.
    Auto,
    /// This one.
    Fixed(Backend),
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyConfig {
    /// The file and line that configure it.
    pub place: Place,
    /// `component`: the WebAssembly component: a name in `policy-directory`, or a path (with a `/`) from the main
    /// file's folder. Default: the policy's name and `.wasm`.
    pub component: PathBuf,
    /// `mode`: `enforce`; `shadow`: evaluated, compared and [never put in force](versions.md#shadows); `off`: not
    /// evaluated, and its rules are removed. Default: `enforce`, or `shadow` with `shadow-of`.
    pub mode: Mode,
    /// `shadow-of`: the enforced policy whose place the shadow would take. Keys that the shadow leaves out
    /// (component, grants, limits, settings) are as there. Default: none.
    pub shadow_of: Option<PolicyName>,
    /// `grants`: what it may own: `tables`, `chains`, `sets` (names, or a prefix and `*`), `comments` (prefixes),
    /// `policies` of built-in chains (`["filter/INPUT"]`); the kinds of `resources` that it may read; what it may use of
    /// other programs (`uses = { sets = [...], chains = [...] }`); and whose jumps to its chains are (`jumps`: `shared`
    /// or `exclusive`). Default: nothing.
    pub grants: Grants,
    /// `limits`: [what one evaluation may use](#limits). Default: those of the table below, as far as the ceiling
    /// allows.
    pub limits: Limits,
    /// `settings`: the policy's own, checked against its schema. Default: none.
    pub settings: Arc<str>,
}

/// What the host does with a policy's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Puts them in force.
    Enforce,
    /// Shows what would be different, and writes nothing. Its grants claim nothing.
    Shadow,
    /// Does not ask the policy. Its grants claim nothing.
    Off,
}

impl Config {
    /// Whether any policy may read resources.
    pub fn wants_resources(&self) -> bool {
        self.policies.values().any(|policy| policy.mode != Mode::Off && !policy.grants.resources.is_empty())
    }

    /// What of it the reconciler goes by.
    pub fn reconciler_settings(&self) -> Settings {
        let limits = self.policies.values().map(|policy| policy.limits.time());
        Settings {
            refresh_interval: self.refresh_interval,
            repair_bounds: Bounds { single: self.repair_wait, mass: self.repair_wait_mass },
            full_comparison_every: self.full_comparison_every,
            replay: self.replay,
            limits_ceiling: self.limits_ceiling.clone(),
            longest_evaluation: limits.fold(Duration::ZERO, Duration::saturating_add).saturating_mul(2),
            locate: Some(Arc::new(ConfigFile(self.file.clone()))),
        }
    }

    /// Reads `file` and `conf.d/*.toml` beside it.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that can't be read or is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        // Fails only for an empty path, of which reading then says that it does not exist.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut problems = ConfigError::default();
        let sources = files::read_all(&file, &mut problems);
        decode::decode(&file, &sources, problems)
    }

    /// The first two policies that would own the same name if `policies` were those of a configuration, with what it is.
    pub fn overlap(policies: &BTreeMap<PolicyName, PolicyConfig>) -> Option<(PolicyName, PolicyName, String)> {
        let (one, other, what) = policy::overlaps(policies).next()?;
        Some((one.0.clone(), other.0.clone(), what))
    }

    /// The value of a key of a folder, such as `runtime-directory`, in a configuration that may be wrong elsewhere: what
    /// finds a running daemon while somebody edits. None: no file that can be parsed has it.
    pub fn directory_in(file: &Path, key: &str) -> Option<PathBuf> {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = file.parent()?;
        let sources = files::read_all(&file, &mut ConfigError::default());
        let value = |source: &Source| {
            let table = toml::from_str::<toml::Table>(&source.text).ok()?;
            Some(folder.join(table.get(key)?.as_str()?))
        };
        sources.iter().find_map(value)
    }

    /// Interprets texts that are already read. `file` is the main file; relative paths count from its folder.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong.
    pub fn parse(file: &Path, sources: &[Source]) -> Result<Self, ConfigError> {
        decode::decode(file, sources, ConfigError::default())
    }
}
