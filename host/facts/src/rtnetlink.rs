//! The two questions that the facts have for the kernel's routing socket (rtnetlink(7)): which links there are, and
//! which addresses. Only the attributes that the facts hold are decoded: a kernel may add others, and change them,
//! without disturbing anyone. Malformed messages are errors, never panics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const IFF_UP: u32 = 0x1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `sizeof(struct nlmsghdr)`
const HEADER: usize = 16;
/// `sizeof(struct ifinfomsg)`
const LINK: usize = 16;
/// `sizeof(struct ifaddrmsg)`
const ADDRESS: usize = 8;
/// The kernel fills up to 32 KiB at once.
const BUFFER: usize = 64 << 10;
/// How often a list that changed while it was read is read anew.
const ATTEMPTS: usize = 10;

/// A network interface.
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
}

/// An address of an interface.
pub(super) struct Address {
    pub link: u32,
    pub ip: IpAddr,
    pub prefix: u8,
}

/// All links of the calling thread's network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    dump(RTM_GETLINK, RTM_NEWLINK, link)
}

/// All addresses of the calling thread's network namespace.
pub(super) fn addresses() -> io::Result<Vec<Address>> {
    dump(RTM_GETADDR, RTM_NEWADDR, address)
}

fn link(body: &[u8]) -> Option<Link> {
    let index = u32_at(body, 4)?;
    let up = u32_at(body, 8)? & IFF_UP != 0;
    let name = attributes(body.get(LINK..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(Link { index, name: String::from_utf8_lossy(name).into_owned(), up })
}

fn address(body: &[u8]) -> Option<Address> {
    let prefix = *body.get(1)?;
    let link = u32_at(body, 4)?;
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS..)?) {
        match kind {
            IFA_LOCAL => local = ip(value),
            // The peer's address on a point-to-point link that also has IFA_LOCAL, else the address itself.
            IFA_ADDRESS => other = ip(value),
            _ => {}
        }
    }
    Some(Address { link, ip: local.or(other)?, prefix })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?)))
}

/// Asks for a list and decodes each of its messages.
fn dump<T>(request: u16, reply: u16, decode: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    for _ in 0..ATTEMPTS {
        if let Some(list) = dump_once(request, reply, decode)? {
            return Ok(list);
        }
    }
    Err(io::Error::other("they changed each time while they were listed"))
}

/// One attempt; `None` when the list changed meanwhile and may be incomplete.
fn dump_once<T>(request: u16, reply: u16, decode: fn(&[u8]) -> Option<T>) -> io::Result<Option<Vec<T>>> {
    // No protocol is protocol 0, which is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &question(request), SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    let mut list = Vec::new();
    let mut whole = true;
    loop {
        let received = rustix::io::retry_on_intr(|| recv(&socket, &mut buffer[..], RecvFlags::TRUNC))?.1;
        let mut rest = buffer.get(..received).ok_or_else(|| malformed("longer than the buffer"))?;
        if rest.is_empty() {
            return Err(malformed("empty"));
        }
        while !rest.is_empty() {
            let (header, body, next) = message(rest).ok_or_else(|| malformed("cut off"))?;
            whole &= header.flags & NLM_F_DUMP_INTR == 0;
            match header.kind {
                NLMSG_DONE => return Ok(whole.then_some(list)),
                NLMSG_ERROR => {
                    let code = u32_at(body, 0).ok_or_else(|| malformed("cut off"))?.cast_signed();
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                kind if kind == reply => list.extend(decode(body)),
                _ => {}
            }
            rest = next;
        }
    }
}

/// A request for the whole list, of any address family.
fn question(kind: u16) -> [u8; HEADER + LINK] {
    let mut bytes = [0; HEADER + LINK];
    bytes[0..4].copy_from_slice(&((HEADER + LINK) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&1u32.to_ne_bytes());
    bytes
}

struct Header {
    kind: u16,
    flags: u16,
}

/// Splits off the first message: its header, its body and what follows it.
fn message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let header = Header { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)? };
    let body = bytes.get(HEADER..length)?;
    Some((header, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes (`struct rtattr`) in `bytes`, up to the first malformed one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn malformed(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer is {how}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (message(&bytes), link(&bytes), address(&bytes));
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
