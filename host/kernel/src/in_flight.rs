//! Other programs that speak to nf_tables at this moment. iptables-nft reads the rules, and commits to what it has read: a
//! commit of ours between the two makes it start over, which goes wrong where it deletes chains (iptables 1.8.9:
//! `CHAIN_DEL failed`). Its socket is open from before the reading until after the commit, and the kernel lists sockets.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::writers;

/// `NETLINK_NETFILTER`
const PROTOCOL: &str = "12";
/// A client of which only the socket can be seen, or that goes on without it, is looked for again after this time.
const AGAIN: Duration = Duration::from_millis(5);

/// What is known of the sockets of others.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Sockets, by inode, that are no reason to wait: ours, and those that stay open.
    passed: HashSet<u64>,
}

/// Another program's socket for nf_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    /// What it was bound to: mostly the process's id, in that process's own pid namespace.
    port: i32,
    inode: u64,
}

impl InFlight {
    /// Waits until no other program is between reading and writing, but not after `until`: who keeps its socket open that
    /// long is not waited for again. True if it had to wait: what was read before may be another now.
    pub fn wait(&mut self, until: Instant) -> bool {
        let mut waited = false;
        loop {
            let sockets = self.look();
            if sockets.is_empty() {
                return waited;
            }
            let now = Instant::now();
            if now >= until {
                self.passed.extend(sockets.iter().map(|socket| socket.inode));
                return waited;
            }
            waited = true;
            let ends: Vec<OwnedFd> = sockets.iter().filter_map(|socket| end_of(*socket)).collect();
            let mut fds: Vec<_> = ends.iter().map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)).collect();
            let rest = Timespec::try_from((until - now).min(AGAIN)).ok();
            let _ = poll(&mut fds, rest.as_ref());
        }
    }

    /// The sockets of others that may be in use.
    fn look(&mut self) -> Vec<Socket> {
        // Where that can't be read, the generation alone tells whether it was too late.
        let Ok(list) = std::fs::read_to_string("/proc/thread-self/net/netlink") else { return Vec::new() };
        let all: Vec<Socket> = list.lines().filter_map(socket).collect();
        self.passed.retain(|inode| all.iter().any(|socket| socket.inode == *inode));
        let mut others: Vec<Socket> = all.into_iter().filter(|socket| !self.passed.contains(&socket.inode)).collect();
        if !others.is_empty() {
            let own = inodes("/proc/self/fd");
            self.passed.extend(others.extract_if(.., |socket| own.contains(&socket.inode)).map(|socket| socket.inode));
        }
        others.retain(|socket| !writes_no_rules(*socket));
        others
    }
}

/// One line of the kernel's list. None: another protocol, the kernel's own, or a socket that only listens to events.
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (protocol, port, groups) = (words.nth(1)?, words.next()?, words.next()?);
    let inode = words.nth(5)?.parse().ok()?;
    // Unsigned in the list; a program's second socket is bound to a negative number.
    let port = port.parse::<u32>().ok()?.cast_signed();
    let listens = groups.bytes().any(|digit| digit != b'0');
    (protocol == PROTOCOL && port != 0 && !listens).then_some(Socket { port, inode })
}

/// Programs that only read, which read again if another program wrote meanwhile, and ipset, which speaks of sets alone.
fn writes_no_rules(socket: Socket) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", socket.port)).unwrap_or_default();
    socket.port > 0 && (name.trim_end().ends_with("-save") || name.trim_end() == "ipset") && owns(socket)
}

/// Tells when the process that surely holds it has ended.
fn end_of(socket: Socket) -> Option<OwnedFd> {
    let pid = u32::try_from(socket.port).ok()?;
    let end = writers::open(pid).ok()?;
    owns(socket).then_some(end)
}

fn owns(socket: Socket) -> bool {
    inodes(&format!("/proc/{}/fd", socket.port)).contains(&socket.inode)
}

/// The sockets of a process.
fn inodes(directory: &str) -> HashSet<u64> {
    let Ok(links) = std::fs::read_dir(directory) else { return HashSet::new() };
    let inode = |link: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(link.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    links.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_may_write_are_told_from_others() {
        let line = |line| socket(line);
        let all = "00000000f7ca7336 12 20684      00000000 0 0 0 2 0 28117";
        assert_eq!(line(all), Some(Socket { port: 20_684, inode: 28_117 }));
        let second = "00000000f7ca7336 12 4294963198 00000000 0 0 0 2 0 28118";
        assert_eq!(line(second), Some(Socket { port: -4098, inode: 28_118 }));
        assert_eq!(line("00000000a69350e3 12 20695 00000040 33024 0 1 2 0 28123"), None, "it listens");
        assert_eq!(line("000000007731b65b 12 0 00000000 0 0 0 2 0 26454"), None, "the kernel's");
        assert_eq!(line("000000007731b65b 0 9 00000000 0 0 0 2 0 26454"), None, "routes");
        assert_eq!(
            line("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode"),
            None
        );
        assert_eq!(line(""), None);
    }

    #[test]
    fn own_sockets_are_no_reason_to_wait() {
        let own = inodes("/proc/self/fd");
        let mut clients = InFlight::default();
        assert!(clients.look().iter().all(|socket| !own.contains(&socket.inode)));
    }
}
