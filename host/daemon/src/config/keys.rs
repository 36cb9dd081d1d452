//! The table of the configuration's keys. Each is one entry: what it means, its name, when a change takes effect, its
//! field and type, and the form of its value with default and bounds. What reads them, what tells a running daemon which
//! changes wait for a restart, and the reference in `docs/configuration.md` are made from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::names::{Backend, PolicyName};

use super::forms::{Count, Folder, Form, OneOf, Special, size, span};
use super::limits::Ceiling;
use super::section::Section;
use super::{BackendChoice, DEFAULT_RUNTIME_DIRECTORY, DEFAULT_STATE_DIRECTORY, PolicyConfig, limits, special};
use crate::logs::{Level, LogFormat};
use crate::traces::Endpoint;

/// An entry, as the reference needs it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code, reason = "the reference is made by a test"))]
pub(super) struct Key {
    /// As it is written.
    pub name: &'static str,
    /// In Markdown.
    pub meaning: &'static [&'static str],
    /// Whether a change waits for the next start of the daemon.
    pub waits: bool,
    /// In Markdown.
    pub default: fn() -> String,
    /// The least and the most.
    pub bounds: fn() -> Option<[String; 2]>,
}

macro_rules! waits {
    (at_once) => {
        false
    };
    (at_restart) => {
        true
    };
}

