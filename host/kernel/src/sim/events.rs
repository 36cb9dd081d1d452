//! What the kernel of plain data tells of changes, as the real one does: on nft each changed chain with
//! the generation and who did it, on legacy that another program had the lock.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;
use ruleward_core::encoded_rule::{EncodedRule, RawChain, RawTable, Stamp};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::settle::Extent;
use ruleward_core::simulate::Simulated;

use super::super::activity::{Activity, Deeds, Touch, Write};
use super::super::event_source::EventSource;
use super::super::port::Port;
use super::{Clock, Fake};

type Place = (Family, Table);

/// How often tables are looked at without a sign (legacy).
const POLL: Duration = Duration::from_secs(1);

/// The one who writes without being us.
pub(super) fn foreign() -> Actor {
    Actor { name: "foreign".to_owned(), ..Actor::unknown() }
}

/// Us.
pub(super) fn ourselves() -> Actor {
    Actor { name: "ruleward".to_owned(), ..Actor::unknown() }
}

/// What was done in one generation.
#[derive(Debug, Clone)]
pub(super) struct Written {
    generation: u32,
    actor: Actor,
    chains: BTreeMap<(Family, Table, Box<str>), (u64, Deeds)>,
    /// Tables that are not what they were, besides their chains.
    tables: Vec<Place>,
    /// Chains with the names that they had.
    renamed: Vec<(Family, Table, Box<str>, Box<str>)>,
}

impl Written {
    pub fn new(generation: u32, actor: Actor, before: &Simulated, after: &Simulated) -> Self {
        let mut written = Self { generation, actor, chains: BTreeMap::new(), tables: Vec::new(), renamed: Vec::new() };
        for family in Family::ALL {
            for table in Table::ALL {
                written.compare((family, table), &before.raw(family, table), &after.raw(family, table));
            }
        }
        written
    }

    fn compare(&mut self, (family, table): Place, before: &RawTable, after: &RawTable) {
        if before.state != after.state {
            self.tables.push((family, table));
        }
        let mut old: HashMap<&str, &RawChain> = before.chains.iter().map(|chain| (&*chain.name, chain)).collect();
        let mut new: HashMap<&str, &RawChain> = after.chains.iter().map(|chain| (&*chain.name, chain)).collect();
        // A chain that has another name now is told of by that name alone; what jumps to it is what it was.
        let (gone, came): (Vec<&str>, Vec<&str>) = (
            old.keys().filter(|name| !new.contains_key(*name)).copied().collect(),
            new.keys().filter(|name| !old.contains_key(*name)).copied().collect(),
        );
        let renamed = match (&gone[..], &came[..]) {
            ([from], [to]) if old[from].rules == new[to].rules => Some((*from, *to)),
            _ => None,
        };
        if let Some((from, to)) = renamed {
            old.remove(from);
            new.remove(to);
            self.chains.insert((family, table, to.into()), (1, Deeds::UNTOLD));
            self.renamed.push((family, table, from.into(), to.into()));
        }
        let text = |form: &EncodedRule| {
            let text = String::from_utf8_lossy(&form.bytes).into_owned();
            match renamed {
                Some((from, to)) if text.ends_with(&format!("-j {to}")) => text.replace(to, from),
                _ => text,
            }
        };
        for name in old.keys().chain(new.keys()) {
            let (old, new) = (old.get(name), new.get(name));
            let what = |chain: Option<&&RawChain>| chain.map(|chain| (chain.state.base.clone(), chain.state.policy));
            let forms = |chain: Option<&&RawChain>| -> Vec<_> {
                chain.into_iter().flat_map(|chain| &chain.rules).map(|rule| text(&rule.form)).collect()
            };
            let (was, is) = (forms(old), forms(new));
            if was == is && what(old) == what(new) {
                continue;
            }
            let removed = new.is_none() || was.iter().any(|form| !is.contains(form)) || is.len() < was.len();
            let changed = !removed || is.iter().any(|form| !was.contains(form));
            let events = was.len().abs_diff(is.len()).max(1) as u64;
            self.chains.insert((family, table, (*name).into()), (events, Deeds { removed, changed }));
        }
    }

    fn extent(&self) -> Extent {
        let events: u64 = self.chains.values().map(|(events, _)| events).sum();
        if events > 1 || !self.tables.is_empty() { Extent::Mass } else { Extent::Single }
    }

    fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.chains.keys().map(|(family, table, _)| (*family, *table)).collect();
        places.extend(&self.tables);
        places.sort();
        places.dedup();
        places
    }
}

/// What tells of changes of a [`Fake`].
pub struct FakeEvents {
    kernel: Fake,
    clock: Clock,
    places: Vec<Place>,
    seen: HashMap<Place, Stamp>,
    next_poll: Instant,
}

