//! Systemd's end of the notification socket: what the daemon of a node tells it.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::{Node, PATIENCE, poll};

/// How long is waited for one datagram before the time is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Listens.
pub struct Systemd {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Systemd {
    /// The daemons that the node starts from now on tell it.
    #[track_caller]
    pub fn listen(node: &Node) -> Self {
        let path = node.path("notify");
        // One that listened before is not heard any more.
        std::fs::remove_file(&path).ok();
        let socket = UnixDatagram::bind(&path).expect("a free name");
        socket.set_read_timeout(Some(STEP)).expect("a socket takes one");
        node.set_environment("NOTIFY_SOCKET", path);
        Self { socket, heard: Vec::new() }
    }

    /// Everything that has come so far.
    pub fn heard(&mut self) -> &[String] {
        self.socket.set_nonblocking(true).expect("a socket can be made so");
        while self.hear() {}
        self.socket.set_nonblocking(false).expect("a socket can be made so");
        &self.heard
    }

    /// Forgets it.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    /// Whether this line has come.
    pub fn was_told(&mut self, line: &str) -> bool {
        self.heard().iter().any(|state| has_line(state, line))
    }

    /// Waits for this line, which may have come already.
    #[track_caller]
    pub fn await_line(&mut self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut told = self.was_told(line);
        while !told {
            assert!(Instant::now() < deadline, "systemd is not told {line}, only {:?}", self.heard);
            told = self.hear() && self.heard.last().is_some_and(|state| has_line(state, line));
        }
    }

    /// Forgets what was told, then waits for so many of these.
    #[track_caller]
    pub fn await_more(&mut self, line: &str, times: usize) {
        self.heard();
        self.forget();
        poll(&format!("systemd is told {line} {times} times"), || {
            (self.heard().iter().filter(|state| state.starts_with(line)).count() >= times).then_some(())
        });
    }

    /// Takes one datagram; false: none has come.
    fn hear(&mut self) -> bool {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text);
        self.heard.extend(length.as_ref().map(|length| String::from_utf8_lossy(&text[..*length]).into_owned()));
        length.is_ok()
    }
}

fn has_line(state: &str, line: &str) -> bool {
    state.lines().any(|told| told == line)
}
