//! The status socket: the status as one JSON line to whoever connects, then the end. It never reads.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::socket::Socket;
use super::{ACCEPT_PAUSE, CLIENT_TIME, MOST_CLIENTS};
use crate::status_store::StatusStore;

/// Serves for ever.
pub async fn serve(socket: Socket, store: StatusStore) {
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        // The ones that find no place wait in the socket's queue, at most as long as a client may take.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let mut stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("status socket: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let store = store.clone();
        tokio::spawn(async move {
            let mut text = serde_json::to_vec(&store.status()).unwrap_or_default();
            text.push(b'\n');
            // A client that is gone or slow has had its chance.
            let _ = timeout(CLIENT_TIME, async {
                stream.write_all(&text).await?;
                stream.shutdown().await
            })
            .await;
            drop(place);
        });
    }
}
