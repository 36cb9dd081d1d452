//! Reads files that others may exchange at any moment. What is opened is judged by its handle, and not by what stood at
//! its path a moment before: a pipe, a device, a socket or a folder hangs nobody, and nothing without an end is read.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

/// Why there are no bytes.
#[derive(Debug, Error)]
pub enum NotRead {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a folder, a pipe, a device or a socket.
    #[error("is not a regular file")]
    NotAFile,
    /// It has more bytes than it may have.
    #[error("is longer than {0} bytes")]
    TooLong(u64),
}

/// Opens a file for reading, links followed. Never waits for whoever is at the other end of a pipe.
///
/// # Errors
/// [`NotRead`]
pub fn open(path: &Path) -> Result<(File, Metadata), NotRead> {
    // Opening a device can do something: what is one by now is not opened. It may still become one in between.
    if !std::fs::metadata(path)?.is_file() {
        return Err(NotRead::NotAFile);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        // So the kernel says that it is a socket, or a device that is not there.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            return Err(NotRead::NotAFile);
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(NotRead::NotAFile) }
}

/// All bytes of a file that has at most so many.
///
/// # Errors
/// [`NotRead`]; of a file that is too long hardly anything is read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, NotRead> {
    let (file, metadata) = open(path)?;
    bytes_of(file, &metadata, most)
}

/// All bytes of an open file that has at most so many.
///
/// # Errors
/// As [`read`].
pub fn bytes_of(file: File, metadata: &Metadata, most: u64) -> Result<Vec<u8>, NotRead> {
    if metadata.len() > most {
        return Err(NotRead::TooLong(most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(most + 1).read_to_end(&mut bytes)?; // it may have grown
    if bytes.len() as u64 > most { Err(NotRead::TooLong(most)) } else { Ok(bytes) }
}

impl NotRead {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    fn fifo(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    }

    #[test]
    fn only_regular_files_are_read_and_no_more_than_they_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fifo(&path("pipe"));
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["pipe", "socket", "."] {
            assert!(matches!(read(&path(name), 10), Err(NotRead::NotAFile)), "{name}");
        }
        assert!(matches!(read(Path::new("/dev/zero"), 10), Err(NotRead::NotAFile)));
        assert!(read(&path("none"), 10).unwrap_err().is_missing());
        std::fs::write(path("text"), "0123456789").unwrap();
        assert_eq!(read(&path("text"), 10).unwrap(), b"0123456789");
        assert!(matches!(read(&path("text"), 9), Err(NotRead::TooLong(9))));
        File::create(path("sparse")).unwrap().set_len(3 << 40).unwrap();
        assert!(matches!(read(&path("sparse"), 1 << 20), Err(NotRead::TooLong(_))));
        std::os::unix::fs::symlink("text", path("link")).unwrap();
        assert!(read(&path("link"), 10).is_ok());
    }

    #[test]
    fn a_file_that_becomes_a_pipe_at_any_moment_hangs_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file, pipe) = (folder.path().join("it"), folder.path().join("file"), folder.path().join("pipe"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::write(&file, "text").unwrap();
                    std::fs::rename(&file, &path).unwrap();
                    fifo(&pipe);
                    std::fs::rename(&pipe, &path).unwrap();
                }
            });
            let until = Instant::now() + Duration::from_millis(200);
            let (mut read_well, mut refused) = (0, 0);
            while Instant::now() < until || read_well == 0 || refused == 0 {
                match read(&path, 10) {
                    Ok(bytes) => {
                        assert!(bytes.is_empty() || bytes == b"text");
                        read_well += 1;
                    }
                    Err(NotRead::NotAFile) => refused += 1,
                    Err(error) => assert!(error.is_missing(), "{error}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
