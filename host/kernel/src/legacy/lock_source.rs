//! The kernel's news of the xtables lock file.
//!
//! inotify tells that the file was replaced, and, where fanotify is not to be had, also opens and closes, without who
//! did it. The file is never opened while it is watched: that would be news too. After a replacement the new file is
//! watched beside the old one, which a writer may still hold; the kernel forgets the old one when it is gone.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

use super::fanotify;

/// The file may be replaced while it is looked at.
const ATTEMPTS: usize = 16;
const BUFFER: usize = 4 << 10;

/// How the lock file is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWatchMethod {
    /// Tells who; our own process is left out.
    Fanotify,
    /// Does not tell who, so our own process is not left out either.
    Inotify,
}

/// Why the lock file is not watched.
#[derive(Debug, Error)]
pub enum LockWatchError {
    /// The file can't be opened or created.
    #[error(
        "the xtables lock {path} can't be watched: {source} (its folder must exist and be writable, or set XTABLES_LOCKFILE)"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: Errno,
    },
    /// It is something else.
    #[error("the xtables lock {path} can't be watched: it is no ordinary file; iptables' lock always is: remove it")]
    NotAFile {
        /// What should be the file.
        path: PathBuf,
    },
    /// It was replaced again and again.
    #[error("the xtables lock {path} can't be watched: it was replaced during each of {ATTEMPTS} attempts")]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// The kernel refuses.
    #[error("the xtables lock can't be watched: {what} failed: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: Errno,
    },
}

impl LockWatchError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::System { what, source }
    }
}

/// One piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Opened, by the process with this id if that is known; 0: by one that is not in our pid namespace.
    Opened(Option<u32>),
    /// Closed.
    Closed(Option<u32>),
    /// The kernel dropped some.
    Lost,
    /// Another file may be there now.
    Replaced,
}

/// Where the news comes from.
#[derive(Debug)]
pub(super) struct LockSource {
    path: PathBuf,
    inotify: OwnedFd,
    fanotify: Option<OwnedFd>,
    /// What inotify calls the file that is there now; another inode always has another.
    watched: Mutex<Option<i32>>,
}

impl LockSource {
    /// Watches `path`. Says why it is not done with fanotify.
    pub(super) fn open(path: &Path, best: LockWatchMethod) -> Result<(Self, Option<String>), LockWatchError> {
        let (fanotify, refusal) = match best {
            LockWatchMethod::Inotify => (None, Some("inotify was asked for".to_owned())),
            LockWatchMethod::Fanotify => match usable_fanotify() {
                Ok(queue) => (Some(queue), None),
                Err(error) => (None, Some(refusal(error))),
            },
        };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(LockWatchError::system("inotify_init1"))?;
        let source = Self { path: path.to_owned(), inotify, fanotify, watched: Mutex::new(None) };
        source.arm()?;
        Ok((source, refusal))
    }

    pub(super) fn method(&self) -> LockWatchMethod {
        if self.fanotify.is_some() { LockWatchMethod::Fanotify } else { LockWatchMethod::Inotify }
    }

