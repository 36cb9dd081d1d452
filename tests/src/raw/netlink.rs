//! nfnetlink: messages are put together, sent as one datagram, and answered; or events are heard.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ruleward_netlink::{
    Head, Message as Answer, Messages, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, push_attribute,
    push_message, push_nested, push_nfgenmsg, push_text,
};
pub use ruleward_netlink::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Attributes under construction.
#[derive(Default, Clone)]
pub struct Attributes(pub Vec<u8>);

impl Attributes {
    pub fn bytes(mut self, kind: u16, content: &[u8]) -> Self {
        push_attribute(&mut self.0, kind, content);
        self
    }

    pub fn text(mut self, kind: u16, text: &str) -> Self {
        push_text(&mut self.0, kind, text);
        self
    }

    pub fn nest(mut self, kind: u16, inner: &Self) -> Self {
        push_nested(&mut self.0, kind, &inner.0);
        self
    }
}

/// The attributes of an answer: type without flags, content.
pub fn parse(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    ruleward_netlink::Attributes(bytes).collect()
}

/// One message of a batch, or a question.
pub struct Message {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) family: u8,
    pub(super) attributes: Attributes,
}

impl Message {
    /// Asks for neither an acknowledgement nor an echo.
    pub fn be_quiet(&mut self) {
        self.flags &= !(NLM_F_ACK | NLM_F_ECHO);
    }

    fn write(&self, bytes: &mut Vec<u8>, kind: u16, sequence: u32, resource: u16) {
        push_message(bytes, Head { kind, flags: self.flags | NLM_F_REQUEST, sequence }, |bytes| {
            push_nfgenmsg(bytes, self.family, resource);
            bytes.extend(&self.attributes.0);
        });
    }
}

pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// For requests.
    pub fn open() -> io::Result<Self> {
        Self::listening(0)
    }

    /// The same, which hears the multicast groups whose bits are set.
    pub fn listening(groups: u32) -> io::Result<Self> {
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(20)))?;
        // As much as is permitted; big bursts are sent by root alone.
        force_buffers(&fd).or_else(|_| {
            set_socket_send_buffer_size(&fd, 64 << 20)?;
            set_socket_recv_buffer_size(&fd, 64 << 20)
        })?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
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
            self.receive(|answer| {
                if answer.sequence != sequence {
                    return Ok(());
                }
                whole &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_DONE => done = true,
                    NLMSG_ERROR => {
                        done = true;
                        answer.status()?;
                    }
                    _ => {
                        bodies.push(answer.attributes().to_vec());
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
            self.receive(|answer| {
                if answer.sequence < first {
                    return Ok(());
                }
                if answer.kind == NLMSG_ERROR {
                    done |= answer.sequence == last;
                    return Ok(answer.status()?);
                }
                echoed.push(answer.attributes().to_vec());
                Ok(())
            })?;
        }
        Ok(echoed)
    }

    /// The next datagram; none if none has come by then. Events that did not fit into the buffer are an error.
    pub fn receive_by(&mut self, deadline: Instant) -> io::Result<Option<&[u8]>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let flags = if left.is_zero() { RecvFlags::TRUNC | RecvFlags::DONTWAIT } else { RecvFlags::TRUNC };
            if !left.is_zero() {
                set_socket_timeout(&self.fd, Timeout::Recv, Some(left))?;
            }
            match rustix::net::recv(&self.fd, &mut *self.buffer, flags) {
                Ok((_, length)) => return self.datagram(length).map(Some),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if left.is_zero() => return Ok(None),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn datagram(&self, length: usize) -> io::Result<&[u8]> {
        self.buffer.get(..length).ok_or_else(|| io::Error::other("an answer was too long"))
    }

    fn receive(&mut self, mut take: impl FnMut(Answer<'_>) -> io::Result<()>) -> io::Result<()> {
        let (_, length) = rustix::net::recv(&self.fd, &mut *self.buffer, RecvFlags::TRUNC)?;
        let datagram = self.datagram(length)?;
        let mut result = Ok(());
        for answer in Messages::new(datagram) {
            let taken = take(answer);
            result = result.and(taken);
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
