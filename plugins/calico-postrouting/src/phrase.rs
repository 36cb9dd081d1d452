//! The conditions and actions that Felix uses in nat. Each has two forms, kept side by side because they must mean the
//! same: the text that Felix identifies a rule by, and the typed match or target that the host gets.

use std::fmt::Write;
use std::net::IpAddr;

use ruleward_sdk::{AddressType, AddressTypeLimit, Direction, Masquerade, Nat, PortRange, Rule, Target, protocol};

use crate::features::Features;
use crate::identifier::Identifiers;

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The source is in this set.
    SourceIn(String),
    /// The destination is not in this set.
    DestinationNotIn(String),
    /// TCP.
    Tcp,
    /// UDP, by name.
    Udp,
    /// UDP, by number: Felix identifies it differently.
    UdpByNumber,
    /// Leaves by this interface.
    OutInterface(String),
    /// The source is not an address of the interface by which the packet leaves, but one of this machine's.
    OtherLocalSource,
    /// To this host.
    Destination(IpAddr),
    /// From this host.
    Source(IpAddr),
}

/// One action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Through a chain and back.
    Jump(&'static str),
    /// Back.
    Return,
    /// Translates the source to the interface's address.
    Masquerade(Option<PortRange>),
    /// Translates the source.
    SourceNat(IpAddr, Option<PortRange>),
    /// Translates the destination.
    DestinationNat(IpAddr),
}

impl Condition {
    fn write(&self, text: &mut String) {
        // Writing to a String does not fail.
        let _ = match self {
            Self::SourceIn(set) => write!(text, "-m set --match-set {set} src "),
            Self::DestinationNotIn(set) => write!(text, "-m set ! --match-set {set} dst "),
            Self::Tcp => write!(text, "-p tcp "),
            Self::Udp => write!(text, "-p udp "),
            Self::UdpByNumber => write!(text, "-p {} ", protocol::UDP),
            Self::OutInterface(name) => write!(text, "--out-interface {name} "),
            Self::OtherLocalSource => {
                write!(text, "-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL ")
            }
            Self::Destination(address) => write!(text, "--destination {address} "),
            Self::Source(address) => write!(text, "--source {address} "),
        };
    }

    fn apply(self, rule: Rule) -> Rule {
        match self {
            Self::SourceIn(set) => rule.in_set(set, &[Direction::Source]),
            Self::DestinationNotIn(set) => rule.not_in_set(set, &[Direction::Destination]),
            Self::Tcp => rule.protocol(protocol::TCP),
            Self::Udp | Self::UdpByNumber => rule.protocol(protocol::UDP),
            Self::OutInterface(name) => rule.out_interface(name),
            Self::OtherLocalSource => {
                rule.not_source_type(AddressType::Local, AddressTypeLimit::OutInterface).source_type(AddressType::Local)
            }
            Self::Destination(address) => rule.destination(address),
            Self::Source(address) => rule.source(address),
        }
    }
}

impl Action {
    fn is_random_fully(self, features: Features) -> bool {
        match self {
            Self::Masquerade(_) => features.masquerade,
            Self::SourceNat(..) => features.source_nat,
            _ => false,
        }
    }

    fn write(self, text: &mut String, features: Features) {
        let random = if self.is_random_fully(features) { " --random-fully" } else { "" };
        let _ = match self {
            Self::Jump(chain) => write!(text, "--jump {chain}"),
            Self::Return => write!(text, "--jump RETURN"),
            Self::Masquerade(None) => write!(text, "--jump MASQUERADE{random}"),
            Self::Masquerade(Some(PortRange { first, last })) => {
                write!(text, "--jump MASQUERADE --to-ports {first}-{last}{random}")
            }
            Self::SourceNat(address, None) => write!(text, "--jump SNAT --to-source {address}{random}"),
            Self::SourceNat(IpAddr::V4(address), Some(PortRange { first, last })) => {
                write!(text, "--jump SNAT --to-source {address}:{first}-{last}{random}")
            }
            Self::SourceNat(IpAddr::V6(address), Some(PortRange { first, last })) => {
                write!(text, "--jump SNAT --to-source [{address}]:{first}-{last}{random}")
            }
            Self::DestinationNat(address) => write!(text, "--jump DNAT --to-destination {address}"),
        };
    }

    fn target(self, features: Features) -> Target {
        let random_fully = self.is_random_fully(features);
        match self {
            Self::Jump(chain) => Target::Jump(chain.into()),
            Self::Return => Target::Return,
            Self::Masquerade(ports) => Target::Masquerade(Masquerade { ports, random: false, random_fully }),
            Self::SourceNat(address, ports) => Target::SourceNat(Nat { ports, random_fully, ..Nat::to(address) }),
            Self::DestinationNat(address) => Target::DestinationNat(Nat::to(address)),
        }
    }
}

/// The next rule of a chain, with its identifier as the comment.
pub fn rule(
    identifiers: &mut Identifiers<'_>,
    conditions: impl IntoIterator<Item = Condition>,
    action: Action,
    features: Features,
) -> Rule {
    let mut fragment = String::new();
    let mut rule = Rule::new();
    for condition in conditions {
        condition.write(&mut fragment);
        rule = condition.apply(rule);
    }
    action.write(&mut fragment, features);
    rule.target(action.target(features)).comment(identifiers.comment(&fragment))
}
