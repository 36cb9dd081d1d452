//! When to repair what a stranger undoes again and again: a pure function of what was seen and what time it is.
//!
//! - While drift at a place is rare (up to [`Limits::calm`] repairs within [`Limits::within`]) its repair is immediate.
//! - More often is a *fight*: between two repairs of that place lies a pause, [`Limits::first_pause`] and doubling up to
//!   the refresh interval or [`LONGEST_PAUSE`], whichever is shorter. A pause counts from the last repair, and drift that
//!   comes after it is repaired at once.
//! - Rules that others put in before ours undo nothing: ours are moved back, at most once in [`Limits::move_pause`]. That is a fight
//!   if it goes on for longer than [`Limits::within`]: two programs that both insist on being first.
//! - Pauses end when the place was quiet (no drift, no repair) for its last pause and [`Limits::quiet`] more. The next
//!   repair is immediate again.
//! - A place that is undone again and again is a fight however slowly: so many repairs within each of [`SLOW`]. Its
//!   repairs stay immediate, for they cost nothing, and the alarm stays until the place was quiet for [`QUIET_TURNS`] times
//!   the time that the last repairs had between them.
//! - However many places drift, one decision is one pass, and passes are bounded, for places that fight and for all
//!   others apart ([`TokenBucket`]): so many at once, then one in the time of its cost. Nobody who is calm waits for a fight,
//!   and a node whose rules are taken away one after the other gets each of them back at once.
//!
//! Where the caller says what a pass took ([`Fights::took`]) its cost is [`SHARE`] times that: in the long run those that
//! fight and those that do not take a fiftieth of a core each. What they have at once comes on top of that, once.
//!
//! What is kept is bounded: [`KEPT_PLACES`] places, the quietest forgotten first. A forgotten place that still drifts is
//! found by the next comparison. Time is the time since the host started, on a clock that never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Actors};
use crate::drift::Drift;
use crate::names::{Family, Table};
use crate::rate::TokenBucket;

/// Longest pause, if the refresh interval is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A pass is followed by at least so many times what it took, in the long run.
pub const SHARE: u32 = 50;
/// Least cost of a pass.
pub const LEAST_COST: Duration = Duration::from_millis(5);
/// How many places are kept in mind.
pub const KEPT_PLACES: usize = 1024;

/// So many repairs of one place within so much time are a fight as well, without pauses. Once in a minute is one after six
/// minutes, what cron does every hour after half a day; what an admin tries three times by hand is none.
pub const SLOW: [(usize, Duration); 3] =
    [(6, Duration::from_secs(600)), (8, Duration::from_secs(6 * 3600)), (12, Duration::from_secs(48 * 3600))];
/// A slow fight is over after so many times the mean time between its last repairs ...
pub const QUIET_TURNS: u32 = 3;
/// ... of which so many count.
const LAST_TURNS: usize = 5;
/// The longest time for which a place is kept in mind that is no fight.
const HORIZON: Duration = SLOW[SLOW.len() - 1].1;
/// How often places are looked through for those that can be forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// How many repairs of a place are kept in mind.
const KEPT_REPAIRS: usize = SLOW[SLOW.len() - 1].0;

/// Where drift was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// All that is ours in a table.
    Table(Family, Table),
    /// A chain, a built-in one or ours.
    Chain(Family, Table, String),
    /// A set.
    Set(String),
}

impl From<&Drift> for Place {
    fn from(drift: &Drift) -> Self {
        match (drift.family, drift.table) {
            (Some(family), Some(table)) if drift.chain.is_empty() => Self::Table(family, table),
            (Some(family), Some(table)) => Self::Chain(family, table, drift.chain.clone()),
            _ => Self::Set(drift.chain.clone()),
        }
    }
}

impl fmt::Display for Place {
    /// `IPv4 nat POSTROUTING`, `IPv4 nat`, `set NAME`. Names come from outside: whoever shows them escapes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(family, table) => write!(f, "{family} {table}"),
            Self::Chain(family, table, chain) => write!(f, "{family} {table} {chain}"),
            Self::Set(name) => write!(f, "set {name}"),
        }
    }
}

