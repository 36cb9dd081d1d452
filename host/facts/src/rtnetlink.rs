//! The two questions that the facts have for the kernel's routing socket (rtnetlink(7)): which links there are, and
//! which addresses. Only the attributes that the facts hold are decoded: a kernel may add others, and change them,
//! without disturbing anyone. Malformed messages are errors, never panics.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruleward_netlink::{
    Attributes, Head, Messages, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
    push_message,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFF_UP: u32 = 0x1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `sizeof(struct ifinfomsg)`
const LINK: usize = 16;
/// `sizeof(struct ifaddrmsg)`
const ADDRESS: usize = 8;
/// The kernel fills up to 32 KiB at once.
const BUFFER: usize = 64 << 10;
/// The only request of a socket.
const SEQUENCE: u32 = 1;
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

/// Reads a message's body as both.
#[cfg(feature = "fuzz")]
pub(super) fn read_any(body: &[u8]) {
    let _ = (link(body), address(body));
}

fn link(body: &[u8]) -> Option<Link> {
    let index = u32_at(body, 4)?;
    let up = u32_at(body, 8)? & IFF_UP != 0;
    let name = Attributes(body.get(LINK..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(Link { index, name: String::from_utf8_lossy(name).into_owned(), up })
}

fn address(body: &[u8]) -> Option<Address> {
    let prefix = *body.get(1)?;
    let link = u32_at(body, 4)?;
    let (mut local, mut other) = (None, None);
    for (kind, value) in Attributes(body.get(ADDRESS..)?) {
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
        let datagram = buffer.get(..received).ok_or_else(|| malformed("longer than the buffer"))?;
        if datagram.is_empty() {
            return Err(malformed("empty"));
        }
        let mut messages = Messages::new(datagram);
        for message in messages.by_ref().filter(|message| message.sequence == SEQUENCE) {
            whole &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_DONE => return Ok(message.status().map(|()| whole.then_some(list))?),
                NLMSG_ERROR => return Err(message.status().err().map_or_else(|| malformed("no list"), Into::into)),
                NLMSG_OVERRUN => return Err(Errno::NOBUFS.into()),
                kind if kind == reply => list.extend(decode(message.body)),
                _ => {} // NLMSG_NOOP, and what a later kernel may add
            }
        }
        if !messages.is_at_end() {
            return Err(malformed("cut off"));
        }
    }
}

/// A request for the whole list, of any address family.
fn question(kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = Head { kind, flags: NLM_F_REQUEST | NLM_F_DUMP, sequence: SEQUENCE };
    push_message(&mut bytes, head, |bytes| bytes.extend_from_slice(&[0; LINK]));
    bytes
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
            let _ = (link(&bytes), address(&bytes));
        }
    }
}
