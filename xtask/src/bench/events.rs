//! One rule deleted by a stranger, until it is back: seen from outside, by the stranger's own clock.
//!
//! The refresh interval is an hour, so what brings the rule back is the event. Every eighth deletion is that of a jump in a
//! built-in chain, the others take a rule out of a chain of ours, each time another one: a place that is undone
//! again and again would be a fight, in which the daemon slows down on purpose.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::entries::Entries;
use super::guarded::{Guarded, Twin, guarded};
use super::nftables::{Deletion, Listener, Stranger};
use super::node::Daemon;
use super::rules::{HOOKS, PER_CHAIN, Rules};
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row, number};

/// How long a repair is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// One deletion of so many takes a jump.
const JUMPS: usize = 8;
/// Between two deletions: this and up to as much again, so that no rhythm of the daemon is met.
const PAUSE: Duration = Duration::from_millis(70);
/// The stock tool is timed this often, spread over the rounds.
const STOCK: usize = 15;
/// How long a jump is open on average where a poller looks every second.
const POLLER: f64 = 500.0;

/// nft, all sizes.
pub fn measure_nft(plan: &Plan) -> Result<Vec<Row>> {
    plan.sizes(Backend::Nft).into_iter().map(|count| row(Backend::Nft, count)).collect()
}

/// Legacy, all sizes.
pub fn measure_legacy(plan: &Plan) -> Result<Vec<Row>> {
    plan.sizes(Backend::Legacy).into_iter().map(|count| row(Backend::Legacy, count)).collect()
}

/// Deleting a rule of a large table takes iptables-legacy as long as repairing it.
fn rounds(backend: Backend, count: usize) -> usize {
    match (backend, count) {
        (Backend::Nft, _) | (Backend::Legacy, 0..=2_000) => 200,
        (Backend::Legacy, 2_001..=20_000) => 100,
        (Backend::Legacy, _) => 40,
    }
}

fn row(backend: Backend, count: usize) -> Result<Row> {
    let case = format!("{}, one among {count} rules", backend.name());
    eprintln!("    deleted rule, {case}");
    let rules = Rules::ours(count);
    let total = rounds(backend, count);
    let mut times = Times::default();
    guarded(&Guarded::new(backend, count), |daemon, node| {
        let twin = Twin::create(backend, rules, node)?;
        let mut witness: Box<dyn Witness> = match backend {
            Backend::Nft => Box::new(NetlinkWitness::open()?),
            Backend::Legacy => Box::new(EntriesWitness::open()?),
        };
        daemon.rest()?;
        for round in 0..total {
            let victim = Victim::of_round(round, rules);
            let open = witness.round(&victim).with_context(|| format!("round {}, {victim:?}", round + 1))?;
            times.all.push(open.after);
            times.from_begin.push(open.from_begin);
            if round.is_multiple_of(JUMPS) {
                times.jumps.push(open.after);
            }
            if round % total.div_ceil(STOCK) == 0 {
                times.stock.push(twin.restore_one_chain()?);
            }
            thread::sleep(pause(round));
        }
        times.told = told(daemon)?;
        Ok(())
    })?;
    times.row(backend, case)
}

/// In milliseconds.
#[derive(Default)]
struct Times {
    /// From the end of the deletion.
    all: Vec<f64>,
    /// Those of jumps.
    jumps: Vec<f64>,
    /// From the begin of the deletion, which the daemon can't outrun.
    from_begin: Vec<f64>,
    stock: Vec<f64>,
    told: ReloadRequest,
}

impl Times {
    fn row(self, backend: Backend, case: String) -> Result<Row> {
        let ours = Sample::new(self.all).context("nothing was deleted")?;
        let goal = match backend {
            Backend::Nft => Goal::Percentiles(2.0, 10.0),
            Backend::Legacy => Goal::Ratio(2.0),
        };
        let note = format!(
            "p99 {}, most {} of {}; one poll a second: {POLLER} on average, {:.0} times as long{}",
            number(ours.percentile(99)),
            number(ours.most()),
            ours.count(),
            POLLER / ours.median(),
            self.told.how(),
        );
        let mut row = Row {
            stock: Sample::new(self.stock),
            goal: Some(goal),
            note,
            ..Row::new("deleted rule until it is back", case, "ms", ours)
        };
        let beside =
            [("jumps", self.jumps), ("from begin of deletion", self.from_begin), ("as told", self.told.latencies)];
        row.beside = beside.into_iter().filter_map(|(name, values)| Some((name, Sample::new(values)?))).collect();
        Ok(row)
    }
}

/// What the daemon itself says of its last repairs.
#[derive(Default)]
struct ReloadRequest {
    latencies: Vec<f64>,
    ways: BTreeMap<String, usize>,
}

impl ReloadRequest {
    fn how(&self) -> String {
        let ways: Vec<String> = self.ways.iter().map(|(way, count)| format!("{count} x {way}")).collect();
        if ways.is_empty() { String::new() } else { format!("; how: {}", ways.join(", ")) }
    }
}

