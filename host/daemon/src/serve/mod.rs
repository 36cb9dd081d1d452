//! What a running daemon offers on its runtime directory, and how commands reach it.
//!
//! - `lock`: held by the one process that may write ([`lock`]).
//! - `status.sock`: writes the status as JSON to whoever connects, and never reads.
//! - `control.sock`: takes requests, one JSON line each; changes only from root and the daemon's own user.
//! - `http.sock`, and loopback: metrics, health and the status page ([`http`]).
//! - systemd's notification socket ([`notify`]).
//!
//! Who may connect is said by the keys `socket-mode` and `socket-group`; that permits to look and no more.
//!
//! No client can hold up the daemon: the sockets are served beside the checks, connections are bounded in number and
//! every read and write in time.

pub mod client;
pub mod control;
pub mod http;
pub mod lock;
pub mod notify;
pub mod socket;
pub mod status;

use std::time::Duration;

/// Name of the status socket in the runtime directory.
pub const STATUS_SOCKET: &str = "status.sock";
/// Name of the control socket in the runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// How many clients each socket serves at a time.
const MOST_CLIENTS: usize = 32;
/// How long a client may take to send its request, or to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(5);
/// How long to wait after `accept` failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
