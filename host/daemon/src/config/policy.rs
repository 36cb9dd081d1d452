//! Reads `[policies.NAME]` and sees to it that no two policies own the same name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::names::PolicyName;
use serde_json::{Map, Value};

use super::decode::twice;
use super::problem::{ConfigError, Problem};
use super::section::{Entry, Section, describe, entries, quote_key};
use super::{LimitsConfig, Mode, PolicyConfig, grants, settings};

const KEYS: [&str; 5] = ["component", "grants", "limits", "mode", "settings"];
const LIMITS: [&str; 8] = ["chains", "fuel", "log-lines", "members", "memory", "output", "rules", "time"];

/// Reads the policies of all `[policies]` tables.
pub(super) fn read_all(
    tables: &[Entry<'_>],
    folder: &Path,
    directory: &Path,
    problems: &mut ConfigError,
) -> BTreeMap<PolicyName, PolicyConfig> {
    let mut found: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    for table in tables {
        let Some(policies) = table.value.as_table() else {
            problems.add(|| wrong_table("policies", table, "a table of policies: write [policies.NAME]"));
            continue;
        };
        for (name, entry) in entries(table.source, policies) {
            match found.get(name) {
                Some(first) => problems.add(|| twice(format!("policies.{}", quote_key(name)), first, &entry)),
                None => _ = found.insert(name, entry),
            }
        }
    }
    let mut policies = BTreeMap::new();
    for (text, entry) in found {
        let key = format!("policies.{}", quote_key(text));
        let name = match PolicyName::new(text) {
            Ok(name) => name,
            Err(error) => {
                let reason = error.to_string();
                problems.add(|| Problem::BadValue { key: key.clone(), place: entry.place(), reason });
                continue;
            }
        };
        if let Some(policy) = read(&name, key, entry, folder, directory, problems) {
            policies.insert(name, policy);
        }
    }
    refuse_overlaps(&policies, problems);
    policies
}

fn wrong_table(key: &str, entry: &Entry<'_>, expected: &str) -> Problem {
    let (expected, found) = (expected.to_owned(), describe(entry.value));
    Problem::WrongType { key: key.to_owned(), place: entry.place(), expected, found }
}

fn read(
    name: &PolicyName,
    key: String,
    entry: Entry<'_>,
    folder: &Path,
    directory: &Path,
    problems: &mut ConfigError,
) -> Option<PolicyConfig> {
    let Some(table) = entry.value.as_table() else {
        problems.add(|| wrong_table(&key, &entry, "a table with the keys component, grants, limits, mode, settings"));
        return None;
    };
    let mut section = Section::open(format!("{key}."), entries(entry.source, table), &KEYS, problems);
    let component = component(name, &mut section, folder, directory);
    let mode = mode(&mut section);
    let grants = grants::read(name, &mut section);
    let limits = limits(&mut section);
    let settings = match section.get("settings") {
        Some(entry) => settings::to_json(&section.path_of("settings"), entry, section.problems).unwrap_or_default(),
        None => Value::Object(Map::new()),
    };
    Some(PolicyConfig { place: entry.place(), component, mode, grants, limits, settings })
}

fn component(name: &PolicyName, section: &mut Section<'_, '_>, folder: &Path, directory: &Path) -> PathBuf {
    const EXPECTED: &str = "a file name in the policy directory such as \"policy.wasm\", or a path with a \"/\"";
    let Some((text, entry)) = section.text("component", EXPECTED) else {
        return directory.join(format!("{name}.wasm"));
    };
    if text.is_empty() || text.ends_with('/') || text.contains('\0') || matches!(text, "." | "..") {
        section.wrong_type(section.path_of("component"), entry, EXPECTED);
    } else if text.contains("://") {
        let reason = format!("{text:?} is a web address; download the component and name the file");
        section.bad_value(section.path_of("component"), entry, reason);
    }
    if text.contains('/') { folder.join(text) } else { directory.join(text) }
}

fn mode(section: &mut Section<'_, '_>) -> Mode {
    let entry = section.get("mode").filter(|entry| entry.value.as_str() == Some("shadow"));
    if let Some(entry) = entry {
        let reason = "\"shadow\" is not yet in this version; use \"enforce\" or \"off\"";
        section.bad_value(section.path_of("mode"), entry, reason);
        return Mode::Enforce;
    }
    section.choice("mode", &[("enforce", Mode::Enforce), ("off", Mode::Off)]).unwrap_or(Mode::Enforce)
}

fn limits(section: &mut Section<'_, '_>) -> LimitsConfig {
    let Some(mut limits) = section.table("limits", &LIMITS) else { return LimitsConfig::default() };
    LimitsConfig {
        memory: limits.size("memory", "64MiB", 64 << 10, 4 << 30),
        time: limits.duration("time", "250ms", Duration::from_millis(1), Duration::from_secs(3600)),
        fuel: limits.number("fuel", 1, i64::MAX as u64),
        chains: limits.number("chains", 1, 1_000_000),
        rules: limits.number("rules", 1, 10_000_000),
        members: limits.number("members", 1, 100_000_000),
        log_lines: limits.number("log-lines", 0, 1_000_000),
        output: limits.size("output", "64MiB", 1 << 10, 4 << 30),
    }
}

/// Names have one owner. A policy that is off owns nothing.
fn refuse_overlaps(policies: &BTreeMap<PolicyName, PolicyConfig>, problems: &mut ConfigError) {
    let enforced: Vec<_> = policies.iter().filter(|(_, policy)| policy.mode != Mode::Off).collect();
    for (index, (name, policy)) in enforced.iter().enumerate() {
        for (other_name, other) in &enforced[index + 1..] {
            if let Some(what) = policy.grants.overlap(&other.grants) {
                problems.add(|| Problem::Overlap {
                    first: (*name).clone(),
                    first_place: policy.place.clone(),
                    second: (*other_name).clone(),
                    second_place: other.place.clone(),
                    what: what.into(),
                });
            }
        }
    }
}
