//! Rules, built condition by condition: `Rule::new().out_interface("eth+").masquerade()`. The methods only collect;
//! the host judges what they add up to.

use crate::{
    AddressRange, AddressType, AddressTypeLimit, AddressTypeMatch, AddressTypeTest, ConntrackStateMatch,
    ConntrackStates, Direction, Extension, IcmpMatch, InterfaceMatch, IpAddress, IpNetwork, LimitMatch, LogLevel,
    LogPacket, MarkMatch, MarkSet, Masquerade, Match, Nat, NetworkMatch, Nflog, PortMatch, PortRange, ProtocolMatch,
    RateUnit, RejectKind, Rule, SetMatch, Target, TcpFlags, TcpFlagsMatch, TcpMss, protocol,
};

impl Default for Rule {
    fn default() -> Self {
        Self::new()
    }
}

/// Conditions.
impl Rule {
    /// A rule without conditions and without a target: it counts every packet.
    pub fn new() -> Self {
        Self { matches: Vec::new(), target: None, comment: None }
    }

    /// A whole rule in the words of iptables, target included, one word an item: `["-p", "tcp", "-j", "ACCEPT"]`. It
    /// may have a comment, and nothing else beside it.
    pub fn verbatim<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::new().matching(Match::Verbatim(words.into_iter().map(Into::into).collect()))
    }

    /// Adds any condition.
    #[must_use]
    pub fn matching(mut self, condition: Match) -> Self {
        self.matches.push(condition);
        self
    }

    /// Sets the comment.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Of this transport protocol ([`crate::protocol`]).
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        self.matching(Match::Protocol(ProtocolMatch { number, negated: false }))
    }

    /// From this network.
    #[must_use]
    pub fn source(self, network: impl Into<IpNetwork>) -> Self {
        self.matching(Match::Source(NetworkMatch { network: network.into(), negated: false }))
    }

    /// Not from this network.
    #[must_use]
    pub fn not_source(self, network: impl Into<IpNetwork>) -> Self {
        self.matching(Match::Source(NetworkMatch { network: network.into(), negated: true }))
    }

    /// To this network.
    #[must_use]
    pub fn destination(self, network: impl Into<IpNetwork>) -> Self {
        self.matching(Match::Destination(NetworkMatch { network: network.into(), negated: false }))
    }

    /// Not to this network.
    #[must_use]
    pub fn not_destination(self, network: impl Into<IpNetwork>) -> Self {
        self.matching(Match::Destination(NetworkMatch { network: network.into(), negated: true }))
    }

    /// Came in here; `eth+` is any name that begins with `eth`.
    #[must_use]
    pub fn in_interface(self, name: impl Into<String>) -> Self {
        self.matching(Match::InInterface(InterfaceMatch { name: name.into(), negated: false }))
    }

    /// Came in elsewhere.
    #[must_use]
    pub fn not_in_interface(self, name: impl Into<String>) -> Self {
        self.matching(Match::InInterface(InterfaceMatch { name: name.into(), negated: true }))
    }

    /// Leaves here.
    #[must_use]
    pub fn out_interface(self, name: impl Into<String>) -> Self {
        self.matching(Match::OutInterface(InterfaceMatch { name: name.into(), negated: false }))
    }

    /// Leaves elsewhere.
    #[must_use]
    pub fn not_out_interface(self, name: impl Into<String>) -> Self {
        self.matching(Match::OutInterface(InterfaceMatch { name: name.into(), negated: true }))
    }

    /// From this port or range; needs [`Rule::protocol`].
    #[must_use]
    pub fn source_port(self, ports: impl Into<PortRange>) -> Self {
        self.matching(Match::SourcePorts(PortMatch { ranges: vec![ports.into()], negated: false }))
    }

    /// To this port or range; needs [`Rule::protocol`].
    #[must_use]
    pub fn destination_port(self, ports: impl Into<PortRange>) -> Self {
        self.matching(Match::DestinationPorts(PortMatch { ranges: vec![ports.into()], negated: false }))
    }

    /// To one of these ports; needs [`Rule::protocol`].
    #[must_use]
    pub fn destination_ports<P: Into<PortRange>>(self, ports: impl IntoIterator<Item = P>) -> Self {
        let ranges = ports.into_iter().map(Into::into).collect();
        self.matching(Match::DestinationPorts(PortMatch { ranges, negated: false }))
    }

    /// Of a connection in one of these states.
    #[must_use]
    pub fn conntrack(self, states: ConntrackStates) -> Self {
        self.matching(Match::ConntrackState(ConntrackStateMatch { states, negated: false }))
    }

    /// Marked so.
    #[must_use]
    pub fn marked(self, value: u32, mask: u32) -> Self {
        self.matching(Match::Mark(MarkMatch { value, mask, negated: false }))
    }

    /// In an address set, which is asked about the given ends of the packet.
    #[must_use]
    pub fn in_set(self, name: impl Into<String>, directions: &[Direction]) -> Self {
        let set = SetMatch { name: name.into(), directions: directions.to_vec(), negated: false };
        self.matching(Match::Set(set))
    }

    /// Not in an address set.
    #[must_use]
    pub fn not_in_set(self, name: impl Into<String>, directions: &[Direction]) -> Self {
        let set = SetMatch { name: name.into(), directions: directions.to_vec(), negated: true };
        self.matching(Match::Set(set))
    }

    /// Of this ICMP type, for IPv4; brings the protocol match with it.
    #[must_use]
    pub fn icmp(self, kind: u8) -> Self {
        self.protocol(protocol::ICMP).matching(Match::Icmp(IcmpMatch { kind, code: None, negated: false }))
    }

    /// Of this ICMPv6 type, for IPv6; brings the protocol match with it.
    #[must_use]
    pub fn icmpv6(self, kind: u8) -> Self {
        self.protocol(protocol::ICMPV6).matching(Match::Icmpv6(IcmpMatch { kind, code: None, negated: false }))
    }

    /// Opens a TCP connection: SYN without FIN, RST and ACK (iptables' `--syn`); needs [`Rule::protocol`] TCP.
    #[must_use]
    pub fn tcp_syn(self) -> Self {
        let mask = TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK;
        self.matching(Match::TcpFlags(TcpFlagsMatch { mask, set: TcpFlags::SYN, negated: false }))
    }

    /// Of a connection in none of these states.
    #[must_use]
    pub fn not_conntrack(self, states: ConntrackStates) -> Self {
        self.matching(Match::ConntrackState(ConntrackStateMatch { states, negated: true }))
    }

    /// Of a connection marked so.
    #[must_use]
    pub fn connection_marked(self, value: u32, mask: u32) -> Self {
        self.matching(Match::Connmark(MarkMatch { value, mask, negated: false }))
    }

    /// From an address of this type.
    #[must_use]
    pub fn source_type(self, kind: AddressType) -> Self {
        self.matching(source_type(kind, false, AddressTypeLimit::AnyInterface))
    }

    /// Not from an address of this type, as seen from the interfaces that `limit` leaves.
    #[must_use]
    pub fn not_source_type(self, kind: AddressType, limit: AddressTypeLimit) -> Self {
        self.matching(source_type(kind, true, limit))
    }

    /// To an address of this type.
    #[must_use]
    pub fn destination_type(self, kind: AddressType) -> Self {
        self.matching(destination_type(kind, false))
    }

    /// Not to an address of this type.
    #[must_use]
    pub fn not_destination_type(self, kind: AddressType) -> Self {
        self.matching(destination_type(kind, true))
    }

    /// At most so many packets on average, after a first burst of 5.
    #[must_use]
    pub fn at_most(self, rate: u32, unit: RateUnit) -> Self {
        self.matching(Match::Limit(LimitMatch { rate, unit, burst: None }))
    }

    /// At most so many packets on average, after a first burst of so many.
    #[must_use]
    pub fn at_most_after(self, burst: u32, rate: u32, unit: RateUnit) -> Self {
        self.matching(Match::Limit(LimitMatch { rate, unit, burst: Some(burst) }))
    }

    /// A condition that the contract has no case for: `extension("recent", ["--update", "--seconds", "60"])`.
    #[must_use]
    pub fn extension<W: Into<String>>(self, name: impl Into<String>, words: impl IntoIterator<Item = W>) -> Self {
        self.matching(Match::Extension(Extension::new(name, words)))
    }
}

