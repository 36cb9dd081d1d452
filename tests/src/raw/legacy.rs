//! iptables-legacy without its tools and without its lock: reads a table with IPT_SO_GET_ENTRIES, takes out a rule, and
//! writes the table with IPT_SO_SET_REPLACE. Layouts: `linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter/x_tables.h`,
//! `linux/netfilter_ipv6/ip6_tables.h`, on machines with 64 bits.
//!
//! Everything in a table is addressed by its distance from the start: where hooks begin and end, and where jumps go.
//! All that lies behind the rule moves forward by its size. Counters of the whole table begin anew.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType};

use super::Result;

/// Read: info and entries; written: replace.
const SO_GET_INFO: libc::c_int = 64;
const SO_GET_ENTRIES: libc::c_int = 65;
const SO_SET_REPLACE: libc::c_int = 64;
const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
/// Name, hooks, five beginnings, five ends, count, size.
const INFO: usize = 84;
/// Name and size, padded.
const GET: usize = 40;
/// Up to the pointer to the counters.
const REPLACE: usize = 88;

struct Layout {
    level: libc::c_int,
    /// Where an entry keeps the offset of its target, followed by that of the next entry.
    target_offset: usize,
}

struct Table {
    info: Vec<u8>,
    entries: Vec<u8>,
    layout: Layout,
}

/// Takes one rule out of a table.
///
/// # Errors
/// When there is no such rule, or the kernel refuses.
pub fn delete(family: &str, table: &str, chain: &str, number: usize) -> Result<()> {
    let (socket, layout) = open(family)?;
    let info = info(&socket, &layout, table)?;
    let size = word(&info, 80)?;
    let mut answer = vec![0; GET + size];
    put_name(&mut answer, table);
    answer[32..36].copy_from_slice(&(size as u32).to_ne_bytes());
    get(&socket, layout.level, SO_GET_ENTRIES, &mut answer)?;
    let mut table_now = Table { info, entries: answer.split_off(GET), layout };
    let old_count = word(&table_now.info, 76)?;

    let at = table_now.find(chain, number)?;
    table_now.remove(at)?;
    table_now.replace(&socket, old_count)?;
    Ok(())
}

/// Number of entries of a table: rules, heads of chains, policies. Asking takes microseconds and starts no process.
///
/// # Errors
/// When the kernel does not tell.
pub fn entries(family: &str, table: &str) -> Result<usize> {
    let (socket, layout) = open(family)?;
    word(&info(&socket, &layout, table)?, 76)
}

fn open(family: &str) -> Result<(OwnedFd, Layout)> {
    let (domain, layout) = match family {
        "ipv4" => (AddressFamily::INET, Layout { level: libc::IPPROTO_IP, target_offset: 88 }),
        "ipv6" => (AddressFamily::INET6, Layout { level: libc::IPPROTO_IPV6, target_offset: 140 }),
        other => return Err(format!("no such family: {other}").into()),
    };
    let raw = rustix::net::Protocol::from_raw(rustix::net::RawProtocol::new(255).ok_or("255 is not 0")?);
    Ok((rustix::net::socket(domain, SocketType::RAW, Some(raw))?, layout))
}

fn info(socket: &OwnedFd, layout: &Layout, table: &str) -> Result<Vec<u8>> {
    let mut info = vec![0; INFO];
    put_name(&mut info, table);
    get(socket, layout.level, SO_GET_INFO, &mut info)?;
    Ok(info)
}

impl Table {
    fn next(&self, at: usize) -> Result<usize> {
        let step = half(&self.entries, at + self.layout.target_offset + 2)?;
        if step == 0 { Err("an entry without a size".into()) } else { Ok(at + step) }
    }

    /// The name of the target at an entry, and where what follows the name begins.
    fn target(&self, at: usize) -> Result<(&[u8], usize)> {
        let target = at + half(&self.entries, at + self.layout.target_offset)?;
        let name = self.entries.get(target + 2..target + 31).ok_or("an entry without a target")?;
        Ok((until_zero(name), target + 32))
    }

