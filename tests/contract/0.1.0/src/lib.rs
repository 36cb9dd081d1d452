//! A policy that uses everything that contract 0.1.0 has. It is built against the copy beside it, which never changes once the
//! version is released: what was built against 0.1.0 has to go on working in every later host, with the same answer.

#![allow(missing_docs, unsafe_code, unused_qualifications, clippy::all, reason = "entry points made by wit-bindgen")]
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "entry points are made for a component alone"))]

wit_bindgen::generate!({ path: "policy.wit", world: "policy", generate_unused_types: true });

use ruleward::policy::log;
use ruleward::policy::types::*;

struct Everything;

#[cfg(target_arch = "wasm32")]
export!(Everything);

impl Guest for Everything {
    fn describe() -> Description {
        Description {
            name: "contract-0-1-0".into(),
            version: "0.1.0".into(),
            summary: "Uses everything that contract 0.1.0 has.".into(),
            settings_schema:
                r#"{"type":"object","properties":{"refuse":{"enum":["settings","resource","waiting","other"]}},
                "additionalProperties":false}"#
                    .into(),
            reads_resources: vec!["Pool".into()],
            reads_interfaces: true,
            reads_nft_tables: true,
            wants: Ownership {
                tables: vec![Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security],
                chains: vec!["c010-*".into()],
                sets: vec!["c010-*".into()],
                comments: vec!["c010:".into()],
                policies: vec!["filter/FORWARD".into(), "raw/OUTPUT".into()],
                uses_sets: vec!["another-*".into()],
                uses_chains: vec!["another".into(), "another-*".into()],
                exclusive_jumps: true,
            },
        }
    }

    fn evaluate(facts: Facts, settings: String) -> Result<Contribution, Failure> {
        for level in [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error] {
            log::emit(level, &settings);
        }
        let problem = |place: &str| Problem { where_: place.into(), message: "as asked".into() };
        for (word, failure) in [
            ("settings", Failure::Settings(problem("/refuse"))),
            ("resource", Failure::Resource(problem("Pool/a spec"))),
            ("waiting", Failure::Waiting("for nothing".into())),
            ("other", Failure::Other("as asked".into())),
        ] {
            if settings.contains(&format!("\"{word}\"")) {
                return Err(failure);
            }
        }
        let chains = vec![
            chain(Table::Filter, Families::IPV4 | Families::IPV6, "c010-seen", seen(&facts)),
            chain(Table::Filter, Families::IPV4 | Families::IPV6, "c010-matches", matches()),
            chain(Table::Filter, Families::IPV4, "c010-four", four()),
            chain(Table::Filter, Families::IPV6, "c010-six", six()),
            chain(Table::Filter, Families::IPV4 | Families::IPV6, "c010-targets", filter_targets()),
            chain(Table::Nat, Families::IPV4, "c010-from", source_targets()),
            chain(Table::Nat, Families::IPV4, "c010-to", destination_targets()),
            chain(Table::Mangle, Families::IPV4, "c010-mangle", mangle_targets()),
            chain(Table::Raw, Families::IPV4, "c010-raw", vec![rule(vec![], Target::NoTrack)]),
            chain(Table::Security, Families::IPV6, "c010-security", vec![rule(vec![], Target::Accept)]),
        ];
        Ok(Contribution { chains, attachments: attachments(), sets: sets(), policies: policies() })
    }
}

fn chain(table: Table, families: Families, name: &str, rules: Vec<Rule>) -> Chain {
    Chain { table, families, name: name.into(), rules }
}

fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target: Some(target), comment: None }
}

fn counting(matches: Vec<Match>) -> Rule {
    Rule { matches, target: None, comment: None }
}

