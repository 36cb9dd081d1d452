//! Makes the listening sockets, each with its mode from the first moment on.
//!
//! A socket file that somebody answers on is never replaced; one that a dead daemon left behind is. The caller holds the
//! runtime lock, so nobody else replaces it at the same time.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use thiserror::Error;
use tokio::net::UnixListener;

use super::MOST_CLIENTS;
use crate::report::{ErrorClass, Report};

/// Why a socket was not made.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A process answers on it.
    #[error("{}: a process answers on it already; stop that one first, or set another `runtime-directory`", .0.display())]
    Answered(PathBuf),
    /// Something else has the name.
    #[error("{}: is in the way and no socket; remove it", .0.display())]
    NoSocket(PathBuf),
    /// The path does not fit into a socket's address.
    #[error("{}: a socket's path has at most 107 bytes; set a shorter `runtime-directory`", .0.display())]
    TooLong(PathBuf),
    /// The system refused.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl From<SocketError> for Report {
    fn from(error: SocketError) -> Self {
        let class = match &error {
            SocketError::TooLong(_) => ErrorClass::Configuration,
            SocketError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => ErrorClass::Permission,
            _ => ErrorClass::Temporary,
        };
        Self::failure(class, error.to_string())
    }
}

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    /// Where clients come in.
    pub listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens on `path`. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`] says what is in the way.
    pub fn listen(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.to_owned()))?;
        let listener = clear_stale(path, &address).and_then(|()| {
            bound(path, &address, mode).map_err(|error| SocketError::Io { path: path.to_owned(), error })
        })?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // the next daemon does it otherwise
    }
}

fn bound(path: &Path, address: &SocketAddrUnix, mode: u32) -> io::Result<UnixListener> {
    let socket = unix_socket()?;
    // The mode of the socket becomes the mode of the file, less the umask: never more than wanted.
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    bind(&socket, address)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    listen(&socket, i32::try_from(MOST_CLIENTS).unwrap_or(i32::MAX))?;
    UnixListener::from_std(StdListener::from(socket))
}

fn unix_socket() -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn clear_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let io = |error: io::Error| SocketError::Io { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    let probe = unix_socket().map_err(|error| io(error.into()))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(io),
        Err(Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::Answered(path.to_owned())), // a full queue is somebody's
        Err(error) => Err(io(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_a_dead_daemon_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let first = Socket::listen(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::listen(&path, 0o600), Err(SocketError::Answered(_))));
        drop(first);
        assert!(!path.exists());

        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "a std listener leaves its file behind, as a killed daemon does");
        let again = Socket::listen(&path, 0o660).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(again);

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::listen(&path, 0o600), Err(SocketError::NoSocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_the_limit() {
        let path = PathBuf::from(format!("/tmp/{}/x.sock", "d".repeat(120)));
        let error = Socket::listen(&path, 0o600).unwrap_err();
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
    }
}
