//! Work that takes long and needs nothing of the rules in force is done by another thread, while
//! this one goes on repairing them: policies are asked, a change is rehearsed, large sets are read.

use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{Pass, Pipeline};
use crate::roster::Roster;

/// What is due is looked at after this time, and not more often.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// Rings when the work has ended, whatever came of it.
struct Bell(Arc<OwnedFd>);

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Pipeline {
    /// What `work` gives. Rules that are damaged meanwhile are repaired; sets are left alone.
    pub(super) fn beside<T: Send + 'static>(
        &mut self,
        pass: &mut Pass,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let Some(bell) = eventfd(0, flags).ok().filter(|_| self.committed) else { return work() };
        let bell = Arc::new(bell);
        let ringing = Bell(Arc::clone(&bell));
        let thread = std::thread::spawn(move || {
            let _ringing = ringing;
            work()
        });
        let filling = std::mem::replace(&mut self.keeper.filling, true);
        while !thread.is_finished() {
            let rest = self.rest_now().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
            let mut fds = vec![PollFd::new(&*bell, PollFlags::IN)];
            let signals = self.keeper.signals();
            fds.extend(signals.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let ready = poll(&mut fds, Timespec::try_from(rest).ok().as_ref());
            let due = matches!(ready, Ok(0)) || fds.iter().skip(1).any(|fd| !fd.revents().is_empty());
            drop(fds);
            drop(signals);
            if due && let Some(report) = self.attend_now() {
                pass.report.incidents.extend(report.incidents);
            }
        }
        self.keeper.filling = filling;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The same with the policies. Reports of repairs made meanwhile are not told: what policies
    /// are is said by that of the check.
    pub(super) fn with_roster<T: Send + 'static>(
        &mut self,
        pass: &mut Pass,
        work: impl FnOnce(&mut Roster) -> T + Send + 'static,
    ) -> T {
        let empty = Roster::without_records(self.detection.families);
        let mut roster = std::mem::replace(&mut self.roster, empty);
        let (roster, result) = self.beside(pass, move || {
            let result = work(&mut roster);
            (roster, result)
        });
        self.roster = roster;
        result
    }
}