/// What is rare, and how much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// This many repairs of one place ...
    pub calm: u32,
    /// ... within this time are no fight.
    pub within: Duration,
    /// First pause of a fight.
    pub first_pause: Duration,
    /// How long a place must be quiet, after its last pause, for its fight to be over.
    pub quiet: Duration,
    /// Between two moves of our rules back to their place ...
    pub move_pause: Duration,
    /// ... of which so many in this time are a fight, if they go on for longer than `within`.
    pub moves_within: Duration,
    /// How many passes there may be at once for places that do not fight ...
    pub calm_burst: u32,
    /// ... and for those that do.
    pub fight_burst: u32,
    /// After them: the time between two passes until it is known what a pass takes; for places that do not fight also
    /// the longest.
    pub cost: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calm: 5,
            within: Duration::from_secs(10),
            first_pause: Duration::from_millis(50),
            quiet: Duration::from_secs(10),
            move_pause: Duration::from_secs(1),
            moves_within: Duration::from_secs(60),
            calm_burst: 250,
            fight_burst: 30,
            cost: Duration::from_millis(500),
        }
    }
}

/// What to do about drift.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Repair these now, in one pass. Empty: nothing is due.
    pub repair: Vec<Place>,
    /// Then look again at the places that wait, and ask with what is seen; `None` if none does.
    pub wait_until: Option<Duration>,
}

/// Drift at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub place: Place,
    /// Who may have brought it about, each once; empty if nothing tells.
    pub actors: Vec<Actor>,
    /// Our rules are all there, and rules that others put in stand where ours should.
    pub pushed: bool,
}

/// A place that another program keeps undoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fight {
    /// Where.
    pub place: Place,
    /// Since when: the first of the repairs that were too many.
    pub since: Duration,
    /// Who undid the repairs.
    pub opponents: Actors<Duration>,
    /// How many repairs there were in this fight.
    pub rounds: u64,
    /// The pause between two repairs now; zero where they are made at once, because they are rare.
    pub pause: Duration,
    /// The mean time between the last repairs.
    pub every: Duration,
    /// Since when it has not been repaired, if it waits for that.
    pub missing_since: Option<Duration>,
    /// When its next repair is due, if it waits for one.
    pub next_try: Option<Duration>,
}

/// What is known of a place.
#[derive(Debug, Clone)]
struct Site {
    /// Times of the last repairs, oldest first; at most [`KEPT_REPAIRS`], or `calm` if that is more.
    repairs: Vec<Duration>,
    /// Times at which our rules were only moved back, oldest first.
    moves: Vec<Duration>,
    /// The last drift or repair.
    active: Duration,
    /// Since when it has been seen and not repaired, if so.
    waits: Option<Duration>,
    /// Nothing but rules that others put in is wrong there.
    pushed: bool,
    opponents: Actors<Duration>,
    /// The pause between two repairs, while they come too often.
    pause: Option<Duration>,
    /// It is a fight.
    fight: Option<Rounds>,
}

#[derive(Debug, Clone, Copy)]
struct Rounds {
    since: Duration,
    rounds: u64,
}

/// All places, and the budget of passes.
#[derive(Debug, Clone)]
pub struct Fights {
    limits: Limits,
    longest: Duration,
    sites: BTreeMap<Place, Site>,
    calm: TokenBucket,
    fighting: TokenBucket,
    /// When places were forgotten last.
    swept: Duration,
}

impl Fights {
    /// No fight yet. Pauses are never longer than the refresh interval.
    pub fn new(refresh: Duration) -> Self {
        Self::with_limits(refresh, Limits::default())
    }

    /// The same with other limits.
    pub fn with_limits(refresh: Duration, mut limits: Limits) -> Self {
        limits.cost = limits.cost.min(refresh); // at every refresh there is a pass anyway
        let longest = refresh.min(LONGEST_PAUSE);
        Self {
            limits,
            longest,
            sites: BTreeMap::new(),
            calm: TokenBucket::new(limits.calm_burst, limits.cost, limits.cost),
            fighting: TokenBucket::new(limits.fight_burst, limits.cost, longest),
            swept: Duration::ZERO,
        }
    }

    /// Pauses are never longer than this refresh interval from now on.
    pub fn limit(&mut self, refresh: Duration) {
        self.longest = refresh.min(LONGEST_PAUSE);
        self.limits.cost = self.limits.cost.min(refresh);
        self.calm.limit(self.limits.cost);
        self.fighting.limit(self.longest);
    }

    /// Takes note of drift that is seen `now`, and says what of it to repair. That counts as repaired; if it fails, it is seen
    /// again. What waits and is not among it goes on waiting, due or not: nobody has looked at it.
    #[must_use]
    pub fn seen(&mut self, now: Duration, drifts: &[Seen]) -> Decision {
        self.end_fights(now);
        for seen in drifts {
            self.note(now, seen);
        }
        let decision = self.decide(now, drifts);
        self.forget_surplus();
        decision
    }

