//! Reads `ruleward.toml` and `conf.d/*.toml` beside it into a [`Config`]: plain data, complete, every value checked.
//!
//! Nothing is guessed: a key that nobody knows, a value of the wrong type, the same key in two files and grants that
//! overlap are refused. A [`ConfigError`] lists everything that is wrong, each with file, line, key and remedy.
//! Relative paths count from the folder of the main file, also those in `conf.d`.

mod decode;
mod files;
mod grants;
mod policy;
mod problem;
mod quantity;
mod section;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::grants::Grants;
use ruleward_core::names::{Backend, PolicyName};

pub use files::MAX_FILE_SIZE;
pub use problem::{ConfigError, Place, Problem, Source};
pub use quantity::{format_duration, format_size, parse_duration, parse_size};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/ruleward/ruleward.toml";

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
    /// `replay`: `auto` to compare rules byte for byte and to write those over netlink that were proven, `off` to compare and
    /// write with the stock tools alone. Default: `auto`.
    pub replay: bool,
    /// `watch`: `auto` to undo drift as it happens, `off` to leave it to the refresh. Default: `auto`.
    pub watch: bool,
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
    /// `mode`: `enforce` or `off`. Default: `enforce`.
    pub mode: Mode,
    /// `grants`: what the policy may own and read. Default: nothing.
    pub grants: Grants,
    /// `limits`: what an evaluation may use. Defaults: those of the policy engine.
    pub limits: LimitsConfig,
    /// `settings`: any value, as JSON with sorted keys. Default: an empty object.
    pub settings: serde_json::Value,
}

/// What the host does with a policy's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Puts them in force.
    Enforce,
    /// Does not ask the policy. Its grants claim nothing.
    Off,
}

/// Limits of one evaluation of a policy; `None` leaves the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `memory`: linear memory in bytes, `64KiB` to `4GiB`.
    pub memory: Option<u64>,
    /// `time`: wall time, `1ms` to `1h`.
    pub time: Option<Duration>,
    /// `fuel`: units of work, about one for each instruction; from 1.
    pub fuel: Option<u64>,
    /// `chains`: chains in the answer, 1 to 1,000,000.
    pub chains: Option<u64>,
    /// `rules`: rules in the answer, 1 to 10,000,000.
    pub rules: Option<u64>,
    /// `members`: members of all sets in the answer, 1 to 100,000,000.
    pub members: Option<u64>,
    /// `log-lines`: lines in the log, 0 to 1,000,000.
    pub log_lines: Option<u64>,
    /// `output`: the answer in bytes, `1KiB` to `4GiB`.
    pub output: Option<u64>,
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

    /// Interprets texts that are already read. `file` is the main file; relative paths count from its folder.
    ///
    /// # Errors
    /// [`ConfigError`] lists everything that is wrong.
    pub fn parse(file: &Path, sources: &[Source]) -> Result<Self, ConfigError> {
        decode::decode(file, sources, ConfigError::default())
    }
}
