//! Mistakes in rules, and what their author is told: the host's own words.
#![allow(clippy::unwrap_used)]

use ruleward_sdk::{
    AddressSet, Chain, Contribution, Description, Direction, Facts, Failure, Family, IpNetwork, NoSettings, Ownership,
    Policy, Rule, Table,
};
use ruleward_testing::Node;

fn description() -> Description {
    let wants = Ownership::in_tables([Table::Filter]).chains(["web-*"]).sets(["web-*"]);
    Description::new("web", "1.0.0", "For these tests.").wanting(wants)
}

/// Declares policies by what they contribute.
macro_rules! policies {
    ($($name:ident: $contribution:expr;)+) => {
        $(
            #[derive(Debug)]
            struct $name;

            impl Policy for $name {
                fn describe() -> Description {
                    description()
                }

                fn evaluate(_: &Facts, _: &str) -> Result<Contribution, Failure> {
                    Ok($contribution)
                }
            }
        )+
    };
}

fn chain(rule: Rule) -> Contribution {
    Contribution::new().chain(Chain::new(Table::Filter, "web-in").rule(rule))
}

fn network(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

policies! {
    OtherName: Contribution::new().chain(Chain::new(Table::Filter, "www-in"));
    LongName: Contribution::new().chain(Chain::new(Table::Filter, "web-with-a-name-that-never-ends"));
    OtherTable: Contribution::new().chain(Chain::new(Table::Nat, "web-in"));
    Nowhere: chain(Rule::new().jump("web-out"));
    NoProtocol: chain(Rule::new().destination_port(80).accept());
    NoSet: chain(Rule::new().in_set("web-set", &[Direction::Source]).drop());
    OtherFamily: Contribution::new().chain(
        Chain::new(Table::Filter, "web-in")
            .families(Family::Ipv4)
            .rules([Rule::new().accept(), Rule::new().source(network("2001:db8::1")).drop()])
    );
    SetOfOneFamily: chain(Rule::new().in_set("web-set", &[Direction::Source]).drop())
        .set(AddressSet::networks("web-set", Family::Ipv4, [network("192.0.2.1")]));
}

#[test]
fn a_mistake_is_told_with_its_place_and_remedy() {
    let node = Node::new();
    for (refusal, beginning) in [
        (
            node.refusal::<OtherName>(),
            "chain www-in in filter: its name fits no pattern in grants.chains, which grants web-*",
        ),
        (
            node.refusal::<LongName>(),
            "chain name \"web-with-a-name-that-never-ends\" is 31 bytes long; at most 28 are possible",
        ),
        (
            node.refusal::<OtherFamily>(),
            "chain web-in in filter, rule 2: source 2001:db8::1 is not IPv4; give the rule to the other family only",
        ),
        (node.refusal::<OtherTable>(), "chain web-in in nat: the table nat is not granted"),
        (
            node.refusal::<Nowhere>(),
            "chain web-in in filter, rule 1: jumps to web-out, which this policy does not have",
        ),
        (node.refusal::<NoProtocol>(), "chain web-in in filter, rule 1: destination-ports needs a protocol match"),
        (
            node.refusal::<NoSet>(),
            "chain web-in in filter, rule 1: uses the set web-set, which this policy does not have",
        ),
        (
            node.refusal::<SetOfOneFamily>(),
            "chain web-in in filter, rule 1: uses the set web-set of IPv4 in a rule for IPv6",
        ),
    ] {
        assert!(refusal.starts_with(beginning), "{refusal}");
    }
}

fn nothing(_: &Facts, _: NoSettings) -> Result<Contribution, Failure> {
    Ok(Contribution::new())
}

ruleward_sdk::policy! {
    struct Quiet;
    description: description();
    evaluate: nothing;
}

#[test]
fn an_unknown_setting_is_named() {
    let refusal = Node::new().settings(&serde_json::json!({ "port": 1 })).refusal::<Quiet>();
    assert!(refusal.contains("unknown field `port`"), "{refusal}");
}
