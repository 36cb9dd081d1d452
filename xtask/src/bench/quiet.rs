//! What the daemon costs when nothing happens: the processor time of a refresh, and that of a node at rest.

use anyhow::{Context, Result, ensure};
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::cpu;
use super::guarded::{Guarded, guarded};
use super::node::Daemon;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};

/// Refreshes as often as the configuration allows; the generation alone is compared, and by default every tenth refresh
/// reads everything.
const REFRESHES: [(&str, &str, Option<Goal>); 2] = [
    ("generation only", "refresh-interval = \"100ms\"\nfull-comparison-every = 1000000\n", Some(Goal::Ratio(0.001))),
    ("every tenth in full", "refresh-interval = \"100ms\"\n", None),
];
const WINDOWS: usize = 5;
/// Of refreshes; longer if none ended meanwhile.
const WINDOW: Duration = Duration::from_secs(2);
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
/// Of a node at rest: `WINDOWS` of these, and half a one to spare.
const REST: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(20);
/// Rules on a node at rest.
const MANY: usize = 10_000;

/// nft, the largest number of rules: a refresh without a change, beside `iptables-save` of both families.
pub fn measure_refresh(plan: &Plan) -> Result<Vec<Row>> {
    let backend = Backend::Nft;
    let count = plan.sizes(backend).into_iter().max().context("no number of rules was given")?;
    REFRESHES
        .iter()
        .map(|(name, options, goal)| {
            let case = format!("nft, {count} rules, {name}");
            eprintln!("    processor time of a refresh, {case}");
            let (mut ours, mut stock, mut refreshes) = (Vec::new(), Vec::new(), 0.0);
            guarded(&Guarded { options, ..Guarded::new(backend, count) }, |daemon, _| {
                for _ in 0..WINDOWS {
                    let before = cpu::of_children()?;
                    backend.save_both()?;
                    stock.push(milliseconds(cpu::of_children()? - before));
                    let (took, done) = refreshing(daemon)?;
                    ours.push(took / done);
                    refreshes += done;
                }
                Ok(())
            })?;
            let ours = Sample::new(ours).context("no refresh was measured")?;
            let note = format!("processor time; {refreshes} refreshes");
            Ok(Row {
                stock: Sample::new(stock),
                goal: *goal,
                note,
                ..Row::new("scheduled refresh, nothing changed", case, "ms", ours)
            })
        })
        .collect()
}

/// Processor time in milliseconds, and the number of refreshes done in it.
fn refreshing(daemon: &Daemon<'_>) -> Result<(f64, f64)> {
    let checks = || daemon.status()?["checks"].as_f64().context("the status has no number of checks");
    let (begin, start, first) = (daemon.cpu()?, Instant::now(), checks()?);
    thread::sleep(WINDOW);
    loop {
        let done = checks()? - first;
        if done > 0.0 {
            return Ok((milliseconds(daemon.cpu()? - begin), done));
        }
        ensure!(start.elapsed() < LONGEST_WINDOW, "no refresh ended within {} s", LONGEST_WINDOW.as_secs());
        thread::sleep(POLL);
    }
}

/// Both backends, with the default configuration: percent of a processor.
pub fn measure_idle(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        let count = plan.sizes(backend).into_iter().filter(|count| *count <= MANY).max().unwrap_or(MANY);
        let case = format!("{}, {count} rules", backend.name());
        eprintln!("    processor at rest, {case}");
        let mut shares = Vec::new();
        guarded(&Guarded { options: "", ..Guarded::new(backend, count) }, |daemon, _| {
            daemon.rest_for(REST * WINDOWS as u32 + REST / 2)?;
            for _ in 0..WINDOWS {
                shares.push(share(daemon, || {
                    thread::sleep(REST);
                    Ok(())
                })?);
            }
            Ok(())
        })?;
        let ours = Sample::new(shares).context("no rest was measured")?;
        let goal = (backend == Backend::Nft).then_some(Goal::Value(0.1));
        rows.push(Row { goal, ..Row::new("processor at rest", case, "%", ours) });
    }
    Ok(rows)
}

/// Percent of a processor that the daemon and its tools use meanwhile.
pub fn share(daemon: &Daemon<'_>, meanwhile: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, start) = (daemon.cpu()?, Instant::now());
    meanwhile()?;
    Ok((daemon.cpu()? - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
