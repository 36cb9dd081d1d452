//! What is different between two states that a node could have, as lines: what would go and what would come if the second
//! took the place of the first. For people who compare versions of a policy; nothing is planned or written by it.
//!
//! Chains and rules are in the words of iptables-save, sets in those of `ipset save`. A rule is shown as iptables-save
//! shows it where that is known of both states (they were rehearsed), else as it is written. What moves goes and comes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::align;
use crate::expected::{Basis, Expected, ExpectedAttachment, ExpectedRule, ExpectedSet};
use crate::names::{Family, Table};

/// A line that is in one of the states only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// In the first.
    Removed(String),
    /// In the second.
    Added(String),
}

/// What differs in one table of a family, or in the sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableDifference {
    /// Which family; none for sets.
    pub family: Option<Family>,
    /// Which table; none for sets.
    pub table: Option<Table>,
    /// Chain by chain, or set by set, in their order there.
    pub lines: Vec<Line>,
}

/// All that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// How many lines are added.
    pub added: u64,
    /// How many are removed.
    pub removed: u64,
    /// The lines are as the tools show them; else as they are written.
    pub as_shown: bool,
    /// By family and table; sets last.
    pub tables: Vec<TableDifference>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn add(&mut self, place: Option<(Family, Table)>, first: &Lists, second: &Lists) {
        let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
        let of = |lists: &'_ Lists, name: &String| lists.get(name).cloned().unwrap_or_default();
        let lines: Vec<Line> = names.into_iter().flat_map(|name| lines(&of(first, name), &of(second, name))).collect();
        if lines.is_empty() {
            return;
        }
        let added = lines.iter().filter(|line| matches!(line, Line::Added(_))).count() as u64;
        self.added += added;
        self.removed += lines.len() as u64 - added;
        let (family, table) = place.unzip();
        self.tables.push(TableDifference { family, table, lines });
    }
}

/// Lines by chain or set.
type Lists = BTreeMap<String, Vec<String>>;

/// Compares.
pub fn difference(first: &Expected, second: &Expected) -> Difference {
    let as_shown = first.basis != Basis::Unproven && second.basis != Basis::Unproven;
    let mut difference = Difference { as_shown, ..Difference::default() };
    let places: BTreeSet<(Family, Table)> = first.tables.keys().chain(second.tables.keys()).copied().collect();
    for place in places {
        difference.add(Some(place), &chains(first, place, as_shown), &chains(second, place, as_shown));
    }
    difference.add(None, &sets(first, as_shown), &sets(second, as_shown));
    difference
}

/// What has to go from `first` and to come from `second`, in order.
fn lines(first: &[String], second: &[String]) -> Vec<Line> {
    let old: Vec<&str> = first.iter().map(String::as_str).collect();
    let new: Vec<&str> = second.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    let (mut from, mut to) = (0, 0);
    let ends = (old.len(), new.len());
    for (stays, becomes) in align::stay(&old, &new).into_iter().chain([ends]) {
        lines.extend(old[from..stays].iter().map(|line| Line::Removed((*line).to_owned())));
        lines.extend(new[to..becomes].iter().map(|line| Line::Added((*line).to_owned())));
        (from, to) = (stays + 1, becomes + 1);
    }
    lines
}

fn chains(state: &Expected, place: (Family, Table), as_shown: bool) -> Lists {
    let Some(table) = state.tables.get(&place) else { return Lists::new() };
    let line = |chain: &str, rule: &ExpectedRule| {
        let text = rule.show().filter(|_| as_shown).unwrap_or(rule.write());
        format!("-A {chain} {text}").trim_end().to_owned()
    };
    let own = table.chains.iter().map(|(name, (_, rules))| {
        let definition = format!(":{name} - [0:0]");
        let rules = rules.iter().map(|rule| line(name.as_str(), rule));
        (name.to_string(), std::iter::once(definition).chain(rules).collect())
    });
    let built_in = table.hooks.iter().map(|(hook, rules)| {
        let policy = rules.policy.iter().map(|(_, policy)| format!(":{hook} {policy} [0:0]"));
        let rules = rules.first.iter().chain(&rules.last);
        (
            hook.to_string(),
            policy.chain(rules.map(|ExpectedAttachment { rule, .. }| line(hook.as_str(), rule))).collect(),
        )
    });
    own.chain(built_in).collect()
}

