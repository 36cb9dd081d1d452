//! nfnetlink: messages are put together, sent as one datagram, and answered. One socket, no group.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_ECHO: u16 = 8;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NESTED: u16 = 0x8000;

/// Attributes under construction.
#[derive(Default, Clone)]
pub struct Attributes(pub Vec<u8>);

impl Attributes {
    pub fn bytes(mut self, kind: u16, content: &[u8]) -> Self {
        self.0.extend(((content.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub fn text(self, kind: u16, text: &str) -> Self {
        self.bytes(kind, &[text.as_bytes(), &[0]].concat())
    }

    pub fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// The attributes of an answer: type without flags, content.
pub fn parse(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some([a, b, c, d]) = bytes.first_chunk().copied() {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(content) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([c, d]) & 0x3fff, content));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// One message of a batch, or a question.
pub struct Message {
    pub kind: u16,
    pub flags: u16,
    pub family: u8,
    pub attributes: Attributes,
}

impl Message {
    fn write(&self, bytes: &mut Vec<u8>, kind: u16, sequence: u32, resource: u16) {
        let length = (20 + self.attributes.0.len()) as u32;
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((self.flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.family, 0]);
        bytes.extend(resource.to_be_bytes());
        bytes.extend(&self.attributes.0);
    }
}

pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub fn open() -> io::Result<Self> {
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(std::time::Duration::from_secs(20)))?;
        // As much as is permitted; big bursts are sent by root alone.
        force_buffers(&fd).or_else(|_| {
            set_socket_send_buffer_size(&fd, 64 << 20)?;
            set_socket_recv_buffer_size(&fd, 64 << 20)
        })?;
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; 1 << 18] })
    }

    /// The bodies (after the nfnetlink header) that answer `question`; for a dump also whether no writer came between.
    pub fn ask(&mut self, question: &Message) -> io::Result<(Vec<Vec<u8>>, bool)> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        question.write(&mut bytes, NFTABLES << 8 | question.kind, self.sequence, 0);
        rustix::net::send(&self.fd, &bytes, SendFlags::empty())?;
        let (mut bodies, mut whole) = (Vec::new(), true);
        loop {
            let dump = question.flags & NLM_F_DUMP != 0;
            let mut done = false;
            let sequence = self.sequence;
            self.receive(|of, kind, flags, body| {
                if of != sequence {
                    return Ok(());
                }
                whole &= flags & NLM_F_DUMP_INTR == 0;
                match kind {
                    NLMSG_DONE => done = true,
                    NLMSG_ERROR => {
                        done = true;
                        status(body)?;
                    }
                    _ => {
                        bodies.push(body.get(4..).unwrap_or_default().to_vec());
                        done |= !dump;
                    }
                }
                Ok(())
            })?;
            if done {
                return Ok((bodies, whole));
            }
        }
    }

    /// Commits `messages` as one transaction; the bodies that the kernel echoes. The last message must ask for an
    /// acknowledgement.
    pub fn commit(&mut self, messages: &[Message]) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        let edge = Message { kind: 0, flags: 0, family: 0, attributes: Attributes::default() };
        edge.write(&mut bytes, BATCH_BEGIN, self.sequence + 1, NFTABLES);
        let first = self.sequence + 1;
        for (message, sequence) in messages.iter().zip(first + 1..) {
            message.write(&mut bytes, NFTABLES << 8 | message.kind, sequence, 0);
        }
        self.sequence = first + messages.len() as u32;
        let last = self.sequence;
        self.sequence += 1;
        edge.write(&mut bytes, BATCH_END, self.sequence, NFTABLES);
        rustix::net::send(&self.fd, &bytes, SendFlags::empty())?;
        let (mut echoed, mut done) = (Vec::new(), false);
        while !done {
            self.receive(|of, kind, _, body| {
                if of < first {
                    return Ok(());
                }
                if kind == NLMSG_ERROR {
                    done |= of == last;
                    return status(body);
                }
                echoed.push(body.get(4..).unwrap_or_default().to_vec());
                Ok(())
            })?;
        }
        Ok(echoed)
    }

    fn receive(&mut self, mut take: impl FnMut(u32, u16, u16, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let (_, length) = rustix::net::recv(&self.fd, &mut *self.buffer, RecvFlags::TRUNC)?;
        let mut rest = self.buffer.get(..length).ok_or_else(|| io::Error::other("an answer was too long"))?;
        let mut result = Ok(());
        while let Some([l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3]) = rest.first_chunk().copied() {
            let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            let Some(body) = rest.get(16..length) else { break };
            let (kind, flags) = (u16::from_ne_bytes([k0, k1]), u16::from_ne_bytes([f0, f1]));
            let taken = take(u32::from_ne_bytes([s0, s1, s2, s3]), kind, flags, body);
            result = result.and(taken);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        result
    }
}

fn force_buffers(fd: &OwnedFd) -> io::Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size_force(fd, 64 << 20)?;
    force_send_buffer(fd)
}

/// rustix has no name for SO_SNDBUFFORCE.
#[allow(unsafe_code)]
fn force_send_buffer(fd: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let size: libc::c_int = 64 << 20;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads `length` bytes of `size` and keeps nothing.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, (&raw const size).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn status(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) | None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
    }
}
