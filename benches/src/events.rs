//! One rule deleted by another program, until it is back: seen from outside, by that program's clock.
//!
//! The refresh interval is an hour, so what brings the rule back is the event. Every eighth deletion is that of a jump in a
//! built-in chain, the others take a rule out of a chain of ours, each time another one: a place that is undone
//! again and again would be a fight, in which the daemon slows down on purpose.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use ruleward_tests::raw::{Listener, Nft, Place, legacy};
use ruleward_tests::{Backend, Daemon};

use crate::guarded::{Guarded, Twin, guarded};
use crate::node::{milliseconds, rest};
use crate::plan::Plan;
use crate::rules::{HOOKS, PER_CHAIN, Rules};
use crate::sample::Sample;
use crate::stock;
use crate::table::{Goal, Row, number};

/// How long a repair is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// One deletion of so many takes a jump.
const JUMPS: usize = 8;
/// Between two deletions: this and up to as much again, so that no rhythm of the daemon is met.
const PAUSE: Duration = Duration::from_millis(70);
/// Between two looks at a legacy table: far below what a repair takes, and it leaves the processor to those who repair.
const LOOK: Duration = Duration::from_micros(50);
/// The stock tool is timed this often, spread over the rounds.
const STOCK: usize = 15;
/// How long a jump is open on average where a poller looks every second.
const POLLER: f64 = 500.0;

/// nft, all sizes.
pub fn measure_nft(plan: &Plan) -> Vec<Row> {
    plan.sizes(Backend::Nft).into_iter().map(|count| row(plan, Backend::Nft, count)).collect()
}

/// Legacy, all sizes.
pub fn measure_legacy(plan: &Plan) -> Vec<Row> {
    plan.sizes(Backend::Legacy).into_iter().map(|count| row(plan, Backend::Legacy, count)).collect()
}

/// Deleting a rule of a large table takes iptables-legacy as long as repairing it.
fn rounds(backend: Backend, count: usize) -> usize {
    match (backend, count) {
        (Backend::Nft, _) | (Backend::Legacy, 0..=2_000) => 200,
        (Backend::Legacy, 2_001..=20_000) => 100,
        (Backend::Legacy, _) => 40,
    }
}

fn row(plan: &Plan, backend: Backend, count: usize) -> Row {
    let case = format!("{backend}, one among {count} rules");
    eprintln!("    deleted rule, {case}");
    let rules = Rules::ours(count);
    let total = plan.times(rounds(backend, count));
    let mut times = Times::default();
    guarded(&Guarded::new(backend, count), |daemon, node| {
        let twin = Twin::create(backend, rules, node);
        let mut witness: Box<dyn Witness> = match backend {
            Backend::Nft => Box::new(NetlinkWitness::open()),
            Backend::Legacy => Box::new(EntriesWitness),
        };
        rest(daemon);
        for round in 0..total {
            let open = witness.round(&Victim::of_round(round, rules));
            times.all.push(open.after);
            times.from_begin.push(open.from_begin);
            if round.is_multiple_of(JUMPS) {
                times.jumps.push(open.after);
            }
            if round % total.div_ceil(STOCK) == 0 {
                times.stock.push(twin.restore_one_chain());
            }
            thread::sleep(pause(round));
        }
        times.told = Told::by(daemon);
    });
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
    told: Told,
}

impl Times {
    fn row(self, backend: Backend, case: String) -> Row {
        let ours = Sample::new(self.all);
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
        let mut beside =
            vec![("jumps", Sample::new(self.jumps)), ("from begin of deletion", Sample::new(self.from_begin))];
        if !self.told.latencies.is_empty() {
            beside.push(("as told", Sample::new(self.told.latencies)));
        }
        Row {
            stock: Some(Sample::new(self.stock)),
            goal: Some(goal),
            beside,
            note,
            ..Row::new("deleted rule until it is back", case, "ms", ours)
        }
    }
}