    /// Takes note of drift that is seen `now` and repaired at once, whatever there is to say of it.
    pub fn repaired(&mut self, now: Duration, drifts: &[Seen]) {
        self.end_fights(now);
        for seen in drifts {
            self.note(now, seen);
            if let Some(site) = self.sites.get_mut(&seen.place) {
                site.repaired(now, self.limits.calm as usize, self.longest);
            }
        }
        self.forget_surplus();
    }

    /// These repairs were refused, so nobody can have undone them: they do not count.
    pub fn refused(&mut self, places: &[Place]) {
        for place in places {
            let Some(site) = self.sites.get_mut(place) else { continue };
            site.repairs.pop();
            site.waits = site.waits.or(Some(site.active));
            if let Some(fight) = &mut site.fight {
                fight.rounds = fight.rounds.saturating_sub(1);
            }
        }
    }

    /// Of the places that wait, those that do so still. Others were looked at and are right again, whoever did that.
    pub fn wait_still(&mut self, places: &BTreeSet<Place>) {
        for (place, site) in self.sites.iter_mut().filter(|(_, site)| site.waits.is_some()) {
            if !places.contains(place) {
                site.waits = None;
            }
        }
    }

    /// What a pass that has ended `now` took of a processor: it decides how many there may be.
    pub fn took(&mut self, now: Duration, pass: Duration) {
        let cost = pass.saturating_mul(SHARE).max(LEAST_COST);
        self.calm.reprice(now, cost);
        self.fighting.reprice(now, cost);
    }

    /// The fights that are not over, by place.
    pub fn fights(&self, now: Duration) -> Vec<Fight> {
        let fighting = self.sites.iter().filter(|(_, site)| now < self.ends(site));
        let fight = |(place, site): (&Place, &Site)| {
            let Rounds { since, rounds } = site.fight?;
            Some(Fight {
                place: place.clone(),
                since,
                opponents: site.opponents.clone(),
                rounds,
                pause: site.pause.unwrap_or_default(),
                every: site.every(),
                missing_since: site.waits,
                next_try: site.waits.map(|_| site.due(self.limits.move_pause).max(now)),
            })
        };
        fighting.filter_map(fight).collect()
    }

    /// When the first of the fights is over, should all be quiet until then: the time to take an alarm down.
    pub fn next_end(&self, now: Duration) -> Option<Duration> {
        let fights = self.sites.values().filter(|site| site.fight.is_some());
        fights.map(|site| self.ends(site)).filter(|end| *end > now).min()
    }

    /// Forgets what has been quiet for long enough.
    fn end_fights(&mut self, now: Duration) {
        let quiet = self.limits.quiet;
        let ends = |site: &Site| site.ends(quiet);
        for site in self.sites.values_mut().filter(|site| site.waits.is_none()) {
            if site.pause.is_some_and(|pause| now >= site.active + pause + quiet) {
                site.pause = None;
            }
            if site.fight.is_some() && now >= ends(site) {
                site.fight = None;
                site.opponents = Actors::default();
            }
        }
        if now < self.swept + SWEEP {
            return;
        }
        self.swept = now;
        let kept = HORIZON.max(self.limits.within);
        self.sites.retain(|_, site| site.waits.is_some() || site.fight.is_some() || now < site.active + kept);
    }

    fn note(&mut self, now: Duration, seen: &Seen) {
        let limits = self.limits;
        let site = self.sites.entry(seen.place.clone()).or_insert_with(|| Site {
            repairs: Vec::new(),
            moves: Vec::new(),
            active: now,
            waits: None,
            pushed: true,
            opponents: Actors::default(),
            pause: None,
            fight: None,
        });
        // What waits was undone once, however often it is seen.
        for actor in &seen.actors {
            if site.waits.is_none() || !site.opponents.has(actor) {
                site.opponents.note(actor.clone(), now);
            }
        }
        // One that waited too long, for want of calls, has had no quiet time.
        site.active = now;
        site.pushed = seen.pushed && (site.waits.is_none() || site.pushed);
        site.waits = site.waits.or(Some(now));
        let often = site.within(now, limits.calm as usize, limits.within);
        if site.pause.is_none() && !site.pushed && often.is_some() {
            site.pause = Some(limits.first_pause.min(self.longest));
        }
        let slow = || SLOW.iter().find_map(|(repairs, within)| site.within(now, *repairs, *within));
        if site.fight.is_none()
            && !site.pushed
            && let Some((since, rounds)) = often.or_else(slow)
        {
            site.fight = Some(Rounds { since, rounds });
        }
        // A program that starts puts in many rules, one after the other. Who still does so a while later insists.
        site.moves.retain(|at| now.saturating_sub(*at) < limits.moves_within);
        if let Some(since) = site.moves.first().copied()
            && site.pause.is_none()
            && site.pushed
            && site.moves.len() >= limits.calm as usize
            && now.saturating_sub(since) >= limits.within
        {
            let rounds = site.moves.len() as u64;
            site.repairs = site.moves.split_off(site.moves.len() - (limits.calm as usize).min(site.moves.len()));
            site.pause = Some(limits.first_pause.min(self.longest));
            site.fight.get_or_insert(Rounds { since, rounds });
        }
    }

