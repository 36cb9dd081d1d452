//! From TOML text to a [`Config`]: parses each file, joins their keys, reads the top level.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::names::{Backend, Family};
use ruleward_core::settle::Bounds;
use toml::Spanned;
use toml::de::DeTable;

use super::problem::{ConfigError, Problem, Source};
use super::section::{Entry, Section, entries, quote_key};
use super::{BackendChoice, Config, DEFAULT_STATE_DIRECTORY};
use super::{limits, policy};
use crate::logs::{Level, LogFormat};
use crate::traces::Endpoint;

pub(super) const KEYS: [&str; 30] = [
    "backend",
    "command-timeout",
    "compile-memory",
    "compile-time",
    "event-buffer",
    "families",
    "full-comparison-every",
    "history-size",
    "history-versions",
    "http",
    "incident-journal-size",
    "legacy-poll-interval",
    "limits-ceiling",
    "lock-timeout",
    "log",
    "log-format",
    "node-name",
    "policies",
    "policy-directory",
    "refresh-interval",
    "repair-wait",
    "repair-wait-mass",
    "replay",
    "resources",
    "runtime-directory",
    "socket-group",
    "socket-mode",
    "state-directory",
    "traces",
    "watch",
];

const HOUR: Duration = Duration::from_secs(3600);
const SHORTEST: Duration = Duration::from_millis(100);

/// Longest text with syntax errors that is searched for further ones.
const SEARCHED: usize = 1 << 20;

/// Most syntax errors of one file that are looked at.
const SYNTAX_ERRORS: usize = 100;