impl FakeEvents {
    /// From now on it is told what happens. Of one kernel there is one source.
    pub fn new(kernel: Fake, clock: Clock) -> Self {
        kernel.state().written = Some(Vec::new());
        let next_poll = clock.now();
        Self { kernel, clock, places: Vec::new(), seen: HashMap::new(), next_poll }
    }

    fn take_written(&self) -> (Vec<Written>, bool) {
        let state = &mut *self.kernel.state();
        let written = state.written.replace(Vec::new()).unwrap_or_default();
        (written, std::mem::take(&mut state.lost))
    }

    fn take_events(&mut self, known: &dyn Fn(u32) -> bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        let (written, lost) = self.take_written();
        let mut activity = Activity { lost, ..Activity::default() };
        for one in written {
            activity.generation = Some(one.generation);
            if known(one.generation) {
                continue;
            }
            let ours = |(family, table, chain): &(Family, Table, Box<str>)| concerns(*family, *table, chain);
            // One of ours has a name now that is not ours.
            let lost = one
                .renamed
                .iter()
                .filter(|(family, table, from, to)| concerns(*family, *table, from) && !concerns(*family, *table, to));
            let tables: Vec<Place> = one.tables.iter().copied().chain(lost.map(|lost| (lost.0, lost.1))).collect();
            if !one.chains.keys().any(ours) && tables.is_empty() {
                activity.elsewhere = true;
                continue;
            }
            let by_us = one.actor == ourselves();
            if !by_us {
                let extent = one.extent();
                activity
                    .writes
                    .extend(one.places().into_iter().map(|place| Write::new(place, one.actor.clone(), extent)));
            }
            let touch = |events, deeds| match by_us {
                true => Touch::of_our_own(events, self.clock.now()),
                false => Touch::by(one.actor.clone(), deeds, events, self.clock.now()),
            };
            let mut heard = Activity::default();
            for (place, (events, deeds)) in one.chains.iter().filter(|(place, _)| ours(place)) {
                heard.chains.insert(place.clone(), touch(*events, *deeds));
            }
            for place in &tables {
                heard.tables.insert(*place, touch(1, Deeds::UNTOLD));
            }
            activity.extend(heard);
        }
        activity
    }

    fn take_changes(&mut self) -> Activity {
        let (written, _) = self.take_written();
        let (now, signed) = (self.clock.now(), !written.is_empty());
        if !signed && now < self.next_poll {
            return Activity::default();
        }
        self.next_poll = now + POLL;
        let actor = match &written[..] {
            [one] => one.actor.clone(),
            _ => Actor::unknown(),
        };
        let mut activity = Activity::default();
        for place in self.places.clone() {
            let stamp = self.kernel.stamp(place.0, place.1);
            if stamp.is_some() && self.seen.get(&place) != stamp.as_ref() {
                stamp.map(|stamp| self.seen.insert(place, stamp));
                activity.tables.insert(place, Touch::by(actor.clone(), Deeds::UNTOLD, 1, now));
                activity.writes.push(Write::new(place, actor.clone(), Extent::Single));
            }
        }
        activity.elsewhere = signed && activity.tables.is_empty();
        activity
    }
}

impl EventSource for FakeEvents {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn due(&self) -> Option<Instant> {
        (self.kernel.backend == Backend::Legacy && !self.places.is_empty()).then_some(self.next_poll)
    }

    fn take(&mut self, known: &dyn Fn(u32) -> bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        match self.kernel.backend {
            Backend::Nft => self.take_events(known, concerns),
            Backend::Legacy => self.take_changes(),
        }
    }

    fn take_finished(&mut self) -> Vec<Actor> {
        Vec::new()
    }

    fn concern(&mut self, places: &[Place]) {
        self.places = places.to_vec();
        self.seen.retain(|place, _| places.contains(place));
    }

    fn mark(&mut self, places: &[Place]) {
        for place in places {
            match self.kernel.stamp(place.0, place.1) {
                Some(stamp) => drop(self.seen.insert(*place, stamp)),
                None => drop(self.seen.remove(place)),
            }
        }
    }

    fn note(&mut self, place: Place, stamp: Stamp) {
        self.seen.insert(place, stamp);
    }

    fn take_reading(&mut self, _: Place) -> Option<RawTable> {
        None
    }

    fn forget_readings(&mut self) {}

    fn forget_chains(&mut self) {}

    fn is_unchanged(&self) -> bool {
        let same = |place: &Place| self.seen.get(place).copied() == self.kernel.stamp(place.0, place.1);
        !self.places.is_empty() && self.places.iter().all(same)
    }

    fn method(&self) -> (String, String) {
        ("a script".to_owned(), String::new())
    }
}
