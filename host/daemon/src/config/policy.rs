//! Reads `[policies.NAME]`, gives shadows what they share with the policy whose place they would take, and sees to it that
//! no two policies own the same name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;

use super::decode::twice;
use super::limits::{self, Ceiling};
use super::problem::{ConfigError, Problem};
use super::section::{Entry, Section, describe, entries, quote_key};
use super::{Mode, PolicyConfig, grants, settings};

pub(super) const KEYS: [&str; 6] = ["component", "grants", "limits", "mode", "settings", "shadow-of"];

/// Reads the policies of all `[policies]` tables.
pub(super) fn read_all(
    tables: &[Entry<'_>],
    folder: &Path,
    directory: &Path,
    ceiling: &Ceiling,
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
    let mut shadows = Vec::new();
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
        if let Some((policy, unsaid)) = read((&name, key), entry, (folder, directory), ceiling, problems) {
            shadows.extend(policy.shadow_of.is_some().then(|| (name.clone(), entry, unsaid)));
            policies.insert(name, policy);
        }
    }
    for (name, entry, unsaid) in shadows {
        complete_shadow(&mut policies, &name, entry, &unsaid, problems);
    }
    refuse_overlaps(&policies, problems);
    policies
}

/// What a shadow does not say is as in the policy whose place it would take.
fn complete_shadow(
    policies: &mut BTreeMap<PolicyName, PolicyConfig>,
    name: &PolicyName,
    entry: Entry<'_>,
    unsaid: &[&str],
    problems: &mut ConfigError,
) {
    let Some(of) = policies.get(name).and_then(|shadow| shadow.shadow_of.clone()) else { return };
    let key = || format!("policies.{}.shadow-of", quote_key(name.as_str()));
    let place = entry.place();
    let Some(original) = policies.get(&of).filter(|original| original.shadow_of.is_none() && of != *name).cloned()
    else {
        let reason = format!("{of:?} is no policy that is put in force; name one that is", of = of.as_str());
        return problems.add(|| Problem::BadValue { key: key(), place, reason });
    };
    let Some(shadow) = policies.get_mut(name) else { return };
    for key in unsaid {
        match *key {
            "component" => shadow.component.clone_from(&original.component),
            "grants" => shadow.grants.clone_from(&original.grants),
            "limits" => shadow.limits.clone_from(&original.limits),
            "settings" => shadow.settings.clone_from(&original.settings),
            _ => {}
        }
    }
}

fn wrong_table(key: &str, entry: &Entry<'_>, expected: &str) -> Problem {
    let (expected, found) = (expected.to_owned(), describe(entry.value));
    Problem::WrongType { key: key.to_owned(), place: entry.place(), expected, found }
}

fn read(
    (name, key): (&PolicyName, String),
    entry: Entry<'_>,
    (folder, directory): (&Path, &Path),
    ceiling: &Ceiling,
    problems: &mut ConfigError,
) -> Option<(PolicyConfig, Vec<&'static str>)> {
    let Some(table) = entry.value.as_table() else {
        problems.add(|| {
            wrong_table(&key, &entry, "a table with the keys component, grants, limits, mode, settings, shadow-of")
        });
        return None;
    };
    let mut section = Section::open(format!("{key}."), entries(entry.source, table), &KEYS, problems);
    let component = component(name, &mut section, folder, directory);
    let shadow_of = shadow_of(&mut section);
    let mode = mode(&mut section, shadow_of.is_some());
    let grants = grants::read(name, &mut section);
    let limits = limits::read(&mut section, ceiling);
    let settings = match section.get("settings") {
        Some(entry) => settings::to_json(&section.path_of("settings"), entry, section.problems).into(),
        None => "{}".into(),
    };
    let unsaid = KEYS.into_iter().filter(|key| section.get(key).is_none()).collect();
    Some((PolicyConfig { place: entry.place(), component, mode, shadow_of, grants, limits, settings }, unsaid))
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

fn shadow_of(section: &mut Section<'_, '_>) -> Option<PolicyName> {
    let (text, entry) = section.text("shadow-of", "the name of a policy that is put in force")?;
    match PolicyName::new(text) {
        Ok(name) => Some(name),
        Err(error) => {
            section.bad_value(section.path_of("shadow-of"), entry, error.to_string());
            None
        }
    }
}

fn mode(section: &mut Section<'_, '_>, shadows: bool) -> Mode {
    let choices = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("off", Mode::Off)];
    let mode = section.choice("mode", &choices);
    if let (Some(Mode::Enforce), true, Some(entry)) = (mode, shadows, section.get("mode")) {
        let reason = "a policy with `shadow-of` is not put in force; leave out the mode, or leave out `shadow-of`";
        section.bad_value(section.path_of("mode"), entry, reason);
    }
    mode.unwrap_or(if shadows { Mode::Shadow } else { Mode::Enforce })
}

/// Names have one owner. A policy that is off owns nothing, nor does a shadow; but its grants may only be those of the
/// policy whose place it would take.
fn refuse_overlaps(policies: &BTreeMap<PolicyName, PolicyConfig>, problems: &mut ConfigError) {
    for ((name, policy), (other_name, other), what) in overlaps(policies) {
        let hint = match (policy.mode, other.mode) {
            (Mode::Enforce, Mode::Shadow) => format!("; to try {other_name} beside {name}, say shadow-of = \"{name}\""),
            (Mode::Shadow, Mode::Enforce) => {
                format!("; to try {name} beside {other_name}, say shadow-of = \"{other_name}\"")
            }
            _ => String::new(),
        };
        problems.add(|| Problem::Overlap {
            first: name.clone(),
            first_place: policy.place.clone(),
            second: other_name.clone(),
            second_place: other.place.clone(),
            what: format!("{what}{hint}").into(),
        });
    }
}

type Named<'a> = (&'a PolicyName, &'a PolicyConfig);

/// Pairs of policies that may not be together, with what overlaps.
pub(super) fn overlaps(
    policies: &BTreeMap<PolicyName, PolicyConfig>,
) -> impl Iterator<Item = (Named<'_>, Named<'_>, String)> {
    let together = |(name, policy): Named<'_>, (other_name, other): Named<'_>| match (policy.mode, other.mode) {
        (Mode::Off, _) | (_, Mode::Off) | (Mode::Shadow, Mode::Shadow) => true,
        (Mode::Enforce, Mode::Enforce) => false,
        (Mode::Shadow, Mode::Enforce) => policy.shadow_of.as_ref() == Some(other_name),
        (Mode::Enforce, Mode::Shadow) => other.shadow_of.as_ref() == Some(name),
    };
    policies.iter().enumerate().flat_map(move |(index, one)| {
        policies.iter().skip(index + 1).filter(move |other| !together(one, *other)).filter_map(move |other| {
            let what = one.1.grants.overlap(&other.1.grants)?;
            Some((one, other, what))
        })
    })
}