/// What the host shows, as comments.
fn seen(facts: &Facts) -> Vec<Rule> {
    let System { kernel, iptables, backend, random_fully, families, nft_tables } = &facts.system;
    let mut lines = vec![
        facts.node_name.clone(),
        format!("kernel {}.{}.{}", kernel.major, kernel.minor, kernel.patch),
        format!("iptables {}.{}.{}", iptables.major, iptables.minor, iptables.patch),
        format!("{backend:?} random-fully {random_fully} {families:?}"),
    ];
    for one in &facts.interfaces {
        let addresses = one.addresses.iter().map(|network| format!("{:?}/{}", network.address, network.prefix_length));
        let addresses: Vec<String> = addresses.collect();
        lines.push(format!("{} {} {} {}", one.name, one.index, one.up, addresses.join(" ")));
    }
    for one in &facts.resources {
        let namespace = one.namespace.as_deref().unwrap_or("-");
        lines.push(format!("{} {} {namespace} {} {}", one.api_version, one.kind, one.name, one.json.len()));
    }
    for one in nft_tables {
        lines.push(format!("nft table {} {}", one.family, one.name));
    }
    let granted = &facts.granted;
    lines.push(format!("{:?} {:?} {:?} {:?}", granted.tables, granted.chains, granted.sets, granted.comments));
    lines.push(format!("{:?} {:?} {:?}", granted.policies, granted.uses_sets, granted.uses_chains));
    lines.push(format!("exclusive jumps {}", granted.exclusive_jumps));
    let comment = |text: String| Rule { matches: vec![], target: None, comment: Some(text) };
    lines.into_iter().map(comment).collect()
}

fn protocol(number: u8) -> Match {
    Match::Protocol(ProtocolMatch { number, negated: false })
}

fn ports(ranges: &[(u16, u16)], negated: bool) -> PortMatch {
    PortMatch { ranges: ranges.iter().map(|&(first, last)| PortRange { first, last }).collect(), negated }
}

fn v4(octets: (u8, u8, u8, u8), prefix_length: u8) -> IpNetwork {
    IpNetwork { address: IpAddress::Ipv4(octets), prefix_length }
}

const SIX: IpAddress = IpAddress::Ipv6((0x2001, 0xdb8, 0, 1, 0xabcd, 0, 0, 0x8000));

fn matches() -> Vec<Rule> {
    let test = |kind, negated| Some(AddressTypeTest { kind, negated });
    vec![
        counting(vec![Match::Protocol(ProtocolMatch { number: 17, negated: true })]),
        counting(vec![
            Match::InInterface(InterfaceMatch { name: "eth+".into(), negated: false }),
            Match::OutInterface(InterfaceMatch { name: "lo".into(), negated: true }),
        ]),
        counting(vec![protocol(6), Match::SourcePorts(ports(&[(1024, 65535)], false))]),
        counting(vec![protocol(17), Match::DestinationPorts(ports(&[(53, 53), (80, 90)], true))]),
        counting(vec![
            protocol(6),
            Match::TcpFlags(TcpFlagsMatch {
                mask: TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK,
                set: TcpFlags::SYN,
                negated: false,
            }),
        ]),
        counting(vec![Match::ConntrackState(ConntrackStateMatch { states: ConntrackStates::all(), negated: false })]),
        counting(vec![Match::Mark(MarkMatch { value: 0x10, mask: 0xff, negated: true })]),
        counting(vec![Match::Connmark(MarkMatch { value: 1, mask: u32::MAX, negated: false })]),
        counting(vec![Match::AddressType(AddressTypeMatch {
            source: test(AddressType::Local, true),
            destination: test(AddressType::Unicast, false),
            limit: AddressTypeLimit::AnyInterface,
        })]),
        counting(vec![Match::Limit(LimitMatch { rate: 3, unit: RateUnit::Hour, burst: Some(7) })]),
        counting(vec![Match::Limit(LimitMatch { rate: 10, unit: RateUnit::Second, burst: None })]),
        counting(vec![Match::Extension(Extension {
            name: "u32".into(),
            arguments: vec!["--u32".into(), "0 & 0xFFFF = 0x100".into()],
        })]),
        counting(vec![Match::Verbatim(
            ["-p", "tcp", "!", "--dport", "22", "-j", "LOG", "--log-prefix", "-j: \"x\" "].map(String::from).to_vec(),
        )]),
    ]
}

fn in_set(name: &str, directions: Vec<Direction>) -> Match {
    Match::Set(SetMatch { name: name.into(), directions, negated: false })
}

