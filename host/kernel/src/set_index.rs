//! The kernel's numbers of address sets: rules hold a set's index, people know its name.
//!
//! Asks in the network namespace of the thread that opened it, from whatever thread. An index is good as long as its
//! set lives; a rule that uses a set keeps it alive. Source: `linux/netfilter/ipset/ip_set.h`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use thiserror::Error;

use super::legacy::sockopt::{Question, ask};

/// `IP_SET_OP_GET_BYNAME`, `IP_SET_OP_GET_BYINDEX`
const BY_NAME: u32 = 6;
const BY_INDEX: u32 = 7;
/// Linux 4.20 and later; those before take 6 alone.
const PROTOCOLS: [u32; 2] = [7, 6];
/// `IPSET_MAXNAMELEN`, its closing zero byte included.
const NAME: usize = 32;
/// `struct ip_set_req_get_set`: operation, version, then name or index in one place.
const REQUEST: usize = 8 + NAME;
/// `IPSET_INVALID_ID`: no set.
pub const NO_SET: u16 = u16::MAX;

/// Why the kernel did not tell a set's index or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SetIndexError {
    /// The process lacks the capability.
    #[error("asking for an address set's index needs CAP_NET_ADMIN in this network namespace: run as root")]
    Permission,
    /// Anything else.
    #[error("asking the kernel for an address set's index failed: {0}")]
    System(Errno),
}

impl From<Errno> for SetIndexError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::PERM | Errno::ACCESS => Self::Permission,
            other => Self::System(other),
        }
    }
}

/// Tells the indexes of the sets in the network namespace in which it was opened.
#[derive(Debug)]
pub struct SetIndexes {
    socket: OwnedFd,
}

impl SetIndexes {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`SetIndexError::System`] if there is no socket to be had.
    pub fn open() -> Result<Self, SetIndexError> {
        // Any socket of this family will do; a raw one would need CAP_NET_RAW as well.
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// The index of the set `name`; none if there is no such set.
    ///
    /// # Errors
    /// [`SetIndexError`]
    pub fn index(&self, name: &str) -> Result<Option<u16>, SetIndexError> {
        let mut content = [0; NAME];
        // The last byte stays zero; no set has a longer name or one with a zero byte in it.
        let Some(place) = content[..NAME - 1].get_mut(..name.len()) else { return Ok(None) };
        if name.is_empty() || name.contains('\0') {
            return Ok(None);
        }
        place.copy_from_slice(name.as_bytes());
        let answer = self.ask(BY_NAME, content)?;
        let index = answer.map(|[first, second, ..]| u16::from_ne_bytes([first, second]));
        Ok(index.filter(|index| *index != NO_SET))
    }

    /// The name of the set with `index`; none if there is no such set.
    ///
    /// # Errors
    /// [`SetIndexError`]
    pub fn name(&self, index: u16) -> Result<Option<Box<str>>, SetIndexError> {
        let mut content = [0; NAME];
        content[..2].copy_from_slice(&index.to_ne_bytes());
        let Some(answer) = self.ask(BY_INDEX, content)? else { return Ok(None) };
        let length = answer.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        Ok((length > 0).then(|| String::from_utf8_lossy(&answer[..length]).into()))
    }

    /// None: the kernel has nothing of the kind.
    fn ask(&self, operation: u32, content: [u8; NAME]) -> Result<Option<[u8; NAME]>, SetIndexError> {
        let mut last = Errno::PROTO;
        for protocol in PROTOCOLS {
            let mut request = [0; REQUEST];
            request[..4].copy_from_slice(&operation.to_ne_bytes());
            request[4..8].copy_from_slice(&protocol.to_ne_bytes());
            request[8..].copy_from_slice(&content);
            match ask(self.socket.as_fd(), Question::Set, &mut request) {
                Ok(_) => return Ok(request[8..].first_chunk().copied()),
                // Another version is spoken; sets are not loaded; the index is higher than any can be.
                Err(error @ Errno::PROTO) => last = error,
                Err(Errno::NOPROTOOPT) => return Ok(None),
                Err(Errno::INVAL) if operation == BY_INDEX => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }
}
