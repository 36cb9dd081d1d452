//! Makes the listening sockets, each with its mode and group from the first moment on.
//!
//! A socket file that somebody answers on is never replaced; one that a dead daemon left behind is. The caller holds the
//! runtime lock, so nobody else replaces it at the same time.

use rustix::fs::{AtFlags, CWD, Gid, Mode, chownat, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::net::UnixListener;

use super::MOST_CLIENTS;
use ruleward_report::{ErrorClass, Report};

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

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Reading and writing for owner, group and others.
    pub mode: u32,
    /// Whose the group's bits are; the daemon's own group if none.
    group: Option<Gid>,
}

impl Access {
    /// With the daemon's own group.
    pub fn of_mode(mode: u32) -> Self {
        Self { mode, group: None }
    }

    /// With a group by its name in `/etc/group` or its number.
    ///
    /// # Errors
    /// What to do, when there is no such group.
    pub fn new(mode: u32, group: &str) -> Result<Self, String> {
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let number = group.parse().ok().or_else(|| number_of(group, &groups)).ok_or_else(|| {
            format!(
                "`socket-group` is {group:?}, and /etc/group has no such group: only root may read the status; make it \
                 (groupadd --system {group}) and start ruleward anew, or give its number"
            )
        })?;
        Ok(Self { mode, group: Some(Gid::from_raw(number)) })
    }
}

/// The number of a group in the text of `/etc/group`: `name:password:number:members`.
fn number_of(group: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let number = parts.next().filter(|name| *name == group).and_then(|_| parts.nth(1))?;
        number.parse().ok()
    })
}

/// A listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    /// Where clients come in.
    pub listener: UnixListener,
    /// Why its group may not connect, if it should and may not.
    pub note: Option<String>,
    path: PathBuf,
}

impl Socket {
    /// Listens on `path`. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`] says what is in the way.
    pub fn listen(path: &Path, access: Access) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.to_owned()))?;
        clear_stale(path, &address)?;
        let io = |error| SocketError::Io { path: path.to_owned(), error };
        let (listener, note) = bound(path, &address, access).map_err(io)?;
        Ok(Self { listener, note, path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // the next daemon does it otherwise
    }
}

fn bound(path: &Path, address: &SocketAddrUnix, access: Access) -> io::Result<(UnixListener, Option<String>)> {
    let socket = unix_socket()?;
    // The mode of the socket becomes the mode of the file, less the umask: nobody but the owner until its group is set.
    fchmod(&socket, Mode::from_raw_mode(access.mode & 0o600))?;
    bind(&socket, address)?;
    // A group that can't be set is no reason to leave the node alone.
    let refusal = access.group.and_then(|group| {
        let error = chownat(CWD, path, None, Some(group), AtFlags::SYMLINK_NOFOLLOW).err()?;
        Some(format!(
            "only root may read the status: group {group} can't be set for {}: {error}; run ruleward with that group \
             (SupplementaryGroups= in the unit), or leave `socket-group` out",
            path.display()
        ))
    });
    let mode = if refusal.is_some() { access.mode & 0o606 } else { access.mode };
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    listen(&socket, i32::try_from(MOST_CLIENTS).unwrap_or(i32::MAX))?;
    Ok((UnixListener::from_std(StdListener::from(socket))?, refusal))
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
        let first = Socket::listen(&path, Access::of_mode(0o600)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::listen(&path, Access::of_mode(0o600)), Err(SocketError::Answered(_))));
        drop(first);
        assert!(!path.exists());

        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "a std listener leaves its file behind, as a killed daemon does");
        let again = Socket::listen(&path, Access::of_mode(0o660)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        drop(again);

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::listen(&path, Access::of_mode(0o600)), Err(SocketError::NoSocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_the_limit() {
        let path = PathBuf::from(format!("/tmp/{}/x.sock", "d".repeat(120)));
        let error = Socket::listen(&path, Access::of_mode(0o600)).unwrap_err();
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
    }

    #[test]
    fn a_group_is_found_by_name_and_number() {
        let groups = "root:x:0:\nruleward:x:998:alice,bob\nbroken\nruleward2:x::\n";
        assert_eq!([number_of("root", groups), number_of("ruleward", groups)], [Some(0), Some(998)]);
        assert_eq!([number_of("rule", groups), number_of("ruleward2", groups), number_of("", groups)], [None; 3]);
        assert_eq!(Access::new(0o660, "4711").unwrap().group, Some(Gid::from_raw(4711)));
        let refusal = Access::new(0o660, "no-such-group").unwrap_err();
        assert!(refusal.contains("groupadd --system no-such-group"), "{refusal}");
    }
}
