//! What a set should hold, as a policy says it, in hardly more bytes than that takes: there may be millions.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contribution::SetMember;

/// Members in the order in which they were added.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SetMembers {
    /// Of each its kind, then what it holds.
    bytes: Vec<u8>,
    count: usize,
}

const NETWORK: u8 = 0;
const NETWORK_PORT: u8 = 1;
const NOMATCH: u8 = 2;
const EXTENSION: u8 = 3;
/// Beside the kind: the network is one of IPv6.
const IPV6: u8 = 4;

impl SetMembers {
    /// One more.
    pub fn push(&mut self, member: &SetMember) {
        match member {
            SetMember::Network(network) => self.network(NETWORK, *network),
            SetMember::Nomatch(network) => self.network(NOMATCH, *network),
            SetMember::NetworkPort { network, protocol, port } => {
                self.network(NETWORK_PORT, *network);
                self.bytes.push(*protocol);
                self.bytes.extend(port.to_le_bytes());
            }
            SetMember::Extension(text) => {
                self.bytes.push(EXTENSION);
                self.bytes.extend((text.len() as u64).to_le_bytes());
                self.bytes.extend(text.as_bytes());
            }
        }
        self.count += 1;
    }

    fn network(&mut self, kind: u8, network: IpNet) {
        match network {
            IpNet::V4(network) => {
                self.bytes.push(kind);
                self.bytes.extend(network.addr().octets());
            }
            IpNet::V6(network) => {
                self.bytes.push(kind | IPV6);
                self.bytes.extend(network.addr().octets());
            }
        }
        self.bytes.push(network.prefix_len());
    }

    /// Each member.
    pub fn iter(&self) -> impl Iterator<Item = SetMember> + '_ {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || next(&mut rest))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Takes the first member off; `None` at the end, and where the bytes are none that [`SetMembers::push`] has written.
fn next(rest: &mut &[u8]) -> Option<SetMember> {
    let [kind] = take(rest)?;
    if kind == EXTENSION {
        let length = usize::try_from(u64::from_le_bytes(take(rest)?)).ok()?;
        let (text, more) = rest.split_at_checked(length)?;
        *rest = more;
        return Some(SetMember::Extension(std::str::from_utf8(text).ok()?.to_owned()));
    }
    let network = if kind & IPV6 == 0 {
        let (address, [length]) = (Ipv4Addr::from(take::<4>(rest)?), take(rest)?);
        IpNet::V4(Ipv4Net::new(address, length).ok()?)
    } else {
        let (address, [length]) = (Ipv6Addr::from(take::<16>(rest)?), take(rest)?);
        IpNet::V6(Ipv6Net::new(address, length).ok()?)
    };
    match kind & !IPV6 {
        NETWORK => Some(SetMember::Network(network)),
        NOMATCH => Some(SetMember::Nomatch(network)),
        NETWORK_PORT => {
            let [protocol] = take(rest)?;
            Some(SetMember::NetworkPort { network, protocol, port: u16::from_le_bytes(take(rest)?) })
        }
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(*first)
}

impl FromIterator<SetMember> for SetMembers {
    fn from_iter<I: IntoIterator<Item = SetMember>>(members: I) -> Self {
        let mut all = Self::default();
        members.into_iter().for_each(|member| all.push(&member));
        all.bytes.shrink_to_fit();
        all
    }
}

impl fmt::Debug for SetMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for SetMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = SetMembers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of members")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<SetMembers, A::Error> {
        let mut all = SetMembers::default();
        while let Some(member) = members.next_element()? {
            all.push(&member);
        }
        all.bytes.shrink_to_fit();
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for SetMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_as_they_were_said() {
        let network = |text: &str| text.parse().unwrap();
        let members = [
            SetMember::Network(network("10.0.0.7/8")),
            SetMember::Network(network("fd00::/64")),
            SetMember::NetworkPort { network: network("192.0.2.1/32"), protocol: 17, port: 65_535 },
            SetMember::NetworkPort { network: network("::1/128"), protocol: 6, port: 1 },
            SetMember::Nomatch(network("10.1.0.0/16")),
            SetMember::Nomatch(network("fd00::1/128")),
            SetMember::Extension("192.0.2.0/24,eth0 comment \"ü\"".to_owned()),
            SetMember::Extension(String::new()),
        ];
        let packed: SetMembers = members.iter().cloned().collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), members);
        assert_eq!((packed.len(), packed.is_empty(), SetMembers::default().is_empty()), (8, false, true));
        let many: SetMembers = (0..1000).map(|_| members[0].clone()).collect();
        assert_eq!(many.bytes.len(), 6 * 1000, "six bytes for a network of IPv4");
    }
}