fn source_type(kind: AddressType, negated: bool, limit: AddressTypeLimit) -> Match {
    Match::AddressType(AddressTypeMatch { source: Some(AddressTypeTest { kind, negated }), destination: None, limit })
}

fn destination_type(kind: AddressType, negated: bool) -> Match {
    let destination = Some(AddressTypeTest { kind, negated });
    Match::AddressType(AddressTypeMatch { source: None, destination, limit: AddressTypeLimit::AnyInterface })
}

/// Targets.
impl Rule {
    /// Sets any target.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Lets the packet pass this table.
    #[must_use]
    pub fn accept(self) -> Self {
        self.target(Target::Accept)
    }

    /// Discards the packet.
    #[must_use]
    pub fn drop(self) -> Self {
        self.target(Target::Drop)
    }

    /// Goes back to the calling chain.
    #[must_use]
    pub fn go_back(self) -> Self {
        self.target(Target::Return)
    }

    /// Discards the packet and tells the sender.
    #[must_use]
    pub fn reject(self, kind: RejectKind) -> Self {
        self.target(Target::Reject(kind))
    }

    /// Goes through a chain and comes back.
    #[must_use]
    pub fn jump(self, chain: impl Into<String>) -> Self {
        self.target(Target::Jump(chain.into()))
    }

