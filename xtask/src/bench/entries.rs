//! How many entries IPv4's table filter of iptables-legacy has. Asking takes microseconds and starts no process, so that
//! the end of a repair can be seen from outside.
//!
//! Works in the network namespace of the thread that opened the socket. Layout: `struct ipt_getinfo` of
//! `linux/netfilter_ipv4/ip_tables.h`.
#![allow(unsafe_code, reason = "rustix has no getsockopt of iptables; see `Entries::count`")]

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

const IPT_SO_GET_INFO: libc::c_int = 64;
/// Between two looks: far below what a repair takes, and it leaves the processor to those who repair.
const PAUSE: Duration = Duration::from_micros(50);

/// `struct ipt_getinfo`.
#[repr(C)]
struct Info {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entries: [u32; 5],
    underflows: [u32; 5],
    entries: u32,
    size: u32,
}

/// Asks for the number of entries.
pub struct Entries(OwnedFd);

impl Entries {
    /// In the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None);
        Ok(Self(socket.context("cannot open a socket to ask for the table")?))
    }

    /// Number of entries: rules, heads of chains, policies.
    pub fn count(&self) -> Result<u32> {
        let mut info =
            Info { name: [0; 32], valid_hooks: 0, hook_entries: [0; 5], underflows: [0; 5], entries: 0, size: 0 };
        info.name[..6].copy_from_slice(b"filter");
        let mut length = size_of::<Info>() as libc::socklen_t;
        // SAFETY: `info` and `length` are valid for writes during the call, and the kernel writes at most `length`
        // bytes, the size of `info`. It is plain integers without padding, so every value that the kernel writes is
        // a valid one. The descriptor is open, because `self` owns it.
        let status = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_IP,
                IPT_SO_GET_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        if status != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot ask for table filter of iptables-legacy");
        }
        Ok(info.entries)
    }

    /// Waits until there are so many; gives the time when it was seen.
    pub fn wait_for(&self, wanted: u32, deadline: Instant) -> Result<Instant> {
        loop {
            let found = self.count()?;
            let now = Instant::now();
            if found == wanted {
                return Ok(now);
            }
            if now >= deadline {
                bail!("table filter has {found} entries, and should have {wanted} again");
            }
            thread::sleep(PAUSE);
        }
    }
}
