//! The few words of nfnetlink that the benchmarks speak: messages with attributes, sent and received with a deadline.
//!
//! Works in the network namespace of the thread that opened the socket. Lengths that come from the kernel are checked:
//! a message that is cut short ends a walk. Nothing here waits without limit. Layouts: `linux/netlink.h`,
//! `linux/netfilter/nfnetlink.h`.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::Instant;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_DUMP_INTR: u16 = 0x10;

const HEADER: usize = 16;
/// The header of netlink and that of nfnetlink after it.
const FULL_HEADER: usize = HEADER + 4;
/// Low 14 bits: the type without the flags for nesting and byte order.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 256 << 10;
/// Room for the events of the largest transaction that is watched.
const RECEIVE_BUFFER: usize = 256 << 20;

/// A netfilter socket.
pub struct Socket {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Socket {
    /// Opens one that hears the multicast groups whose bits are set in `groups`; with none it is for requests.
    pub fn open(groups: u32) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))
            .context("cannot open a netfilter socket")?;
        // Only the machine's root may exceed the machine's limit; others get as much as it allows.
        set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER)
            .or_else(|_| set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER))
            .context("cannot set a receive buffer")?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups)).context("cannot bind a netfilter socket")?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM].into() })
    }

    pub fn send(&self, messages: &[u8]) -> Result<()> {
        rustix::net::send(&self.fd, messages, SendFlags::empty()).context("cannot send to netfilter")?;
        Ok(())
    }

    /// The next datagram; `None` if none has come by then.
    pub fn receive(&mut self, deadline: Instant) -> Result<Option<&[u8]>> {
        loop {
            match rustix::net::recv(&self.fd, &mut *self.buffer, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    return match self.buffer.get(..length) {
                        Some(datagram) => Ok(Some(datagram)),
                        None => bail!("netfilter sent a datagram of {length} bytes; {DATAGRAM} fit"),
                    };
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait(deadline)? => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::NOBUFS) => bail!("netfilter's events did not fit into the receive buffer: some are lost"),
                Err(error) => return Err(error).context("cannot receive from netfilter"),
            }
        }
    }

    /// Waits for a datagram; false: none by then.
    fn wait(&self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).context("a deadline is too far away")?;
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error).context("cannot wait for netfilter"),
        }
    }
}

/// A received message without its headers.
#[derive(Debug)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// `NFPROTO_*`; means nothing in an error.
    pub family: u8,
    /// After nfnetlink's header; of an error, after its number.
    pub attributes: &'a [u8],
    status: i32,
}

impl Message<'_> {
    /// What an error, an acknowledgement or the end of a dump says.
    pub fn status(&self) -> Result<(), Errno> {
        match self.status {
            0 => Ok(()),
            code => Err(Errno::from_raw_os_error(code.wrapping_neg())),
        }
    }
}

/// The messages of a datagram.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let inner = body.first_chunk::<4>().copied().unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            family: inner[0],
            attributes: body.get(4..).unwrap_or_default(),
            status: i32::from_ne_bytes(inner),
        })
    }
}

/// The type and content of each attribute.
pub struct Attributes<'a>(pub &'a [u8]);

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

/// A message about to be sent; several can follow each other in one buffer.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub family: u8,
    /// Most significant byte first on the wire.
    pub resource: u16,
}

/// Appends a message to `buffer`.
pub fn push_message(buffer: &mut Vec<u8>, head: Head, attributes: &[(u16, &[u8])]) {
    let start = buffer.len();
    buffer.extend([0; 4]);
    buffer.extend(head.kind.to_ne_bytes());
    buffer.extend((head.flags | NLM_F_REQUEST).to_ne_bytes());
    buffer.extend(head.sequence.to_ne_bytes());
    buffer.extend([0; 4]);
    buffer.extend([head.family, 0]);
    buffer.extend(head.resource.to_be_bytes());
    debug_assert_eq!(buffer.len() - start, FULL_HEADER);
    for (kind, content) in attributes {
        buffer.extend(((content.len() + 4) as u16).to_ne_bytes());
        buffer.extend(kind.to_ne_bytes());
        buffer.extend(*content);
        buffer.resize(buffer.len().next_multiple_of(4), 0);
    }
    let length = (buffer.len() - start) as u32;
    buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut buffer = Vec::new();
        for sequence in [7, 8] {
            let head = Head { kind: 2568, flags: NLM_F_ACK, sequence, family: 2, resource: 10 };
            push_message(&mut buffer, head, &[(1, b"filter\0"), (3, &[0, 9])]);
        }
        let messages: Vec<Message<'_>> = Messages(&buffer).collect();
        assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [7, 8]);
        let Message { kind, flags, family, attributes, .. } = messages[1];
        assert_eq!((kind, flags, family), (2568, NLM_F_ACK | NLM_F_REQUEST, 2));
        let attributes: Vec<(u16, &[u8])> = Attributes(attributes).collect();
        assert_eq!(attributes, [(1, &b"filter\0"[..]), (3, &[0, 9][..])]);
    }

    #[test]
    fn a_wrong_length_ends_the_walk() {
        let mut bytes = vec![0; 40];
        (bytes[0], bytes[20]) = (20, 200);
        assert_eq!(Messages(&bytes).count(), 1);
        assert_eq!(Attributes(&[1, 0, 1, 0]).count(), 0);
    }
}
