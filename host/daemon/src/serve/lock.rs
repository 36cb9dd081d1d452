//! Only one process writes for a runtime directory: it holds a `flock` on the file `lock` in there.
//!
//! The kernel frees the lock when its holder ends, however it ends. The file says who holds it, for people only; the
//! decision is the kernel's. It is never deleted, or two processes could hold two files of that name.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use thiserror::Error;

use ruleward_report::{ErrorClass, Report};

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another program has it.
    #[error("{holder} is running on {}: {}", .directory.display(), advice(.holder))]
    Held {
        /// `ruleward run (pid 123)`.
        holder: String,
        /// The runtime directory.
        directory: PathBuf,
    },
    /// The directory or the file can't be made.
    #[error("runtime directory: {}: {error}{}", .path.display(), hint(.error))]
    Io {
        /// Which of them.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn advice(holder: &str) -> &'static str {
    if holder.starts_with("ruleward run") {
        "use `ruleward refresh` to have it check now, or stop it first"
    } else {
        "try again when it is done"
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root, or set `runtime-directory` to one of yours",
        _ => "",
    }
}

impl From<LockError> for Report {
    fn from(error: LockError) -> Self {
        let class = match &error {
            LockError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => ErrorClass::Permission,
            LockError::Io { .. } | LockError::Held { .. } => ErrorClass::Temporary,
        };
        Self::failure(class, error.to_string())
    }
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct RuntimeLock {
    file: File,
}

impl RuntimeLock {
    /// Takes the lock for `command`, without waiting. Makes the runtime directory (mode 0755) if need be.
    ///
    /// # Errors
    /// [`LockError::Held`] names who has it.
    pub fn take(directory: &Path, command: &str) -> Result<Self, LockError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| LockError::Io { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(io(directory))?;
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let mut file = options.custom_flags(flags).open(&path).map_err(io(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(LockError::Held { holder: holder(&mut file), directory: directory.to_owned() });
            }
            Err(error) => return Err(io(&path)(error.into())),
        }
        let text = format!("{} {command}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(io(&path))?;
        Ok(Self { file })
    }
}

impl Drop for RuntimeLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0); // for people only
    }
}

/// Who holds the lock, by what it wrote into the file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(200).read_to_string(&mut text));
    match text.trim().split_once(' ') {
        Some((pid, command)) if read.is_ok() && pid.parse::<u32>().is_ok() => {
            format!("ruleward {} (pid {pid})", command.escape_debug())
        }
        _ => "another ruleward process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("run/ruleward");
        let first = RuntimeLock::take(&runtime, "run").unwrap();
        let report = Report::from(RuntimeLock::take(&runtime, "apply").unwrap_err());
        assert_eq!(report.class, ErrorClass::Temporary);
        let pid = std::process::id();
        assert!(report.problems[0].contains(&format!("ruleward run (pid {pid})")), "{report:?}");
        assert!(report.problems[0].contains("ruleward refresh"), "{report:?}");
        drop(first);
        let third = RuntimeLock::take(&runtime, "cleanup").unwrap();
        let refusal = RuntimeLock::take(&runtime, "apply").unwrap_err().to_string();
        assert!(refusal.contains("ruleward cleanup"), "{refusal}");
        drop(third);
    }

    #[test]
    fn a_directory_that_cant_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refusal = RuntimeLock::take(&file.join("run"), "run").unwrap_err().to_string();
        assert!(refusal.contains(&file.display().to_string()), "{refusal}");
    }
}
