//! Transport protocols by name: the table below holds what /etc/protocols and iptables itself agree on.

const NAMES: [(&str, u8); 26] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ipv6-crypt", 50),
    ("ah", 51),
    ("ipv6-auth", 51),
    ("icmpv6", 58),
    ("icmp6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("mh", 135),
    ("udplite", 136),
];

/// The number of a protocol, given by name in any case or by number; 0 for every protocol.
///
/// # Errors
/// What is wrong with it.
pub fn number(text: &str) -> Result<u8, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(0);
    }
    let named = || NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    let found = text.parse().ok().or_else(named);
    found.ok_or_else(|| format!("protocol {text:?} is not known here; write its number, 0 to 255"))
}
