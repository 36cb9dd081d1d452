//! Answers into the rule model, facts into the contract: what is wrong is named with its place, what is right is kept.

use ruleward_core::contribution::SetMember;
use ruleward_core::facts::{Facts, Interface, NftTable, Resource};
use ruleward_core::grants::{BuiltInChain, Grants, Pattern, Uses};
use ruleward_core::names::{Hook, PolicyName, Table};
use ruleward_core::rule::{Match, Target};
use ruleward_core::set_members::SetMembers;

use super::bindings::ruleward::policy::types as wit;
use super::{lift, lower, measure};
use crate::description::Description;
use crate::{Limit, Limits, Usage, testkit};

fn rule(matches: Vec<wit::Match>, target: Option<wit::Target>) -> wit::Rule {
    wit::Rule { matches, target, comment: None }
}

fn answer(rules: Vec<wit::Rule>) -> wit::Contribution {
    let families = wit::Families::IPV4;
    let chain = wit::Chain { table: wit::Table::Nat, families, name: "web".to_owned(), rules };
    wit::Contribution { chains: vec![chain], attachments: Vec::new(), sets: Vec::new(), policies: Vec::new() }
}

fn refused(answer: wit::Contribution) -> String {
    lift::contribution(answer).unwrap_err().to_string()
}

fn refused_match(matching: wit::Match) -> String {
    refused(answer(vec![rule(Vec::new(), None), rule(vec![matching], None)]))
}

fn refused_target(target: wit::Target) -> String {
    refused(answer(vec![rule(Vec::new(), Some(target))]))
}

fn v4(bits: u32, prefix_length: u8) -> wit::IpNetwork {
    wit::IpNetwork { address: wit::IpAddress::Ipv4(bits.to_be_bytes().into()), prefix_length }
}

fn ports(ranges: &[(u16, u16)]) -> wit::Match {
    let ranges = ranges.iter().map(|&(first, last)| wit::PortRange { first, last }).collect();
    wit::Match::DestinationPorts(wit::PortMatch { ranges, negated: false })
}

#[test]
fn a_refusal_names_chain_rule_and_match() {
    assert_eq!(
        refused_match(ports(&[(90, 80)])),
        "chain nat/web, rule 2, match 1 (destination-ports), ports: 90 to 80: the first is higher than the last; swap them"
    );
}

#[test]
fn matches_are_judged() {
    let many: Vec<_> = (0..8).map(|port| (port, port + 1)).collect();
    let network = |network| wit::Match::Source(wit::NetworkMatch { network, negated: false });
    let v6 = wit::IpNetwork { address: wit::IpAddress::Ipv6((0, 0, 0, 1, 0, 0, 0, 1)), prefix_length: 129 };
    let directions = |count| {
        let directions = vec![wit::Direction::Source; count];
        wit::Match::Set(wit::SetMatch { name: "s".to_owned(), directions, negated: false })
    };
    let flags = |mask, set| wit::Match::TcpFlags(wit::TcpFlagsMatch { mask, set, negated: false });
    let limit = |rate, burst| wit::Match::Limit(wit::LimitMatch { rate, unit: wit::RateUnit::Second, burst });
    let extension = |name: &str, argument: &str| {
        wit::Match::Extension(wit::Extension { name: name.to_owned(), arguments: vec![argument.to_owned()] })
    };
    let empty_states = wit::ConntrackStateMatch { states: wit::ConntrackStates::empty(), negated: false };
    let no_test = wit::AddressTypeMatch { source: None, destination: None, limit: wit::AddressTypeLimit::AnyInterface };
    let interface = wit::InterfaceMatch { name: "averylonginterface".to_owned(), negated: false };
    for (matching, expected) in [
        (ports(&[]), "holds no port"),
        (ports(&many), "counts 16 ports (a range counts as two), and one rule holds 15"),
        (network(v4(0, 33)), "(source), network: prefix length 33 of the IPv4 network 0.0.0.0 is over 32"),
        (network(v6), "prefix length 129 of the IPv6 network ::1:0:0:0:1 is over 128"),
        (directions(0), "(set), directions: there are 0; give one for each dimension of the set, 1 to 6"),
        (directions(7), "there are 7"),
        (flags(wit::TcpFlags::empty(), wit::TcpFlags::empty()), "(tcp-flags), mask: is empty"),
        (flags(wit::TcpFlags::SYN, wit::TcpFlags::ACK), "(tcp-flags), set: holds flags that `mask` lacks"),
        (limit(0, None), "(limit), rate: 0 is impossible; with this unit use 1 to 10000"),
        (limit(10_001, None), "rate: 10001 is impossible"),
        (limit(1, Some(10_001)), "burst: 10001 is impossible"),
        (extension("a b", "x"), "(extension), name: \"a b\" is no name of an extension"),
        (extension("recent", "a\nb"), "argument 1 of recent: contains the control character '\\n'"),
        (extension("recent", ""), "argument 1 of recent: is empty"),
        (wit::Match::ConntrackState(empty_states), "(conntrack-state), states: holds no state"),
        (wit::Match::AddressType(no_test), "(address-type): tests nothing"),
        (wit::Match::InInterface(interface), "interface name \"averylonginterface\" is 18 bytes long; at most 15"),
    ] {
        let message = refused_match(matching);
        assert!(message.starts_with("chain nat/web, rule 2, match 1 (") && message.contains(expected), "{message}");
    }
}