/// What the daemon itself says of its last repairs.
#[derive(Default)]
struct Told {
    latencies: Vec<f64>,
    ways: BTreeMap<String, usize>,
}

impl Told {
    fn by(daemon: &Daemon) -> Self {
        let mut told = Self::default();
        for incident in daemon.status().report.incidents {
            assert!(incident.repaired, "an incident was not repaired, as the daemon says: {incident:#?}");
            told.latencies.extend(incident.latency_ms);
            *told.ways.entry(incident.how).or_default() += 1;
        }
        told
    }

    fn how(&self) -> String {
        let ways: Vec<String> = self.ways.iter().map(|(way, count)| format!("{count} x {way}")).collect();
        if ways.is_empty() { String::new() } else { format!("; how: {}", ways.join(", ")) }
    }
}

/// The rule that a round takes away.
#[derive(Debug)]
pub struct Victim {
    chain: String,
    /// From 0, and smaller than the number of rules there.
    place: usize,
}

impl Victim {
    pub fn of_round(round: usize, rules: Rules) -> Self {
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
pub fn pause(round: usize) -> Duration {
    let mixed = (round as u32).wrapping_add(1).wrapping_mul(2_654_435_761) >> 16;
    PAUSE + PAUSE * mixed / (1 << 16)
}

/// How long a rule was away, in milliseconds.
pub struct Open {
    pub after: f64,
    from_begin: f64,
}

impl Open {
    fn new(begin: Instant, end: Instant, back: Instant) -> Self {
        let since = |start: Instant| milliseconds(back.saturating_duration_since(start));
        Self { after: since(end), from_begin: since(begin) }
    }
}

/// Deletes a rule and sees it come back.
pub trait Witness {
    fn round(&mut self, victim: &Victim) -> Open;
}

/// A chain of IPv4's table filter.
pub fn place(chain: &str) -> Place {
    Place::parse("ipv4", "filter", chain).expect("there is such a family")
}

/// A deletion is timed by its acknowledgement, a repair by the event of its commit.
pub struct NetlinkWitness {
    writer: Nft,
    listener: Listener,
}

impl NetlinkWitness {
    pub fn open() -> Self {
        Self { writer: Nft::open().expect("nf_tables"), listener: Listener::open().expect("nf_tables") }
    }
}

impl Witness for NetlinkWitness {
    fn round(&mut self, victim: &Victim) -> Open {
        let place = place(&victim.chain);
        let before = self.writer.settled(&place).expect("rules can be listed");
        let rule = before.get(victim.place).unwrap_or_else(|| panic!("there is no {victim:?}"));
        self.listener.forget().expect("all was heard");
        let begin = Instant::now();
        self.writer.commit(&[place.delete(rule)]).unwrap_or_else(|error| panic!("can't delete {victim:?}: {error}"));
        let end = Instant::now();
        while let Some(transaction) = self.listener.next(end + PATIENCE).expect("all was heard") {
            let adds = transaction.adds_to(&victim.chain);
            if adds && self.writer.settled(&place).expect("rules can be listed").len() == before.len() {
                return Open::new(begin, end, transaction.at);
            }
        }
        panic!("{victim:?} is not back after {PATIENCE:?}")
    }
}

/// The number of a legacy table's entries tells when a rule is back.
struct EntriesWitness;

impl Witness for EntriesWitness {
    fn round(&mut self, victim: &Victim) -> Open {
        let entries = || legacy::entries("ipv4", "filter").expect("a table tells its number of entries");
        let before = entries();
        let begin = Instant::now();
        stock::delete(Backend::Legacy, &victim.chain, victim.place + 1);
        let end = Instant::now();
        while entries() != before {
            assert!(end.elapsed() < PATIENCE, "{victim:?} is not back after {PATIENCE:?}");
            thread::sleep(LOOK);
        }
        Open::new(begin, end, Instant::now())
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
