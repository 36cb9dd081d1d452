//! Notices that another program changed the packet filter, at the moment when it happens: by the events of nf_tables, or, on
//! legacy, by the xtables lock and by looking at the tables now and then for writers that go around it.
//!
//! A watch is an addition: where none is possible, and whatever it misses, the refresh finds. What it says is where to
//! look, and who was there; what is drift is found by comparing.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;
use ruleward_core::encoded_rule::{RawTable, Stamp};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::quantity::{format_duration, format_rough_size};
use ruleward_core::settle::Extent;

use super::activity::{Activity, Deeds, Touch, Write};
use super::event_source::EventSource;
use super::legacy::{LegacyReader, LockWatch, LockWatchMethod, Snapshot};
use super::lock;
use super::nft::events::Events;
use super::nft_tables::TableEvents;

type Place = (Family, Table);

/// How to watch.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Room for events, in bytes (nft).
    pub event_buffer: usize,
    /// How often legacy's tables are looked at without a sign.
    pub poll_interval: Duration,
}

/// Without a sign, a digest of legacy's tables is taken at most so often that it costs this part of a core.
const DIGEST_SHARE: u32 = 200;
/// With a sign it is taken at once, unless looks that found nothing cost more than this part of a core ...
const SIGN_SHARE: u32 = 100;
/// ... in the long run: so much may be spent at once.
const SIGN_CREDIT: Duration = Duration::from_millis(200);

/// Of more writers at a time than this none is named.
const MOST_WRITERS: usize = 8;
/// How many ids of processes that are done are kept.
const MOST_CLOSERS: usize = 64;

/// What tells of changes.
#[derive(Debug)]
pub enum Watch {
    /// Nothing, for this reason.
    Off(String),
    /// Events of nf_tables.
    Events(Events),
    /// Legacy: the lock and the tables.
    Tables(Box<TableWatch>),
}

/// Watches legacy's tables.
#[derive(Debug)]
pub struct TableWatch {
    reader: LegacyReader,
    lock: Result<LockWatch, String>,
    /// Tells of tables of nf_tables, which policies may see; none where that is refused.
    nftables: Option<TableEvents>,
    /// Who has opened the lock since the tables were last compared.
    writers: Vec<Actor>,
    /// The ids of those who have closed it since then.
    closers: Vec<u32>,
    places: Vec<Place>,
    /// What the tables were when they were last compared.
    seen: HashMap<Place, Stamp>,
    /// How many entries they had when they were last compared: what went at once is told from that.
    entries: HashMap<Place, u32>,
    /// The tables that the last look found changed, for the comparison that follows.
    read: HashMap<Place, Snapshot>,
    poll: Duration,
    next_poll: Instant,
    next_digest: Instant,
    /// The lock was closed, and the tables have not been looked at yet.
    signed: bool,
    /// Writers were missed since then.
    overflowed: bool,
    /// What was spent on looks with a sign is paid off at this time.
    paid_at: Instant,
}

impl Watch {
    /// In the calling thread's network namespace.
    pub fn open(backend: Backend, options: Options) -> Self {
        match backend {
            Backend::Nft => match Events::open(options.event_buffer) {
                Ok(events) => Self::Events(events),
                Err(error) => Self::Off(format!("listening to nf_tables is refused: {error}")),
            },
            Backend::Legacy => match LegacyReader::open() {
                Ok(reader) => Self::Tables(Box::new(TableWatch {
                    reader,
                    lock: LockWatch::open(&lock::default_path()).map_err(|error| error.to_string()),
                    nftables: TableEvents::open().ok(),
                    writers: Vec::new(),
                    closers: Vec::new(),
                    places: Vec::new(),
                    seen: HashMap::new(),
                    entries: HashMap::new(),
                    read: HashMap::new(),
                    poll: options.poll_interval,
                    next_poll: Instant::now(),
                    next_digest: Instant::now(),
                    signed: false,
                    overflowed: false,
                    paid_at: Instant::now(),
                })),
                Err(error) => Self::Off(error.to_string()),
            },
        }
    }
}

