//! How `status`, `refresh` and `reload` talk to the running daemon.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::control::{Refusal, Request};
use super::{CONTROL_SOCKET, STATUS_SOCKET};
use ruleward_report::status::Status;

/// How long the daemon may take to say how it is doing.
const STATUS_TIME: Duration = Duration::from_secs(10);
/// Longest answer in bytes.
const LONGEST_ANSWER: u64 = 1 << 30;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No socket, or nobody behind it.
    #[error("no daemon answers on {}: start it with `ruleward run`", .0.display())]
    NoDaemon(PathBuf),
    /// The socket is not for everyone.
    #[error("{}: permission denied; run the command as root", .0.display())]
    Denied(PathBuf),
    /// Where it is can't be known.
    #[error("{0}; run the command as the user that runs the daemon (root)")]
    Unknown(String),
    /// The daemon is there and says nothing.
    #[error("{}: no answer within {} s; the daemon hangs: look at its log", .0.display(), STATUS_TIME.as_secs())]
    Silent(PathBuf),
    /// The connection broke.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The daemon ended meanwhile.
    #[error("{}: the daemon ended before it answered; look at its log", .0.display())]
    Ended(PathBuf),
    /// The answer makes no sense.
    #[error("{}: the answer is not understood ({error}); are daemon and command of the same version?", .path.display())]
    Nonsense {
        /// Which socket.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// The daemon says no to who asks.
    #[error("the daemon refuses: {0}")]
    NotPermitted(String),
    /// The daemon says no.
    #[error("the daemon refuses: {0}")]
    Refused(String),
}

impl ClientError {
    /// What the command exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoDaemon(_) => 69,
            Self::Denied(_) | Self::Unknown(_) | Self::NotPermitted(_) => 77,
            Self::Nonsense { .. } => 70,
            Self::Silent(_) | Self::Ended(_) | Self::Io { .. } | Self::Refused(_) => 75,
        }
    }
}

/// Asks how the daemon is doing.
///
/// # Errors
/// [`ClientError`] says why nobody could be asked.
pub fn status(runtime_directory: &Path) -> Result<Status, ClientError> {
    let path = runtime_directory.join(STATUS_SOCKET);
    let stream = open(&path)?;
    let answer = receive(&path, stream, || false)?;
    serde_json::from_slice(&answer).map_err(|error| ClientError::Nonsense { path, error })
}

/// Asks for something and waits for the answer, for a check or a reload its report; `while_waiting` is called every few
/// seconds.
///
/// # Errors
/// [`ClientError`] says why there is no answer.
pub fn ask<A: DeserializeOwned>(
    runtime_directory: &Path,
    request: &Request,
    mut while_waiting: impl FnMut(),
) -> Result<A, ClientError> {
    let path = runtime_directory.join(CONTROL_SOCKET);
    let mut stream = open(&path)?;
    let io = |error| ClientError::Io { path: path.clone(), error };
    let mut request = serde_json::to_vec(request).unwrap_or_default();
    request.push(b'\n');
    stream.write_all(&request).map_err(io)?;
    let answer = receive(&path, stream, || {
        while_waiting();
        true
    })?;
    if let Ok(Refusal { error, denied }) = serde_json::from_slice(&answer) {
        return Err(if denied { ClientError::NotPermitted(error) } else { ClientError::Refused(error) });
    }
    serde_json::from_slice(&answer).map_err(|error| ClientError::Nonsense { path, error })
}

fn open(path: &Path) -> Result<UnixStream, ClientError> {
    let stream = UnixStream::connect(path).and_then(|stream| {
        stream.set_read_timeout(Some(STATUS_TIME))?;
        stream.set_write_timeout(Some(STATUS_TIME))?;
        Ok(stream)
    });
    stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon(path.to_owned()),
        io::ErrorKind::PermissionDenied => ClientError::Denied(path.to_owned()),
        _ => ClientError::Io { path: path.to_owned(), error },
    })
}

/// Reads to the end. After each [`STATUS_TIME`] of silence `patient` says whether to go on waiting.
fn receive(path: &Path, stream: UnixStream, mut patient: impl FnMut() -> bool) -> Result<Vec<u8>, ClientError> {
    let mut answer = Vec::new();
    let mut stream = stream.take(LONGEST_ANSWER);
    loop {
        match stream.read_to_end(&mut answer) {
            Ok(_) if answer.is_empty() => return Err(ClientError::Ended(path.to_owned())),
            Ok(_) => return Ok(answer),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if !patient() {
                    return Err(ClientError::Silent(path.to_owned()));
                }
            }
            Err(error) => return Err(ClientError::Io { path: path.to_owned(), error }),
        }
    }
}
