//! Reads a policy's `grants`. Beyond the form of each pattern it refuses grants that would reach rules which can't
//! be a policy's: built-in chains, and comments that the host itself writes for other policies.

use ruleward_core::grants::{BuiltInChain, Grants, Jumps, Pattern, Uses};
use ruleward_core::names::{ChainName, Hook, PolicyName, SetName, Table};

use super::section::{Section, one_of};

const KEYS: [&str; 8] = ["chains", "comments", "jumps", "policies", "resources", "sets", "tables", "uses"];
const USES_KEYS: [&str; 2] = ["chains", "sets"];

/// What the host writes before its own identifiers: `rw:POLICY:ID`.
const HOST_COMMENT: &str = "rw:";

/// Longest beginning of a comment in bytes; the rest of the 255 is left for what tells the rules apart.
const LONGEST_COMMENT: usize = 200;

/// Reads the `grants` of policy `name`.
pub(super) fn read(name: &PolicyName, section: &mut Section<'_, '_>) -> Grants {
    let Some(mut section) = section.table("grants", &KEYS) else { return Grants::default() };
    let tables = tables(&mut section);
    let chains = patterns(&mut section, "chains", "[\"web-*\"]", check_chain);
    let sets = patterns(&mut section, "sets", "[\"web4-*\"]", check_set);
    let comments = comments(name, &mut section);
    let resources = resources(&mut section);
    for key in ["chains", "comments"] {
        let granted = section.get(key).and_then(|entry| entry.value.as_array()).is_some_and(|list| !list.is_empty());
        if let Some(entry) = section.get(key).filter(|_| granted && section.get("tables").is_none()) {
            let reason = "grants nothing without tables; add tables = [\"nat\"], or whichever it may use";
            section.bad_value(section.path_of(key), entry, reason);
        }
    }
    let policies = policies(&mut section);
    let jumps = section.choice("jumps", &[("shared", Jumps::Shared), ("exclusive", Jumps::Exclusive)]);
    let uses = section.table("uses", &USES_KEYS).map(|mut section| Uses {
        sets: patterns(&mut section, "sets", "[\"crowdsec-*\"]", check_set),
        chains: patterns(&mut section, "chains", "[\"DOCKER-USER\"]", check_chain),
    });
    let (jumps, uses) = (jumps.unwrap_or_default(), uses.unwrap_or_default());
    Grants { tables, chains, sets, comments, resources, policies, uses, jumps }
}

fn policies(section: &mut Section<'_, '_>) -> Vec<BuiltInChain> {
    let mut policies = Vec::new();
    for (key, text, element) in section.texts("policies", "a list of built-in chains such as [\"filter/INPUT\"]") {
        match BuiltInChain::try_from(text.to_owned()) {
            Ok(chain) => policies.push(chain),
            Err(error) => section.bad_value(key, element, error.to_string()),
        }
    }
    policies.sort_unstable();
    policies.dedup();
    policies
}

fn tables(section: &mut Section<'_, '_>) -> Vec<Table> {
    let mut tables = Vec::new();
    for (key, text, element) in section.texts("tables", "a list of tables such as [\"nat\"]") {
        match Table::from_name(text) {
            Some(table) if tables.contains(&table) => {}
            Some(table) => tables.push(table),
            None => {
                let names = one_of(&Table::ALL.map(Table::as_str));
                section.bad_value(key, element, format!("{text:?} is no table; use {names}"));
            }
        }
    }
    tables.sort_unstable();
    tables
}

fn patterns(
    section: &mut Section<'_, '_>,
    key: &str,
    example: &str,
    check: fn(&str, &Pattern) -> Result<(), String>,
) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (key, text, element) in section.texts(key, &format!("a list of names and prefixes such as {example}")) {
        let pattern = Pattern::new(text).map_err(|error| error.to_string());
        match pattern.and_then(|pattern| check(text, &pattern).map(|()| pattern)) {
            Ok(pattern) => patterns.push(pattern),
            Err(reason) => section.bad_value(key, element, reason),
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

fn check_chain(text: &str, pattern: &Pattern) -> Result<(), String> {
    if let Some(hook) = Hook::ALL.into_iter().find(|hook| pattern.matches(hook.as_str())) {
        return Err(format!("pattern {text:?} would hold the built-in chain {hook}, which no pattern can"));
    }
    if text.ends_with('*') {
        return Ok(());
    }
    ChainName::new(text).map(|_| ()).map_err(|error| error.to_string())
}

fn check_set(text: &str, _: &Pattern) -> Result<(), String> {
    if text.ends_with('*') {
        return Ok(());
    }
    SetName::new(text).map(|_| ()).map_err(|error| error.to_string())
}

fn comments(name: &PolicyName, section: &mut Section<'_, '_>) -> Vec<String> {
    let mut comments = Vec::new();
    let own = format!("{HOST_COMMENT}{name}:");
    for (key, text, element) in section.texts("comments", "a list of beginnings of comments such as [\"web:\"]") {
        let of_host = text.starts_with(HOST_COMMENT) || HOST_COMMENT.starts_with(text);
        let reason = if text.is_empty() {
            "is empty and would own every rule; write a beginning such as \"web:\"".to_owned()
        } else if text.len() > LONGEST_COMMENT {
            format!("is {} bytes long; at most {LONGEST_COMMENT} are possible", text.len())
        } else if let Some(bad) = text.chars().find(|c| c.is_control()) {
            format!("contains the control character {bad:?}; remove it")
        } else if of_host && !text.starts_with(&own) {
            format!("{text:?} would own what the host writes for other policies; use {own:?} or another beginning")
        } else {
            comments.push(text.to_owned());
            continue;
        };
        section.bad_value(key, element, reason);
    }
    comments.sort_unstable();
    comments.dedup();
    comments
}

fn resources(section: &mut Section<'_, '_>) -> Vec<String> {
    let mut kinds = Vec::new();
    for (key, text, element) in section.texts("resources", "a list of kinds such as [\"IPPool\"]") {
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            kinds.push(text.to_owned());
        } else {
            section.bad_value(key, element, format!("{text:?} is no kind of resource; write it like \"IPPool\""));
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
