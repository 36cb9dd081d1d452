//! The places of a listener. Whoever comes is let in: a client that is slow makes room for one that is not, so that probes
//! are answered however many connections are held open.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use super::limits;

/// How often a full listener looks again for a client that is slow.
const LOOK: Duration = Duration::from_millis(50);

/// All places of a listener.
#[derive(Debug)]
pub struct Places {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By their order of coming.
    clients: BTreeMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    /// When it came, or when its request did.
    since: Instant,
    asked: bool,
    ends: oneshot::Sender<()>,
}

/// A place. It is given back when this goes.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    end: Option<oneshot::Receiver<()>>,
}

impl Places {
    /// All free.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a client that is there. Where none is free, the client that has been slow for the longest time loses its own.
    pub async fn admit(self: &Arc<Self>) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_admit(Instant::now()) {
                return place;
            }
            let _ = timeout(LOOK, freed).await;
        }
    }

    fn try_admit(self: &Arc<Self>, now: Instant) -> Option<Place> {
        let taken = &mut *self.taken();
        if taken.clients.len() >= limits::CONNECTIONS {
            let (number, _) = taken.slowest(now)?;
            let client = taken.clients.remove(&number)?;
            let _ = client.ends.send(()); // it has just ended by itself
        }
        let (ends, end) = oneshot::channel();
        let number = taken.next;
        taken.next += 1;
        taken.clients.insert(number, Client { since: now, asked: false, ends });
        Some(Place { places: Arc::clone(self), number, end: Some(end) })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whoever has not asked yet goes before those who do not take their answer.
    fn slowest(&self, now: Instant) -> Option<(u64, Instant)> {
        let slow = self.clients.iter().filter(|(_, client)| {
            let patience = if client.asked { limits::SLOW_READER } else { limits::SLOW_WRITER };
            now.saturating_duration_since(client.since) >= patience
        });
        let slow = slow.min_by_key(|(_, client)| (client.asked, client.since))?;
        Some((*slow.0, slow.1.since))
    }
}

impl Place {
    /// The client has sent its request.
    pub fn asked(&self) {
        if let Some(client) = self.places.taken().clients.get_mut(&self.number) {
            (client.since, client.asked) = (Instant::now(), true);
        }
    }

    /// The client is served for long, and is counted elsewhere.
    pub fn leave(&self) {
        self.places.taken().clients.remove(&self.number);
        self.places.freed.notify_one();
    }

    /// Comes when the place is needed for another client.
    pub fn is_lost(&mut self) -> impl Future<Output = ()> + use<> {
        let end = self.end.take();
        async move {
            let lost = match end {
                Some(end) => end.await.is_ok(),
                None => false,
            };
            if !lost {
                pending::<()>().await; // it has left
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_slowest_client_makes_room_and_no_quick_one_does() {
        let places = Places::new();
        let start = Instant::now();
        let mut all: Vec<Place> = (0..limits::CONNECTIONS).filter_map(|_| places.try_admit(start)).collect();
        assert_eq!(all.len(), limits::CONNECTIONS);
        assert!(places.try_admit(start).is_none(), "all of them have just come");
        all[0].asked();
        let lost = all[1].is_lost();
        let one_more = places.try_admit(start + limits::SLOW_WRITER);
        assert!(one_more.is_some());
        lost.await;
        // Of those that have asked, one goes when nobody else is left.
        all.iter().for_each(Place::asked);
        let late = Instant::now() + limits::SLOW_READER;
        let lost = all[0].is_lost();
        drop(one_more);
        let fill = places.try_admit(late);
        assert!(fill.is_some() && places.try_admit(late).is_some());
        lost.await;
    }

    #[tokio::test]
    async fn who_leaves_is_not_sent_away() {
        let places = Places::new();
        let mut place = places.admit().await;
        let lost = place.is_lost();
        place.leave();
        assert!(timeout(Duration::from_millis(20), lost).await.is_err());
        assert!(places.taken().clients.is_empty());
    }
}
