//! A folder that only this user can write to, for files that are believed later: compiled code, last good answers,
//! the journal of incidents.
//! The folder is opened once and used by its handle, so that nobody can put another in its place. Files are replaced
//! whole (temporary file, fsync, rename, fsync of the folder): after a crash there is the old one or the new one.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use thiserror::Error;

/// Marks files that a crash may have left.
const TEMPORARY: &str = ".tmp-";

/// Why a folder or a file in it is not believed.
#[derive(Debug, Error)]
pub enum PrivateError {
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could put another folder in its place.
    #[error("{} {problem}, so another user could replace what is in it; let only root and this user write to it", .path.display())]
    Exposed {
        /// Which folder above.
        path: PathBuf,
        /// What about it.
        problem: String,
    },
    /// Somebody else could have written it.
    #[error("{} {problem}; remove it; Ruleward creates it again", .path.display())]
    Foreign {
        /// Which file or folder.
        path: PathBuf,
        /// What about it.
        problem: String,
    },
}

/// The folder.
#[derive(Debug)]
pub struct PrivateDir {
    handle: OwnedFd,
    path: PathBuf,
}

impl PrivateDir {
    /// Opens the folder, making it (mode 0700) and its parents if need be.
    ///
    /// # Errors
    /// When it can't be made, is a symbolic link, or others own it or can write to it.
    pub fn open(path: &Path) -> Result<Self, PrivateError> {
        let io = |source: io::Error| PrivateError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io(e.into()))?;
        let stat = rustix::fs::fstat(&handle).map_err(|e| io(e.into()))?;
        ours(&stat, FileType::Directory).map_err(|problem| PrivateError::Foreign { path: path.to_owned(), problem })?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, name: &OsStr, source: impl Into<io::Error>) -> PrivateError {
        PrivateError::Io { path: self.path.join(name), source: source.into() }
    }

    /// Opens a file in it for reading; `None` when there is none.
    ///
    /// # Errors
    /// When it is no regular file of ours that only we can write to.
    pub fn file(&self, name: &OsStr) -> Result<Option<File>, PrivateError> {
        // Not blocking, should it be a pipe: that is refused right after.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let foreign = |problem| PrivateError::Foreign { path: self.path.join(name), problem };
        // Opening a device can do something. Nobody else can put one here in between.
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Symlink | FileType::RegularFile) => {}
            Ok(_) => return Err(foreign("is not a regular file".to_owned())),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.io(name, error)),
        }
        let handle = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(foreign("is a symbolic link".to_owned())),
            Err(error) => return Err(self.io(name, error)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(|e| self.io(name, e))?;
        ours(&stat, FileType::RegularFile).map_err(foreign)?;
        Ok(Some(File::from(handle)))
    }

    /// Opens a file in it for reading and appending, making it (mode 0600) if need be.
    ///
    /// # Errors
    /// When it can't be made, or is no regular file of ours that only we can write to.
    pub fn append(&self, name: &OsStr) -> Result<File, PrivateError> {
        let flags =
            OFlags::CREATE | OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let foreign = |problem| PrivateError::Foreign { path: self.path.join(name), problem };
        let handle = match rustix::fs::openat(&self.handle, name, flags, Mode::from(0o600)) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::LOOP) => return Err(foreign("is a symbolic link".to_owned())),
            Err(rustix::io::Errno::ISDIR) => return Err(foreign("is not a regular file".to_owned())),
            Err(error) => return Err(self.io(name, error)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(|e| self.io(name, e))?;
        ours(&stat, FileType::RegularFile).map_err(foreign)?;
        rustix::fs::fsync(&self.handle).map_err(|e| self.io(name, e))?;
        Ok(File::from(handle))
    }

    /// Whether `name` is still this file, and not another or none.
    pub fn holds(&self, name: &OsStr, file: &File) -> bool {
        let there = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW);
        match (there, rustix::fs::fstat(file)) {
            (Ok(there), Ok(file)) => (there.st_dev, there.st_ino) == (file.st_dev, file.st_ino),
            _ => false,
        }
    }

    /// Names in it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn names(&self) -> Result<Vec<std::ffi::OsString>, PrivateError> {
        let failed = |e: rustix::io::Errno| self.io(OsStr::new(""), e);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes a file, or an empty folder; it is gone for good then, also after a power loss.
    ///
    /// # Errors
    /// When it is there and can't be removed.
    pub fn remove(&self, name: &OsStr) -> Result<(), PrivateError> {
        step("remove");
        if !self.unlink(name)? {
            return Ok(());
        }
        step("sync the folder");
        rustix::fs::fsync(&self.handle).map_err(|error| self.io(name, error))
    }

    /// Whether there was one.
    fn unlink(&self, name: &OsStr) -> Result<bool, PrivateError> {
        let removed = match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(self.io(name, error)),
        }
    }

    /// Puts a file with `contents` in place of `name`.
    ///
    /// # Errors
    /// When the system can't write it; the old file is still there then.
    pub fn replace(&self, name: &OsStr, contents: &[u8]) -> Result<(), PrivateError> {
        self.replace_with(name, |file| file.write_all(contents))
    }

    /// The same with what `write` writes.
    ///
    /// # Errors
    /// As [`PrivateDir::replace`], and those of `write`.
    pub fn replace_with(
        &self,
        name: &OsStr,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), PrivateError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY}{}-{number}", std::process::id());
        let temporary = OsStr::new(&temporary);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.unlink(temporary)?;
        step("create");
        let handle =
            rustix::fs::openat(&self.handle, temporary, flags, Mode::from(0o600)).map_err(|e| self.io(temporary, e))?;
        let mut file = File::from(handle);
        step("write");
        let written = write(&mut file).and_then(|()| {
            step("sync");
            file.sync_all()
        });
        let written = written.map_err(|e| self.io(temporary, e));
        let placed = written.and_then(|()| self.place(temporary, name));
        if placed.is_err() {
            // The first failure is the one to report.
            let _ = self.unlink(temporary);
        }
        placed
    }

    /// Renames `from`, a path in this folder that is already on the disk, to `name`.
    ///
    /// # Errors
    /// When the system can't.
    pub fn place(&self, from: &OsStr, name: &OsStr) -> Result<(), PrivateError> {
        step("rename");
        rustix::fs::renameat_with(&self.handle, from, &self.handle, name, RenameFlags::empty())
            .and_then(|()| {
                step("sync the folder");
                rustix::fs::fsync(&self.handle)
            })
            .map_err(|e| self.io(name, e))
    }

    /// Removes what a crash has left of files that were being written by other processes than this one.
    ///
    /// # Errors
    /// When the folder can't be read, or a file can't be removed.
    pub fn sweep(&self) -> Result<(), PrivateError> {
        let own = format!("{TEMPORARY}{}-", std::process::id());
        for name in self.names()? {
            let text = name.to_string_lossy();
            if text.starts_with(TEMPORARY) && !text.starts_with(&own) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// A place between two calls where the power may go; only tests let it.
#[cfg(not(any(test, feature = "sim")))]
fn step(_: &'static str) {}

#[cfg(any(test, feature = "sim"))]
use power::step;

/// Opens a file that this program's child has just written, by the rules of [`PrivateDir::file`].
///
/// # Errors
/// What the system says, or what is strange about the file.
pub fn open_own(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    ours(&rustix::fs::fstat(&file)?, FileType::RegularFile).map_err(io::Error::other)?;
    Ok(file)
}

/// Whether nobody but root and this user can put another folder in the place of `path`: that takes the right to write to a
/// folder above it. In a folder with the sticky bit only the owner of an entry can rename it.
///
/// # Errors
/// [`PrivateError::Exposed`] names the folder above; or the system refuses to look.
pub fn guarded(path: &Path) -> Result<(), PrivateError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| PrivateError::Io { path, source }
    };
    let absolute = std::path::absolute(path).map_err(io(path))?;
    let real = absolute.canonicalize().map_err(io(&absolute))?;
    for folder in absolute.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        // A link is judged by what it leads to, and by the folder that holds it.
        let stat = rustix::fs::stat(folder).map_err(|error| io(folder)(error.into()))?;
        let exposed = |problem| PrivateError::Exposed { path: folder.to_owned(), problem };
        let owner = stat.st_uid;
        if owner != 0 && owner != rustix::process::geteuid().as_raw() && !is_unknown(owner) {
            return Err(exposed(format!("belongs to user {owner}")));
        }
        if stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0 {
            return Err(exposed(format!("can be written by others (mode {:04o})", stat.st_mode & 0o7777)));
        }
    }
    Ok(())
}

