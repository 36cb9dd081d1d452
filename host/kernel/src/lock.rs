//! The xtables lock, which every writer of iptables-legacy takes: held from reading a table to having written it,
//! it keeps the kernel's lost-update problem away (`xt_replace_table` only compares the number of entries).
//!
//! It is a `flock` on a file, free again when the guard is dropped or the process ends. Waiting is bounded and
//! never silent: the caller hears who holds the lock and since when it waits. iptables-nft takes no lock.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ruleward_core::bytes;
use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

/// Between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// How often a caller hears of the wait.
const WAIT_NOTICE: Duration = Duration::from_secs(1);

/// Where iptables has its lock: `$XTABLES_LOCKFILE`, else `/run/xtables.lock`.
pub fn default_path() -> PathBuf {
    std::env::var_os("XTABLES_LOCKFILE").map_or_else(|| PathBuf::from("/run/xtables.lock"), PathBuf::from)
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Someone else held it all the time.
    #[error("the xtables lock {path} was not free for {} s; {}", .waited.as_secs_f64().round(), held_by(.holder.as_ref()))]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long it was tried.
        waited: Duration,
        /// Who held it at the end, if that is known.
        holder: Option<Holder>,
    },
    /// The caller gave up waiting.
    #[error("gave up waiting for the xtables lock {path} after {} s", .waited.as_secs_f64().round())]
    GivenUp {
        /// The file.
        path: PathBuf,
        /// How long it was tried.
        waited: Duration,
    },
    /// The file can't be opened or locked.
    #[error("the xtables lock {path} can't be taken: {source}{}", advice(.source))]
    System {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "who holds it is not known".to_owned(), |holder| format!("it is held by {holder}"))
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => " (it is a symbolic link; iptables' lock never is: remove it)",
        Some(Errno::ACCESS | Errno::PERM) => " (run as root)",
        Some(Errno::NOENT) => " (its folder is missing: create it, or set XTABLES_LOCKFILE)",
        _ => "",
    }
}

/// A process that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name; none when it has ended and a child of it still holds the lock.
    pub name: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "pid {} ({name})", self.pid),
            None => write!(f, "a child of pid {}, which has ended", self.pid),
        }
    }
}

/// What a caller hears while it waits.
#[derive(Debug)]
pub struct LockWait<'a> {
    /// The file.
    pub path: &'a Path,
    /// Who holds it, if `/proc/locks` tells: it does not across pid namespaces.
    pub holder: Option<Holder>,
    /// Since when it is tried.
    pub elapsed: Duration,
}

impl std::fmt::Display for LockWait<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "for the xtables lock {}, {}", self.path.display(), held_by(self.holder.as_ref()))?;
        match self.elapsed.as_secs() {
            0 => Ok(()),
            seconds => write!(f, ", for {seconds} s"),
        }
    }
}

/// The lock, held until this is dropped. While it is held, our own iptables-legacy must be given a lock file of
/// its own ([`PrivateLock`]), or it would wait for us.
#[derive(Debug)]
pub struct XtablesLock {
    file: File,
}

impl Drop for XtablesLock {
    /// Unlocks and does not just close: a tool that another thread is starting has a copy of the descriptor for a
    /// moment, which would keep the lock.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl XtablesLock {
    /// Takes the lock at `path`, creating the file if there is none. When the lock is not free, `on_wait` is called
    /// at once and then every second; [`ControlFlow::Break`] ends the wait.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn acquire(
        path: &Path,
        timeout: Duration,
        on_wait: &mut dyn FnMut(&LockWait<'_>) -> ControlFlow<()>,
    ) -> Result<Self, LockError> {
        let started = Instant::now();
        let system = |error: Errno| LockError::System { path: path.to_owned(), source: error.into() };
        let (mut pause, mut next_notice) = (PAUSES.0, Duration::ZERO);
        let mut file = open(path).map_err(system)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path) => return Ok(Self { file }),
                // Someone put another file in its place: that one is the lock now.
                Ok(()) => file = open(path).map_err(system)?,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(system(error)),
            }
            let elapsed = started.elapsed();
            if elapsed >= timeout {
                return Err(LockError::Busy { path: path.to_owned(), waited: elapsed, holder: holder(&file) });
            }
            if elapsed >= next_notice {
                next_notice = elapsed + WAIT_NOTICE;
                if on_wait(&LockWait { path, holder: holder(&file), elapsed }).is_break() {
                    return Err(LockError::GivenUp { path: path.to_owned(), waited: elapsed });
                }
            }
            std::thread::sleep(pause.min(timeout - elapsed));
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Opens the lock file as iptables does, but never through a symbolic link.
fn open(path: &Path) -> Result<File, Errno> {
    // Not blocking: should it be a pipe, opening it would wait for a writer, and no time limit would count.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Whether `path` still names `file`.
fn is_at(file: &File, path: &Path) -> bool {
    match (rustix::fs::fstat(file), rustix::fs::lstat(path)) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        _ => false,
    }
}