    /// Chooses among the places that wait and were seen.
    fn decide(&mut self, now: Duration, drifts: &[Seen]) -> Decision {
        let seen: BTreeSet<&Place> = drifts.iter().map(|seen| &seen.place).collect();
        let (mut calm, mut fighting) = (Vec::new(), Vec::new());
        let mut next: Option<Duration> = None;
        let mut earliest = |at: Duration| next = Some(next.map_or(at, |next| next.min(at)));
        for (place, site) in self.sites.iter().filter(|(_, site)| site.waits.is_some()) {
            let (places, purse) =
                if site.pause.is_none() { (&mut calm, &self.calm) } else { (&mut fighting, &self.fighting) };
            match site.due(self.limits.move_pause) {
                at if at > now => earliest(at),
                _ if seen.contains(place) => places.push(place.clone()),
                _ => earliest(purse.affordable_at().max(now)),
            }
        }
        let mut repair = Vec::new();
        for (places, purse) in [(calm, &mut self.calm), (fighting, &mut self.fighting)] {
            if places.is_empty() {
                continue;
            }
            let affordable = purse.affordable_at();
            if affordable > now {
                earliest(affordable);
                continue;
            }
            purse.pay(now);
            repair.extend(places);
        }
        repair.sort();
        for place in &repair {
            if let Some(site) = self.sites.get_mut(place) {
                site.repaired(now, self.limits.calm as usize, self.longest);
            }
        }
        Decision { repair, wait_until: next }
    }

    fn ends(&self, site: &Site) -> Duration {
        site.ends(self.limits.quiet)
    }

    /// Keeps the number of places bounded: calm ones go first, then the ones that were quiet for the longest time. An
    /// eighth goes at once, so that sorting them costs little in the long run.
    fn forget_surplus(&mut self) {
        if self.sites.len() <= KEPT_PLACES {
            return;
        }
        let rank = |site: &Site| (site.fight.is_some(), site.waits.is_some(), site.active);
        let mut ranked: Vec<_> = self.sites.iter().map(|(place, site)| (rank(site), place.clone())).collect();
        ranked.sort();
        let surplus = self.sites.len() - KEPT_PLACES * 7 / 8;
        for (_, place) in ranked.into_iter().take(surplus) {
            self.sites.remove(&place);
        }
    }
}

impl Site {
    /// The earliest time of its next repair.
    fn due(&self, move_pause: Duration) -> Duration {
        match (self.pause, self.repairs.last(), self.moves.last()) {
            (Some(pause), Some(last), _) => *last + pause,
            (None, _, Some(last)) if self.pushed => *last + move_pause,
            _ => Duration::ZERO,
        }
    }

    /// When its fight is over, should all be quiet until then.
    fn ends(&self, quiet: Duration) -> Duration {
        self.active + (self.pause.unwrap_or_default() + quiet).max(self.every() * QUIET_TURNS)
    }

    /// The mean time between the last repairs.
    fn every(&self) -> Duration {
        let last = &self.repairs[self.repairs.len().saturating_sub(LAST_TURNS + 1)..];
        match (last, u32::try_from(last.len().saturating_sub(1))) {
            ([first, .., last], Ok(turns)) => (*last - *first) / turns.max(1),
            _ => Duration::ZERO,
        }
    }

    /// If at least so many repairs were within so much time: the first of them, and how many there were.
    fn within(&self, now: Duration, repairs: usize, within: Duration) -> Option<(Duration, u64)> {
        let recent = self.repairs.iter().filter(|at| now.saturating_sub(**at) < within);
        let count = recent.clone().count();
        if count < repairs.max(1) { None } else { Some((*recent.min()?, count as u64)) }
    }

    fn repaired(&mut self, now: Duration, calm: usize, longest: Duration) {
        if self.pushed && self.pause.is_none() {
            self.moves.push(now);
        } else {
            if self.repairs.len() >= KEPT_REPAIRS.max(calm) {
                self.repairs.remove(0);
            }
            self.repairs.push(now);
        }
        self.active = now;
        self.waits = None;
        if let Some(fight) = &mut self.fight {
            fight.rounds += 1;
        }
        if let Some(pause) = &mut self.pause {
            *pause = (*pause * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests;
