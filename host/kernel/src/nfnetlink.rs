//! The few words of nfnetlink that the host speaks: a question and its answers, a batch of changes and its errors.
//!
//! Works in the network namespace of the thread that opened the socket. Layouts: `linux/netfilter/nfnetlink.h`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ruleward_netlink::{
    Head, Messages, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN, add_flags, push_attribute, push_message, push_nfgenmsg,
};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;
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
        let mut message = Vec::new();
        push_message(&mut message, Head { kind, flags, sequence: self.sequence }, |bytes| {
            push_nfgenmsg(bytes, request.family, 0);
            bytes.extend_from_slice(request.attributes);
        });
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
            for message in Messages::new(datagram).filter(|message| message.kind == NLMSG_ERROR) {
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
            for message in Messages::new(datagram) {
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return message.status().map(|()| whole),
                    NLMSG_ERROR => message.status()?,
                    NLMSG_NOOP => continue,
                    NLMSG_OVERRUN => return Err(Errno::NOBUFS),
                    _ => take(message.attributes()),
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
        let head = Head { kind, flags: NLM_F_REQUEST, sequence: self.next };
        push_message(&mut self.bytes, head, |bytes| {
            push_nfgenmsg(bytes, 0, NFNL_SUBSYS_NFTABLES);
            attributes(bytes);
        });
        self.next = self.next.wrapping_add(1);
    }

    /// Adds a message: `NFT_MSG_*`, `NFPROTO_*`, `NLM_F_*`, and what it carries.
    pub(super) fn push(&mut self, message: u8, family: u8, flags: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        let kind = NFNL_SUBSYS_NFTABLES << 8 | u16::from(message);
        push_message(&mut self.bytes, Head { kind, flags: NLM_F_REQUEST | flags, sequence: self.next }, |bytes| {
            push_nfgenmsg(bytes, family, 0);
            attributes(bytes);
        });
        self.next = self.next.wrapping_add(1);
        self.last_message = Some(start);
    }

    /// The bytes, and the sequence number of the end. The last message asks for a word of success.
    fn finish(mut self) -> (Vec<u8>, u32) {
        if let Some(start) = self.last_message {
            add_flags(&mut self.bytes, start, NLM_F_ACK);
        }
        let last = self.next;
        self.control(NFNL_MSG_BATCH_END, |_| ());
        (self.bytes, last)
    }
}
