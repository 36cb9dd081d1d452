//! Judges which names of others a rule holds: sets, chains, and objects of the kernel that all rules of a node share
//! (lists of `recent`, tables of `hashlimit`, ...). What is judged is the rule as `iptables-save` shows it after the
//! rehearsal, so no alias or abbreviation can hide a name. Only where no rehearsal is possible the words are judged as they
//! were written, and whatever could be the beginning of such an option counts as one.

use std::collections::BTreeMap;

use crate::check::CheckedRule;
use crate::grants::Grants;
use crate::merge::Desired;
use crate::named::{Named, names};
use crate::names::{Family, Hook, PolicyName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::script::Origin;

/// A rule with a name that its policy may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trespass {
    /// The rule.
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub reason: String,
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