macro_rules! keys {
    ($($(#[doc = $meaning:literal])+ $name:literal $when:ident $field:ident: $type:ty = $form:expr;)+) => {
        /// The whole configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            /// The main file, absolute.
            pub file: PathBuf,
            /// All files that were read, in the order in which they count.
            pub files: Vec<PathBuf>,
            $($(#[doc = $meaning])+ pub $field: $type,)+
        }

        /// All keys of the top level, sorted.
        pub(super) const KEYS: [Key; [$($name),+].len()] = [$(Key {
            name: $name,
                    meaning: &[$($meaning),+],
                    waits: waits!($when),
                    default: || Form::default(&$form),
                    bounds: || Form::bounds(&$form),
        }),+];

        impl Config {
            /// Reads all keys but the policies; what is wrong is reported there, and has its default.
            pub(super) fn read(top: &mut Section<'_, '_>, folder: &Path) -> Self {
                Self {
                    file: PathBuf::new(),
                    files: Vec::new(),
                    $($field: Form::read(&$form, top, $name, folder),)+
                }
            }

            /// This configuration as far as a daemon can take it that runs with `running`, and the keys of which it
            /// can't: they keep their values until the next start.
            #[must_use]
            pub fn taken_by(mut self, running: &Self) -> (Self, Vec<&'static str>) {
                let mut waiting = Vec::new();
                $(if waits!($when) && self.$field != running.$field {
                    waiting.push($name);
                    self.$field.clone_from(&running.$field);
                })+
                (self, waiting)
            }
        }
    };
}

/// `auto` or `off`.
const SWITCH: [(&str, bool); 2] = [("auto", true), ("off", false)];
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const LOG_FORMATS: [(&str, LogFormat); 4] =
    [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json), ("journal", LogFormat::Journal)];
const BACKENDS: [(&str, BackendChoice); 3] = [
    ("auto", BackendChoice::Auto),
    ("nft", BackendChoice::Fixed(Backend::Nft)),
    ("legacy", BackendChoice::Fixed(Backend::Legacy)),
];

keys! {
    /// `auto`, `nft` or `legacy`; `status` says which one is in use, and why.
    "backend" at_restart backend: BackendChoice = OneOf("auto", &BACKENDS);

    /// Longest run of one iptables or ipset command.
    "command-timeout" at_restart command_timeout: Duration = span("60s", "100ms", "1h");

    /// Address space of the process that compiles a component.
    "compile-memory" at_restart compile_memory: u64 = size("2GiB", "256MiB", "64GiB");

    /// Processor time of that process, and its wall time; whole seconds.
    "compile-time" at_restart compile_time: Duration = span("60s", "1s", "1h");

    /// nft: room for the kernel's events. If it overflows, Ruleward reads everything, and the actor is unknown.
    "event-buffer" at_restart event_buffer: u64 = size("16MiB", "4KiB", "512MiB");

    /// Address families that Ruleward handles.
    "families" at_restart families: Families = Special("`[\"ipv4\", \"ipv6\"]`", special::families);

    /// One of so many checks by the clock reads everything. The others read nothing if the kernel reports no
    /// change.
    "full-comparison-every" at_once full_comparison_every: u32 = Count(10, 1, 1_000_000);

    /// Size of all records with their components.
    "history-size" at_restart history_size: u64 = size("256MiB", "1MiB", "64GiB");

    /// How many [records](versions.md#records) of each policy are kept.
    "history-versions" at_restart history_versions: u32 = Count(50, 1, 100_000);

    /// Addresses with ports for metrics and the status page, beside a socket; `[]` for none. See
    /// [monitoring](monitoring.md).
    "http" at_restart http: Vec<SocketAddr> = Special("`[\"127.0.0.1:9746\"]`", special::http);

    /// Size at which the journal of incidents begins a new file. Two files are kept.
    "incident-journal-size" at_restart incident_journal_size: u64 = size("8MiB", "64KiB", "256MiB");

    /// legacy: how often Ruleward polls the tables for programs that bypass the xtables lock.
    "legacy-poll-interval" at_restart legacy_poll_interval: Duration = span("1s", "10ms", "1h");

    /// A table of [limits](#limits) that no policy may exceed.
    "limits-ceiling" at_once limits_ceiling: Ceiling = Special("none", limits::ceiling);

    /// Longest wait for the xtables lock. After it the attempt has failed, and another one follows.
    "lock-timeout" at_restart lock_timeout: Duration = span("10m", "100ms", "24h");

    /// Least important level that is logged: `error`, `warn`, `info`, `debug` or `trace`; see
    /// [logs](operating.md#logs).
    "log" at_once log: Level = OneOf("info", &LEVELS);

    /// `auto`, `json` (one object a line) or `journal`. `auto` writes to journald with fields if standard error
    /// leads there, otherwise text.
    "log-format" at_once log_format: LogFormat = OneOf("auto", &LOG_FORMATS);

    /// This node's name in resources; 1 to 253 visible characters.
    "node-name" at_once node_name: Option<String> = Special("the host name in lower case", special::node_name);

    /// The [policies](#policies) by name.
    "policies" at_once policies: BTreeMap<PolicyName, PolicyConfig> = Special("none", special::policies);

    /// Folder of components whose names have no `/`.
    "policy-directory" at_once policy_directory: PathBuf = Folder("/usr/lib/ruleward/policies");

    /// Longest time between two checks by the clock.
    "refresh-interval" at_once refresh_interval: Duration = span("90s", "100ms", "720h");

    /// Longest time that the repair of one rule waits for the program that changed it; see [other programs that
    /// write](operating.md#other-programs-that-write).
    "repair-wait" at_once repair_wait: Duration = span("250ms", "0s", "10s");

    /// The same for a change of more than one rule, such as a flush. The repair also waits for a pause of a tenth
    /// of this time.
    "repair-wait-mass" at_once repair_wait_mass: Duration = span("2s", "0s", "1m");

    /// `auto` compares rules byte for byte, and writes proven rules over netlink. `off` compares and writes with
    /// the stock tools alone.
    "replay" at_once replay: bool = OneOf("auto", &SWITCH);

    /// Folder of Kubernetes-shaped resources, YAML or JSON.
    "resources" at_once resources: PathBuf = Folder("/etc/ruleward/resources");

    /// The sockets of the running daemon.
    "runtime-directory" at_restart runtime_directory: PathBuf = Folder(DEFAULT_RUNTIME_DIRECTORY);

    /// Name (in `/etc/group`) or number of the group whose members [may look](operating.md#who-may-look).
    "socket-group" at_restart socket_group: Option<String> = Special("the daemon's own", special::socket_group);

    /// Mode of the sockets, `0600` to `0666`.
    "socket-mode" at_restart socket_mode: u32 = Special("`0660`", special::socket_mode);

    /// What outlives a restart: components, compiled code, last good answers and configuration, records of
    /// versions, incidents.
    "state-directory" at_restart state_directory: PathBuf = Folder(DEFAULT_STATE_DIRECTORY);

    /// Address of an OpenTelemetry collector that gets a trace of each check by OTLP over HTTP:
    /// `http://127.0.0.1:4318/v1/traces`, or `unix:` and the path of a socket. See [traces](monitoring.md#traces).
    "traces" at_once traces: Option<Endpoint> = Special("`off`", special::traces);

    /// `auto` repairs drift, and takes changed files, interfaces and addresses, when an event reports them. `off`
    /// leaves both to the refresh.
    "watch" at_restart watch: bool = OneOf("auto", &SWITCH);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn config(text: &str) -> Config {
        let file = Path::new("/etc/ruleward/ruleward.toml");
        Config::parse(file, &[Source { file: file.to_owned(), text: text.to_owned() }]).unwrap()
    }

    #[test]
    fn what_a_running_daemon_can_not_take_waits_and_is_named() {
        let running = config("refresh-interval = \"90s\"\nbackend = \"nft\"");
        let changed = config(
            "refresh-interval = \"5s\"\nbackend = \"legacy\"\nwatch = \"off\"\ntraces = \"http://127.0.0.1:4318\"\n[policies.web]\n",
        );
        let (taken, waits) = changed.clone().taken_by(&running);
        assert_eq!(waits, ["backend", "watch"]);
        assert_eq!(taken, Config { backend: running.backend, watch: true, ..changed });
        assert_eq!(running.clone().taken_by(&running), (running, Vec::new()));
    }
}
