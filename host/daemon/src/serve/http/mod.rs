//! The HTTP server: metrics, health and the status page, to look at and nothing else. No request changes anything, and none
//! reads more than its own few kilobytes.
//!
//! It runs on a thread of its own at low priority, so that neither the sockets of `status` and `refresh` nor a repair waits
//! for whoever scrapes. Not at the very lowest (SCHED_IDLE): it shares locks with the others, the heap's for one, and must
//! come to give them back also where all processors are busy. One request a connection; connections, streams, headers and time are bounded ([`limits`]). Probes are answered
//! however many slow clients there are ([`places`]). It
//! listens on `http.sock` in the runtime directory and on the addresses of the key `http` (loopback unless set otherwise).

mod authority;
mod connection;
mod counters;
mod events;
mod health;
mod page;
mod places;
mod plots;
mod respond;
mod rules;
mod usage;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

use super::ACCEPT_PAUSE;
use super::socket::{Access, Socket};
use crate::status_store::StatusStore;
use connection::Peer;
use counters::Counters;
use events::Feed;
use places::Places;

pub use counters::ReadCounters;

/// Name of the socket in the runtime directory.
pub const HTTP_SOCKET: &str = "http.sock";

/// What bounds the clients.
pub mod limits {
    use std::time::Duration;

    /// Connections at a time, each listener. When there are more, slow ones are ended.
    pub const CONNECTIONS: usize = 512;
    /// Time after which a client that has not sent its request makes room for others.
    pub const SLOW_WRITER: Duration = Duration::from_millis(250);
    /// Time after which a client that has not taken its answer does.
    pub const SLOW_READER: Duration = Duration::from_secs(2);
    /// Streams of events at a time; more are told to come again later.
    pub const STREAMS: usize = 256;
    /// Time for the request's head.
    pub const HEAD: Duration = Duration::from_secs(5);
    /// Bytes of the request's head.
    pub const HEAD_SIZE: usize = 16 << 10;
    /// Time for a whole request with its answer, streams of events excepted.
    pub const REQUEST: Duration = Duration::from_secs(20);
    /// Time in which a stream must take what it is sent.
    pub const STALL: Duration = Duration::from_secs(10);
    /// Longest life of a stream; the browser opens another.
    pub const STREAM: Duration = Duration::from_secs(3600);
}

/// Nice value of the thread: everything else on the node goes first.
const NICE: i32 = 10;
/// Pause before an address is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Connections that the kernel queues.
const BACKLOG: u32 = 1024;

/// Everything that requests are answered from.
#[derive(Debug, Clone)]
struct Context {
    store: StatusStore,
    feed: Arc<Feed>,
    counters: Arc<Counters>,
}

/// Starts the server. It ends with the process. `counters` is asked when somebody looks at the rules of a table.
///
/// # Errors
/// If the system has no thread to give. Addresses that can't be used are notes on the store and are tried again.
pub fn start(
    runtime_directory: &Path,
    (access, addresses): (Access, Vec<SocketAddr>),
    store: StatusStore,
    counters: ReadCounters,
) -> io::Result<()> {
    let socket = runtime_directory.join(HTTP_SOCKET);
    let counters = Arc::new(Counters::start(counters)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        // Of this thread alone. Where it is refused, requests are answered all the same.
        let _ = rustix::process::nice(NICE);
        runtime.block_on(async {
            let feed = Arc::new(Feed::new(store.clone()));
            let context = Context { store: store.clone(), feed: Arc::clone(&feed), counters };
            tokio::spawn(serve_unix(socket, access, context.clone()));
            for address in addresses {
                tokio::spawn(serve_tcp(address, context.clone()));
            }
            feed.run().await;
        });
    })?;
    Ok(())
}

async fn serve_unix(path: std::path::PathBuf, access: Access, context: Context) {
    let socket = loop {
        match Socket::listen(&path, access) {
            Ok(socket) => break socket,
            Err(error) => context.store.note("http-socket", Some(format!("no status page on a socket: {error}"))),
        }
        sleep(AGAIN).await;
    };
    context.store.note("http-socket", None);
    let places = Places::new();
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                let place = places.admit().await;
                tokio::spawn(connection::serve(TokioIo::new(stream), Peer::Socket, context.clone(), place));
            }
            Err(error) => {
                tracing::debug!("{}: {error}", path.display());
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_tcp(address: SocketAddr, context: Context) {
    let listener = loop {
        match listen(address) {
            Ok(listener) => break listener,
            Err(error) => {
                let note = format!(
                    "metrics and status page can't listen on {address}: {error}; set `http` to another address"
                );
                context.store.note("http", Some(note));
            }
        }
        sleep(AGAIN).await;
    };
    context.store.note("http", None);
    tracing::info!("metrics and status page on http://{address}/");
    let places = Places::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = places.admit().await;
                let peer = Peer::Network { loopback: address.ip().is_loopback() };
                tokio::spawn(connection::serve(TokioIo::new(stream), peer, context.clone(), place));
            }
            Err(error) => {
                tracing::debug!("{address}: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
