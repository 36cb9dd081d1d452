//! Incidents: what others did to rules that had been committed, numbered, and told to the operator in one log line each.
//!
//! The same thing (place and kind) again within a minute is the same incident with a count, so a fight is one incident. It
//! names every distinct actor, each with a count of its own. The log can't be flooded: a repeated incident gets a line at its 2nd, 4th, 8th, ... time, and in each
//! minute at most [`LINES_A_MINUTE`] incidents get a line of their own, the others are counted in one. All of them are in
//! the reports and in the journal, with at most [`KEPT_LINES`] rules each.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use ruleward_core::actor::{Actor, Actors};
use ruleward_core::drift::{Drift, Kind};
use ruleward_core::fight::Place;

use ruleward_report::plain::plain;
use ruleward_report::{Incident, ONLY_RECORDED, actors, lines, milliseconds, timestamp};

/// How many incidents a minute are logged one by one.
pub const LINES_A_MINUTE: u32 = 60;
/// How many added and how many removed rules an incident keeps.
pub const KEPT_LINES: usize = 100;
/// How many incidents are open for a repeat at a time; more than that are incidents of their own.
pub const OPEN_INCIDENTS: usize = 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// What was noticed of a drift before a comparison found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Who did it, each once; empty if nothing tells.
    pub actors: Vec<Actor>,
    /// How many events the kernel sent of it; 0 if only the comparison found it.
    pub events: u64,
    /// How long the drift had waited, because another program keeps undoing repairs, when the pass began that repaired it.
    pub waited: Duration,
}

/// What became of the drift that a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// Whether all is right again.
    pub repaired: bool,
    /// By which means (`netlink`, `iptables-restore`), or why not.
    pub how: String,
    /// From seeing the drift to the end of the repair.
    pub took: Duration,
    /// From the kernel's first event to the end of the repair, if an event was seen. Counts only for drift that has events.
    pub latency: Option<Duration>,
}

/// The same place and kind.
type Same = (Place, Kind);

/// An incident that a repeat would be counted in.
#[derive(Debug)]
struct Open {
    last: SystemTime,
    incident: Incident,
    actors: Actors<SystemTime>,
}

/// Numbers, coalesces and logs incidents.
#[derive(Debug)]
pub struct Incidents {
    last_id: u64,
    open: HashMap<Same, Open>,
    minute: Option<SystemTime>,
    logged: u32,
    unlogged: u64,
}

impl Incidents {
    /// None yet; the next one has the number after `last_id`.
    pub fn new(last_id: u64) -> Self {
        Self { last_id, open: HashMap::new(), minute: None, logged: 0, unlogged: 0 }
    }

    /// Makes an incident of each drift, all with the same repair, and logs them. A repeated one comes back as the incident
    /// that it was, with what is new.
    pub fn record(
        &mut self,
        drifts: &[Drift],
        cause: impl Fn(&Drift) -> Cause,
        repair: &Repair,
        at: SystemTime,
    ) -> Vec<Incident> {
        // A clock that was set back ends them all.
        self.open.retain(|_, open| at.duration_since(open.last).is_ok_and(|elapsed| elapsed < MINUTE));
        drifts.iter().map(|drift| self.one(drift, cause(drift), repair, at)).collect()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn one(&mut self, drift: &Drift, cause: Cause, repair: &Repair, at: SystemTime) -> Incident {
        let same = (Place::from(drift), drift.kind);
        let (earlier, mut actors) = match self.open.remove(&same) {
            Some(open) => (Some(open.incident), open.actors),
            None => (None, Actors::default()),
        };
        let latest = if cause.actors.is_empty() { vec![Actor::unknown()] } else { cause.actors.clone() };
        latest.iter().for_each(|actor| actors.note(actor.clone(), at));
        let id = earlier.as_ref().map_or_else(|| self.next_id(), |earlier| earlier.id);
        let mut incident = first(id, drift, &cause, repair, at);
        incident.actors = actors::report(&actors, |time| time);
        (incident.more_actors, incident.latest) = (actors.more(), latest);
        let mut news = true;
        if let Some(earlier) = earlier {
            news = incident.repaired != earlier.repaired || incident.actors.len() > earlier.actors.len();
            repeat(&mut incident, earlier);
            news |= incident.times.is_power_of_two();
        }
        if news && self.may_log(at) {
            log(&incident);
        }
        if self.open.len() < OPEN_INCIDENTS {
            self.open.insert(same, Open { last: at, incident: incident.clone(), actors });
        }
        incident
    }

    /// Whether one more line fits into this minute.
    pub fn may_log(&mut self, at: SystemTime) -> bool {
        // A clock that was set back begins a new minute as well.
        let same_minute =
            self.minute.is_some_and(|begin| at.duration_since(begin).is_ok_and(|elapsed| elapsed < MINUTE));
        if !same_minute {
            if self.unlogged > 0 {
                tracing::warn!("{} more incidents had no log line of their own; see `ruleward status`", self.unlogged);
            }
            (self.minute, self.logged, self.unlogged) = (Some(at), 0, 0);
        }
        if self.logged == LINES_A_MINUTE {
            if self.unlogged == 0 {
                tracing::warn!("{LINES_A_MINUTE} incidents in a minute: the next ones are only counted");
            }
            self.unlogged += 1;
            return false;
        }
        self.logged += 1;
        true
    }
}

fn first(id: u64, drift: &Drift, cause: &Cause, repair: &Repair, at: SystemTime) -> Incident {
    // What is only recorded brings nothing back and takes nothing away.
    let most = if repair.how == ONLY_RECORDED { 0 } else { KEPT_LINES };
    let kept = |all: &[String]| lines(drift, &all[..all.len().min(most)]);
    let latency = repair.latency.filter(|_| cause.events > 0 && repair.repaired);
    let latency = latency.map(|latency| milliseconds(latency + cause.waited));
    Incident {
        id,
        at: timestamp(at),
        last_at: timestamp(at),
        family: drift.family,
        table: drift.table,
        chain: drift.chain.clone(),
        kind: drift.kind,
        detail: detail(drift),
        added: kept(&drift.added),
        removed: kept(&drift.removed),
        repaired: repair.repaired,
        how: repair.how.clone(),
        took_ms: milliseconds(repair.took),
        latency_ms: latency,
        latency_ms_max: latency,
        events: cause.events,
        times: 1,
        actors: Vec::new(),
        more_actors: 0,
        latest: Vec::new(),
    }
}

/// Makes of an incident and the one that it repeats a single one.
fn repeat(incident: &mut Incident, earlier: Incident) {
    incident.at = earlier.at;
    incident.times = earlier.times.saturating_add(1);
    incident.events = incident.events.saturating_add(earlier.events);
    incident.latency_ms_max = match (incident.latency_ms, earlier.latency_ms_max) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    };
    join(&mut incident.added, earlier.added);
    join(&mut incident.removed, earlier.removed);
}