    /// If a user's chain begins at this entry, its name.
    fn head(&self, at: usize) -> Result<Option<&[u8]>> {
        let (name, data) = self.target(at)?;
        if name != b"ERROR" {
            return Ok(None);
        }
        Ok(Some(until_zero(self.entries.get(data..data + 30).ok_or("a chain without a name")?)))
    }

    /// The offset of rule `number` of a chain.
    fn find(&self, chain: &str, number: usize) -> Result<usize> {
        let (mut at, end) = match HOOKS.iter().position(|hook| *hook == chain) {
            Some(hook) => (word(&self.info, 36 + 4 * hook)?, word(&self.info, 56 + 4 * hook)?),
            None => {
                let mut at = 0;
                while self.head(at)? != Some(chain.as_bytes()) {
                    at = self.next(at)?;
                }
                let first = self.next(at)?;
                let mut last = first;
                while self.head(self.next(last)?)?.is_none() {
                    last = self.next(last)?;
                }
                (first, last)
            }
        };
        for _ in 1..number {
            at = self.next(at)?;
        }
        if number == 0 || at >= end { Err("no such rule".into()) } else { Ok(at) }
    }

    /// Takes out the entry at `gone` and moves everything behind it.
    fn remove(&mut self, gone: usize) -> Result<()> {
        let size = self.next(gone)? - gone;
        let mut at = 0;
        while at < self.entries.len() {
            let (name, verdict) = self.target(at)?;
            if name.is_empty() {
                let goal = word(&self.entries, verdict)? as i32;
                if goal > gone as i32 {
                    let moved = goal - size as i32;
                    self.entries[verdict..verdict + 4].copy_from_slice(&moved.to_ne_bytes());
                }
            }
            at = self.next(at)?;
        }
        self.entries.drain(gone..gone + size);
        for place in (36..76).step_by(4) {
            let offset = word(&self.info, place)?;
            if offset > gone && offset != u32::MAX as usize {
                self.info[place..place + 4].copy_from_slice(&((offset - size) as u32).to_ne_bytes());
            }
        }
        Ok(())
    }

    fn replace(&self, socket: &OwnedFd, old_count: usize) -> io::Result<()> {
        // The kernel writes the old entries' counters here, 16 bytes each.
        let mut counters = vec![0_u64; 2 * old_count];
        let mut request = vec![0; REPLACE];
        request[..36].copy_from_slice(&self.info[..36]);
        request[36..40].copy_from_slice(&(old_count as u32 - 1).to_ne_bytes());
        request[40..44].copy_from_slice(&(self.entries.len() as u32).to_ne_bytes());
        request[44..84].copy_from_slice(&self.info[36..76]);
        request[84..88].copy_from_slice(&(old_count as u32).to_ne_bytes());
        request.extend((counters.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
        request.extend(&self.entries);
        set(socket, self.layout.level, &request, &mut counters)
    }
}

fn put_name(bytes: &mut [u8], name: &str) {
    for (to, from) in bytes.iter_mut().take(31).zip(name.bytes()) {
        *to = from;
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> Result<usize> {
    let word = bytes.get(at..at + 4).ok_or("the table is cut short")?;
    Ok(u32::from_ne_bytes(word.try_into()?) as usize)
}

fn half(bytes: &[u8], at: usize) -> Result<usize> {
    let half = bytes.get(at..at + 2).ok_or("the table is cut short")?;
    Ok(usize::from(u16::from_ne_bytes(half.try_into()?)))
}

#[allow(unsafe_code)]
fn get(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, bytes: &mut [u8]) -> io::Result<()> {
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the kernel reads and writes at most `length` bytes of `bytes`, which is borrowed for the call alone.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, bytes.as_mut_ptr().cast(), &raw mut length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `request` holds the address of `counters` and its length in entries of 16 bytes.
#[allow(unsafe_code)]
fn set(socket: &OwnedFd, level: libc::c_int, request: &[u8], counters: &mut [u64]) -> io::Result<()> {
    let _written_by_the_kernel = counters;
    let length = request.len() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `request`, and writes as many counters as the request names to the
    // address in it, which is exactly `counters`: exclusively borrowed until this function ends.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, SO_SET_REPLACE, request.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
