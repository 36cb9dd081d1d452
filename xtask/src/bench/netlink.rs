//! A socket of nfnetlink for the benchmarks, with a deadline for what is received.
//!
//! Works in the network namespace of the thread that opened the socket. Nothing here waits without limit.

use anyhow::{Context, Result, bail};
use ruleward_netlink::{Head, NLM_F_REQUEST, push_attribute, push_message, push_nfgenmsg};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::Instant;

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

/// Appends a message of nfnetlink: its header, `NFPROTO_*` and resource, and attributes.
pub fn push(buffer: &mut Vec<u8>, head: Head, (family, resource): (u8, u16), attributes: &[(u16, &[u8])]) {
    push_message(buffer, Head { flags: head.flags | NLM_F_REQUEST, ..head }, |bytes| {
        push_nfgenmsg(bytes, family, resource);
        for (kind, content) in attributes {
            push_attribute(bytes, *kind, content);
        }
    });
}
