//! Evaluates settings, and shows rules in one line each.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::BTreeMap;

use ruleward_sdk::{Backend, Contribution, Facts, Failure, Families, Match, Ownership, Policy, Rule, System, Version};
use static_rules::StaticRules;

pub fn facts(families: Families) -> Facts {
    let version = Version { major: 6, minor: 1, patch: 0 };
    Facts {
        node_name: "node".into(),
        system: System {
            kernel: version,
            iptables: version,
            backend: Backend::Nft,
            random_fully: true,
            families,
            nft_tables: Vec::new(),
        },
        interfaces: Vec::new(),
        resources: Vec::new(),
        granted: Ownership::default(),
    }
}

pub fn answer(settings: &str) -> Contribution {
    StaticRules::evaluate(&facts(Families::all()), settings).unwrap()
}

/// Where and why settings are refused.
pub fn refusal(settings: &str) -> (String, String) {
    match StaticRules::evaluate(&facts(Families::all()), settings) {
        Err(Failure::Settings(problem)) => (problem.where_, problem.message),
        other => panic!("{settings} gave {other:?}"),
    }
}

fn settings(rules: &[&str], table: &str) -> String {
    serde_json::json!({ "chains": [{ "table": table, "name": "c", "rules": rules }] }).to_string()
}

/// The rules of a chain by family.
pub fn chain_of(rules: &[&str], table: &str) -> BTreeMap<&'static str, Vec<String>> {
    let contribution = answer(&settings(rules, table));
    let of = |family: Families| {
        let chains = contribution.chains.iter().filter(|chain| chain.families.contains(family));
        chains.flat_map(|chain| chain.rules.iter().map(describe)).collect()
    };
    [("ipv4", of(Families::IPV4)), ("ipv6", of(Families::IPV6))].into()
}

/// One rule, as it is read for the first family that it applies to.
pub fn rule(text: &str) -> String {
    let mut families = chain_of(&[text], "filter").into_values().filter(|rules| !rules.is_empty());
    let mut rules = families.next().unwrap();
    assert_eq!(rules.len(), 1, "{text}");
    rules.remove(0)
}

/// Where and why a rule, the second of its chain, is refused.
pub fn refused_rule(text: &str) -> (String, String) {
    refusal(&settings(&["-j ACCEPT", text], "filter"))
}

/// Its words, those with blanks in brackets.
pub fn describe(rule: &Rule) -> String {
    assert!(rule.target.is_none() && rule.comment.is_none(), "{rule:?}");
    match &rule.matches[..] {
        [] => String::new(),
        [Match::Verbatim(words)] => {
            let word = |word: &String| {
                if word.is_empty() || word.contains(' ') { format!("<{word}>") } else { word.clone() }
            };
            words.iter().map(word).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    }
}
