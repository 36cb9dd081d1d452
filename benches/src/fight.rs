//! Another program that deletes our jump in a tight loop, as soon as it is there: what the fight costs the daemon,
//! and, on nft, how long the jump is in force nevertheless.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use ruleward_tests::raw::Nft;
use ruleward_tests::{Backend, Family};

use crate::events::place;
use crate::guarded::{Guarded, guarded};
use crate::node::milliseconds;
use crate::plan::Plan;
use crate::quiet::share;
use crate::sample::Sample;
use crate::table::{Goal, Row, number};

const CHAIN: &str = "FORWARD";
const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(5);
/// Without any repair for so long there is no fight to measure.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the last repair is waited for, when the other program has stopped.
const AFTERWARDS: Duration = Duration::from_secs(40);
const MANY: usize = 1_000;
/// A repair of more rules takes so long that one of them in five seconds is what is measured.
const MOST_LEGACY: usize = 10_000;

/// Percent of a processor in the last five of fifteen seconds.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let nft = plan.largest(Backend::Nft, MANY).map(|count| measure_nft(plan, count));
    let legacy = plan.sizes(Backend::Legacy).into_iter().filter(|count| *count <= MOST_LEGACY);
    nft.into_iter().chain(legacy.map(|count| measure_legacy(plan, count))).collect()
}

/// The stock tool in a loop. It takes the lock each time, also when there is nothing to delete.
fn measure_legacy(plan: &Plan, count: usize) -> Row {
    let backend = Backend::Legacy;
    let case = format!("legacy, {count} rules, seconds 10 to 15");
    eprintln!("    fight, {case}");
    let tool = Family::Ipv4.tool(backend, "");
    // Nothing else is in that chain. The loop ends by itself, after a run: none is cut off in a write.
    let again = format!("while [ ! -e \"$0\" ]; do {tool} -w -D {CHAIN} 1; done >/dev/null 2>&1; exit 0");
    let mut shares = (0.0, 0.0);
    guarded(&Guarded::new(backend, count), |daemon, node| {
        let writer = node.command("sh").args(&["-c", &again]).args(&[node.path("enough")]).start();
        shares.0 = share(daemon, || thread::sleep(plan.time(FIRST)));
        shares.1 = share(daemon, || thread::sleep(plan.time(LAST)));
        assert!(!daemon.status().fights.is_empty(), "the daemon does not tell of a fight");
        node.write("enough", "");
        writer.finish();
    });
    let (first, last) = shares;
    Row {
        goal: Some(Goal::Value(5.0)),
        beside: vec![("first 10 s", Sample::new(vec![first]))],
        ..Row::new("processor in a fight", case, "%", Sample::new(vec![last]))
    }
}

fn measure_nft(plan: &Plan, count: usize) -> Row {
    let case = format!("nft, {count} rules, seconds 10 to 15");
    eprintln!("    fight, {case}");
    let mut measured = None;
    guarded(&Guarded::new(Backend::Nft, count), |daemon, _| {
        let mut fight = Fight::begin();
        let first_share = share(daemon, || fight.go_on(plan.time(FIRST)));
        let first = std::mem::take(&mut fight.score);
        let last_share = share(daemon, || fight.go_on(plan.time(LAST)));
        let last = std::mem::take(&mut fight.score);
        let back = fight.wait_for_peace(Instant::now());
        measured = Some((first_share, first, last_share, last, back));
    });
    let (first_share, first, last_share, last, back) = measured.expect("the fight has ended");
    let note = format!(
        "{}; in force at most {} % of the last {} s",
        back.map_or_else(
            || format!("not back {} s after the other program stopped", AFTERWARDS.as_secs()),
            |time| format!("back {} s after the other program stopped", number(time.as_secs_f64())),
        ),
        number(last.in_force.as_secs_f64() / LAST.as_secs_f64() * 100.0),
        LAST.as_secs(),
    );
    let beside = [
        ("first 10 s", first_share),
        ("repairs in the first 10 s", f64::from(first.repairs)),
        ("repairs in the last 5 s", f64::from(last.repairs)),
        ("in force in the first 10 s, ms", milliseconds(first.in_force)),
        ("in force in the last 5 s, ms", milliseconds(last.in_force)),
    ];
    Row {
        goal: Some(Goal::Value(5.0)),
        note,
        beside: beside.map(|(name, value)| (name, Sample::new(vec![value]))).into(),
        ..Row::new("processor in a fight", case, "%", Sample::new(vec![last_share]))
    }
}

struct Fight {
    writer: Nft,
    /// When the jump was last seen to be away.
    away: Instant,
    /// When the first repair began to be waited for; none since it came.
    unanswered: Option<Instant>,
    score: Score,
}

#[derive(Default)]
struct Score {
    repairs: u32,
    /// From the last look that missed the jump until it was deleted again: more than it was really there.
    in_force: Duration,
}

impl Fight {
    /// With the first blow.
    fn begin() -> Self {
        let (writer, now) = (Nft::open().expect("nf_tables"), Instant::now());
        let mut fight = Self { writer, away: now, unanswered: Some(now), score: Score::default() };
        assert!(fight.is_there(), "there is no jump in {CHAIN} to fight for");
        while !fight.strike() {}
        fight.score = Score::default();
        fight
    }

    fn go_on(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.strike() {
                self.unanswered = None;
            } else {
                let answered = self.unanswered.is_none_or(|since| since.elapsed() < PATIENCE);
                assert!(answered, "the jump is not back after {PATIENCE:?}");
            }
        }
    }

    /// Looks once, and deletes the jump if it is there; true if it did.
    fn strike(&mut self) -> bool {
        let (place, look) = (place(CHAIN), Instant::now());
        let rules = self.writer.settled(&place).expect("rules can be listed");
        let Some(jump) = rules.first() else {
            self.away = look;
            return false;
        };
        match self.writer.commit(&[place.delete(jump)]) {
            Ok(_) => {}
            // Another program was faster: it is gone already, or the transaction has to be tried anew.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => return false,
            Err(error) => panic!("can't delete the jump: {error}"),
        }
        let end = Instant::now();
        self.score.repairs += 1;
        self.score.in_force += end.saturating_duration_since(self.away);
        self.away = end;
        true
    }

    fn is_there(&mut self) -> bool {
        !self.writer.settled(&place(CHAIN)).expect("rules can be listed").is_empty()
    }

    /// How long after the end of the fight the jump is there; `None` if it is not in the time that is waited.
    fn wait_for_peace(&mut self, stopped: Instant) -> Option<Duration> {
        while stopped.elapsed() < AFTERWARDS {
            if self.is_there() {
                return Some(stopped.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }
}
