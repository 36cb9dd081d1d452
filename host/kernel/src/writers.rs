//! The processes that have written and still run: their ends are waited for, by descriptors that the caller polls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ruleward_core::actor::Actor;
use ruleward_core::settle::{MOST_WRITERS, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Tools that end when they have written, by the beginning of their names.
const TOOLS: [&str; 6] = ["iptables", "ip6tables", "xtables", "nft", "ebtables", "arptables"];

/// Processes that are watched until they end.
#[derive(Debug, Default)]
pub struct Writers(BTreeMap<u32, OwnedFd>);

impl Writers {
    /// Watches for the end of a process that has just written, if it is one that ends by itself.
    pub fn watch(&mut self, actor: &Actor) -> Writer {
        let Some(pid) = actor.pid else { return Writer::Stays };
        if self.0.contains_key(&pid) {
            return Writer::Ends(pid);
        }
        match open(pid) {
            Err(Errno::SRCH) => Writer::Ended,
            // Without its words it is another process with the same number, or one of another pid namespace.
            Ok(end) if is_tool(&actor.name) && actor.command_line.is_some() && self.0.len() < MOST_WRITERS => {
                self.0.insert(pid, end);
                Writer::Ends(pid)
            }
            _ => Writer::Stays,
        }
    }

    /// Readable when a process has ended.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.values().map(AsFd::as_fd)
    }

    /// Those that have ended since.
    pub fn take_ended(&mut self) -> Vec<u32> {
        let ended: Vec<u32> = self.0.iter().filter(|(_, end)| has_ended(end.as_fd())).map(|(pid, _)| *pid).collect();
        ended.iter().for_each(|pid| drop(self.0.remove(pid)));
        ended
    }

    /// No other ends are waited for any more.
    pub fn keep(&mut self, running: &BTreeSet<u32>) {
        self.0.retain(|pid, _| running.contains(pid));
    }
}

/// A descriptor that is readable when the process has ended. `ESRCH`: it has.
pub(super) fn open(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    pidfd_open(pid, PidfdFlags::empty())
}

fn has_ended(end: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(end, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
}

fn is_tool(name: &str) -> bool {
    TOOLS.iter().any(|tool| name.starts_with(tool))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn named(name: &str, pid: u32) -> Actor {
        Actor { name: name.into(), pid: Some(pid), command_line: Some(name.into()), ..Actor::unknown() }
    }

    #[test]
    fn the_end_of_a_tool_is_told_once() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let mut writers = Writers::default();
        assert_eq!(writers.watch(&named("iptables-restor", child.id())), Writer::Ends(child.id()));
        assert_eq!(writers.watch(&named("iptables-restor", child.id())), Writer::Ends(child.id()));
        assert_eq!((writers.fds().count(), writers.take_ended()), (1, vec![]));
        drop(child.stdin.take());
        let mut fds: Vec<_> = writers.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        assert_eq!(poll(&mut fds, None), Ok(1));
        assert_eq!((writers.take_ended(), writers.take_ended()), (vec![child.id()], vec![]));
        child.wait().unwrap();
        assert_eq!(writers.watch(&named("iptables", child.id())), Writer::Ended);
    }

    #[test]
    fn programs_that_go_on_running_are_not_waited_for() {
        let mut writers = Writers::default();
        let own = std::process::id();
        assert_eq!(writers.watch(&named("calico-node", own)), Writer::Stays);
        assert_eq!(writers.watch(&Actor { command_line: None, ..named("iptables", own) }), Writer::Stays);
        assert_eq!(writers.watch(&Actor::unknown()), Writer::Stays);
        assert_eq!(writers.fds().count(), 0);
    }
}
