//! What the daemon costs when nothing happens: the processor time of a refresh, and that of a node at rest.

use std::thread;
use std::time::{Duration, Instant};

use ruleward_tests::{Backend, Daemon};
use serde_json::json;

use crate::cpu;
use crate::guarded::{Guarded, guarded};
use crate::node::{self, milliseconds, rest_for};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::stock;
use crate::table::{Goal, Row};

/// One of so many refreshes reads everything: none in a measurement, or as many as by default. The others compare the
/// generation alone.
const REFRESHES: [(&str, u32, Option<Goal>); 2] =
    [("generation only", 1_000_000, Some(Goal::Ratio(0.001))), ("every tenth in full", 10, None)];
const WINDOWS: usize = 5;
/// Of refreshes; longer if none ended meanwhile.
const WINDOW: Duration = Duration::from_secs(2);
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
/// Of a node at rest: `WINDOWS` of these, and half a one to spare.
const REST: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(20);
/// Rules on a node at rest.
const MANY: usize = 10_000;

/// nft, the largest number of rules: a refresh without a change, beside `iptables-save` of both families. Refreshes come
/// as often as the configuration allows.
pub fn measure_refresh(plan: &Plan) -> Vec<Row> {
    let count = plan.largest(Backend::Nft, usize::MAX);
    let row = |count| REFRESHES.map(|(name, every, goal)| refresh(plan, count, name, every, goal));
    count.map(row).into_iter().flatten().collect()
}

fn refresh(plan: &Plan, count: usize, name: &str, every: u32, goal: Option<Goal>) -> Row {
    let backend = Backend::Nft;
    let case = format!("nft, {count} rules, {name}");
    eprintln!("    processor time of a refresh, {case}");
    let options = json!({ "refresh-interval": "100ms", "full-comparison-every": every });
    let (mut ours, mut stock, mut refreshes) = (Vec::new(), Vec::new(), 0.0);
    guarded(&Guarded { options, ..Guarded::new(backend, count) }, |daemon, _| {
        for _ in 0..plan.times(WINDOWS) {
            let before = cpu::of_children();
            stock::save_both(backend);
            stock.push(milliseconds(cpu::of_children() - before));
            let (took, done) = refreshing(daemon, plan.time(WINDOW));
            ours.push(took / done);
            refreshes += done;
        }
    });
    Row {
        stock: Some(Sample::new(stock)),
        goal,
        note: format!("processor time; {refreshes} refreshes"),
        ..Row::new("scheduled refresh, nothing changed", case, "ms", Sample::new(ours))
    }
}

/// Processor time in milliseconds, and the number of refreshes done in it.
fn refreshing(daemon: &Daemon, window: Duration) -> (f64, f64) {
    let checks = || daemon.status().checks;
    let (begin, start, first) = (node::cpu(daemon), Instant::now(), checks());
    thread::sleep(window);
    loop {
        let done = checks() - first;
        if done > 0 {
            return (milliseconds(node::cpu(daemon) - begin), done as f64);
        }
        assert!(start.elapsed() < LONGEST_WINDOW, "no refresh ended within {LONGEST_WINDOW:?}");
        thread::sleep(POLL);
    }
}

/// Both backends, with the default interval: percent of a processor.
pub fn measure_idle(plan: &Plan) -> Vec<Row> {
    let sizes = |backend: &Backend| plan.largest(*backend, MANY).map(|count| (*backend, count));
    plan.backends().iter().filter_map(sizes).map(|(backend, count)| idle(plan, backend, count)).collect()
}

fn idle(plan: &Plan, backend: Backend, count: usize) -> Row {
    let case = format!("{backend}, {count} rules");
    eprintln!("    processor at rest, {case}");
    let (windows, rest) = (plan.times(WINDOWS), plan.time(REST));
    let mut shares = Vec::new();
    guarded(&Guarded { options: json!({ "refresh-interval": "90s" }), ..Guarded::new(backend, count) }, |daemon, _| {
        rest_for(daemon, rest * windows as u32 + rest / 2);
        shares.extend((0..windows).map(|_| share(daemon, || thread::sleep(rest))));
    });
    let goal = (backend == Backend::Nft).then_some(Goal::Value(0.1));
    Row { goal, ..Row::new("processor at rest", case, "%", Sample::new(shares)) }
}

/// Percent of a processor that the daemon and its tools use meanwhile.
pub fn share(daemon: &Daemon, meanwhile: impl FnOnce()) -> f64 {
    let (before, start) = (node::cpu(daemon), Instant::now());
    meanwhile();
    (node::cpu(daemon) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0
}
