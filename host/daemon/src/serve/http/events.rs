//! `/events`: the page's sections by server-sent events, each when it has changed. They are rendered once for all streams,
//! at most twice a second, and not at all while nobody looks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, channel::Channel, channel::Sender};
use hyper::Response;
use hyper::body::Bytes;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::connection::{Body, Phase};
use super::{limits, page, respond};
use crate::status_store::StatusStore;

/// Shortest time between two renderings.
const PACE: Duration = Duration::from_millis(500);
/// A comment is sent at this pace, so that dead clients are noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A section as it is sent.
type Section = Arc<str>;

/// Renders for all streams.
#[derive(Debug)]
pub struct Feed {
    store: StatusStore,
    sections: watch::Sender<Vec<Section>>,
    places: Arc<Semaphore>,
    /// Somebody has begun to look.
    viewer: Notify,
}

impl Feed {
    /// Nothing rendered yet.
    pub fn new(store: StatusStore) -> Self {
        let (sections, _) = watch::channel(Vec::new());
        Self { store, sections, places: Arc::new(Semaphore::new(limits::STREAMS)), viewer: Notify::new() }
    }

    /// Renders for ever. While nobody looks it sleeps.
    pub async fn run(&self) {
        let mut shown = None;
        loop {
            if self.sections.receiver_count() == 0 {
                self.viewer.notified().await;
            }
            sleep(PACE).await;
            let version = self.store.version();
            if shown != Some(version) {
                shown = Some(version);
                self.render();
            }
        }
    }

    fn render(&self) {
        let sections = page::sections(&self.store.status(), &self.store);
        let message = |(id, html): (&str, String)| -> Section {
            // A line break inside begins another data line; there are none in what the page renders.
            format!("event: {id}\ndata: {}\n\n", html.replace('\n', "\ndata: ")).into()
        };
        let new: Vec<Section> = sections.into_iter().map(message).collect();
        self.sections.send_if_modified(|old| {
            let changed = *old != new;
            *old = new;
            changed
        });
    }
}

/// A stream; `None`: there are too many.
pub fn stream(feed: &Arc<Feed>, phase: watch::Sender<Phase>) -> Option<Response<Body>> {
    let place = Arc::clone(&feed.places).try_acquire_owned().ok()?;
    let (sender, body) = Channel::<Bytes, Infallible>::new(1);
    phase.send_replace(Phase::Stream);
    let pump = pump(feed.sections.subscribe(), sender);
    feed.viewer.notify_one();
    tokio::spawn(async move {
        pump.await;
        phase.send_replace(Phase::Over);
        drop(place);
    });
    // Whoever comes gets what is there now, even if it does not change for a long time.
    feed.render();
    let mut response = Response::new(body.boxed_unsync());
    respond::head(&mut response, "text/event-stream");
    Some(response)
}

async fn pump(mut sections: watch::Receiver<Vec<Section>>, mut sender: Sender<Bytes>) {
    let mut sent: Vec<Section> = Vec::new();
    loop {
        let text: String = {
            let now = sections.borrow_and_update();
            let fresh = now.iter().filter(|section| !sent.contains(section)).map(|section| &**section).collect();
            sent.clone_from(&now);
            fresh
        };
        let text = if text.is_empty() { ":\n\n".to_owned() } else { text };
        match timeout(limits::STALL, sender.send_data(Bytes::from(text))).await {
            Ok(Ok(())) => {}
            // Gone, or it does not take what it is sent: dropping the sender ends the body.
            Ok(Err(_)) | Err(_) => break,
        }
        if let Ok(Err(_)) = timeout(HEARTBEAT, sections.changed()).await {
            break;
        }
    }
}