#[test]
fn targets_are_judged() {
    let nat =
        |addresses, ports, random_fully| wit::Nat { addresses, ports, random: false, random_fully, persistent: false };
    let range = |first, last| Some(wit::AddressRange { first, last });
    let four = wit::IpAddress::Ipv4((0, 0, 0, 9));
    let six = wit::IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1));
    let log = |prefix: &str| wit::LogPacket { prefix: prefix.to_owned(), level: wit::LogLevel::Info };
    let nflog = |prefix: String, threshold| wit::Nflog { group: 0, prefix, threshold };
    for (target, expected) in [
        (wit::Target::SourceNat(nat(None, None, false)), "target, source-nat: translates nothing"),
        (
            wit::Target::SourceNat(nat(range(four, six), None, false)),
            "source-nat, addresses: 0.0.0.9 and ::1 are of different families",
        ),
        (
            wit::Target::SourceNat(nat(range(four, wit::IpAddress::Ipv4((0, 0, 0, 1))), None, false)),
            "0.0.0.9 and 0.0.0.1 are in the wrong order",
        ),
        (
            wit::Target::DestinationNat(nat(range(four, four), None, true)),
            "destination-nat, random-fully: exists for source translation only",
        ),
        (wit::Target::Redirect(Some(wit::PortRange { first: 2, last: 1 })), "redirect, ports: 2 to 1"),
        (wit::Target::Log(log(&"p".repeat(30))), "target, log, prefix: is 30 bytes long; at most 29"),
        (wit::Target::Log(log("a\n")), "log, prefix: contains the control character"),
        (wit::Target::Nflog(nflog("p".repeat(64), None)), "nflog, prefix: is 64 bytes long; at most 63"),
        (wit::Target::Nflog(nflog(String::new(), Some(0))), "nflog, threshold: 0 is impossible"),
        (wit::Target::Jump("ACCEPT".to_owned()), "target, jump: chain name \"ACCEPT\" is a built-in chain"),
        (wit::Target::Goto("a b".to_owned()), "target, goto: chain name \"a b\" contains ' '"),
    ] {
        let message = refused_target(target);
        assert!(message.starts_with("chain nat/web, rule 1, target, ") && message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_right_is_kept() {
    let flags =
        wit::TcpFlagsMatch { mask: wit::TcpFlags::SYN | wit::TcpFlags::URG, set: wit::TcpFlags::SYN, negated: true };
    let states = wit::ConntrackStates::ESTABLISHED | wit::ConntrackStates::DNAT;
    let matches = vec![
        wit::Match::Source(wit::NetworkMatch { network: v4(0xc000_02ff, 24), negated: true }),
        wit::Match::TcpFlags(flags),
        wit::Match::ConntrackState(wit::ConntrackStateMatch { states, negated: false }),
    ];
    let lifted = lift::contribution(answer(vec![rule(matches, Some(wit::Target::Return))])).unwrap();
    let rule = &lifted.chains[0].rules[0];
    let expected = [
        Match::Source { network: "192.0.2.0/24".parse().unwrap(), negated: true },
        Match::TcpFlags { mask: 0b10_0010, set: 0b10, negated: true },
        Match::ConntrackState { states: 0b100_0010, negated: false },
    ];
    assert_eq!(rule.matches, expected);
    assert_eq!(rule.target, Some(Target::Return));
}

#[test]
fn chains_and_attachments_are_judged() {
    let mut no_family = answer(Vec::new());
    no_family.chains[0].families = wit::Families::empty();
    assert_eq!(refused(no_family), "chain nat/web, families: none is set; set ipv4, ipv6 or both");
    let mut bad_name = answer(Vec::new());
    bad_name.chains[0].name = "x".repeat(29);
    assert!(refused(bad_name).starts_with("chain 1 of table nat: chain name"));
    let attachment = wit::Attachment {
        table: wit::Table::Nat,
        hook: wit::Hook::Forward,
        families: wit::Families::IPV4,
        placement: wit::Placement::First,
        order: 0,
        rule: rule(Vec::new(), None),
    };
    let message =
        refused(wit::Contribution { chains: vec![], attachments: vec![attachment], sets: vec![], policies: vec![] });
    assert_eq!(
        message,
        "attachment 1 (nat/FORWARD), hook: table nat has no FORWARD; it has PREROUTING, INPUT, OUTPUT, POSTROUTING"
    );
}

fn set(kind: wit::SetType, members: Vec<wit::SetMember>) -> wit::AddressSet {
    wit::AddressSet {
        name: "s".to_owned(),
        family: wit::Family::Ipv4,
        kind,
        members,
        max_elements: None,
        dynamic: false,
        timeout: None,
        options: Vec::new(),
    }
}

fn with_set(set: wit::AddressSet) -> wit::Contribution {
    wit::Contribution { chains: Vec::new(), attachments: Vec::new(), sets: vec![set], policies: Vec::new() }
}

#[test]
fn sets_are_judged() {
    let one = || vec![wit::SetMember::Network(v4(1, 32))];
    let six = wit::IpNetwork { address: wit::IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)), prefix_length: 128 };
    let text = |text: &str| vec![wit::SetMember::Extension(text.to_owned())];
    let hash_net = || wit::SetType::HashNet;
    for (set, expected) in [
        (
            set(wit::SetType::HashIp, vec![wit::SetMember::Network(v4(0, 24))]),
            "member 1, network: 0.0.0.0/24 is more than one address",
        ),
        (set(hash_net(), vec![wit::SetMember::Network(v4(0, 0))]), "0.0.0.0/0 is impossible in ipset"),
        (set(hash_net(), vec![wit::SetMember::Network(six)]), "::1/128 does not fit a set of family IPv4"),
        (set(hash_net(), text("1.2.3.4 timeout 5")), "member 1: \"1.2.3.4 timeout 5\": a member with a timeout"),
        (set(wit::SetType::HashIpPort, one()), "use the case `network-port`"),
        (set(wit::SetType::Extension("hash:ip".to_owned()), one()), "kind: hash:ip has a case of its own"),
        (set(wit::SetType::Extension("hash ip".to_owned()), one()), "kind: \"hash ip\" is no type of set"),
        (
            set(wit::SetType::Extension("bitmap:port".to_owned()), text("80 -exist")),
            "member 1: \"80 -exist\": \"-exist\" can't follow a member",
        ),
        (wit::AddressSet { dynamic: true, ..set(hash_net(), one()) }, "members: rules fill a dynamic set"),
        (wit::AddressSet { timeout: Some(1), ..set(hash_net(), one()) }, "timeout: is for dynamic sets"),
        (wit::AddressSet { max_elements: Some(0), ..set(hash_net(), one()) }, "max-elements: 0 is impossible"),
        (
            wit::AddressSet { max_elements: Some(1), ..set(hash_net(), [one(), one()].concat()) },
            "the set has 2 members and would hold 1",
        ),
    ] {
        let message = refused(with_set(set));
        assert!(message.starts_with("set s, ") && message.contains(expected), "{message}");
    }
    let lifted = lift::contribution(with_set(set(hash_net(), one()))).unwrap();
    assert_eq!(lifted.sets[0].members.iter().collect::<Vec<_>>(), [SetMember::Network("0.0.0.1/32".parse().unwrap())]);
}