fn four() -> Vec<Rule> {
    let icmp = IcmpMatch { kind: 8, code: None, negated: false };
    vec![
        counting(vec![
            Match::Source(NetworkMatch { network: v4((192, 0, 2, 0), 24), negated: false }),
            Match::Destination(NetworkMatch { network: v4((198, 51, 100, 7), 32), negated: true }),
        ]),
        counting(vec![protocol(1), Match::Icmp(icmp)]),
        counting(vec![in_set("c010-net4", vec![Direction::Source])]),
        counting(vec![in_set("c010-port4", vec![Direction::Destination, Direction::Destination])]),
        counting(vec![in_set("c010-dynamic", vec![Direction::Source])]),
        rule(vec![], Target::Reject(RejectKind::ProtocolUnreachable)),
    ]
}

fn six() -> Vec<Rule> {
    let network = IpNetwork { address: SIX, prefix_length: 64 };
    let icmpv6 = IcmpMatch { kind: 1, code: Some(4), negated: true };
    vec![
        counting(vec![Match::Source(NetworkMatch { network, negated: false })]),
        counting(vec![protocol(58), Match::Icmpv6(icmpv6)]),
        counting(vec![in_set("c010-ip6", vec![Direction::Source])]),
    ]
}

fn filter_targets() -> Vec<Rule> {
    vec![
        rule(vec![], Target::Accept),
        rule(vec![], Target::Drop),
        rule(vec![], Target::Return),
        rule(vec![], Target::Reject(RejectKind::PortUnreachable)),
        rule(vec![], Target::Reject(RejectKind::HostUnreachable)),
        rule(vec![], Target::Reject(RejectKind::NetUnreachable)),
        rule(vec![], Target::Reject(RejectKind::AdminProhibited)),
        rule(vec![protocol(6)], Target::Reject(RejectKind::TcpReset)),
        rule(vec![], Target::Jump("c010-matches".into())),
        rule(vec![], Target::Goto("c010-seen".into())),
        rule(vec![], Target::Log(LogPacket { prefix: "c010 ".into(), level: LogLevel::Notice })),
        rule(vec![], Target::Nflog(Nflog { group: 3, prefix: "c010".into(), threshold: Some(2) })),
        rule(
            vec![],
            Target::Extension(Extension { name: "AUDIT".into(), arguments: vec!["--type".into(), "drop".into()] }),
        ),
    ]
}

fn nat(first: (u8, u8, u8, u8), last: (u8, u8, u8, u8)) -> Nat {
    let addresses = Some(AddressRange { first: IpAddress::Ipv4(first), last: IpAddress::Ipv4(last) });
    Nat { addresses, ports: None, random: false, random_fully: false, persistent: false }
}

const TO_PORTS: Option<PortRange> = Some(PortRange { first: 8080, last: 8089 });

fn source_targets() -> Vec<Rule> {
    vec![
        rule(vec![], Target::Masquerade(Masquerade { ports: None, random: false, random_fully: true })),
        rule(vec![protocol(17)], Target::Masquerade(Masquerade { ports: TO_PORTS, random: true, random_fully: false })),
        rule(vec![], Target::SourceNat(Nat { persistent: true, ..nat((192, 0, 2, 1), (192, 0, 2, 9)) })),
    ]
}

fn destination_targets() -> Vec<Rule> {
    vec![
        rule(vec![protocol(6)], Target::DestinationNat(Nat { ports: TO_PORTS, ..nat((192, 0, 2, 1), (192, 0, 2, 1)) })),
        rule(vec![protocol(6)], Target::Redirect(TO_PORTS)),
        rule(vec![], Target::Redirect(None)),
    ]
}

