//! A process that was started here: it is waited for as long as it may take, and it is gone, with its group if it leads
//! one, when it is given up.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// A child that is killed and reaped when it is given up before its end.
#[derive(Debug)]
pub struct OwnChild(pub Child);

impl OwnChild {
    /// Readable when it has ended.
    ///
    /// # Errors
    /// When this process may have no more descriptors.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        Ok(rustix::process::pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty())?)
    }

    /// Waits for its end. `None`: it took longer than `timeout`, and is gone now.
    ///
    /// # Errors
    /// When it can't be waited for; it is gone then.
    pub fn wait(mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let handle = self.handle()?;
        let deadline = Instant::now() + timeout;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let remaining = Timespec::try_from(remaining).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&remaining)) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.0.wait().map(Some),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        // A child that was not waited for still owns its process id, so this can't hit another process.
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = rustix::process::kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    #[test]
    fn the_status_comes_back_and_what_takes_too_long_is_gone() {
        let run = |word: &str| OwnChild(Command::new("sh").args(["-c", word]).process_group(0).spawn().unwrap());
        let status = |word| run(word).wait(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(status("exit 3").code(), Some(3));
        assert_eq!(status("kill -9 $$").signal(), Some(9));
        let slow = run("sleep 1000 & sleep 1000");
        let handle = slow.handle().unwrap();
        assert_eq!(slow.wait(Duration::from_millis(20)).unwrap(), None);
        let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&Timespec::default())).unwrap();
        assert_eq!(ended, 1, "it goes on");
    }
}
