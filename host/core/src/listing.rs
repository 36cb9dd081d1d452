//! A checked contribution as text to read and to compare: its sets as `ipset restore` takes them, its tables as
//! `iptables-restore` takes them, in one fixed order. Rules are in the words that the host gives to the tools, before
//! the kernel has rewritten any (`-p 6`, where `iptables-save` shows `-p tcp`).

use std::fmt::Write as _;

use crate::check::{Checked, CheckedAttachment};
use crate::names::{Family, Placement, Table};

/// Lists `checked`: sets first, then each family's tables. Empty text: it asks for nothing.
pub fn listing(checked: &Checked) -> String {
    let mut text = String::new();
    for (name, set) in &checked.sets {
        let _ = writeln!(text, "create {name} {}{}", set.create, if set.dynamic { " # filled by rules" } else { "" });
        for member in set.members.iter() {
            let _ = writeln!(text, "add {name} {member}");
        }
    }
    for family in Family::ALL {
        for table in Table::ALL {
            push_table(&mut text, checked, family, table);
        }
    }
    text
}

fn push_table(text: &mut String, checked: &Checked, family: Family, table: Table) {
    let chains = checked.chains.get(&(family, table)).into_iter().flatten();
    let attachments = || checked.attachments.iter().filter(move |((f, t, _, _), _)| (*f, *t) == (family, table));
    let policies = || checked.policies.iter().filter(move |((f, t, _), _)| (*f, *t) == (family, table));
    if chains.clone().next().is_none() && attachments().next().is_none() && policies().next().is_none() {
        return;
    }
    let _ = writeln!(text, "# {family}\n*{table}");
    for ((_, _, hook), verdict) in policies() {
        let _ = writeln!(text, ":{hook} {verdict} [0:0]");
    }
    for (name, _) in chains.clone() {
        let _ = writeln!(text, ":{name} - [0:0]");
    }
    for ((_, _, hook, placement), list) in attachments() {
        let mut sorted: Vec<&CheckedAttachment> = list.iter().collect();
        sorted.sort_by_key(|one| one.order);
        let place = match placement {
            Placement::First => "before others' rules",
            Placement::Last => "after others' rules",
        };
        for one in sorted {
            let awaited = one
                .rule
                .awaits()
                .iter()
                .map(|awaited| format!(", while {} exists", awaited.name()))
                .collect::<String>();
            let _ = writeln!(text, "# {place}{awaited}\n-A {hook} {}", one.rule.text);
        }
    }
    for (name, rules) in chains {
        for rule in rules {
            let _ = writeln!(text, "-A {name} {}", rule.text);
        }
    }
    text.push_str("COMMIT\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{OutputLimits, check};
    use crate::contribution::{
        AddressSet, Attachment, Chain, ChainPolicy, Contribution, Families, SetMember, SetType, Verdict,
    };
    use crate::grants::{BuiltInChain, Grants, Pattern};
    use crate::names::{ChainName, Comment, Hook, PolicyName, SetName};
    use crate::rule::{Match, Rule, Target};

    #[test]
    fn everything_that_is_asked_for_is_listed_once() {
        let rule = |matches, target| Rule { matches, target: Some(target), comment: None };
        let chain = ChainName::new("web-in").unwrap();
        let jump =
            Rule { comment: Some(Comment::new("web: jump").unwrap()), ..rule(Vec::new(), Target::Jump(chain.clone())) };
        let contribution = Contribution {
            chains: vec![Chain {
                table: Table::Filter,
                families: Families { ipv4: true, ipv6: false },
                name: chain,
                rules: vec![rule(vec![Match::Protocol { number: 6, negated: false }], Target::Accept)],
            }],
            attachments: vec![Attachment {
                table: Table::Filter,
                hook: Hook::Input,
                families: Families { ipv4: true, ipv6: false },
                placement: Placement::First,
                order: 0,
                rule: jump,
            }],
            sets: vec![AddressSet {
                name: SetName::new("web-clients").unwrap(),
                family: Family::Ipv4,
                kind: SetType::HashNet,
                members: [SetMember::Network("192.0.2.0/24".parse().unwrap())].into_iter().collect(),
                max_elements: None,
                dynamic: false,
                timeout: None,
                options: Vec::new(),
            }],
            policies: vec![ChainPolicy {
                table: Table::Filter,
                hook: Hook::Forward,
                families: Families { ipv4: true, ipv6: false },
                policy: Verdict::Drop,
            }],
        };
        let pattern = vec![Pattern::new("web-*").unwrap()];
        let grants = Grants {
            tables: vec![Table::Filter],
            chains: pattern.clone(),
            sets: pattern,
            comments: vec!["web:".into()],
            policies: vec![BuiltInChain { table: Table::Filter, hook: Hook::Forward }],
            ..Grants::default()
        };
        let policy = PolicyName::new("web").unwrap();
        let checked = check(&policy, &grants, |_| true, OutputLimits::default(), &contribution).unwrap();
        assert_eq!(
            listing(&checked),
            "create web-clients hash:net family inet\n\
             add web-clients 192.0.2.0/24\n\
             # IPv4\n\
             *filter\n\
             :FORWARD DROP [0:0]\n\
             :web-in - [0:0]\n\
             # before others' rules\n\
             -A INPUT -m comment --comment \"web: jump\" -j web-in\n\
             -A web-in -p 6 -j ACCEPT\n\
             COMMIT\n"
        );
    }
}
