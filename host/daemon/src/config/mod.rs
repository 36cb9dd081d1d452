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
mod quantity;
mod section;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::grants::Grants;
use ruleward_core::limit::Limits;
use ruleward_core::names::{Backend, PolicyName};

use crate::logs::{Level, LogFormat};

pub use files::MAX_FILE_SIZE;
pub use limits::Ceiling;
pub use problem::{ConfigError, Place, Problem, Source};
pub use quantity::{format_duration, format_size, parse_duration, parse_size};

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
    /// `node-name`: the node's name in facts; 1 to 253 visible characters. Default: the host name.
    pub node_name: Option<String>,
    /// `refresh-interval`: time between two full comparisons with the kernel, `100ms` to `720h`. Default: `90s`.
    pub refresh_interval: Duration,
    /// `state-directory`: compiled components, last good contributions and incidents. Default: `/var/lib/ruleward`.
    pub state_directory: PathBuf,
    /// `runtime-directory`: the sockets of the running daemon. Default: `/run/ruleward`.
    pub runtime_directory: PathBuf,
    /// `policy-directory`: where components named without a `/` are. Default: `/usr/lib/ruleward/policies`.
    pub policy_directory: PathBuf,
    /// `backend`: `auto`, `nft` or `legacy`. Default: `auto`.
    pub backend: BackendChoice,
    /// `families`: `ipv4`, `ipv6` or both. Default: both.
    pub families: Families,
    /// `documents`: directory of Kubernetes-shaped resources. Default: `/etc/ruleward/documents`.
    pub documents: PathBuf,
    /// `command-timeout`: longest run of one iptables or ipset command, `100ms` to `1h`. Default: `60s`.
    pub command_timeout: Duration,
    /// `lock-timeout`: longest wait for the xtables lock before an attempt counts as failed and is made again,
    /// `100ms` to `24h`. Default: `10m`.
    pub lock_timeout: Duration,
    /// `incident-journal-size`: at which size the journal of incidents begins a new file, `64KiB` to `256MiB`; two files
    /// are kept. Default: `8MiB`.
    pub incident_journal_size: u64,
    /// `event-buffer`: room for the kernel's events of nf_tables, `4KiB` to `512MiB`. What does not fit is found by a full
    /// comparison. Default: `16MiB`.
    pub event_buffer: u64,
    /// `full-comparison-every`: of so many refreshes at least one reads everything, the others may trust the kernel's word
    /// that nothing has changed; 1 to 1000000. Default: 10.
    pub full_comparison_every: u32,
    /// `legacy-poll-interval`: how often iptables-legacy's tables are looked at for writers that do not take the xtables
    /// lock, `10ms` to `1h`. Default: `1s`.
    pub legacy_poll_interval: Duration,
    /// `log`: the least important log lines, `error` to `trace`. Default: `info`.
    pub log: Level,
    /// `log-format`: `auto`, `text`, `json` or `journal`. Default: `auto`.
    pub log_format: LogFormat,
    /// `socket-group`: name or number of the group that the sockets belong to. Default: the daemon's own.
    pub socket_group: Option<String>,
    /// `socket-mode`: who may connect to the sockets. Default: `0660`.
    pub socket_mode: u32,
    /// `replay`: `auto` to compare rules byte for byte and to write those over netlink that were proven, `off` to compare and
    /// write with the stock tools alone. Default: `auto`.
    pub replay: bool,
    /// `watch`: `auto` to undo drift as it happens, `off` to leave it to the refresh. Default: `auto`.
    pub watch: bool,
    /// `http`: where metrics and the status page are served besides the socket in the runtime directory, a list of addresses
    /// with ports; empty for nowhere. They only show, but they show rules and names of processes. Default: `["127.0.0.1:9746"]`.
    pub http: Vec<SocketAddr>,
    /// `compile-memory`: address space of the process that compiles a component, `256MiB` to `64GiB`. Default: `2GiB`.
    pub compile_memory: u64,
    /// `compile-time`: its processor time, and its wall time; `1s` to `1h`, whole seconds. Default: `60s`.
    pub compile_time: Duration,
    /// `limits-ceiling`: what no policy's limits may be above; keys and bounds are those of `limits`. Default: none.
    pub limits_ceiling: Ceiling,
    /// `history-versions`: how many records of each policy are kept, 1 to 100000. Default: 50.
    pub history_versions: u32,
    /// `history-size`: how much the records of all policies and the components that they name may take, `1MiB` to `64GiB`.
    /// Default: `256MiB`.
    pub history_size: u64,
    /// `[policies.NAME]`: the policies by name. Default: none.
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
    /// `component`: the WebAssembly component, absolute. A plain name is in the policy directory; with a `/` it is a
    /// path from the main file's folder. Default: `NAME.wasm`.
    pub component: PathBuf,
    /// `mode`: `enforce`, `shadow` or `off`. Default: `enforce`; `shadow` with `shadow-of`.
    pub mode: Mode,
    /// `shadow-of`: the enforced policy that a shadow is compared with. What the shadow does not say (component, grants,
    /// limits, settings) is as there, and its grants may be the same. Default: none.
    pub shadow_of: Option<PolicyName>,
    /// `grants`: what the policy may own and read. Default: nothing.
    pub grants: Grants,
    /// `limits`: what one call may use. Defaults: [`Limits::default`], as far as the ceiling allows.
    pub limits: Limits,
    /// `settings`: any value, as JSON with sorted keys. Default: an empty object.
    pub settings: serde_json::Value,
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
