//! Repairs while a thousand scrapes are open at a time and two hundred streams of events, beside repairs of the same daemon
//! without a scrape, and while other programs keep as many processors busy; and what memory it holds after that.
//!
//! The clients run on this machine at the lowest priority: the daemon is measured, and they are not.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ruleward_tests::{Backend, Node, web};

use crate::events::{NetlinkWitness, Victim, Witness, pause};
use crate::guarded::{Guarded, guarded};
use crate::node::{memory, milliseconds, rest};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::table::{Goal, Row, number};

const SCRAPES: usize = 1_000;
const STREAMS: usize = 200;
/// Deletions without scrapes and with them.
const ROUNDS: usize = 200;
/// Of the clients' threads.
const NICE: i32 = 19;
/// Threads that keep processors busy in place of server and clients.
const BUSY: usize = 2;

/// nft, the smallest size.
pub fn measure(plan: &Plan) -> Vec<Row> {
    plan.sizes(Backend::Nft).first().map(|count| rows(plan, *count)).into_iter().flatten().collect()
}

fn rows(plan: &Plan, count: usize) -> [Row; 2] {
    let rules = Rules::ours(count);
    let (scrapes_at_once, streams, each) = (plan.times(SCRAPES), plan.times(STREAMS), plan.times(ROUNDS));
    let (mut quiet, mut busy, mut loaded, mut scrapes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut before, mut halfway, mut after, mut a_second) = (0.0, 0.0, 0.0, 0.0);
    eprintln!("    repairs under {scrapes_at_once} scrapes and {streams} streams, one among {count} rules");
    guarded(&Guarded::new(Backend::Nft, count), |daemon, node| {
        let mut witness = NetlinkWitness::open();
        rest(daemon);
        let mut rounds = |from: usize, times: &mut Vec<f64>| {
            for round in from * each..(from + 1) * each {
                times.push(witness.round(&Victim::of_round(round, rules)).after);
                thread::sleep(pause(round));
            }
        };
        rounds(0, &mut quiet);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = Over(&over);
            for _ in 0..BUSY {
                scope.spawn(|| clients(&over, Vec::new));
            }
            rounds(1, &mut busy);
        });
        before = memory(daemon, "VmRSS");
        let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut open: Vec<_> = (0..streams).map(|_| web::ask(node, "/events")).collect();
        let began = Instant::now();
        scrapes = thread::scope(|scope| {
            let ending = Over(&over);
            let scraper = scope.spawn(|| clients(&over, || scrape(node, scrapes_at_once, &done)));
            scope.spawn(|| clients(&over, || take_all(&mut open)));
            rounds(2, &mut loaded);
            halfway = memory(daemon, "VmRSS");
            rounds(3, &mut loaded);
            drop(ending);
            scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        after = memory(daemon, "VmRSS");
        a_second = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    });
    let case = format!("nft, one among {count} rules, {scrapes_at_once} scrapes and {streams} streams");
    let (quiet, busy, loaded, scrapes) =
        (Sample::new(quiet), Sample::new(busy), Sample::new(loaded), Sample::new(scrapes));
    let note = format!(
        "p99 {} of {}; {} of {} without scrapes, {} of {} beside {BUSY} idle loops; {a_second:.0} scrapes a second, p99 {} ms of a thousand at a time",
        number(loaded.percentile(99)),
        loaded.count(),
        number(quiet.percentile(99)),
        quiet.count(),
        number(busy.percentile(99)),
        busy.count(),
        number(scrapes.percentile(99)),
    );
    let repairs = Row {
        beside: vec![("no scrapes", quiet), ("idle loops", busy)],
        goal: Some(Goal::Percentiles(2.0, 10.0)),
        note,
        ..Row::new("deleted rule until it is back", case.clone(), "ms", loaded)
    };
    let one = |value| Sample::new(vec![value]);
    let memory = Row {
        beside: vec![("before", one(before)), ("half-way", one(halfway))],
        ..Row::new("memory after", case, "MB", one(after))
    };
    [repairs, memory]
}

/// Ends the clients, also where a repair that does not come ends the measurement.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Works at least once and until it is over, behind everybody else.
fn clients(over: &AtomicBool, mut work: impl FnMut() -> Vec<f64>) -> Vec<f64> {
    // Of this thread alone.
    rustix::process::nice(NICE).expect("everyone may be nicer");
    let mut times = work();
    while !over.load(Ordering::Relaxed) {
        times.extend(work());
    }
    times
}

/// All connections are open before the first answer is read; the time until the answer of each, in milliseconds.
fn scrape(node: &Node, at_once: usize, done: &AtomicU64) -> Vec<f64> {
    let begin = Instant::now();
    let mut open: Vec<_> = (0..at_once).map(|_| web::ask(node, "/metrics")).collect();
    let mut times = Vec::with_capacity(at_once);
    for stream in &mut open {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "no metrics: {}", String::from_utf8_lossy(&answer));
        times.push(milliseconds(begin.elapsed()));
        done.fetch_add(1, Ordering::Relaxed);
    }
    times
}

fn take_all(streams: &mut [UnixStream]) -> Vec<f64> {
    let mut buffer = [0; 65_536];
    for stream in streams {
        stream.set_nonblocking(true).expect("a socket can be made so");
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => panic!("a stream of events has ended"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a stream of events broke: {error}"),
            }
        }
    }
    thread::sleep(Duration::from_millis(50));
    Vec::new()
}
