//! The few words of nfnetlink that the host speaks: a question and its answers, a batch of changes and its errors, and
//! the attributes of both.
//!
//! Works in the network namespace of the thread that opened the socket. Every length that comes from the kernel is
//! checked, so that a truncated message ends a walk and never panics. Layouts: `linux/netlink.h`,
//! `linux/netfilter/nfnetlink.h`.

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
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;
/// The attribute holds attributes.
const NLA_F_NESTED: u16 = 0x8000;
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
    /// What was asked for as its size, if more than the default.
    send_buffer: usize,
}

/// What to ask.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request<'a> {
    /// `NFT_MSG_*`
    pub message: u8,
    /// `NFPROTO_*`, 0: any.
    pub family: u8,
    /// All objects, not one.
    pub dump: bool,
    /// Makes an object; the kernel answers when it has done so.
    pub changes: bool,
    /// What narrows it down: encoded attributes.
    pub attributes: &'a [u8],
    /// Who is asked.
    pub subsystem: Subsystem,
}

/// A part of netfilter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Subsystem {
    /// `NFNL_SUBSYS_NFTABLES`
    #[default]
    Nftables = 10,
    /// `NFNL_SUBSYS_IPSET`
    Ipset = 6,
    /// `NFNL_SUBSYS_ACCT`
    Accounting = 7,
    /// `NFNL_SUBSYS_CTNETLINK_TIMEOUT`
    Timeout = 8,
}