/// Interprets `sources`, adding to the problems that are already known.
pub(super) fn decode(file: &Path, sources: &[Source], mut problems: ConfigError) -> Result<Config, ConfigError> {
    let mut tables: Vec<(&Source, Spanned<DeTable<'_>>)> = Vec::new();
    for source in sources {
        if let Some(table) = parse(source, &mut problems) {
            tables.push((source, table));
        }
    }
    let joined = join(&tables, &mut problems);
    let first_of_each = joined.iter().filter_map(|(key, found)| Some((*key, *found.first()?)));
    let mut top = Section::open(String::new(), first_of_each, &KEYS, &mut problems);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut config = Config {
        file: file.to_owned(),
        files: sources.iter().map(|source| source.file.clone()).collect(),
        node_name: node_name(&mut top),
        refresh_interval: top.duration("refresh-interval", "90s", SHORTEST, HOUR * 720).unwrap_or(HOUR / 40),
        state_directory: directory(&mut top, "state-directory", folder, DEFAULT_STATE_DIRECTORY),
        runtime_directory: directory(&mut top, "runtime-directory", folder, "/run/ruleward"),
        policy_directory: directory(&mut top, "policy-directory", folder, "/usr/lib/ruleward/policies"),
        backend: backend(&mut top),
        families: families(&mut top),
        documents: directory(&mut top, "resources", folder, "/etc/ruleward/resources"),
        command_timeout: top.duration("command-timeout", "60s", SHORTEST, HOUR).unwrap_or(HOUR / 60),
        lock_timeout: top.duration("lock-timeout", "10m", SHORTEST, HOUR * 24).unwrap_or(HOUR / 6),
        incident_journal_size: top.size("incident-journal-size", "8MiB", 64 << 10, 256 << 20).unwrap_or(8 << 20),
        event_buffer: top.size("event-buffer", "16MiB", 4 << 10, 512 << 20).unwrap_or(16 << 20),
        full_comparison_every: top
            .number("full-comparison-every", 1, 1_000_000)
            .and_then(|checks| u32::try_from(checks).ok())
            .unwrap_or(10),
        legacy_poll_interval: top.duration("legacy-poll-interval", "1s", SHORTEST / 10, HOUR).unwrap_or(HOUR / 3600),
        repair_wait: top
            .duration("repair-wait", "250ms", Duration::ZERO, HOUR / 360)
            .unwrap_or(Bounds::default().single),
        repair_wait_mass: top
            .duration("repair-wait-mass", "2s", Duration::ZERO, HOUR / 60)
            .unwrap_or(Bounds::default().mass),
        replay: top.choice("replay", &[("auto", true), ("off", false)]).unwrap_or(true),
        watch: top.choice("watch", &[("auto", true), ("off", false)]).unwrap_or(true),
        http: http(&mut top),
        traces: traces(&mut top),
        log: top.choice("log", &Level::ALL.map(|level| (level.as_str(), level))).unwrap_or(Level::Info),
        log_format: log_format(&mut top),
        socket_group: socket_group(&mut top),
        socket_mode: socket_mode(&mut top).unwrap_or(0o660),
        compile_memory: top.size("compile-memory", "2GiB", 256 << 20, 64 << 30).unwrap_or(2 << 30),
        compile_time: top.duration("compile-time", "60s", Duration::from_secs(1), HOUR).unwrap_or(HOUR / 60),
        limits_ceiling: limits::ceiling(&mut top),
        history_versions: top
            .number("history-versions", 1, 100_000)
            .and_then(|records| u32::try_from(records).ok())
            .unwrap_or(50),
        history_size: top.size("history-size", "256MiB", 1 << 20, 64 << 30).unwrap_or(256 << 20),
        policies: BTreeMap::new(),
    };
    let tables = joined.get("policies").map_or(&[][..], Vec::as_slice);
    config.policies = policy::read_all(tables, folder, &config.policy_directory, &config.limits_ceiling, &mut problems);
    if problems.problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn parse<'a>(source: &'a Source, problems: &mut ConfigError) -> Option<Spanned<DeTable<'a>>> {
    let first = match DeTable::parse(&source.text) {
        Ok(table) => return Some(table),
        Err(error) => error,
    };
    // Each error takes memory: a long file of garbage is not searched to its end.
    let short = source.text.len() <= SEARCHED;
    let errors = if short { DeTable::parse_recoverable(&source.text).1 } else { vec![first] };
    let mut last_line = 0;
    for error in errors.into_iter().take(SYNTAX_ERRORS) {
        let (place, column) = source.position(error.span().map_or(0, |span| span.start));
        // What follows an error on its line follows from it.
        if place.line != last_line {
            last_line = place.line;
            problems.add(|| Problem::Syntax { place, column, message: error.message().to_owned() });
        }
    }
    None
}

/// Every key of the top level with its entries: more than one only under `policies`.
type Joined<'a> = BTreeMap<&'a str, Vec<Entry<'a>>>;

fn join<'a>(tables: &'a [(&'a Source, Spanned<DeTable<'a>>)], problems: &mut ConfigError) -> Joined<'a> {
    let mut joined = Joined::new();
    for (source, table) in tables {
        for (key, entry) in entries(source, table.get_ref()) {
            let found = joined.entry(key).or_default();
            match found.first() {
                Some(first) if key != "policies" => problems.add(|| twice(quote_key(key), first, &entry)),
                _ => found.push(entry),
            }
        }
    }
    joined
}

/// The same key in two files.
pub(super) fn twice(key: String, first: &Entry<'_>, second: &Entry<'_>) -> Problem {
    Problem::Twice { key, first: first.place(), second: second.place() }
}

fn node_name(top: &mut Section<'_, '_>) -> Option<String> {
    let (name, entry) = top.text("node-name", "a name such as \"worker-7\"")?;
    let fits = |c: char| !c.is_whitespace() && !c.is_control();
    if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
        top.bad_value("node-name".to_owned(), entry, "must be 1 to 253 bytes without spaces and control characters");
        return None;
    }
    Some(name.to_owned())
}