    /// Watches the file that is there now, creating it if there is none. Whether it is another one than before.
    pub(super) fn arm(&self) -> Result<bool, LockWatchError> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ATTEMPTS {
            let Some(file) = self.existing()? else { continue };
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            let now = inotify::add_watch(&self.inotify, link.as_str(), self.signs())
                .map_err(LockWatchError::system("inotify_add_watch"))?;
            if let Some(queue) = &self.fanotify {
                let link = CString::new(link).map_err(|_| Errno::INVAL);
                link.and_then(|link| fanotify::mark(queue, &link)).map_err(LockWatchError::system("fanotify_mark"))?;
            }
            if self.is_there(&file) {
                return Ok(watched.replace(now) != Some(now));
            }
        }
        Err(LockWatchError::Changing { path: self.path.clone() })
    }

    fn signs(&self) -> WatchFlags {
        let replaced = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        match self.method() {
            LockWatchMethod::Fanotify => replaced,
            LockWatchMethod::Inotify => {
                replaced | WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE
            }
        }
    }

    /// The file, in a way that is no news to anyone watching it. None: it was not there, and was created.
    fn existing(&self) -> Result<Option<OwnedFd>, LockWatchError> {
        let system = |source| LockWatchError::File { path: self.path.clone(), source };
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&self.path, flags | OFlags::PATH, Mode::empty()) {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file).map_err(system)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Ok(Some(file)),
                    _ => Err(LockWatchError::NotAFile { path: self.path.clone() }),
                }
            }
            Err(Errno::NOENT) => {
                let mode = Mode::RUSR | Mode::WUSR;
                rustix::fs::open(&self.path, flags | OFlags::RDONLY | OFlags::CREATE, mode).map_err(system)?;
                Ok(None)
            }
            Err(error) => Err(system(error)),
        }
    }

    fn is_there(&self, file: &OwnedFd) -> bool {
        match (rustix::fs::fstat(file), rustix::fs::lstat(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        }
    }

    /// Waits for news or for `stop`, and hands on what there is. False: stop.
    pub(super) fn wait(&self, stop: &OwnedFd, take: &mut dyn FnMut(News)) -> Result<bool, Errno> {
        let mut polled = vec![PollFd::new(stop, PollFlags::IN), PollFd::new(&self.inotify, PollFlags::IN)];
        polled.extend(self.fanotify.as_ref().map(|queue| PollFd::new(queue, PollFlags::IN)));
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if polled.first().is_some_and(|stop| !stop.revents().is_empty()) {
            return Ok(false);
        }
        // First who wrote, which can't wait.
        if let Some(queue) = &self.fanotify {
            quiet(fanotify::read(queue, &mut [0; BUFFER], &mut |happened| {
                let pid = Some(happened.pid);
                let news = [
                    (happened.lost, News::Lost),
                    (happened.opened, News::Opened(pid)),
                    (happened.closed, News::Closed(pid)),
                ];
                news.into_iter().filter(|(is, _)| *is).for_each(|(_, news)| take(news));
            }))?;
        }
        quiet(self.read_inotify(take))?;
        Ok(true)
    }

    fn read_inotify(&self, take: &mut dyn FnMut(News)) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let signs = reader.next()?.events();
            let closed = ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE;
            let replaced = ReadFlags::ATTRIB
                | ReadFlags::DELETE_SELF
                | ReadFlags::MOVE_SELF
                | ReadFlags::IGNORED
                | ReadFlags::UNMOUNT;
            let news = [
                (ReadFlags::QUEUE_OVERFLOW, News::Lost),
                (ReadFlags::OPEN, News::Opened(None)),
                (closed, News::Closed(None)),
                (replaced, News::Replaced),
            ];
            news.into_iter().filter(|(sign, _)| signs.intersects(*sign)).for_each(|(_, news)| take(news));
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

/// Nothing to read is no error.
fn quiet(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        other => other,
    }
}

/// A queue of fanotify, if this process may have one and may watch a file with it.
fn usable_fanotify() -> Result<OwnedFd, Errno> {
    let queue = fanotify::open()?;
    // A file of our own, in memory, tells whether marking is permitted as well.
    let trial = rustix::fs::memfd_create("ruleward-fanotify-trial", rustix::fs::MemfdFlags::CLOEXEC)?;
    let link = CString::new(format!("/proc/self/fd/{}", trial.as_raw_fd())).map_err(|_| Errno::INVAL)?;
    fanotify::mark(&queue, &link)?;
    Ok(queue)
}

fn refusal(error: Errno) -> String {
    match error {
        Errno::PERM | Errno::ACCESS => {
            "fanotify needs CAP_SYS_ADMIN in the first user namespace; run as root, and grant that capability"
                .to_owned()
        }
        Errno::NOSYS | Errno::INVAL => format!("this kernel has no fanotify that serves ({error})"),
        _ => format!("fanotify failed: {error}"),
    }
}