#[test]
fn an_answer_is_measured_and_compared_with_its_limits() {
    let mut usage = Usage::default();
    measure::output(&answer(vec![rule(vec![], None), rule(vec![], None)]), &mut usage);
    assert_eq!((usage[Limit::Chains], usage[Limit::Rules]), (1, 2));
    let limits = Limits::default().with(Limit::Rules, 1);
    assert!(usage.within(&Limits::default(), &Limit::ALL).is_ok());
    let over = usage.within(&limits, &[Limit::Chains, Limit::Rules]).unwrap_err();
    assert_eq!(
        over.to_string(),
        "asks for 2 rules (attachments included), and its limit `rules` is 1; raise that if it is meant"
    );
}

#[test]
fn a_policy_sees_only_what_it_asked_for_and_was_granted() {
    let resource = |kind: &str| Resource {
        kind: kind.to_owned(),
        namespace: None,
        name: "x".to_owned(),
        api_version: "v1".to_owned(),
        json: "{}".to_owned(),
    };
    let interface =
        Interface { name: "eth0".to_owned(), index: 2, up: true, addresses: vec!["2001:db8::1/64".parse().unwrap()] };
    let facts = Facts {
        interfaces: vec![interface],
        resources: vec![resource("IPPool"), resource("Node"), resource("Secret")],
        nft_tables: vec![NftTable { family: "ip".to_owned(), name: "calico".to_owned() }],
        ..testkit::facts()
    };
    let kinds = |kinds: &[&str]| kinds.iter().map(ToString::to_string).collect();
    let grants = Grants {
        tables: vec![Table::Nat],
        chains: vec![Pattern::new("cali-*").unwrap()],
        resources: kinds(&["IPPool", "Secret"]),
        policies: vec![BuiltInChain { table: Table::Filter, hook: Hook::Input }],
        uses: Uses { sets: vec![Pattern::new("crowdsec-*").unwrap()], ..Uses::default() },
        ..Grants::default()
    };
    let description = |reads_interfaces| Description {
        name: PolicyName::new("test").unwrap(),
        version: "1".to_owned(),
        summary: "test".to_owned(),
        settings_schema: "{}".to_owned(),
        reads_interfaces,
        reads_nft_tables: reads_interfaces,
        wants: Grants { resources: kinds(&["IPPool", "Node"]), ..Grants::default() },
    };
    lower::lowered(&facts, &grants, &description(false), |facts| {
        assert_eq!(facts.resources.iter().map(|resource| resource.kind).collect::<Vec<_>>(), ["IPPool"]);
        assert!(facts.interfaces.is_empty() && facts.system.nft_tables.is_empty());
        assert_eq!(
            (facts.granted.policies, facts.granted.uses_sets),
            (["filter/INPUT"].as_slice(), ["crowdsec-*"].as_slice())
        );
        assert_eq!(facts.granted.chains, ["cali-*"]);
        assert!(facts.system.random_fully);
    });
    lower::lowered(&facts, &grants, &description(true), |facts| {
        assert_eq!((facts.system.nft_tables[0].family, facts.system.nft_tables[0].name), ("ip", "calico"));
        let network = facts.interfaces[0].addresses[0];
        let wit::IpAddress::Ipv6(address) = network.address else { panic!("{network:?}") };
        assert_eq!((address, network.prefix_length), ((0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 64));
    });
}

#[test]
fn members_are_kept_as_a_list_of_them_is() {
    let members = [
        SetMember::Network("10.0.0.0/8".parse().unwrap()),
        SetMember::NetworkPort { network: "::1/128".parse().unwrap(), protocol: 6, port: 80 },
        SetMember::Extension("192.0.2.0/24,eth0".to_owned()),
    ];
    let packed: SetMembers = members.iter().cloned().collect();
    let json = serde_json::to_string(&packed).unwrap();
    assert_eq!(json, serde_json::to_string(&members).unwrap());
    assert_eq!(serde_json::from_str::<SetMembers>(&json).unwrap(), packed);
}
