//! What a running daemon offers on its runtime directory, and how commands reach it.
//!
//! - `lock`: held by the one process that may write ([`lock`]).
//! - `status.sock`, mode 0660: writes the status as JSON to whoever connects, and never reads. Root and the group of
//!   the directory's owner may ask; a process that may not change rules can't do more here than look.
//! - `control.sock`, mode 0600: takes requests, one JSON line each; only the daemon's own user.
//! - `http.sock`, mode 0660, and loopback: metrics, health and the status page ([`http`]).
//! - systemd's notification socket ([`notify`]).
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
