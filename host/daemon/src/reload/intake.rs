//! The checks' end: what the configuration asks for now, and whether facts may have changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::config::Config;
use ruleward_facts::change_counter::ChangeCounter;
use ruleward_reconcile::policies::PolicySet;

/// What the checks tell whoever makes offers.
pub enum ReloadRequest {
    /// These components are in force or on their way, and others were before: others need not be kept.
    Settled(BTreeSet<String>),
    /// Files may have changed without a sign: they are to be looked at, some time.
    LookAgain,
    /// Something that policies see has changed: a check is to follow.
    FactsChanged,
}

/// Is told.
pub type OnTold = Arc<dyn Fn(ReloadRequest) + Send + Sync>;

/// A configuration that was found right, and its policies as far as they are loaded.
#[derive(Debug, Clone)]
pub struct Configured {
    /// They count up from 1.
    pub number: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its policies.
    pub policies: PolicySet,
}

/// Where configurations come in.
pub struct Intake {
    offers: Receiver<Configured>,
    taken: Arc<AtomicU64>,
    signs: Arc<ChangeCounter>,
    on_told: OnTold,
}

impl Intake {
    /// Offers of a thread that looks for changes. `taken` is the number of the last one that was taken.
    pub fn new(
        offers: Receiver<Configured>,
        taken: Arc<AtomicU64>,
        signs: Arc<ChangeCounter>,
        on_told: OnTold,
    ) -> Self {
        Self { offers, taken, signs, on_told }
    }

    /// One offer, and no other will come.
    pub fn of_one(offer: Configured, on_told: OnTold) -> Self {
        let (sender, offers) = channel();
        let _ = sender.send(offer); // the receiver is right here
        Self::new(offers, Arc::default(), Arc::default(), on_told)
    }

    /// The newest offer, if there is one that was not taken yet.
    pub fn newest(&self) -> Option<Configured> {
        self.count(self.offers.try_iter().last())
    }

    /// The same, for which it waits so long.
    ///
    /// # Errors
    /// No other will ever come.
    pub fn wait(&self, time: Duration) -> Result<Option<Configured>, NoMore> {
        match self.offers.recv_timeout(time) {
            Ok(offer) => {
                let newest = self.offers.try_iter().last();
                Ok(self.count(Some(newest.unwrap_or(offer))))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(NoMore),
        }
    }

    fn count(&self, offer: Option<Configured>) -> Option<Configured> {
        if let Some(offer) = &offer {
            self.taken.store(offer.number, Ordering::Release);
        }
        offer
    }

    /// Whom to tell.
    pub fn on_told(&self) -> OnTold {
        Arc::clone(&self.on_told)
    }

    /// Whether facts may have changed.
    pub fn signs(&self) -> Arc<ChangeCounter> {
        Arc::clone(&self.signs)
    }
}

/// No offer will ever come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMore;