/// All lines of both, in the order in which they were first seen.
fn join(lines: &mut Vec<String>, mut earlier: Vec<String>) {
    if *lines != earlier {
        let known: HashSet<&String> = earlier.iter().collect();
        let new: Vec<String> = lines.iter().filter(|line| !known.contains(line)).cloned().collect();
        earlier.extend(new);
        earlier.truncate(KEPT_LINES);
        *lines = earlier;
    }
}

fn log(incident: &Incident) {
    let Incident { id, how, took_ms, times, .. } = incident;
    let (kind, place, detail) = (incident.kind.as_str(), plain(&incident.place()), plain(&incident.detail));
    let known: Vec<Actor> = incident.latest.iter().filter(|actor| actor.is_known()).cloned().collect();
    let by = if known.is_empty() { String::new() } else { format!(" by {}", actors::latest(&known)) };
    let actor = incident.latest.first().cloned().unwrap_or_default();
    let times = if *times > 1 { format!(" (time {times})") } else { String::new() };
    let how = plain(how);
    let text = match (incident.repaired, incident.latency_ms) {
        _ if incident.how == ruleward_report::NOTHING_WRITTEN => how,
        (true, Some(latency)) => format!("repaired by {how} {latency:.2} ms after the change"),
        (true, None) => format!("repaired by {how} in {took_ms:.1} ms"),
        (false, _) if incident.is_only_recorded() => how,
        (false, _) => format!("NOT repaired: {how}"),
    };
    // Besides the message the same for programs.
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                incident = id,
                kind,
                place = place.as_str(),
                actor = actor.name.as_str(),
                actor_pid = actor.pid,
                repaired = incident.repaired,
                latency_ms = incident.latency_ms,
                "incident {id}: {kind} in {place}{by}{times}: {detail}; {text}"
            )
        };
    }
    if incident.repaired || incident.is_only_recorded() { say!(warn) } else { say!(error) }
}

/// What happened, in words; the rule itself if it is one.
fn detail(drift: &Drift) -> String {
    let what = match drift.family {
        Some(_) => "rule",
        None => "member",
    };
    let count = |lines: &[String]| match lines {
        [one] => format!("`{one}`"), // logs and screens escape control characters
        many if many.len() > KEPT_LINES => format!("{} {what}s (the first {KEPT_LINES} are kept)", many.len()),
        many => format!("{} {what}s", many.len()),
    };
    let policy = |lines: &[String]| lines.first().and_then(|line| line.rsplit(' ').next().map(str::to_owned));
    match (drift.added.as_slice(), drift.removed.as_slice(), drift.kind) {
        (added, removed, Kind::PolicyChanged) => {
            let unknown = || "none".to_owned();
            let (before, now) = (policy(added).unwrap_or_else(unknown), policy(removed).unwrap_or_else(unknown));
            format!("its policy changed from {before} to {now}")
        }
        (_, _, Kind::TableDormant) => "the table was switched off (`flags dormant`)".to_owned(),
        (_, _, Kind::TableOwned) => "another process owns the table (`flags owner`)".to_owned(),
        (_, [was], Kind::BaseChainChanged) => {
            format!("it was recreated as {}", was.split_once(' ').map_or("", |(_, was)| was))
        }
        ([], [], Kind::ChainFlushed | Kind::ChainDeleted) => "it has no rules".to_owned(),
        ([], [], Kind::ChainAdded) => "an empty chain that no policy declares".to_owned(),
        ([], [], _) => "only its position or options differ".to_owned(),
        (added, [], _) => format!("{} missing", count(added)),
        ([], removed, _) => format!("{} unexpected", count(removed)),
        ([added], [removed], Kind::RuleMoved) if added == removed => {
            format!("{} at the wrong position", count(std::slice::from_ref(added)))
        }
        (added, removed, _) => format!("{} missing, {} unexpected", count(added), count(removed)),
    }
}

#[cfg(test)]
#[path = "incidents/tests.rs"]
mod tests;