impl Nfnetlink {
    pub(super) fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        // Errors of a large batch need room; a dump is paced by the reader.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 4 << 20);
        Ok(Self { socket, sequence: 0, buffer: vec![0; 64 << 10].into(), send_buffer: 64 << 10 })
    }

    /// Sends `request` and hands each answer's attributes to `take`. A dump that was interrupted by a writer is
    /// begun anew: `reset` is called before each attempt.
    pub(super) fn ask<S>(
        &mut self,
        request: Request<'_>,
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

    fn send(&mut self, request: Request<'_>) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = match request {
            Request { dump: true, .. } => NLM_F_REQUEST | NLM_F_DUMP,
            Request { changes: true, .. } => NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE,
            _ => NLM_F_REQUEST,
        };
        let kind = (request.subsystem as u16) << 8 | u16::from(request.message);
        let mut message = Vec::with_capacity(FULL_HEADER + request.attributes.len());
        push_header(&mut message, kind, flags, self.sequence, request.family, 0);
        message.extend_from_slice(request.attributes);
        close_message(&mut message, 0);
        rustix::net::send(&self.socket, &message, SendFlags::empty()).map(drop)
    }

    /// A batch for this socket, tied to `generation`.
    pub(super) fn batch(&mut self, generation: u32) -> Batch {
        Batch::new(self.sequence.wrapping_add(1), generation)
    }

    /// Sends a batch: all of it or nothing.
    pub(super) fn commit(&mut self, batch: Batch) -> Result<(), BatchError> {
        let first = batch.first;
        let (bytes, last) = batch.finish();
        self.sequence = last;
        if bytes.len() > self.send_buffer {
            // Without the privilege the kernel says that the message is too long, and the caller takes another way.
            let wanted = bytes.len() + (64 << 10);
            if rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, wanted).is_ok() {
                self.send_buffer = wanted;
            }
        }
        loop {
            match rustix::net::send(&self.socket, &bytes, SendFlags::empty()) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(BatchError::NotSent(error)),
            }
        }
        self.verdict(first, last)
    }

    /// The kernel has worked through the batch by now; its words lie in the receive buffer.
    fn verdict(&mut self, first: u32, last: u32) -> Result<(), BatchError> {
        let (mut done, mut failed, mut whole) = (false, Vec::new(), None);
        loop {
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            let length = match rustix::net::recv(&self.socket, &mut *self.buffer, flags) {
                Ok((_, length)) => length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    whole = Some(error);
                    continue;
                }
            };
            let Some(datagram) = self.buffer.get(..length) else { continue };
            for message in Messages(datagram).filter(|message| message.kind == NLMSG_ERROR) {
                let number = message.sequence.wrapping_sub(first);
                match message.status() {
                    Ok(()) => done |= message.sequence == last.wrapping_sub(1),
                    Err(error) if number == 0 => whole = Some(error),
                    Err(error) if number < last.wrapping_sub(first) => failed.push((number as usize - 1, error)),
                    Err(_) => {} // of an earlier question
                }
            }
        }
        match whole {
            // The kernel uses ERESTART (85) for "another generation".
            Some(error) if error.raw_os_error() == 85 => Err(BatchError::Stale),
            Some(error) => Err(BatchError::Refused(error, failed)),
            None => match failed.first() {
                Some((_, error)) => Err(BatchError::Refused(*error, failed)),
                None if done => Ok(()),
                None => Err(BatchError::Refused(Errno::PROTO, failed)),
            },
        }
    }

    /// False: a writer came between the parts of a dump.
    fn receive(&mut self, request: Request<'_>, take: &mut dyn FnMut(&[u8])) -> Result<bool, Errno> {
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

/// Why a batch did not take effect.
#[derive(Debug)]
pub(super) enum BatchError {
    /// Another generation is current: nothing was done.
    Stale,
    /// It did not reach the kernel.
    NotSent(Errno),
    /// The kernel refused it; with the messages (from 0) that it found fault with, as far as it says.
    Refused(Errno, Vec<(usize, Errno)>),
}

/// Changes that take effect together.
pub(super) struct Batch {
    bytes: Vec<u8>,
    first: u32,
    next: u32,
    last_message: Option<usize>,
}

impl Batch {
    fn new(first: u32, generation: u32) -> Self {
        let mut batch = Self { bytes: Vec::new(), first, next: first, last_message: None };
        batch.control(NFNL_MSG_BATCH_BEGIN, |bytes| {
            push_attribute(bytes, NFNL_BATCH_GENID, &generation.to_be_bytes());
        });
        batch
    }

    fn control(&mut self, kind: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        push_header(&mut self.bytes, kind, NLM_F_REQUEST, self.next, 0, NFNL_SUBSYS_NFTABLES);
        attributes(&mut self.bytes);
        close_message(&mut self.bytes, start);
        self.next = self.next.wrapping_add(1);
    }

    /// Adds a message: `NFT_MSG_*`, `NFPROTO_*`, `NLM_F_*`, and what it carries.
    pub(super) fn push(&mut self, message: u8, family: u8, flags: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        let kind = NFNL_SUBSYS_NFTABLES << 8 | u16::from(message);
        push_header(&mut self.bytes, kind, NLM_F_REQUEST | flags, self.next, family, 0);
        attributes(&mut self.bytes);
        close_message(&mut self.bytes, start);
        self.next = self.next.wrapping_add(1);
        self.last_message = Some(start);
    }

    /// The bytes, and the sequence number of the end. The last message asks for a word of success.
    fn finish(mut self) -> (Vec<u8>, u32) {
        if let Some(flags) = self.last_message.and_then(|start| self.bytes.get_mut(start + 6..start + 8)) {
            let set = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&set.to_ne_bytes());
        }
        let last = self.next;
        self.control(NFNL_MSG_BATCH_END, |_| ());
        (self.bytes, last)
    }
}

/// Begins a message; [`close_message`] fills in its length.
fn push_header(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) {
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
}

fn close_message(bytes: &mut [u8], start: usize) {
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}

/// Adds an attribute, padded. Content of more than 64 KiB can't be said; none here comes near.
pub(super) fn push_attribute(bytes: &mut Vec<u8>, kind: u16, content: &[u8]) {
    let length = u16::try_from(content.len() + 4).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Adds a text with its closing zero byte.
pub(super) fn push_text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    let mut content = text.as_bytes().to_vec();
    content.push(0);
    push_attribute(bytes, kind, &content);
}

/// Adds an attribute that holds attributes.
pub(super) fn push_nested(bytes: &mut Vec<u8>, kind: u16, content: &[u8]) {
    push_attribute(bytes, kind | NLA_F_NESTED, content);
}

pub(super) struct Message<'a> {
    pub kind: u16,
    flags: u16,
    sequence: u32,
    pub body: &'a [u8],
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
pub(super) struct Messages<'a>(pub &'a [u8]);

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