fn directory(top: &mut Section<'_, '_>, key: &str, folder: &Path, default: &str) -> PathBuf {
    let expected = format!("a path such as {default:?}");
    let Some((text, entry)) = top.text(key, &expected) else { return PathBuf::from(default) };
    if text.is_empty() || text.contains('\0') {
        top.wrong_type(key.to_owned(), entry, expected);
    }
    folder.join(text)
}

fn backend(top: &mut Section<'_, '_>) -> BackendChoice {
    let choices = [
        ("auto", BackendChoice::Auto),
        ("nft", BackendChoice::Fixed(Backend::Nft)),
        ("legacy", BackendChoice::Fixed(Backend::Legacy)),
    ];
    top.choice("backend", &choices).unwrap_or(BackendChoice::Auto)
}

fn http(top: &mut Section<'_, '_>) -> Vec<SocketAddr> {
    const EXAMPLE: &str = "127.0.0.1:9746";
    if top.get("http").is_none() {
        return EXAMPLE.parse().into_iter().collect();
    }
    let mut addresses = Vec::new();
    for (key, text, element) in top.texts("http", "a list of addresses such as [\"127.0.0.1:9746\"]") {
        match text.parse::<SocketAddr>() {
            Ok(address) if addresses.contains(&address) => {
                top.bad_value(key, element, format!("{text:?} is there twice; remove one of them"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let problem =
                    format!("{text:?} is no address with a port; use one such as {EXAMPLE:?} or \"[::1]:9746\"");
                top.bad_value(key, element, problem);
            }
        }
    }
    addresses
}

fn traces(top: &mut Section<'_, '_>) -> Option<Endpoint> {
    let expected = "\"off\" or the address of a collector such as \"http://127.0.0.1:4318/v1/traces\"";
    let (text, entry) = top.text("traces", expected).filter(|(text, _)| *text != "off")?;
    Endpoint::parse(text).map_err(|problem| top.bad_value("traces".to_owned(), entry, problem)).ok()
}

fn log_format(top: &mut Section<'_, '_>) -> LogFormat {
    let choices = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journal", LogFormat::Journal),
    ];
    top.choice("log-format", &choices).unwrap_or(LogFormat::Auto)
}

fn socket_group(top: &mut Section<'_, '_>) -> Option<String> {
    let (group, entry) = top.text("socket-group", "the name or number of a group such as \"ruleward\"")?;
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != ':';
    if group.is_empty() || group.len() > 256 || !group.chars().all(fits) {
        top.bad_value("socket-group".to_owned(), entry, "must be the name or number of a group");
        return None;
    }
    Some(group.to_owned())
}

/// Reading and writing for owner, group and others; always for the owner.
fn socket_mode(top: &mut Section<'_, '_>) -> Option<u32> {
    let (text, entry) = top.text("socket-mode", "octal digits such as \"0660\"")?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600);
    if mode.is_none() {
        let problem = format!("{text:?} is no mode of a socket; use \"0600\", \"0660\" or \"0666\"");
        top.bad_value("socket-mode".to_owned(), entry, problem);
    }
    mode
}

fn families(top: &mut Section<'_, '_>) -> Families {
    const EXPECTED: &str = "a list such as [\"ipv4\", \"ipv6\"]";
    let Some(entry) = top.get("families") else { return Families::BOTH };
    let mut families = Families { ipv4: false, ipv6: false };
    if entry.value.as_array().is_some_and(|array| array.is_empty()) {
        top.bad_value("families".to_owned(), entry, "is empty; name \"ipv4\", \"ipv6\" or both");
    }
    for (key, text, element) in top.texts("families", EXPECTED) {
        let family = match text {
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            _ => {
                top.bad_value(key, element, format!("{text:?} is no family; use \"ipv4\" or \"ipv6\""));
                continue;
            }
        };
        if families.contains(family) {
            top.bad_value(key, element, format!("{text:?} is there twice; remove one of them"));
        }
        match family {
            Family::Ipv4 => families.ipv4 = true,
            Family::Ipv6 => families.ipv6 = true,
        }
    }
    families
}