fn told(daemon: &Daemon<'_>) -> Result<ReloadRequest> {
    let status = daemon.status()?;
    let incidents = status["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut told = ReloadRequest::default();
    for incident in incidents {
        told.latencies.extend(incident["latency-ms"].as_f64());
        let way = incident["how"].as_str().unwrap_or("not told");
        *told.ways.entry(way.to_owned()).or_default() += 1;
    }
    let unrepaired: Vec<&Value> = incidents.iter().filter(|one| one["repaired"] == Value::Bool(false)).collect();
    if let Some(first) = unrepaired.first() {
        bail!("{} incidents were not repaired, as the daemon says; the first: {first:#}", unrepaired.len());
    }
    Ok(told)
}

/// The rule that a round takes away.
#[derive(Debug)]
pub(super) struct Victim {
    chain: String,
    /// From 0, and smaller than the number of rules there.
    place: usize,
}

impl Victim {
    pub(super) fn of_round(round: usize, rules: Rules) -> Self {
        if round.is_multiple_of(JUMPS) {
            return Self { chain: HOOKS[round / JUMPS % HOOKS.len()].to_owned(), place: 0 };
        }
        // A stride that shares no factor with the number of chains visits all of them before it comes back.
        let chains = rules.chains();
        let stride = (chains * 5 / 8..).find(|stride| coprime(*stride, chains)).unwrap_or(1);
        let chain = (round * stride) % chains;
        let there = (rules.count - chain * PER_CHAIN).min(PER_CHAIN);
        Self { chain: rules.chain(chain), place: round * 7 % there }
    }
}

fn coprime(mut a: usize, mut b: usize) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Anything between one and two pauses, the same in every run.
pub(super) fn pause(round: usize) -> Duration {
    let mixed = (round as u32).wrapping_add(1).wrapping_mul(2_654_435_761) >> 16;
    PAUSE + PAUSE * mixed / (1 << 16)
}

/// How long a rule was away, in milliseconds.
pub(super) struct Open {
    pub(super) after: f64,
    from_begin: f64,
}

impl Open {
    fn new(begin: Instant, end: Instant, back: Instant) -> Self {
        let since = |start: Instant| back.saturating_duration_since(start).as_secs_f64() * 1e3;
        Self { after: since(end), from_begin: since(begin) }
    }
}

/// Deletes a rule and sees it come back.
pub(super) trait Witness {
    fn round(&mut self, victim: &Victim) -> Result<Open>;
}

pub(super) struct NetlinkWitness {
    stranger: Stranger,
    listener: Listener,
}

impl NetlinkWitness {
    pub(super) fn open() -> Result<Self> {
        Ok(Self { stranger: Stranger::open()?, listener: Listener::open()? })
    }
}

impl Witness for NetlinkWitness {
    fn round(&mut self, victim: &Victim) -> Result<Open> {
        let chain = victim.chain.as_str();
        let before = self.stranger.rules(chain)?;
        let rule = *before.get(victim.place).context("there is no such rule")?;
        self.listener.forget()?;
        let begin = Instant::now();
        let Deletion::Done(end) = self.stranger.delete(chain, rule)? else {
            bail!("somebody else changed the table at the same time");
        };
        let deadline = end + PATIENCE;
        while let Some(transaction) = self.listener.next(deadline)? {
            if transaction.adds_to(chain) && self.stranger.rules(chain)?.len() == before.len() {
                return Ok(Open::new(begin, end, transaction.at));
            }
        }
        bail!("the rule is not back after {} s: does this build repair by events?", PATIENCE.as_secs())
    }
}

struct EntriesWitness(Entries);

impl EntriesWitness {
    fn open() -> Result<Self> {
        Ok(Self(Entries::open()?))
    }
}

impl Witness for EntriesWitness {
    fn round(&mut self, victim: &Victim) -> Result<Open> {
        let before = self.0.count()?;
        let begin = Instant::now();
        Backend::Legacy.delete(&victim.chain, victim.place + 1)?;
        let end = Instant::now();
        let back = self.0.wait_for(before, end + PATIENCE);
        Ok(Open::new(begin, end, back.context("does this build repair by events?")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_met_often_enough_for_a_fight() {
        for count in [1_000, 10_000, 50_000] {
            let victims: Vec<String> =
                (0..200).map(|round| Victim::of_round(round, Rules::ours(count)).chain).collect();
            for window in victims.windows(100) {
                let most = window.iter().map(|chain| window.iter().filter(|other| *other == chain).count()).max();
                assert!(most.unwrap() <= 5, "{count}: {most:?} in about 10 s");
            }
        }
    }

    #[test]
    fn pauses_differ_within_their_bounds() {
        let pauses: Vec<Duration> = (0..200).map(pause).collect();
        assert!(pauses.iter().all(|pause| (PAUSE..PAUSE * 2).contains(pause)));
        let distinct: std::collections::BTreeSet<&Duration> = pauses.iter().collect();
        assert!(distinct.len() > 150);
    }
}
