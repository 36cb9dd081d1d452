//! The thread that makes records of events and writes them. What says nothing new is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;

use super::format::Parts;
use super::record::{CONTRACT, Header, Mode, Outcome, Part};
use super::store::{Bounds, Store, StoreError};
use super::{Event, KeptComponents, MOST_WAITING, lock};
use ruleward_report::timestamp;

/// Pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Says that records can't be written, and why; `None` when they can.
pub type Note = Box<dyn Fn(Option<String>) + Send>;

/// What was recorded last of one policy.
#[derive(Debug, Default)]
struct Last {
    in_force: Option<Header>,
    shadow: Option<Header>,
    /// Refused since something was in force last, newest last.
    refused: Vec<Header>,
}

/// The thread's own state.
pub struct Writer {
    store: Store,
    bounds: Bounds,
    components: KeptComponents,
    note: Note,
    named: Arc<Mutex<Option<BTreeSet<String>>>>,
    lost: Arc<AtomicU64>,
    last: BTreeMap<PolicyName, Last>,
    waiting: VecDeque<Event>,
    /// Since when the disk does not take what is written.
    trouble_since: Option<SystemTime>,
}

impl Writer {
    pub fn new(
        state_directory: &Path,
        bounds: Bounds,
        components: KeptComponents,
        note: Note,
        named: Arc<Mutex<Option<BTreeSet<String>>>>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        let store = Store::new(state_directory);
        Self {
            store,
            bounds,
            components,
            note,
            named,
            lost,
            last: BTreeMap::new(),
            waiting: VecDeque::new(),
            trouble_since: None,
        }
    }

    /// Writes until nobody hands in events any more.
    pub fn run(mut self, events: &Receiver<Event>) {
        self.recall();
        loop {
            let event = if self.waiting.is_empty() {
                events.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                events.recv_timeout(RETRY)
            };
            let ended = matches!(event, Err(RecvTimeoutError::Disconnected));
            self.waiting.extend(event.into_iter().chain(events.try_iter()));
            self.write_all();
            if ended {
                return;
            }
        }
    }

    /// What there is from earlier runs.
    fn recall(&mut self) {
        let read = || -> Result<_, StoreError> {
            let (mut last, mut named) = (BTreeMap::new(), BTreeSet::new());
            for policy in self.store.policies()? {
                let listing = self.store.list(&policy)?;
                for damaged in listing.damaged {
                    tracing::warn!("history of policy {policy}: {damaged}");
                }
                let mut of_policy = Last::default();
                for header in listing.headers.into_iter().rev() {
                    named.insert(header.component.clone());
                    of_policy.take(header);
                }
                last.insert(policy, of_policy);
            }
            Ok((last, named))
        };
        match read() {
            Ok((last, named)) => {
                self.last = last;
                *lock(&self.named) = Some(named);
            }
            Err(error) => self.complain(&error),
        }
    }

    fn write_all(&mut self) {
        let mut written = false;
        while let Some(event) = self.waiting.pop_front() {
            match self.write(&event) {
                Ok(new) => written |= new,
                Err(error) => {
                    self.complain(&error);
                    self.waiting.push_front(event);
                    let surplus = self.waiting.len().saturating_sub(MOST_WAITING);
                    self.lost.fetch_add(surplus as u64, Ordering::Relaxed);
                    self.waiting.truncate(MOST_WAITING);
                    return;
                }
            }
        }
        if !written {
            return;
        }
        match self.store.prune(self.bounds, &(self.components)()).and_then(|over| Ok((over, self.store.components()?)))
        {
            Ok((over, named)) => {
                *lock(&self.named) = Some(named);
                self.trouble_since = None;
                let lost = self.lost.load(Ordering::Relaxed);
                let lost =
                    (lost > 0).then(|| format!("{lost} answers are not in the history: the disk did not take them"));
                (self.note)(over.or(lost));
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &StoreError) {
        let since = *self.trouble_since.get_or_insert_with(SystemTime::now);
        let text = format!("the history of policies can't be written since {}: {error}", timestamp(since));
        tracing::warn!("{text}");
        (self.note)(Some(text));
    }

    /// Whether there was anything new to write.
    fn write(&mut self, event: &Event) -> Result<bool, StoreError> {
        let (mut header, facts) = record(event);
        let parts = Parts::new(&event.settings, facts.as_ref(), event.contribution.as_deref())?;
        parts.describe(&mut header);
        let last = self.last.entry(event.policy.clone()).or_default();
        if last.knows(&header) && self.store.holds_any(&event.policy)? {
            return Ok(false);
        }
        self.store.append(&mut header, &parts)?;
        last.take(header);
        Ok(true)
    }
}

impl Last {
    fn knows(&self, header: &Header) -> bool {
        let same = |known: &Header| known.same_event(header);
        match (header.mode, &header.outcome) {
            (_, Outcome::InForce) => self.in_force.as_ref().is_some_and(same),
            (_, Outcome::Shadow) => self.shadow.as_ref().is_some_and(same),
            (_, Outcome::Refused { .. } | Outcome::RefusedByKernel { .. }) => self.refused.iter().any(same),
        }
    }

    fn take(&mut self, header: Header) {
        match (header.mode, &header.outcome) {
            (_, Outcome::InForce) => {
                self.refused.retain(|refused| refused.mode == Mode::Shadow);
                self.in_force = Some(header);
            }
            (_, Outcome::Shadow) => {
                self.refused.retain(|refused| refused.mode == Mode::Enforce);
                self.shadow = Some(header);
            }
            (mode, _) => {
                // One that flaps between reasons is recorded once for each of them; not for ever.
                let first = self.refused.iter().position(|refused| refused.mode == mode);
                if let (Some(first), true) = (first, self.refused.len() >= MOST_WAITING) {
                    self.refused.remove(first);
                }
                self.refused.push(header);
            }
        }
    }
}

/// What can be said of it without its large parts, and what the policy could see.
fn record(event: &Event) -> (Header, Option<Facts>) {
    let facts = event
        .facts
        .as_ref()
        .map(|facts| facts.restricted(event.sees_interfaces, &event.sees_documents, event.sees_nft_tables));
    let contribution = event.contribution.as_deref();
    let count = |count: fn(&Contribution) -> usize| contribution.map_or(0, count) as u64;
    let header = Header {
        policy: event.policy.clone(),
        number: 0,
        at: timestamp(event.at),
        host: env!("CARGO_PKG_VERSION").to_owned(),
        contract: CONTRACT.to_owned(),
        component_name: event.described.as_ref().map(|(name, _)| name.clone()),
        component_version: event.described.as_ref().map(|(_, version)| version.clone()),
        component: event.component.clone(),
        grants: event.grants.clone(),
        limits: event.limits.clone(),
        settings: Part { digest: String::new(), length: 0 },
        facts: None,
        contribution: None,
        mode: event.mode,
        shadow_of: event.shadow_of.clone(),
        outcome: event.outcome.clone(),
        chains: count(|contribution| contribution.chains.len()),
        rules: count(|contribution| {
            contribution.chains.iter().map(|chain| chain.rules.len()).sum::<usize>() + contribution.attachments.len()
        }),
        sets: count(|contribution| contribution.sets.len()),
    };
    (header, facts)
}
