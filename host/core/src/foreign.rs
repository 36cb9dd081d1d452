//! Judges which names of others a rule holds: sets, chains, and objects of the kernel that all rules of a node share
//! (lists of `recent`, tables of `hashlimit`, ...). What is judged is the rule as `iptables-save` shows it after the
//! rehearsal, so no alias or abbreviation can hide a name. Only where no rehearsal is possible the words are judged as they
//! were written, and whatever could be the beginning of such an option counts as one.

use std::collections::BTreeMap;

use crate::check::CheckedRule;
use crate::grants::Grants;
use crate::merge::Desired;
use crate::names::{Family, Hook, PolicyName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::quote;
use crate::script::Origin;

/// Options that name a set.
const SETS: [&str; 4] = ["--match-set", "--add-set", "--del-set", "--map-set"];
/// Options that name an object of the kernel, with the extension that has them.
const OBJECTS: [(&str, &str); 10] = [
    ("--name", "recent"),
    ("--hashlimit-name", "hashlimit"),
    ("--nfacct-name", "nfacct"),
    ("--timeout", "CT"),
    ("--rateest", "rateest"),
    ("--rateest1", "rateest"),
    ("--rateest2", "rateest"),
    ("--rateest-name", "RATEEST"),
    ("--label", "IDLETIMER"),
    ("--led-trigger-id", "LED"),
];

/// A rule with a name that its policy may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trespass {
    /// The rule.
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// What a rule names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Set(String),
    Target(String),
    Object(&'static str, String),
    /// A file of the node.
    Pinned(String),
}

/// The first rule that names what its policy may not. `shown` is what the rehearsal shows; without it the rules are judged
/// by their own words.
pub fn trespass(desired: &Desired, shown: Option<&Observed>) -> Option<Trespass> {
    let mut objects: BTreeMap<(&'static str, String), Vec<(&PolicyName, Origin)>> = BTreeMap::new();
    let absent = ObservedTable::default();
    for ((family, table), wanted) in &desired.tables {
        let seen = shown.map(|shown| shown.tables.get(&(*family, *table)).unwrap_or(&absent));
        let own = wanted.chains.iter().map(|(name, (policy, rules))| {
            (name.as_str(), rules.iter().map(|rule| (policy, rule)).collect::<Vec<_>>())
        });
        let hooked = wanted.hooks.iter().map(|(hook, rules)| {
            let all = rules.first.iter().chain(&rules.last).map(|one| (&one.policy, &one.rule));
            (hook.as_str(), all.collect())
        });
        for (chain, rules) in own.chain(hooked) {
            let texts = seen.map(|seen| seen.rules(chain));
            for (at, (policy, rule)) in rules.into_iter().enumerate() {
                let text = texts.as_ref().map_or(Some(&*rule.text), |texts| texts.get(at).copied());
                let Some(text) = text else { continue };
                let grants = desired.ownership.grants(policy);
                for named in names(text, shown.is_some()) {
                    let origin = || origin(*family, *table, chain, policy, rule);
                    let place = Place { desired, family: *family, table: *table, policy, grants };
                    match place.refusal(&named) {
                        Some(reason) => return Some(Trespass { origin: origin(), reason }),
                        None => {
                            if let Named::Object(kind, name) = named {
                                objects.entry((kind_of(kind), name)).or_default().push((policy, origin()));
                            }
                        }
                    }
                }
            }
        }
    }
    shared(desired, objects)
}

/// `rateest` reads what `RATEEST` fills.
fn kind_of(extension: &'static str) -> &'static str {
    if extension == "RATEEST" { "rateest" } else { extension }
}

/// An object of the kernel that rules of two policies name: whoever was granted its name has it, else the first by name.
fn shared(
    desired: &Desired,
    objects: BTreeMap<(&'static str, String), Vec<(&PolicyName, Origin)>>,
) -> Option<Trespass> {
    for ((kind, name), users) in objects {
        let granted = |policy: &PolicyName| desired.ownership.grants(policy).is_some_and(|grants| owns(grants, &name));
        let owner = users.iter().map(|(policy, _)| *policy).find(|policy| granted(policy));
        let owner = owner.or_else(|| users.iter().map(|(policy, _)| *policy).min())?;
        let may = |policy: &PolicyName| {
            policy == owner || desired.ownership.grants(policy).is_some_and(|grants| grants.uses_set(&name))
        };
        if let Some((_, origin)) = users.into_iter().find(|(policy, _)| !may(policy)) {
            let reason = format!(
                "names {name:?} of {kind}, which rules of policy {owner} use as well, and the kernel has one for the whole \
                 node; choose another name, or add \"{name}\" to grants.uses.sets if both are to share it"
            );
            return Some(Trespass { origin, reason });
        }
    }
    None
}

fn owns(grants: &Grants, name: &str) -> bool {
    grants.owns_set(name) || grants.owns_chain(name)
}

struct Place<'a> {
    desired: &'a Desired,
    family: Family,
    table: Table,
    policy: &'a PolicyName,
    grants: Option<&'a Grants>,
}

impl Place<'_> {
    fn refusal(&self, named: &Named) -> Option<String> {
        match named {
            Named::Set(set) => {
                let uses = self.grants.is_some_and(|grants| grants.owns_set(set) || grants.uses_set(set));
                (!uses).then(|| {
                    format!(
                        "names the set {set}, which it was not granted; add \"{set}\" to grants.sets if it is the policy's \
                         own, or to grants.uses.sets"
                    )
                })
            }
            Named::Target(chain) => {
                let owner = self.desired.tables.get(&(self.family, self.table));
                let owner = owner.and_then(|table| table.chains.get(chain.as_str())).map(|(policy, _)| policy);
                let granted = || self.grants.is_some_and(|grants| grants.uses_chain(chain));
                let other = owner.filter(|owner| *owner != self.policy)?;
                (!granted()).then(|| {
                    format!(
                        "jumps to {chain}, a chain of policy {other}; add \"{chain}\" to grants.uses.chains if that is meant"
                    )
                })
            }
            Named::Object(kind, name) => {
                let owner = self.desired.ownership.set_owner(name);
                let other = owner.filter(|owner| *owner != self.policy)?;
                let granted = self.grants.is_some_and(|grants| grants.uses_set(name));
                (!granted).then(|| {
                    format!(
                        "names {name:?} of {kind}, a name that policy {other} was granted; choose another name, or add \
                         \"{name}\" to grants.uses.sets"
                    )
                })
            }
            Named::Pinned(path) => Some(format!(
                "reads the file {path}: a policy's rules reach no file of the node; give the program itself with --bytecode"
            )),
        }
    }
}

fn origin(family: Family, table: Table, chain: &str, policy: &PolicyName, rule: &CheckedRule) -> Origin {
    let number = rule.number;
    let place = match Hook::from_name(chain) {
        Some(hook) => format!("attachment {number} to {table}/{hook} ({family})"),
        None => format!("chain {chain} in {table} ({family}), rule {number}"),
    };
    Origin { policy: policy.clone(), place, text: rule.text.clone() }
}

/// The sets that a rule names, by its own words.
pub fn set_names(text: &str) -> impl Iterator<Item = String> {
    names(text, false).into_iter().filter_map(|named| match named {
        Named::Set(name) => Some(name),
        Named::Target(_) | Named::Object(..) | Named::Pinned(_) => None,
    })
}

/// What a rule names; `exact`: its words are those of `iptables-save`.
///
/// No value is skipped, also not that of a comment: a word that looks like such an option counts as one, wherever it stands.
fn names(text: &str, exact: bool) -> Vec<Named> {
    let is = |word: &str, option: &str| word == option || (!exact && word.len() > 3 && option.starts_with(word));
    let words: Vec<_> = quote::words(text).collect();
    let mut found = Vec::new();
    let mut inside: Vec<&str> = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (word, joined) = match word.split_once('=') {
            Some((option, value)) if !exact && option.starts_with("--") => (option, Some(value)),
            _ => (word.as_ref(), None),
        };
        let value = || joined.map(str::to_owned).or_else(|| rest.clone().next().map(|word| word.to_string()));
        if matches!(word, "-m" | "-j" | "-g" | "--match" | "--jump" | "--goto") {
            let Some(name) = rest.next() else { break };
            if matches!(word, "-m" | "--match") {
                inside.push(name.as_ref());
            } else {
                found.push(Named::Target(name.to_string()));
                inside.push(name.as_ref());
            }
        } else if SETS.iter().any(|option| is(word, option)) || (!exact && word == "--set" && inside.contains(&"set")) {
            found.extend(value().map(Named::Set));
        } else if is(word, "--object-pinned") {
            found.extend(value().map(Named::Pinned));
        } else if let Some((_, kind)) = OBJECTS.iter().find(|(option, kind)| is(word, option) && inside.contains(kind))
        {
            found.extend(value().map(|name| Named::Object(kind, name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let set = |name: &str| Named::Set(name.into());
        let target = |name: &str| Named::Target(name.into());
        assert_eq!(
            names("-m set ! --match-set a src -j SET --add-set b src --exist --timeout 5", true),
            [set("a"), target("SET"), set("b")]
        );
        assert_eq!(
            names("-m recent --update --seconds 60 --name ssh --mask 255.255.255.255 --rsource -j DROP", true),
            [Named::Object("recent", "ssh".into()), target("DROP")]
        );
        assert_eq!(names("-j CT --timeout t1", true), [target("CT"), Named::Object("CT", "t1".into())]);
        assert_eq!(names("-m comment --comment --match-set -m set --match-set a src", true).last(), Some(&set("a")));
        assert_eq!(names("-m set --match-s a src", false), [set("a")]);
        assert_eq!(names("-m set --set a src", false), [set("a")]);
        assert_eq!(names("-m bpf --object-pinned=/x", false), [Named::Pinned("/x".into())]);
        assert_eq!(names("-m comment --comment \"--match-set a\" -g x", true), [target("x")]);
    }
}