fn mangle_targets() -> Vec<Rule> {
    let mark = MarkSet { value: 0x20, mask: 0xf0 };
    let syn = TcpFlagsMatch { mask: TcpFlags::SYN | TcpFlags::RST, set: TcpFlags::SYN, negated: false };
    let first = || vec![protocol(6), Match::TcpFlags(syn)];
    vec![
        rule(vec![], Target::Mark(mark)),
        rule(vec![], Target::Connmark(ConnmarkAction::Set(mark))),
        rule(vec![], Target::Connmark(ConnmarkAction::Save(0xff))),
        rule(vec![], Target::Connmark(ConnmarkAction::Restore(u32::MAX))),
        rule(
            vec![protocol(6)],
            Target::Tproxy(Tproxy { port: 3129, address: Some(IpAddress::Ipv4((127, 0, 0, 1))), mark }),
        ),
        rule(first(), Target::TcpMss(TcpMss::ClampToPathMtu)),
        rule(first(), Target::TcpMss(TcpMss::Set(1400))),
    ]
}

fn attachments() -> Vec<Attachment> {
    let at = |table, hook, placement, order, name: &str| Attachment {
        table,
        hook,
        families: Families::IPV4,
        placement,
        order,
        rule: Rule { matches: vec![], target: Some(Target::Jump(name.into())), comment: Some(format!("c010:{name}")) },
    };
    vec![
        at(Table::Raw, Hook::Prerouting, Placement::First, 0, "c010-raw"),
        at(Table::Mangle, Hook::Prerouting, Placement::Last, -5, "c010-mangle"),
        at(Table::Filter, Hook::Input, Placement::First, 2, "c010-four"),
        at(Table::Filter, Hook::Forward, Placement::First, 1, "c010-matches"),
        at(Table::Filter, Hook::Output, Placement::First, 0, "c010-targets"),
        at(Table::Nat, Hook::Postrouting, Placement::First, 0, "c010-from"),
        at(Table::Nat, Hook::Prerouting, Placement::First, 0, "c010-to"),
        at(Table::Nat, Hook::Output, Placement::Last, 0, "another"),
    ]
}

fn policies() -> Vec<ChainPolicy> {
    vec![
        ChainPolicy { table: Table::Filter, hook: Hook::Forward, families: Families::all(), policy: Verdict::Drop },
        ChainPolicy { table: Table::Raw, hook: Hook::Output, families: Families::IPV6, policy: Verdict::Accept },
    ]
}

fn sets() -> Vec<AddressSet> {
    let set = |name: &str, family, kind, members| AddressSet {
        name: name.into(),
        family,
        kind,
        members,
        max_elements: None,
        dynamic: false,
        timeout: None,
        options: Vec::new(),
    };
    let six = IpNetwork { address: SIX, prefix_length: 128 };
    let with_port = NetworkPort { network: v4((192, 0, 2, 1), 32), protocol: 6, port: 443 };
    vec![
        set("c010-net4", Family::Ipv4, SetType::HashNet, vec![SetMember::Network(v4((192, 0, 2, 255), 24))]),
        set("c010-ip6", Family::Ipv6, SetType::HashIp, vec![SetMember::Network(six)]),
        set("c010-port4", Family::Ipv4, SetType::HashIpPort, vec![SetMember::NetworkPort(with_port)]),
        AddressSet {
            max_elements: Some(1024),
            ..set("c010-netport4", Family::Ipv4, SetType::HashNetPort, vec![SetMember::NetworkPort(with_port)])
        },
        set(
            "c010-other",
            Family::Ipv4,
            SetType::Extension("hash:net,iface".into()),
            vec![SetMember::Extension("192.0.2.0/24,eth0".into())],
        ),
        AddressSet {
            options: vec!["range".into(), "0-1023".into(), "counters".into()],
            ..set(
                "c010-bitmap",
                Family::Ipv4,
                SetType::Extension("bitmap:port".into()),
                vec![SetMember::Extension("80".into())],
            )
        },
        AddressSet {
            options: vec!["comment".into()],
            ..set(
                "c010-except",
                Family::Ipv4,
                SetType::HashNet,
                vec![
                    SetMember::Network(v4((10, 0, 0, 0), 8)),
                    SetMember::Nomatch(v4((10, 1, 0, 0), 16)),
                    SetMember::Extension("172.16.0.0/12 comment \"c010 office\"".into()),
                ],
            )
        },
        AddressSet { dynamic: true, timeout: Some(60), ..set("c010-dynamic", Family::Ipv4, SetType::HashIp, vec![]) },
    ]
}
