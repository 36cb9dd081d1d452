//! Evaluates settings, and shows rules in one line each.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use ruleward_sdk::{
    Backend, ConntrackStates, Contribution, Direction, Extension, Facts, Failure, Families, IpNetwork, Match,
    Ownership, Policy, PortMatch, Rule, System, Target, Version,
};
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
        documents: Vec::new(),
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

pub fn describe(rule: &Rule) -> String {
    let mut words: Vec<String> = rule.matches.iter().map(condition).collect();
    words.extend(rule.target.as_ref().map(target));
    words.extend(rule.comment.as_ref().map(|comment| format!("# {comment}")));
    words.join(" ")
}

fn is(negated: bool) -> &'static str {
    if negated { "!=" } else { "=" }
}

fn network(network: IpNetwork) -> String {
    format!("{}/{}", IpAddr::from(network.address), network.prefix_length)
}

fn ports(ports: &PortMatch) -> String {
    let range = |range: &ruleward_sdk::PortRange| {
        if range.first == range.last { range.first.to_string() } else { format!("{}:{}", range.first, range.last) }
    };
    format!("{}{}", is(ports.negated), ports.ranges.iter().map(range).collect::<Vec<_>>().join(","))
}

fn extension(kind: char, extension: &Extension) -> String {
    let word = |word: &String| if word.contains(' ') { format!("<{word}>") } else { word.clone() };
    let words: Vec<String> = extension.arguments.iter().map(word).collect();
    format!("{kind}:{}[{}]", extension.name, words.join(" "))
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::Protocol(found) => format!("p{}{}", is(found.negated), found.number),
        Match::Source(found) => format!("s{}{}", is(found.negated), network(found.network)),
        Match::Destination(found) => format!("d{}{}", is(found.negated), network(found.network)),
        Match::InInterface(found) => format!("i{}{}", is(found.negated), found.name),
        Match::OutInterface(found) => format!("o{}{}", is(found.negated), found.name),
        Match::SourcePorts(found) => format!("sports{}", ports(found)),
        Match::DestinationPorts(found) => format!("dports{}", ports(found)),
        Match::ConntrackState(found) => {
            let names = [
                (ConntrackStates::NEW, "NEW"),
                (ConntrackStates::ESTABLISHED, "ESTABLISHED"),
                (ConntrackStates::RELATED, "RELATED"),
                (ConntrackStates::INVALID, "INVALID"),
            ];
            let names: Vec<&str> =
                names.iter().filter(|(state, _)| found.states.contains(*state)).map(|(_, name)| *name).collect();
            format!("ct{}{}", is(found.negated), names.join("|"))
        }
        Match::Mark(found) => format!("mark{}{:#x}/{:#x}", is(found.negated), found.value, found.mask),
        Match::Set(found) => {
            let ends: Vec<&str> =
                found.directions.iter().map(|end| if *end == Direction::Source { "src" } else { "dst" }).collect();
            format!("set{}{}:{}", is(found.negated), found.name, ends.join(","))
        }
        Match::Extension(found) => extension('m', found),
        other => panic!("{other:?}"),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Accept => "ACCEPT".into(),
        Target::Drop => "DROP".into(),
        Target::Return => "RETURN".into(),
        Target::Jump(chain) => format!("jump {chain}"),
        Target::Goto(chain) => format!("goto {chain}"),
        Target::Masquerade(_) => "masquerade".into(),
        Target::Extension(found) => extension('j', found),
        other => panic!("{other:?}"),
    }
}