impl EventSource for Watch {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let (own, others) = match self {
            Self::Off(_) => (None, None),
            Self::Events(events) => (Some(events.fd()), None),
            Self::Tables(tables) => {
                // What is signed already needs no other sign.
                let lock = tables.lock.as_ref().ok().filter(|_| !tables.signed);
                (lock.map(LockWatch::fd), tables.nftables.as_ref().map(TableEvents::fd))
            }
        };
        own.into_iter().chain(others).collect()
    }

    fn due(&self) -> Option<Instant> {
        match self {
            Self::Tables(tables) if !tables.places.is_empty() => Some(tables.due()),
            _ => None,
        }
    }

    fn take(&mut self, known: &dyn Fn(u32) -> bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        match self {
            Self::Off(_) => Activity::default(),
            Self::Events(events) => events.take(known, concerns),
            Self::Tables(tables) => tables.take(),
        }
    }

    fn take_finished(&mut self) -> Vec<Actor> {
        match self {
            Self::Tables(tables) => tables.take_finished(),
            _ => Vec::new(),
        }
    }

    fn concern(&mut self, places: &[Place]) {
        if let Self::Tables(tables) = self {
            tables.places = places.to_vec();
            let places = &tables.places;
            tables.seen.retain(|place, _| places.contains(place));
        }
    }

    fn mark(&mut self, places: &[Place]) {
        if let Self::Tables(tables) = self {
            for &place in places {
                let stamp = tables.reader.snapshot(place.0, place.1).ok().map(|snapshot| snapshot.stamp());
                tables.note(place, stamp);
            }
        }
    }

    fn note(&mut self, place: Place, stamp: Stamp) {
        if let Self::Tables(tables) = self {
            tables.note(place, Some(stamp));
        }
    }

    fn take_reading(&mut self, place: Place) -> Option<RawTable> {
        let Self::Tables(tables) = self else { return None };
        let snapshot = tables.read.remove(&place)?;
        tables.reader.rules_of(&snapshot).ok().flatten()
    }

    fn forget_readings(&mut self) {
        if let Self::Tables(tables) = self {
            tables.read = HashMap::new();
        }
    }

    fn forget_chains(&mut self) {
        if let Self::Events(events) = self {
            events.forget_chains();
        }
    }

    fn is_unchanged(&self) -> bool {
        match self {
            Self::Tables(tables) => {
                !tables.places.is_empty() && tables.places.iter().all(|place| tables.is_same(*place))
            }
            _ => false,
        }
    }

    fn method(&self) -> (String, String) {
        match self {
            Self::Off(reason) => ("refresh only".to_owned(), reason.clone()),
            Self::Events(events) => {
                let room = format_rough_size(events.capacity as u64);
                ("nf_tables events".to_owned(), format!("the kernel buffers {room} of them"))
            }
            Self::Tables(tables) => tables.method(),
        }
    }
}

impl TableWatch {
    fn method(&self) -> (String, String) {
        let poll = format_duration(self.poll);
        let polls = format!("programs that bypass the lock are detected by polling every {poll}");
        match &self.lock {
            Ok(lock) => {
                let name = match lock.method() {
                    LockWatchMethod::Fanotify => "events of the xtables lock (fanotify)",
                    LockWatchMethod::Inotify => "events of the xtables lock (inotify)",
                };
                let why = lock.refusal().map(|why| format!("; actors stay unknown: {why}")).unwrap_or_default();
                (name.to_owned(), polls + &why)
            }
            Err(reason) => (format!("polling every {poll}"), format!("the xtables lock can't be watched: {reason}")),
        }
    }

    fn take(&mut self) -> Activity {
        self.read = HashMap::new();
        let now = Instant::now();
        let elsewhere = self.hear_lock();
        let other_tables = self.nftables.as_mut().is_some_and(TableEvents::take);
        let polled = now >= self.next_poll;
        if polled {
            self.next_poll = now + self.poll;
            if let Ok(watch) = &mut self.lock
                && let Err(error) = watch.rearm()
            {
                tracing::warn!("the xtables lock can't be watched any more: {error}");
                self.lock = Err(error.to_string());
            }
        }
        // Another program takes the lock all the time: what it costs us to look has a bound.
        let signed = self.signed && self.paid_at <= now + SIGN_CREDIT * SIGN_SHARE;
        if !signed && !polled {
            return Activity { elsewhere, other_tables, ..Activity::default() };
        }
        let writers = if signed { std::mem::take(&mut self.writers) } else { Vec::new() };
        if signed {
            self.closers.clear();
        }
        let digests = signed || now >= self.next_digest;
        let changed = self.changed(digests);
        if signed {
            self.signed = false;
            if changed.is_empty() {
                self.paid_at = self.paid_at.max(now) + now.elapsed() * SIGN_SHARE;
            }
        }
        let overflowed = signed && std::mem::take(&mut self.overflowed);
        if digests {
            self.next_digest = Instant::now() + (now.elapsed() * DIGEST_SHARE).max(self.poll);
        }
        let actor = match writers.as_slice() {
            [one] if !overflowed => one.clone(),
            _ => Actor::unknown(),
        };
        let touch = Touch::by(actor, Deeds::UNTOLD, 1, now);
        let writes = if changed.is_empty() { Vec::new() } else { self.writes(&changed, &writers) };
        let mut tables = BTreeMap::new();
        for (place, snapshot) in changed {
            self.note(place, snapshot.as_ref().map(Snapshot::stamp));
            self.read.extend(snapshot.map(|snapshot| (place, snapshot)));
            tables.insert(place, touch.clone());
        }
        Activity { tables, writes, elsewhere, other_tables, ..Activity::default() }
    }

