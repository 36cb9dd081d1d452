//! Repairs while a thousand scrapes are open at a time and two hundred streams of events, beside repairs of the same daemon
//! while nobody looks, and while somebody else keeps as many processors busy; and what memory it holds after that.
//!
//! Whoever scrapes does it on this machine, at the lowest priority: what is measured is the daemon, not its clients.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::events::{NetlinkWitness, Victim, Witness, pause};
use super::guarded::{Guarded, guarded};
use super::node::Daemon;
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row, number};

const SCRAPES: usize = 1_000;
const STREAMS: usize = 200;
/// Deletions while nobody looks, and while they do.
const ROUNDS: usize = 200;
/// Of the clients' threads.
const NICE: i32 = 19;
/// Threads that keep processors busy in place of server and clients.
const BUSY: usize = 2;

/// nft, the smallest size.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let count = *plan.sizes(Backend::Nft).first().context("no size")?;
    let rules = Rules::ours(count);
    let (mut quiet, mut busy, mut loaded, mut scrapes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut memory, mut answered, mut seconds) = (Vec::new(), 0, 0.0);
    eprintln!("    repairs under {SCRAPES} scrapes and {STREAMS} streams, one among {count} rules");
    guarded(&Guarded::new(Backend::Nft, count), |daemon, _| {
        let mut witness = NetlinkWitness::open()?;
        daemon.rest()?;
        let mut rounds = |from: usize, times: &mut Vec<f64>| -> Result<()> {
            for round in from..from + ROUNDS {
                let victim = Victim::of_round(round, rules);
                let open = witness.round(&victim).with_context(|| format!("round {}, {victim:?}", round + 1))?;
                times.push(open.after);
                thread::sleep(pause(round));
            }
            Ok(())
        };
        rounds(0, &mut quiet)?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| -> Result<()> {
            for _ in 0..BUSY {
                scope.spawn(|| clients(&over, || Ok(Vec::new())));
            }
            let result = rounds(ROUNDS, &mut busy);
            over.store(true, Ordering::Relaxed);
            result
        })?;
        memory.push(daemon.memory("VmRSS")?);
        let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut open = (0..STREAMS).map(|_| ask(daemon, "/events")).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        scrapes = thread::scope(|scope| -> Result<Vec<f64>> {
            let scraper = scope.spawn(|| clients(&over, || scrape(daemon, &done)));
            let reader = scope.spawn(|| clients(&over, || take_all(&mut open).map(|()| Vec::new())));
            let result = rounds(2 * ROUNDS, &mut loaded).and_then(|()| {
                memory.push(daemon.memory("VmRSS")?);
                rounds(3 * ROUNDS, &mut loaded)
            });
            over.store(true, Ordering::Relaxed);
            let scrapes = scraper.join();
            let read = reader.join();
            result?;
            read.map_err(|_| anyhow::anyhow!("the reader of streams panicked"))??;
            scrapes.map_err(|_| anyhow::anyhow!("the scraper panicked"))?
        })?;
        memory.push(daemon.memory("VmRSS")?);
        (answered, seconds) = (done.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
        Ok(())
    })?;
    let case = format!("nft, one among {count} rules, {SCRAPES} scrapes and {STREAMS} streams");
    let quiet = Sample::new(quiet).context("nothing was deleted")?;
    let busy = Sample::new(busy).context("nothing was deleted")?;
    let loaded = Sample::new(loaded).context("nothing was deleted")?;
    let scrapes = Sample::new(scrapes).context("nothing was scraped")?;
    let note = format!(
        "p99 {} of {}; {} of {} while nobody looks, {} of {} beside {BUSY} idle loops; {:.0} scrapes a second, p99 {} ms of a thousand at a time",
        number(loaded.percentile(99)),
        loaded.count(),
        number(quiet.percentile(99)),
        quiet.count(),
        number(busy.percentile(99)),
        busy.count(),
        answered as f64 / seconds,
        number(scrapes.percentile(99)),
    );
    let repairs = Row {
        beside: vec![("nobody looks", quiet), ("idle loops", busy)],
        goal: Some(Goal::Percentiles(2.0, 10.0)),
        note,
        ..Row::new("deleted rule until it is back", case.clone(), "ms", loaded)
    };
    let [before, halfway, after] = memory[..] else { bail!("memory was not measured") };
    let one = |value| Sample::new(vec![value]).context("memory is a number");
    let memory = Row {
        beside: vec![("before", one(before)?), ("half-way", one(halfway)?)],
        ..Row::new("memory after", case, "MB", one(after)?)
    };
    Ok(vec![repairs, memory])
}

/// Works until it is over, and behind everybody else.
fn clients(over: &AtomicBool, mut work: impl FnMut() -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    // Of this thread alone.
    rustix::process::nice(NICE)?;
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        times.extend(work()?);
    }
    Ok(times)
}

fn ask(daemon: &Daemon<'_>, path: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(daemon.runtime().join("http.sock"))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// All connections are open before the first answer is read; the time until the answer of each, in milliseconds.
fn scrape(daemon: &Daemon<'_>, done: &AtomicU64) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let mut open = (0..SCRAPES).map(|_| ask(daemon, "/metrics")).collect::<Result<Vec<_>>>()?;
    let mut times = Vec::with_capacity(SCRAPES);
    for stream in &mut open {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("a scrape was not answered: {}", String::from_utf8_lossy(&answer));
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(times)
}

fn take_all(streams: &mut [UnixStream]) -> Result<()> {
    let mut buffer = [0; 65_536];
    for stream in streams {
        stream.set_nonblocking(true)?;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => bail!("a stream of events has ended"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("a stream of events broke"),
            }
        }
    }
    thread::sleep(Duration::from_millis(50));
    Ok(())
}
