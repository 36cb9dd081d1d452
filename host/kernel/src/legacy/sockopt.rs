//! The questions that are asked with `getsockopt`, which `rustix` does not know: what a table of iptables-legacy
//! holds, and which set has which index.
//!
//! The answer is written over the question. They ask and never change anything, except that the kernel creates a
//! legacy table that is asked for: whoever asks for one knows that it is there. Sources: `linux/netfilter_ipv4/ip_tables.h`,
//! `linux/netfilter_ipv6/ip6_tables.h`, `linux/netfilter/ipset/ip_set.h`.

use std::os::fd::{AsRawFd, BorrowedFd};

use ruleward_core::names::Family;
use rustix::io::Errno;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// `IPT_SO_GET_INFO`: the size of a table.
    Info(Family),
    /// `IPT_SO_GET_ENTRIES`: all that a table holds.
    Entries(Family),
    /// `IPT_SO_GET_REVISION_TARGET`: whether a target is known.
    TargetRevision(Family),
    /// `SO_IP_SET`: what has an index or a name.
    Set,
}

impl Question {
    /// Level and number of the option.
    fn option(self) -> (libc::c_int, libc::c_int) {
        match self {
            Self::Info(Family::Ipv4) => (libc::SOL_IP, 64),
            Self::Info(Family::Ipv6) => (libc::SOL_IPV6, 64),
            Self::Entries(Family::Ipv4) => (libc::SOL_IP, 65),
            Self::Entries(Family::Ipv6) => (libc::SOL_IPV6, 65),
            Self::TargetRevision(Family::Ipv4) => (libc::SOL_IP, 67),
            Self::TargetRevision(Family::Ipv6) => (libc::SOL_IPV6, 69),
            Self::Set => (libc::SOL_IP, 83),
        }
    }
}

/// Asks; `value` is the question before and the answer after. The number of bytes that the answer has.
#[allow(unsafe_code)]
pub(crate) fn ask(socket: BorrowedFd<'_>, question: Question, value: &mut [u8]) -> Result<usize, Errno> {
    let (level, option) = question.option();
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `value` is ours alone for the time of the call, and initialised. The kernel reads and writes at most the
    // `length` bytes that it is told: each of these options refuses any length but that of its own structure, which for
    // the entries includes the size that the question names. It wants no alignment. `length` outlives the call.
    let status =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut length) };
    if status == 0 {
        return Ok((length as usize).min(value.len()));
    }
    Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error))
}
