//! A rule as a policy means it: typed and independent of the backend. [`crate::render`] turns it into the words of
//! iptables; nothing else does. The cases mirror `wit/policy.wit`, where they are explained.

#![allow(missing_docs, reason = "fields mirror wit/policy.wit, where each is explained")]

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::{ChainName, Comment, InterfaceName, SetName};

/// A rule. Without a target it only counts packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// All of them must hold.
    pub matches: Vec<Match>,
    /// What happens to a packet then.
    pub target: Option<Target>,
    /// Rendered as the first match.
    pub comment: Option<Comment>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// Transport protocol by number.
    Protocol { number: u8, negated: bool },
    /// Source network.
    Source { network: IpNet, negated: bool },
    /// Destination network.
    Destination { network: IpNet, negated: bool },
    /// Where the packet came in.
    InInterface { name: InterfaceName, negated: bool },
    /// Where it leaves.
    OutInterface { name: InterfaceName, negated: bool },
    /// Source ports.
    SourcePorts { ranges: Vec<PortRange>, negated: bool },
    /// Destination ports.
    DestinationPorts { ranges: Vec<PortRange>, negated: bool },
    /// TCP flags: of those in `mask`, exactly those in `set` are on. Bits as in [`TCP_FLAGS`].
    TcpFlags { mask: u8, set: u8, negated: bool },
    /// ICMP type and code.
    Icmp { kind: u8, code: Option<u8>, negated: bool },
    /// ICMPv6 type and code.
    Icmpv6 { kind: u8, code: Option<u8>, negated: bool },
    /// Conntrack states, bits as in [`CONNTRACK_STATES`].
    ConntrackState { states: u8, negated: bool },
    /// The packet's mark.
    Mark { value: u32, mask: u32, negated: bool },
    /// The connection's mark.
    Connmark { value: u32, mask: u32, negated: bool },
    /// What the routing table says about the addresses.
    AddressType { source: Option<AddressTypeTest>, destination: Option<AddressTypeTest>, limit: AddressTypeLimit },
    /// Membership in an address set.
    Set { name: SetName, directions: Vec<Direction>, negated: bool },
    /// A rate.
    Limit { rate: u32, unit: RateUnit, burst: Option<u32> },
    /// Anything else that iptables knows.
    Extension(Extension),
    /// A whole rule in the words of iptables, its target included. Nothing else stands beside it but a comment.
    Verbatim(Vec<String>),
}

/// What happens to a packet that a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Let it pass this table.
    Accept,
    /// Discard it.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Discard it and tell the sender.
    Reject(RejectKind),
    /// Go through another chain and come back.
    Jump(ChainName),
    /// Go through another chain and return to the caller's caller.
    Goto(ChainName),
    /// Source translation to the outgoing interface's address.
    Masquerade { ports: Option<PortRange>, random: bool, random_fully: bool },
    /// Source translation.
    SourceNat(Nat),
    /// Destination translation.
    DestinationNat(Nat),
    /// Destination translation to this machine.
    Redirect { ports: Option<PortRange> },
    /// Set the packet's mark.
    Mark { value: u32, mask: u32 },
    /// Set or copy the connection's mark.
    Connmark(ConnmarkAction),
    /// Kernel log.
    Log { prefix: String, level: LogLevel },
    /// Netlink log.
    Nflog { group: u16, prefix: String, threshold: Option<u16> },
    /// No connection tracking.
    NoTrack,
    /// Transparent proxy.
    Tproxy { port: u16, address: Option<IpAddr>, value: u32, mask: u32 },
    /// TCP maximum segment size.
    TcpMss(TcpMss),
    /// Anything else that iptables knows.
    Extension(Extension),
}

/// An iptables extension by name, with its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// What follows `-m` or `-j`.
    pub name: String,
    /// What follows that, one word each.
    pub arguments: Vec<String>,
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// Lowest.
    pub first: u16,
    /// Highest.
    pub last: u16,
}

/// Source or destination translation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// First and last address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Ports.
    pub ports: Option<PortRange>,
    /// `--random`
    pub random: bool,
    /// `--random-fully`, source translation only.
    pub random_fully: bool,
    /// `--persistent`
    pub persistent: bool,
}

/// What CONNMARK does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnmarkAction {
    /// Sets the bits under `mask`.
    Set { value: u32, mask: u32 },
    /// Packet to connection.
    Save { mask: u32 },
    /// Connection to packet.
    Restore { mask: u32 },
}

/// What TCPMSS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpMss {
    /// `--clamp-mss-to-pmtu`
    ClampToPathMtu,
    /// `--set-mss`, bytes.
    Set(u16),
}

/// One test of an address type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressTypeTest {
    /// Which type.
    pub kind: AddressType,
    /// Not of that type.
    pub negated: bool,
}

/// Declares an enum whose cases each have one word in the language of iptables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$case_doc])* #[doc = concat!("`", $word, "`")] $case,)+
        }

        impl $name {
            /// The word that iptables uses.
            pub fn word(self) -> &'static str {
                match self { $(Self::$case => $word,)+ }
            }
        }
    };
}

words!(
    /// Address types of the `addrtype` match.
    AddressType {
        Unspec => "UNSPEC",
        Unicast => "UNICAST",
        Local => "LOCAL",
        Broadcast => "BROADCAST",
        Anycast => "ANYCAST",
        Multicast => "MULTICAST",
        Blackhole => "BLACKHOLE",
        Unreachable => "UNREACHABLE",
        Prohibit => "PROHIBIT",
    }
);
words!(
    /// Which end of a packet a set is asked about.
    Direction { Source => "src", Destination => "dst", }
);
words!(
    /// Unit of a rate.
    RateUnit { Second => "second", Minute => "minute", Hour => "hour", Day => "day", }
);
words!(
    /// Syslog levels.
    LogLevel {
        Emergency => "emerg",
        Alert => "alert",
        Critical => "crit",
        Error => "error",
        Warning => "warning",
        Notice => "notice",
        Info => "info",
        Debug => "debug",
    }
);

/// Restricts an address-type test to the packet's own interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressTypeLimit {
    /// No restriction.
    AnyInterface,
    /// `--limit-iface-in`
    InInterface,
    /// `--limit-iface-out`
    OutInterface,
}

/// What a rejected sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectKind {
    /// The port is closed.
    PortUnreachable,
    /// The host is away.
    HostUnreachable,
    /// There is no way there.
    NetUnreachable,
    /// Forbidden.
    AdminProhibited,
    /// IPv4 only.
    ProtocolUnreachable,
    /// TCP only.
    TcpReset,
}

/// Names of the bits of [`Match::TcpFlags`], from bit 0.
pub const TCP_FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/// Names of the bits of [`Match::ConntrackState`], from bit 0.
pub const CONNTRACK_STATES: [&str; 7] = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT"];
