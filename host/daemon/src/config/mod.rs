//! Reads `ruleward.toml` and `conf.d/*.toml` beside it into a [`Config`]: plain data, complete, every value checked.
//!
//! Nothing is guessed: a key that nobody knows, a value of the wrong type, the same key in two files and grants that
//! overlap are refused. A [`ConfigError`] lists everything that is wrong, each with file, line, key and remedy.
//! Relative paths count from the folder of the main file, also those in `conf.d`.

mod change;
mod decode;
mod files;
mod grants;
mod kept;
mod limits;
mod policy;
mod problem;
#[cfg(test)]
mod reference;
mod salvage;
mod section;
mod settings;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::grants::Grants;
use ruleward_core::limit::Limits;
use ruleward_core::names::{Backend, PolicyName};
use ruleward_core::settle::Bounds;
use ruleward_reconcile::Settings;

use crate::logs::{Level, LogFormat};
use crate::traces::Endpoint;

pub use files::MAX_FILE_SIZE;
pub use limits::Ceiling;
pub use problem::{ConfigError, Place, Problem, Source};
pub use written::{ConfigFile, Written};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/ruleward/ruleward.toml";
/// Where the state is unless the configuration says otherwise.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/ruleward";

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The main file, absolute.
    pub file: PathBuf,
    /// All files that were read, in the order in which they count.
    pub files: Vec<PathBuf>,
    /// `node-name`: this node's name in resources; 1 to 253 visible characters. Default: the host name in lower
    /// case.
    pub node_name: Option<String>,
    /// `refresh-interval`: longest time between two checks by the clock; `100ms` to `720h`. Default: `90s`.
    pub refresh_interval: Duration,
    /// `state-directory`: what outlives a restart: components, compiled code, last good answers and configuration,
    /// records of versions, incidents. Default: `/var/lib/ruleward`.
    pub state_directory: PathBuf,
    /// `runtime-directory`: the sockets of the running daemon. Default: `/run/ruleward`.
    pub runtime_directory: PathBuf,
    /// `policy-directory`: folder of components whose names have no `/`. Default: `/usr/lib/ruleward/policies`.
    pub policy_directory: PathBuf,
    /// `backend`: `auto`, `nft` or `legacy`; `status` says which one is in use, and why. Default: `auto`.
    pub backend: BackendChoice,
    /// `families`: address families that Ruleward handles. Default: `["ipv4", "ipv6"]`.
    pub families: Families,
    /// `resources`: folder of Kubernetes-shaped resources, YAML or JSON. Default: `/etc/ruleward/resources`.
    pub documents: PathBuf,
    /// `command-timeout`: longest run of one iptables or ipset command, `100ms` to `1h`. Default: `60s`.
    pub command_timeout: Duration,
    /// `lock-timeout`: longest wait for the xtables lock. After it the attempt has failed, and another one follows;
    /// `100ms` to `24h`. Default: `10m`.
    pub lock_timeout: Duration,
    /// `incident-journal-size`: size at which the journal of incidents begins a new file, `64KiB` to `256MiB`. Two
    /// files are kept. Default: `8MiB`.
    pub incident_journal_size: u64,
    /// `event-buffer`: nft: room for the kernel's events, `4KiB` to `512MiB`. If it overflows, Ruleward reads
    /// everything, and the actor is unknown. Default: `16MiB`.
    pub event_buffer: u64,
    /// `full-comparison-every`: one of so many checks by the clock reads everything. The others read nothing if the
    /// kernel reports no change; `1` to `1000000`. Default: `10`.
    pub full_comparison_every: u32,
    /// `legacy-poll-interval`: legacy: how often Ruleward polls the tables for programs that bypass the xtables lock,
    /// `10ms` to `1h`. Default: `1s`.
    pub legacy_poll_interval: Duration,
    /// `repair-wait`: longest time that the repair of one rule waits for the program that changed it, `0s` to `10s`;
    /// see [other programs that write](operating.md#other-programs-that-write). Default: `250ms`.
    pub repair_wait: Duration,
    /// `repair-wait-mass`: the same for a change of more than one rule, such as a flush. The repair also waits for a
    /// pause of a tenth of this time; `0s` to `1m`. Default: `2s`.
    pub repair_wait_mass: Duration,
    /// `log`: least important level that is logged: `error`, `warn`, `info`, `debug` or `trace`; see
    /// [logs](operating.md#logs). Default: `info`.
    pub log: Level,
    /// `log-format`: `auto`, `json` (one object a line) or `journal`. `auto` writes to journald with fields if
    /// standard error leads there, otherwise text. Default: `auto`.
    pub log_format: LogFormat,
    /// `socket-group`: name (in `/etc/group`) or number of the group whose members [may
    /// look](operating.md#who-may-look). Default: the daemon's own.
    pub socket_group: Option<String>,
    /// `socket-mode`: mode of the sockets, `0600` to `0666`. Default: `0660`.
    pub socket_mode: u32,
    /// `replay`: `auto` compares rules byte for byte, and writes proven rules over netlink. `off` compares and writes
    /// with the stock tools alone. Default: `auto`.
    pub replay: bool,
    /// `watch`: `auto` repairs drift, and takes changed files, interfaces and addresses, when an event reports them.
    /// `off` leaves both to the refresh. Default: `auto`.
    pub watch: bool,
    /// `http`: addresses with ports for metrics and the status page, beside a socket; `[]` for none. See
    /// [monitoring](monitoring.md). Default: `["127.0.0.1:9746"]`.
    pub http: Vec<SocketAddr>,
    /// `traces`: address of an OpenTelemetry collector that gets a trace of each check by OTLP over HTTP:
    /// `http://127.0.0.1:4318/v1/traces`, or `unix:` and the path of a socket. See [traces](monitoring.md#traces).
    /// Default: `off`.
    pub traces: Option<Endpoint>,
    /// `compile-memory`: address space of the process that compiles a component, `256MiB` to `64GiB`. Default: `2GiB`.
    pub compile_memory: u64,
    /// `compile-time`: processor time of that process, and its wall time, `1s` to `1h`; whole seconds. Default:
    /// `60s`.
    pub compile_time: Duration,
    /// `limits-ceiling`: a table of [limits](#limits) that no policy may exceed. Default: none.
    pub limits_ceiling: Ceiling,
    /// `history-versions`: how many [records](versions.md#records) of each policy are kept, `1` to `100000`. Default: `50`.
    pub history_versions: u32,
    /// `history-size`: size of all records with their components, `1MiB` to `64GiB`. Default: `256MiB`.
    pub history_size: u64,
    /// `policies`: the [policies](#policies) by name. Default: none.
    pub policies: BTreeMap<PolicyName, PolicyConfig>,
}

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
    /// Whether any policy may read documents.
    pub fn wants_documents(&self) -> bool {
        self.policies.values().any(|policy| policy.mode != Mode::Off && !policy.grants.documents.is_empty())
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