/// In a user namespace the kernel does not tell who owns what belongs to users outside.
fn is_unknown(owner: u32) -> bool {
    const OVERFLOW: u32 = 65_534;
    owner == OVERFLOW
        && std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]))
}

/// Whether it is what it should be, ours, and only ours to write.
fn ours(stat: &Stat, kind: FileType) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != kind {
        let right = if kind == FileType::Directory { "a folder" } else { "a regular file" };
        Err(format!("is not {right}"))
    } else if stat.st_uid != user {
        Err(format!("belongs to user {}, not to {user}", stat.st_uid))
    } else if stat.st_mode & 0o022 != 0 {
        Err(format!("can be written by others (mode {:04o})", stat.st_mode & 0o7777))
    } else {
        Ok(())
    }
}

/// Lets the power go at a step.
#[cfg(any(test, feature = "sim"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub mod power {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::path::Path;

    thread_local! {
        static STEPS: RefCell<Option<(usize, Vec<&'static str>)>> = const { RefCell::new(None) };
    }

    pub(super) fn step(name: &'static str) {
        let lost = STEPS.with_borrow_mut(|steps| {
            let Some((left, done)) = steps else { return false };
            if done.len() == *left {
                return true;
            }
            done.push(name);
            false
        });
        if lost {
            resume_unwind(Box::new("the power is gone"));
        }
    }

    /// Runs `work` until so many steps are done. The steps, if it came to its end.
    fn lost_after(steps: usize, work: impl FnOnce()) -> Option<Vec<&'static str>> {
        STEPS.set(Some((steps, Vec::new())));
        let ended = catch_unwind(AssertUnwindSafe(work)).is_ok();
        let (_, done) = STEPS.take().unwrap_or_default();
        ended.then_some(done)
    }

    /// Lets the power go at each step of `work` in turn, in a new state directory that `prepare` fills. `judge` sees what
    /// is left of it, and whether `work` came to its end. All of its steps.
    pub fn lost_at_each_step<T>(
        prepare: impl Fn(&Path) -> T,
        work: impl Fn(&Path, &T),
        judge: impl Fn(&Path, &T, bool),
    ) -> Vec<&'static str> {
        for steps in 0.. {
            let state = tempfile::tempdir().expect("a directory for temporary files");
            let prepared = prepare(state.path());
            let done = lost_after(steps, || work(state.path(), &prepared));
            judge(state.path(), &prepared, done.is_some());
            if let Some(done) = done {
                return done;
            }
        }
        unreachable!("no work has so many steps")
    }
}
