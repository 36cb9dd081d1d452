//! The few words of nfnetlink that the host speaks: one request, its answers, their attributes.
//!
//! Asks, never changes anything. Works in the network namespace of the thread that opened the socket. Every length
//! that comes from the kernel is checked, so that a truncated message ends a walk and never panics. Layouts:
//! `linux/netlink.h`, `linux/netfilter/nfnetlink.h`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const HEADER: usize = 16;
/// The header of netlink and that of nfnetlink after it.
const FULL_HEADER: usize = HEADER + 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// Low 14 bits: the type without the flags for nesting and byte order.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// The kernel answers while the request is sent; this only bounds the unthinkable.
const PATIENCE: Duration = Duration::from_secs(5);
/// A dump that writers interrupt this often is given up.
const DUMP_ATTEMPTS: usize = 16;

/// A socket for nf_tables questions.
#[derive(Debug)]
pub(super) struct Nfnetlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// `NFT_MSG_*`
    pub message: u8,
    /// `NFPROTO_*`, 0: any.
    pub family: u8,
    /// All objects, not one.
    pub dump: bool,
}

impl Nfnetlink {
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; 64 << 10].into() })
    }

    /// Sends `request` and hands each answer's attributes to `take`. A dump that was interrupted by a writer is
    /// begun anew: `reset` is called before each attempt.
    pub(super) fn ask<S>(
        &mut self,
        request: Request,
        reset: impl Fn() -> S,
        mut take: impl FnMut(&mut S, &[u8]),
    ) -> Result<S, Errno> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut state = reset();
            self.send(request)?;
            if self.receive(request, &mut |attributes| take(&mut state, attributes))? {
                return Ok(state);
            }
        }
        Err(Errno::AGAIN)
    }

    fn send(&mut self, request: Request) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = [0; FULL_HEADER];
        message[0..4].copy_from_slice(&(FULL_HEADER as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&(NFNL_SUBSYS_NFTABLES << 8 | u16::from(request.message)).to_ne_bytes());
        let flags = if request.dump { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        message[HEADER] = request.family;
        rustix::net::send(&self.socket, &message, SendFlags::empty()).map(drop)
    }

    /// False: a writer came between the parts of a dump.
    fn receive(&mut self, request: Request, take: &mut dyn FnMut(&[u8])) -> Result<bool, Errno> {
        let mut whole = true;
        loop {
            let received = rustix::net::recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC);
            let (_, length) = match received {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let datagram = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            for message in Messages(datagram) {
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return message.status().map(|()| whole),
                    NLMSG_ERROR => message.status()?,
                    _ => take(message.body.get(4..).unwrap_or_default()),
                }
                if !request.dump {
                    return Ok(true);
                }
            }
        }
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// The error number in front of the body of an error or an end.
    fn status(&self) -> Result<(), Errno> {
        match self.body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
            Some(0) | None => Ok(()),
            Some(code) => Err(Errno::from_raw_os_error(code.wrapping_neg())),
        }
    }
}

/// The messages of a datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        })
    }
}

/// The attributes of a message: type and content.
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let [l0, l1, k0, k1] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let content = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & ATTRIBUTE_TYPE, content))
    }
}

/// A number, most significant byte first, as nf_tables sends them.
pub(super) fn number(content: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(content.try_into().ok()?))
}

/// A string with or without its closing zero byte.
pub(super) fn text(content: &[u8]) -> String {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    String::from_utf8_lossy(&content[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_a_length_is_wrong() {
        let good = [8, 0, 1, 0, 0, 0, 0, 7];
        let cut = [8, 0, 2, 0, 0];
        let bytes: Vec<u8> = good.into_iter().chain(cut).collect();
        let found: Vec<(u16, Option<u32>)> =
            Attributes(&bytes).map(|(kind, content)| (kind, number(content))).collect();
        assert_eq!(found, [(1, Some(7))]);
        assert_eq!(Attributes(&[1, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn messages_end_where_a_length_is_wrong() {
        let mut bytes = vec![0; 40];
        bytes[0] = 20;
        bytes[20] = 200;
        assert_eq!(Messages(&bytes).count(), 1);
        assert_eq!(Messages(&[0; 16]).count(), 0);
    }
}
