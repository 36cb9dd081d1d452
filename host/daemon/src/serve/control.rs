//! The control socket: one JSON line in, one JSON line out.
//!
//! `{"command":"refresh"}` asks for a full check that starts from now on, and is answered with its report.
//! `{"command":"reload"}` has configuration and components read before. `{"command":"log","level":"debug"}` changes how much
//! is logged, `{"command":"log-level"}` only tells. Anything else is answered with `{"error": "..."}`.
//!
//! Whoever may connect may look. What changes anything is for root and the daemon's own user, by what the kernel says of the
//! peer (`SO_PEERCRED`).

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::UCred;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::socket::Socket;
use super::{ACCEPT_PAUSE, CLIENT_TIME, MOST_CLIENTS};
use crate::logs::{self, Level};
use ruleward_report::Report;

/// Longest request in bytes.
const LONGEST_REQUEST: u64 = 1024;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A full check now.
    Refresh {},
    /// The same, when configuration and components have been read again.
    Reload {},
    /// Log lines of this level and above from now on.
    Log {
        /// The least important.
        level: Level,
    },
    /// How much is logged.
    LogLevel {},
}

impl Request {
    /// Whether it only looks.
    fn only_looks(&self) -> bool {
        match self {
            Self::LogLevel {} => true,
            Self::Refresh {} | Self::Reload {} | Self::Log { .. } => false,
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevel {
    /// The least important lines.
    pub log: Level,
}

/// Why a request was not answered with a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was wrong, and what to do.
    pub error: String,
    /// Somebody else may ask for it.
    #[serde(default)]
    pub denied: bool,
}

/// What the loop is asked for.
#[derive(Debug)]
pub enum Ask {
    /// A check that starts from now on; its report goes to the sender, if there is one.
    Check(Option<oneshot::Sender<Arc<Report>>>),
    /// The same, when configuration and components have been read again.
    Reload(Option<oneshot::Sender<Arc<Report>>>),
    /// The end.
    Stop,
}

/// Serves for ever. Requests go to `asks`.
pub async fn serve(socket: Socket, asks: mpsc::Sender<Ask>) {
    // Those who may only look have places of their own, so that they can't take away those of root.
    let [places, places_to_look] = [(); 2].map(|()| Arc::new(Semaphore::new(MOST_CLIENTS)));
    loop {
        let mut stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("control socket: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A refresh may take long: whoever finds no place is told at once.
        let peer = Peer::of(&stream);
        let places = if peer.may_change() { &places } else { &places_to_look };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            let busy = refusal(format!("{MOST_CLIENTS} others wait for a check already; try again later"));
            let _ = stream.try_write(&busy);
            continue;
        };
        let asks = asks.clone();
        tokio::spawn(async move {
            let answer = match timeout(CLIENT_TIME, read_request(&mut stream)).await {
                Ok(Ok(request)) => match peer.permit(&request) {
                    Ok(()) => carry_out(request, &asks).await,
                    Err(refusal) => json_line(&refusal),
                },
                Ok(Err(error)) => refusal(error),
                Err(_) => refusal(format!("no request within {} s", CLIENT_TIME.as_secs())),
            };
            // A client that is gone or slow has had its chance.
            let _ = timeout(CLIENT_TIME, async {
                stream.write_all(&answer).await?;
                stream.shutdown().await
            })
            .await;
            drop(place);
        });
    }
}

async fn read_request(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(LONGEST_REQUEST)).read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    serde_json::from_slice(&line)
        .map_err(|error| format!("not a request: {error}; a request is one line such as {{\"command\":\"refresh\"}}"))
}

/// Who is at the other end, by the kernel.
struct Peer(io::Result<UCred>);

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        Self(stream.peer_cred())
    }

    fn may_change(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.0.as_ref().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
    }

    fn permit(&self, request: &Request) -> Result<(), Refusal> {
        if request.only_looks() || self.may_change() {
            return Ok(());
        }
        let who = match &self.0 {
            Ok(peer) => format!("user {} (pid {})", peer.uid(), peer.pid().unwrap_or(0)),
            Err(error) => format!("a client that the kernel does not name ({error})"),
        };
        tracing::warn!("control socket: refused a change by {who}, who may only read");
        Err(Refusal { error: format!("{who} may only read; run the command as root to change anything"), denied: true })
    }
}

async fn carry_out(request: Request, asks: &mpsc::Sender<Ask>) -> Vec<u8> {
    match request {
        Request::Refresh {} => report(asks, Ask::Check).await,
        Request::Reload {} => report(asks, Ask::Reload).await,
        Request::Log { level } => {
            let before = logs::level();
            logs::set_level(level);
            tracing::info!("logging {} and above, no more {} and above", level.as_str(), before.as_str());
            json_line(&LogLevel { log: logs::level() })
        }
        Request::LogLevel {} => json_line(&LogLevel { log: logs::level() }),
    }
}

type Requester = oneshot::Sender<Arc<Report>>;

async fn report(asks: &mpsc::Sender<Ask>, ask: fn(Option<Requester>) -> Ask) -> Vec<u8> {
    let (sender, receiver) = oneshot::channel();
    let asked = asks.send(ask(Some(sender))).await;
    match receiver.await {
        Ok(report) if asked.is_ok() => json_line(&*report),
        _ => refusal("the daemon is stopping; rules stay in force".to_owned()),
    }
}

fn refusal(error: String) -> Vec<u8> {
    json_line(&Refusal { error, denied: false })
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}
