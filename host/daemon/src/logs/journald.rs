//! journald's socket. Nothing waits for journald: what it does not take is given back with the
//! reason, so that it can be written elsewhere or counted. tracing-journald waits on its socket,
//! ignores what becomes of a line, knows one address, and can add nothing to a message.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::LazyLock;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

static SENDER: LazyLock<io::Result<UnixDatagram>> = LazyLock::new(|| {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
});

static OUR_STDERR: LazyLock<bool> = LazyLock::new(|| {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stat = rustix::fs::fstat(io::stderr());
    stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
});

/// Whether the standard error output is journald's, as systemd says it (systemd.exec(5),
/// `$JOURNAL_STREAM`).
pub fn is_our_stderr() -> bool {
    *OUR_STDERR
}

/// Sends one entry, without waiting.
pub fn send(path: &Path, entry: &[u8]) -> io::Result<()> {
    let socket = SENDER.as_ref().map_err(|error| io::Error::from(error.kind()))?;
    socket.send_to(entry, path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_arrives_and_its_loss_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert_eq!(send(&path, b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
        let journal = UnixDatagram::bind(&path).unwrap();
        send(&path, b"MESSAGE=x").unwrap();
        let mut text = [0; 32];
        let length = journal.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"MESSAGE=x");
        // Nobody reads any more: the queue fills, and the sender is told at once.
        let full = (0..100_000).find_map(|_| send(&path, b"MESSAGE=x").err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(journal);
        assert_eq!(send(&path, b"x").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