fn sets(state: &Expected, as_shown: bool) -> Lists {
    let one = |name: &str, set: &ExpectedSet| {
        let shown = set.show.as_ref().filter(|_| as_shown);
        let create = shown.map_or_else(|| set.create.clone(), |set| format!("{} {}", set.kind, set.options));
        let members = shown.map_or(&set.members, |set| &set.members).to_sorted();
        let members = members.iter().filter(|_| !set.dynamic).map(|member| format!("add {name} {member}"));
        std::iter::once(format!("create {name} {create}").trim_end().to_owned()).chain(members).collect()
    };
    state.sets.iter().map(|(name, set)| (name.to_string(), one(name.as_str(), set))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{OutputLimits, check};
    use crate::contribution::{AddressSet, Attachment, Chain, Contribution, Families, SetMember, SetType};
    use crate::grants::{Grants, Pattern};
    use crate::merge::merge;
    use crate::names::{ChainName, Hook, Placement, PolicyName, SetName};
    use crate::ownership::Ownership;
    use crate::rule::{Match, Rule, Target};

    fn rule(protocol: u8) -> Rule {
        Rule {
            matches: vec![Match::Protocol { number: protocol, negated: false }],
            target: Some(Target::Return),
            comment: None,
        }
    }

    fn state(chain: &str, protocols: &[u8], members: &[&str]) -> Expected {
        let name = PolicyName::new("web").unwrap();
        let grants = Grants {
            tables: vec![Table::Filter],
            chains: vec![Pattern::new("op-*").unwrap()],
            sets: vec![Pattern::new("op-*").unwrap()],
            ..Grants::default()
        };
        let contribution = Contribution {
            chains: vec![Chain {
                table: Table::Filter,
                families: Families { ipv4: true, ipv6: false },
                name: ChainName::new(chain).unwrap(),
                rules: protocols.iter().map(|protocol| rule(*protocol)).collect(),
            }],
            attachments: vec![Attachment {
                table: Table::Filter,
                hook: Hook::Input,
                families: Families { ipv4: true, ipv6: false },
                placement: Placement::First,
                order: 0,
                rule: Rule {
                    matches: Vec::new(),
                    target: Some(Target::Jump(ChainName::new(chain).unwrap())),
                    comment: None,
                },
            }],
            sets: vec![AddressSet {
                name: SetName::new("op-set").unwrap(),
                family: Family::Ipv4,
                kind: SetType::HashNet,
                members: members.iter().map(|member| SetMember::Network(member.parse().unwrap())).collect(),
                max_elements: None,
                dynamic: false,
                timeout: None,
                options: Vec::new(),
            }],
            policies: Vec::new(),
        };
        let checked = check(&name, &grants, |_| true, OutputLimits::default(), &contribution).unwrap();
        Expected::unproven(merge(&[checked], Ownership::new(vec![(name, grants)]), vec![Family::Ipv4]))
    }

    fn text(difference: &Difference) -> Vec<String> {
        let line = |line: &Line| match line {
            Line::Removed(text) => format!("-{text}"),
            Line::Added(text) => format!("+{text}"),
        };
        difference.tables.iter().flat_map(|table| table.lines.iter().map(line)).collect()
    }

    #[test]
    fn only_what_differs_is_shown_in_its_place() {
        let one = state("op-in", &[6, 17, 1], &["10.1.0.0/16", "10.2.0.0/16"]);
        assert!(difference(&one, &one).is_empty());
        let other = state("op-in", &[6, 2, 1, 17], &["10.2.0.0/16", "10.3.0.0/16"]);
        let found = difference(&one, &other);
        assert_eq!(
            text(&found),
            [
                "--A op-in -p 17 -j RETURN",
                "+-A op-in -p 2 -j RETURN",
                "+-A op-in -p 17 -j RETURN",
                "-add op-set 10.1.0.0/16",
                "+add op-set 10.3.0.0/16",
            ]
        );
        assert_eq!((found.removed, found.added, found.as_shown), (2, 3, false));
    }

    #[test]
    fn a_chain_that_comes_or_goes_is_a_line_of_its_own() {
        let found = difference(&state("op-in", &[6], &[]), &state("op-new", &[6], &[]));
        let lines = text(&found);
        for line in ["-:op-in - [0:0]", "+:op-new - [0:0]", "--A op-in -p 6 -j RETURN", "+-A op-new -p 6 -j RETURN"] {
            assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("--A INPUT") && line.ends_with("-j op-in")), "{lines:#?}");
    }
}