/// Who holds a lock on `file`, as far as it can be seen from here.
fn holder(file: &File) -> Option<Holder> {
    let pid = holder_pid(&std::fs::read_to_string("/proc/locks").ok()?, &rustix::fs::fstat(file).ok()?)?;
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok();
    Some(Holder { pid, name: name.map(|name| bytes::decode(name).trim_end().to_owned()) })
}

/// Finds the line `1: FLOCK  ADVISORY  WRITE 15329 00:27:2 0 EOF`; waiters have `->` after the number.
fn holder_pid(locks: &str, stat: &Stat) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let wanted = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && file == wanted).then(|| pid.parse().ok()).flatten()
    })
}

/// A lock file that only we know of, for iptables-legacy to take while we hold the real one, or in a namespace
/// whose rules nobody else can reach. It lies in memory and is named by our descriptor of it, so a killed daemon
/// leaves no file behind.
#[derive(Debug)]
pub struct PrivateLock {
    file: OwnedFd,
    path: PathBuf,
}

impl PrivateLock {
    /// Creates it.
    ///
    /// # Errors
    /// Those of creating a memory file; [`io::ErrorKind::NotFound`] if `/proc` does not show this process.
    pub fn create() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("ruleward-xtables-lock", MemfdFlags::CLOEXEC)?;
        // The tool's own descriptor of that number, which it gets from us: a confined tool can't look into our process.
        let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
        let (ours, there) = (rustix::fs::fstat(&file)?, rustix::fs::stat(&path)?);
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { file, path })
    }

    /// What `XTABLES_LOCKFILE` should say; good as long as this lives, in a process that has the descriptor.
    pub fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }

    /// The descriptor that a tool must be given.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_reported_with_its_holder_and_freed_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = XtablesLock::acquire(&path, Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap();
        let mut heard = Vec::new();
        let error = XtablesLock::acquire(&path, Duration::from_millis(30), &mut |wait| {
            heard.push(wait.holder.clone());
            ControlFlow::Continue(())
        });
        assert!(matches!(error, Err(LockError::Busy { .. })), "{error:?}");
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].as_ref().map(|holder| holder.pid), Some(std::process::id()));
        assert!(heard[0].as_ref().is_some_and(|holder| holder.name.is_some()));
        drop(held);
        XtablesLock::acquire(&path, Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap();
    }

    #[test]
    fn a_caller_can_give_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let _held = XtablesLock::acquire(&path, Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap();
        let error = XtablesLock::acquire(&path, Duration::from_secs(600), &mut |_| ControlFlow::Break(()));
        assert!(matches!(error, Err(LockError::GivenUp { .. })), "{error:?}");
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        let error = XtablesLock::acquire(&path, Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }

    #[test]
    fn a_lock_file_that_was_replaced_is_not_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let old = open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&old, &path));
        let new = open(&path).unwrap();
        assert!(is_at(&new, &path) && !is_at(&old, &path));
    }

    #[test]
    fn a_private_lock_can_be_taken_by_its_path() {
        let lock = PrivateLock::create().unwrap();
        let opened = File::open(lock.path()).unwrap();
        rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive).unwrap();
        let other = PrivateLock::create().unwrap();
        let opened = File::open(other.path()).unwrap();
        rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[test]
    fn waiters_are_not_holders() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stat = rustix::fs::fstat(file.as_file()).unwrap();
        let id =
            format!("{:02x}:{:02x}:{}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev), stat.st_ino);
        let waiter = format!("1: -> FLOCK  ADVISORY  WRITE 7 {id} 0 EOF\n");
        assert_eq!(holder_pid(&waiter, &stat), None);
        let posix = format!("1: POSIX  ADVISORY  WRITE 7 {id} 0 EOF\n");
        assert_eq!(holder_pid(&posix, &stat), None);
        let other = "2: FLOCK  ADVISORY  WRITE 8 00:27:999999999 0 EOF\n";
        let mine = format!("3: FLOCK  ADVISORY  WRITE 9 {id} 0 EOF\n");
        assert_eq!(holder_pid(&format!("{waiter}{posix}{other}{mine}"), &stat), Some(9));
    }
}
