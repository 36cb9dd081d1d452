//! The checks' end: what the configuration asks for now, and whether facts may have changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Config;
use ruleward_facts::change_counter::ChangeCounter;
use ruleward_reconcile::policies::PolicySet;

/// How often it is looked for the newest configuration while it is waited for.
const POLL: Duration = Duration::from_millis(5);

/// What the checks ask of the thread that reloads.
pub enum ReloadRequest {
    /// These components are in force or on their way, and others were before: others need not be kept.
    Settled(BTreeSet<String>),
    /// Files may have changed without an event: look at them, some time.
    LookAgain,
    /// Something that policies see has changed: a check is to follow.
    FactsChanged,
}

/// Hands a request over.
pub type OnRequest = Arc<dyn Fn(ReloadRequest) + Send + Sync>;

/// A valid configuration, and its policies as far as they are loaded.
#[derive(Debug, Clone)]
pub struct Configured {
    /// They count up from 1.
    pub number: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its policies.
    pub policies: PolicySet,
}

/// Where the newest configuration is found.
pub struct Subscription {
    configured: watch::Receiver<Option<Configured>>,
    taken: Arc<AtomicU64>,
    changes: Arc<ChangeCounter>,
    on_request: OnRequest,
}

impl Subscription {
    /// To the thread that reloads. `taken` becomes the number of the last one that was taken.
    pub fn new(
        mut configured: watch::Receiver<Option<Configured>>,
        taken: Arc<AtomicU64>,
        changes: Arc<ChangeCounter>,
        on_request: OnRequest,
    ) -> Self {
        configured.mark_changed(); // what is there already was not taken from here
        Self { configured, taken, changes, on_request }
    }

    /// One configuration, and no other follows.
    pub fn of_one(configured: Configured, on_request: OnRequest) -> Self {
        let (_, receiver) = watch::channel(Some(configured));
        Self::new(receiver, Arc::default(), Arc::default(), on_request)
    }

    /// The newest one, if it was not taken yet.
    pub fn newest(&mut self) -> Option<Configured> {
        let newest = self.configured.borrow_and_update();
        let newest = if newest.has_changed() { newest.clone() } else { None }?;
        self.taken.store(newest.number, Ordering::Release);
        Some(newest)
    }

    /// The same, for which it waits so long.
    ///
    /// # Errors
    /// None will ever come: the thread that reloads has ended.
    pub fn wait(&mut self, time: Duration) -> Result<Option<Configured>, Ended> {
        let end = Instant::now() + time;
        loop {
            let ended = self.configured.has_changed().is_err();
            match self.newest() {
                Some(newest) => return Ok(Some(newest)),
                None if ended => return Err(Ended),
                None if Instant::now() >= end => return Ok(None),
                None => thread::sleep(POLL),
            }
        }
    }

    /// Where requests go.
    pub fn on_request(&self) -> OnRequest {
        Arc::clone(&self.on_request)
    }

    /// Whether facts may have changed.
    pub fn changes(&self) -> Arc<ChangeCounter> {
        Arc::clone(&self.changes)
    }
}

/// No configuration will ever come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn configured(number: u64) -> Configured {
        let config = Config::parse(Path::new("/etc/ruleward/ruleward.toml"), &[]).unwrap();
        Configured { number, config: Arc::new(config), policies: PolicySet::default() }
    }

    fn subscribe(sender: &watch::Sender<Option<Configured>>, taken: &Arc<AtomicU64>) -> Subscription {
        Subscription::new(sender.subscribe(), Arc::clone(taken), Arc::default(), Arc::new(|_| {}))
    }

    fn newest(subscription: &mut Subscription) -> Option<u64> {
        subscription.newest().map(|newest| newest.number)
    }

    #[test]
    fn the_newest_is_taken_once() {
        let (sender, taken) = (watch::Sender::new(None), Arc::default());
        let mut subscription = subscribe(&sender, &taken);
        assert_eq!(newest(&mut subscription), None);
        sender.send_replace(Some(configured(1)));
        sender.send_replace(Some(configured(2)));
        assert_eq!((newest(&mut subscription), newest(&mut subscription)), (Some(2), None));
        assert_eq!(taken.load(Ordering::Acquire), 2);
    }

    #[test]
    fn checks_that_are_opened_anew_begin_with_what_is_there() {
        let (sender, taken) = (watch::Sender::new(None), Arc::default());
        sender.send_replace(Some(configured(3)));
        assert_eq!(newest(&mut subscribe(&sender, &taken)), Some(3));
        assert_eq!(newest(&mut subscribe(&sender, &taken)), Some(3));
    }

    #[test]
    fn the_last_one_is_found_after_the_end() {
        let mut one = Subscription::of_one(configured(1), Arc::new(|_| {}));
        assert_eq!(one.wait(Duration::ZERO).map(|newest| newest.map(|newest| newest.number)), Ok(Some(1)));
        assert!(matches!(one.wait(Duration::from_secs(600)), Err(Ended)));
    }

    #[test]
    fn a_wait_ends_with_its_time_or_with_what_it_waits_for() {
        let (sender, taken) = (watch::Sender::new(None), Arc::default());
        let mut subscription = subscribe(&sender, &taken);
        assert!(matches!(subscription.wait(Duration::from_millis(20)), Ok(None)));
        thread::scope(|scope| {
            scope.spawn(|| sender.send_replace(Some(configured(4))));
            let newest = subscription.wait(Duration::from_secs(600)).unwrap();
            assert_eq!(newest.map(|newest| newest.number), Some(4));
        });
    }
}
