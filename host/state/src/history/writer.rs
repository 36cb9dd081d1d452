//! Makes records of events and writes them. What says nothing new is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;
use ruleward_report::timestamp;

use super::format::Parts;
use super::queue::{Batch, MOST_WAITING, Queue};
use super::record::{CONTRACT, Header, Mode, Outcome, Part};
use super::store::{Bounds, Store, StoreError};
use super::{Event, KeptComponents};
use crate::retry::Retry;
use crate::writer::{Kept, Note, Shared};

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
    shared: Arc<Shared>,
    note: Note,
    /// None until it is known what earlier runs have left.
    last: Option<BTreeMap<PolicyName, Last>>,
    retry: Retry,
}

impl Writer {
    pub fn new(
        state_directory: &Path,
        (bounds, components): (Bounds, KeptComponents),
        shared: Arc<Shared>,
        note: Note,
    ) -> Self {
        let store = Store::new(state_directory);
        Self { store, bounds, components, shared, note, last: None, retry: Retry::default() }
    }

    /// When there is something to write.
    pub fn due(&self, queue: &Queue, now: Instant) -> Option<Instant> {
        self.retry.next((!queue.is_empty()).then_some(now))
    }

    /// Looks what there is from earlier runs.
    pub fn recall(&mut self) {
        self.write(Batch::new());
    }

    /// Writes these; those that the disk does not take go back.
    pub fn write(&mut self, mut batch: Batch) {
        let written = self.write_all(&mut batch);
        if !batch.is_empty() {
            self.shared.inbox().history.put_back(batch);
        }
        let over = match written {
            Ok(false) if !self.retry.in_trouble() => return, // nothing is new
            Ok(_) => self.prune(),
            Err(error) => Err(error),
        };
        let text = match over {
            Ok(over) => {
                self.retry.succeeded();
                let lost = self.shared.inbox().history.lost;
                over.or_else(|| {
                    (lost > 0).then(|| format!("{lost} answers are not in the history: the disk did not take them"))
                })
            }
            Err(error) => {
                let (since, first) = self.retry.failed();
                let text = format!("the history of policies can't be written since {}: {error}", timestamp(since));
                if first {
                    tracing::warn!("{text}");
                }
                Some(text)
            }
        };
        (self.note)(Kept::History, text);
    }

    /// Takes out of `batch` what is on the disk. Whether anything of it was new.
    fn write_all(&mut self, batch: &mut Batch) -> Result<bool, StoreError> {
        let mut last = match self.last.take() {
            Some(last) => last,
            None => self.read(batch)?,
        };
        let mut written = Ok(false);
        while let Some(event) = batch.front() {
            match self.append(last.entry(event.policy.clone()).or_default(), event) {
                Ok(new) => written = written.map(|written| written | new),
                Err(error) => {
                    written = Err(error);
                    break;
                }
            }
            batch.pop_front();
        }
        self.last = Some(last);
        written
    }

    /// Removes what is over the bounds. Answers what is over all the same.
    fn prune(&self) -> Result<Option<String>, StoreError> {
        let over = self.store.prune(self.bounds, &(self.components)())?;
        self.shared.inbox().history.names(self.store.components()?);
        Ok(over)
    }

    /// What is on the disk already; `batch` will be.
    fn read(&self, batch: &Batch) -> Result<BTreeMap<PolicyName, Last>, StoreError> {
        let mut last = BTreeMap::new();
        let mut named: BTreeSet<String> = batch.iter().map(|event| event.component.clone()).collect();
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
        self.shared.inbox().history.names(named);
        Ok(last)
    }

    /// Whether there was anything new to write.
    fn append(&self, last: &mut Last, event: &Event) -> Result<bool, StoreError> {
        let (mut header, facts) = record(event);
        let parts = Parts::new(&event.settings, facts.as_ref(), event.contribution.as_deref())?;
        parts.describe(&mut header);
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
        .map(|facts| facts.restricted(event.sees_interfaces, &event.sees_resources, event.sees_nft_tables));
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
