//! A stranger that deletes our jump in a tight loop, as soon as it is there: what the fight costs the daemon, and, on nft,
//! how long the jump is in force nevertheless.

use anyhow::{Context, Result, bail, ensure};
use std::time::{Duration, Instant};

use super::Plan;
use super::guarded::{Guarded, guarded};
use super::nftables::{Deletion, Stranger};
use super::quiet::share;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row, number};

const CHAIN: &str = "FORWARD";
const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(5);
/// Without any repair for so long there is no fight to measure.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the last repair is waited for, when the stranger has stopped.
const AFTERWARDS: Duration = Duration::from_secs(40);
const MANY: usize = 1_000;
/// A repair of more rules takes so long that one of them in five seconds is what is measured.
const MOST_LEGACY: usize = 10_000;

/// Percent of a processor in the last five of fifteen seconds.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = measure_nft(plan)?;
    for count in plan.sizes(Backend::Legacy).into_iter().filter(|count| *count <= MOST_LEGACY) {
        rows.push(measure_legacy(count)?);
    }
    Ok(rows)
}

/// The stock tool in a loop. It takes the lock each time, also when there is nothing to delete.
fn measure_legacy(count: usize) -> Result<Row> {
    let backend = Backend::Legacy;
    let case = format!("legacy, {count} rules, seconds 10 to 15");
    eprintln!("    fight, {case}");
    let mut shares = None;
    guarded(&Guarded::new(backend, count), |daemon, node| {
        // Nothing else is in that chain.
        let stranger = backend.repeating(&format!("-D {CHAIN} 1"), &node.folder().join("enough"))?;
        let first = share(daemon, || pause(FIRST))?;
        let last = share(daemon, || pause(LAST))?;
        let fights = daemon.status()?["fights"].as_array().map_or(0, Vec::len);
        ensure!(fights > 0, "the daemon does not tell of a fight");
        drop(stranger);
        shares = Some((first, last));
        Ok(())
    })?;
    let (first, last) = shares.context("no fight was measured")?;
    let ours = Sample::new(vec![last]).context("no processor time was measured")?;
    let mut row = Row { goal: Some(Goal::Value(5.0)), ..Row::new("processor in a fight", case, "%", ours) };
    row.beside.extend(Sample::new(vec![first]).map(|first| ("first 10 s", first)));
    Ok(row)
}

fn pause(time: Duration) -> Result<()> {
    std::thread::sleep(time);
    Ok(())
}

fn measure_nft(plan: &Plan) -> Result<Vec<Row>> {
    let backend = Backend::Nft;
    let count = plan.sizes(backend).into_iter().filter(|count| *count <= MANY).max().unwrap_or(MANY);
    let case = format!("nft, {count} rules, seconds 10 to 15");
    eprintln!("    fight, {case}");
    let mut measured = None;
    guarded(&Guarded::new(backend, count), |daemon, _| {
        let mut fight = Fight::begin(Stranger::open()?)?;
        let first_share = share(daemon, || fight.go_on(FIRST))?;
        let first = std::mem::take(&mut fight.score);
        let last_share = share(daemon, || fight.go_on(LAST))?;
        let last = std::mem::take(&mut fight.score);
        let stopped = Instant::now();
        let back = fight.wait_for_peace(stopped)?;
        measured = Some((first_share, first, last_share, last, back));
        Ok(())
    })?;
    let (first_share, first, last_share, last, back) = measured.context("no fight was measured")?;
    let ours = Sample::new(vec![last_share]).context("no processor time was measured")?;
    let note = format!(
        "{}; in force at most {} % of the last {} s",
        back.map_or_else(
            || format!("not back {} s after the stranger stopped", AFTERWARDS.as_secs()),
            |time| format!("back {} s after the stranger stopped", number(time.as_secs_f64())),
        ),
        number(last.in_force.as_secs_f64() / LAST.as_secs_f64() * 100.0),
        LAST.as_secs(),
    );
    let mut row = Row { goal: Some(Goal::Value(5.0)), note, ..Row::new("processor in a fight", case, "%", ours) };
    let numbers = [
        ("first 10 s", first_share),
        ("repairs in the first 10 s", f64::from(first.repairs)),
        ("repairs in the last 5 s", f64::from(last.repairs)),
        ("in force in the first 10 s, ms", first.in_force.as_secs_f64() * 1e3),
        ("in force in the last 5 s, ms", last.in_force.as_secs_f64() * 1e3),
    ];
    row.beside = numbers.into_iter().filter_map(|(name, value)| Some((name, Sample::new(vec![value])?))).collect();
    Ok(vec![row])
}

struct Fight {
    stranger: Stranger,
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
    fn begin(stranger: Stranger) -> Result<Self> {
        let now = Instant::now();
        let mut fight = Self { stranger, away: now, unanswered: Some(now), score: Score::default() };
        ensure!(!fight.stranger.rules(CHAIN)?.is_empty(), "there is no jump in {CHAIN} to fight for");
        while !fight.strike()? {}
        fight.score = Score::default();
        Ok(fight)
    }

    fn go_on(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.strike()? {
                self.unanswered = None;
            } else if self.unanswered.is_some_and(|since| since.elapsed() > PATIENCE) {
                bail!("the jump is not back after {} s: does this build repair by events?", PATIENCE.as_secs());
            }
        }
        Ok(())
    }

    /// Looks once, and deletes the jump if it is there; true if it did.
    fn strike(&mut self) -> Result<bool> {
        let look = Instant::now();
        let Some(jump) = self.stranger.rules(CHAIN)?.first().copied() else {
            self.away = look;
            return Ok(false);
        };
        let Deletion::Done(end) = self.stranger.delete(CHAIN, jump)? else { return Ok(false) };
        self.score.repairs += 1;
        self.score.in_force += end.saturating_duration_since(self.away);
        self.away = end;
        Ok(true)
    }

    /// How long after the end of the fight the jump is there; `None` if it is not in the time that is waited.
    fn wait_for_peace(&mut self, stopped: Instant) -> Result<Option<Duration>> {
        while stopped.elapsed() < AFTERWARDS {
            if !self.stranger.rules(CHAIN)?.is_empty() {
                return Ok(Some(stopped.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }
}