    /// Goes through a chain and returns to the caller's caller.
    #[must_use]
    pub fn goto(self, chain: impl Into<String>) -> Self {
        self.target(Target::Goto(chain.into()))
    }

    /// Gives the packet the address of the interface that it leaves by.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.target(Target::Masquerade(Masquerade { ports: None, random: false, random_fully: false }))
    }

    /// Gives the packet another source.
    #[must_use]
    pub fn source_nat(self, nat: Nat) -> Self {
        self.target(Target::SourceNat(nat))
    }

    /// Gives the packet another destination.
    #[must_use]
    pub fn destination_nat(self, nat: Nat) -> Self {
        self.target(Target::DestinationNat(nat))
    }

    /// Gives the packet to this machine, on the same port.
    #[must_use]
    pub fn redirect(self) -> Self {
        self.target(Target::Redirect(None))
    }

    /// Gives the packet to this machine, on another port; needs [`Rule::protocol`].
    #[must_use]
    pub fn redirect_to(self, ports: impl Into<PortRange>) -> Self {
        self.target(Target::Redirect(Some(ports.into())))
    }

    /// Writes the packet to the kernel's log and goes on; the prefix has at most 29 bytes.
    #[must_use]
    pub fn log(self, prefix: impl Into<String>, level: LogLevel) -> Self {
        self.target(Target::Log(LogPacket { prefix: prefix.into(), level }))
    }

    /// Gives a copy of the packet to a program (`NFLOG`) and goes on; the prefix has at most 63 bytes.
    #[must_use]
    pub fn nflog(self, group: u16, prefix: impl Into<String>) -> Self {
        self.target(Target::Nflog(Nflog { group, prefix: prefix.into(), threshold: None }))
    }

    /// Keeps the packet out of connection tracking; in table raw.
    #[must_use]
    pub fn no_track(self) -> Self {
        self.target(Target::NoTrack)
    }

    /// Fits the TCP segment size to the path; in table mangle, with [`Rule::tcp_syn`].
    #[must_use]
    pub fn clamp_mss(self) -> Self {
        self.target(Target::TcpMss(TcpMss::ClampToPathMtu))
    }

    /// The same, from a source port that is hard to guess; where [`System`](crate::System) says that it is known.
    #[must_use]
    pub fn masquerade_random(self, random_fully: bool) -> Self {
        self.target(Target::Masquerade(Masquerade { ports: None, random: false, random_fully }))
    }

    /// Marks the packet.
    #[must_use]
    pub fn mark(self, value: u32, mask: u32) -> Self {
        self.target(Target::Mark(MarkSet { value, mask }))
    }

    /// A target that the contract has no case for.
    #[must_use]
    pub fn target_extension<W: Into<String>>(
        self,
        name: impl Into<String>,
        words: impl IntoIterator<Item = W>,
    ) -> Self {
        self.target(Target::Extension(Extension::new(name, words)))
    }
}

impl Extension {
    /// What follows `-m` or `-j`, and the words after it.
    pub fn new<W: Into<String>>(name: impl Into<String>, words: impl IntoIterator<Item = W>) -> Self {
        Self { name: name.into(), arguments: words.into_iter().map(Into::into).collect() }
    }
}

impl Nat {
    /// Translates to one address.
    pub fn to(address: impl Into<IpAddress>) -> Self {
        let first = address.into();
        let addresses = Some(AddressRange { first, last: first });
        Self { addresses, ports: None, random: false, random_fully: false, persistent: false }
    }

    /// Keeps the address and changes the port.
    pub fn to_ports(ports: impl Into<PortRange>) -> Self {
        let ports = Some(ports.into());
        Self { addresses: None, ports, random: false, random_fully: false, persistent: false }
    }

    /// Restricts the ports.
    #[must_use]
    pub fn ports(mut self, ports: impl Into<PortRange>) -> Self {
        self.ports = Some(ports.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_like_a_rule() {
        let rule =
            Rule::new().out_interface("eth+").not_source("192.0.2.0/24".parse::<IpNetwork>().unwrap()).masquerade();
        assert_eq!(rule.matches.len(), 2);
        assert!(matches!(&rule.matches[0], Match::OutInterface(found) if found.name == "eth+" && !found.negated));
        assert!(matches!(&rule.matches[1], Match::Source(found) if found.negated));
        assert!(matches!(rule.target, Some(Target::Masquerade(_))));
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        let rule = Rule::new().protocol(protocol::TCP).destination_port(443).source_port(1024..=65535);
        assert_eq!(rule.matches[1], Match::DestinationPorts(PortMatch { ranges: vec![443.into()], negated: false }));
        assert_eq!(
            rule.matches[2],
            Match::SourcePorts(PortMatch { ranges: vec![PortRange { first: 1024, last: 65535 }], negated: false })
        );
    }
}