    /// What the writers did to these tables, for whoever waits until they are done: which of them wrote where is not told.
    fn writes(&mut self, changed: &[(Place, Option<Snapshot>)], writers: &[Actor]) -> Vec<Write> {
        let unknown = [Actor::unknown()];
        let writers = if writers.is_empty() { &unknown[..] } else { writers };
        let mut writes = Vec::new();
        for (place, snapshot) in changed {
            let now = snapshot.as_ref().map_or(0, Snapshot::entries);
            let many = self.entries.get(place).is_none_or(|before| before.abs_diff(now) > 1);
            let extent = if many { Extent::Mass } else { Extent::Single };
            writes.extend(writers.iter().map(|writer| Write::new(*place, writer.clone(), extent)));
        }
        writes
    }

    /// Takes what the lock tells. Whether there was anything.
    fn hear_lock(&mut self) -> bool {
        let lock = self.lock.as_mut().map(LockWatch::take).unwrap_or_default();
        let anything = lock.closed || !lock.writers.is_empty();
        self.signed |= lock.closed || lock.overflowed;
        self.overflowed |= lock.overflowed;
        let room = MOST_CLOSERS.saturating_sub(self.closers.len());
        self.closers.extend(lock.closers.into_iter().take(room));
        // A writer is told of when it opens the lock, and may not have written yet.
        for writer in lock.writers {
            if !only_lists(&writer)
                && !self.writers.iter().any(|known| known.pid == writer.pid)
                && self.writers.len() < MOST_WRITERS
            {
                self.writers.push(writer);
            }
        }
        anything
    }

    /// Who has had the lock since the last time, and is done with it: the caller has it now, so whoever has not closed it has
    /// not written. If there were several, it is not known which of them it was.
    fn take_finished(&mut self) -> Vec<Actor> {
        self.hear_lock();
        let closers = std::mem::take(&mut self.closers);
        let finished = |writer: &Actor| writer.pid.is_some_and(|pid| closers.contains(&pid));
        let (mut done, waiting): (Vec<_>, Vec<_>) = self.writers.drain(..).partition(finished);
        self.writers = waiting;
        if done.len() != 1 || self.overflowed {
            done.clear();
        }
        done
    }

    /// With a sign and without credit: when there is some again.
    fn due(&self) -> Instant {
        let again = self.paid_at.checked_sub(SIGN_CREDIT * SIGN_SHARE).unwrap_or(self.paid_at);
        if self.signed { self.next_poll.min(again) } else { self.next_poll }
    }

    /// A table that can't be read is left out: it counts as changed until it can.
    fn note(&mut self, place: Place, stamp: Option<Stamp>) {
        match stamp {
            Some(stamp) => drop(self.seen.insert(place, stamp)),
            None => drop(self.seen.remove(&place)),
        }
        match self.reader.entries(place.0, place.1) {
            Ok(entries) => drop(self.entries.insert(place, entries)),
            Err(_) => drop(self.entries.remove(&place)),
        }
    }

    /// Tables that are not as they were; without `contents` those whose size differs. `None`: it can't be read; the
    /// comparison that follows says why.
    fn changed(&self, contents: bool) -> Vec<(Place, Option<Snapshot>)> {
        let look = |place: &Place| {
            let before = self.seen.get(place);
            let same_size = || before.is_some_and(|seen| self.outline(*place) == Some(seen.outline));
            if !contents && same_size() {
                return None;
            }
            let now = self.reader.snapshot(place.0, place.1).ok();
            let same = now.as_ref().map(Snapshot::stamp).as_ref() == before && before.is_some();
            (!same).then_some((*place, now))
        };
        self.places.iter().filter_map(look).collect()
    }

    fn outline(&self, (family, table): Place) -> Option<u64> {
        self.reader.outline(family, table).ok()
    }

    fn is_same(&self, place: Place) -> bool {
        let Some(seen) = self.seen.get(&place) else { return false };
        self.outline(place) == Some(seen.outline)
            && self.reader.snapshot(place.0, place.1).is_ok_and(|now| now.stamp() == *seen)
    }
}

/// Whether the words of a process say that it only lists rules: it takes the lock and writes nothing.
fn only_lists(actor: &Actor) -> bool {
    let listing = |word: &str| matches!(word, "-L" | "--list" | "-S" | "--list-rules" | "-C" | "--check");
    actor.command_line.as_ref().is_some_and(|words| words.split(' ').any(listing))
}
