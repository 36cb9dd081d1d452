//! Tells systemd how the daemon is doing (`sd_notify(3)`): one datagram to the socket that `NOTIFY_SOCKET` names.
//!
//! Ready is a node that was found right. The watchdog is fed as long as the checking thread goes on ([`Heartbeat`]), by the
//! loop that serves requests, so that a loop which hangs does not feed it either.
//!
//! [`Heartbeat`]: ruleward_report::heartbeat::Heartbeat

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::status_store::StatusStore;
use ruleward_report::Report;
use ruleward_report::plain::plain;

/// Longest line of `systemctl status`, in characters.
const LONGEST_STATUS: usize = 300;

/// Sends `state` (`READY=1`, `STOPPING=1`), if somebody wants to know. A failure is only logged.
pub fn notify(state: &str) {
    if let Some(target) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&target, state)
    {
        tracing::warn!("could not tell systemd {state}: {error}");
    }
}

/// A reload begins; [`READY`] ends it.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
}

/// The node is right for the first time, or a reload is done.
pub const READY: &str = "READY=1";

/// What `systemctl status` shows, in one line.
pub fn status_line(report: &Report) -> String {
    let text = match (report.problems.first(), report.refused.first(), &report.nothing_enforced) {
        (_, Some(refused), _) if report.in_sync => format!("REFUSED: {}", plain(refused)),
        (_, _, Some(why)) if report.in_sync => format!("nothing enforced: {}", plain(why)),
        _ if report.in_sync => "in sync".to_owned(),
        (Some(problem), ..) => format!("OUT OF SYNC: {}", plain(problem)),
        (None, ..) => "OUT OF SYNC".to_owned(),
    };
    format!("STATUS={}", text.chars().take(LONGEST_STATUS).collect::<String>())
}

/// How long systemd waits for a sign, if it is us from whom it wants one.
pub fn watchdog_limit() -> Option<Duration> {
    limit(std::env::var("WATCHDOG_USEC").ok()?.as_str(), std::env::var("WATCHDOG_PID").ok().as_deref())
}

fn limit(microseconds: &str, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let limit = Duration::from_micros(microseconds.parse().ok()?);
    (ours && !limit.is_zero()).then_some(limit)
}

/// Feeds the watchdog for ever, but not while the checking thread is stuck. What keeps it is said once, and shown by
/// `systemctl status`.
pub async fn feed_watchdog(store: StatusStore, limit: Duration) {
    let mut ticks = tokio::time::interval(limit / 4);
    let mut said = false;
    loop {
        ticks.tick().await;
        let Some(stuck) = store.heartbeat().stuck(Instant::now(), limit / 2) else {
            notify("WATCHDOG=1");
            if std::mem::take(&mut said) {
                notify(&status_line(&store.brief().report));
            }
            continue;
        };
        let (doing, seconds) = (stuck.doing, stuck.silent.as_secs());
        if !said {
            tracing::error!(
                "{doing} has not ended for {seconds} s; systemd will restart ruleward; rules stay in force"
            );
        }
        said = true;
        notify(&format!("STATUS={doing} has not ended for {seconds} s"));
    }
}

fn send(target: &OsStr, state: &str) -> io::Result<()> {
    let address = match target.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(target)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_arrives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), READY).unwrap();
        let name = format!("ruleward-notify-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), READY).unwrap();
        for receiver in [receiver, hidden] {
            let mut text = [0; 32];
            let length = receiver.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
    }

    #[test]
    fn a_systemd_that_does_not_read_holds_up_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| send(path.as_os_str(), READY).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn only_our_own_watchdog_is_fed() {
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!([limit("1000000", None), limit("1000000", Some(&own))], [second, second]);
        assert_eq!([limit("1000000", Some("1")), limit("0", None), limit("x", None)], [None; 3]);
    }

    #[test]
    fn the_status_is_one_short_line() {
        let mut report = Report { in_sync: true, ..Report::default() };
        assert_eq!(status_line(&report), "STATUS=in sync");
        report.in_sync = false;
        report.problems.push(format!("a\nREADY=1 {}", "x".repeat(1000)));
        let line = status_line(&report);
        assert!(line.starts_with("STATUS=OUT OF SYNC: a") && !line.contains('\n'), "{line}");
        assert!(line.chars().count() <= LONGEST_STATUS + "STATUS=".len());
    }
}
