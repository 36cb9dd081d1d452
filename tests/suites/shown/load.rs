//! A thousand scrapes at a time and two hundred open streams: repairs go on, all are answered, and nothing of it stays.
//! How fast repairs are meanwhile is measured by `cargo xtask bench http`.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ruleward_tests::trial;
use ruleward_tests::web::{ask, metric};
use ruleward_tests::{Backend, Family, Node, poll};

use crate::reload;

const SCRAPES: usize = 1000;
const STREAMS: usize = 200;
/// How much more memory may be in use after many rounds than after the first: the allocator's own luck.
const LUCK: f64 = 24.0 * 1024.0 * 1024.0;

/// All connections are open, with their requests, before the first answer is read.
fn scrape(node: &Node) -> u64 {
    let mut open: Vec<UnixStream> = (0..SCRAPES).map(|_| ask(node, "/metrics")).collect();
    let mut answered = 0;
    for stream in &mut open {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\n"), "a scrape was not answered");
        answered += 1;
    }
    answered
}

/// Takes all that has come; whether the stream told of damage.
fn take(stream: &mut UnixStream, told: &mut bool) {
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("a stream of events has ended"),
            Ok(count) => *told |= String::from_utf8_lossy(&buffer[..count]).contains("chain-flushed"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("a stream of events broke: {error}"),
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "shown::load::{backend}::scrapes_and_streams_hold_up_nobody",
    scrapes_and_streams_hold_up_nobody(backend)
);
fn scrapes_and_streams_hold_up_nobody(backend: Backend) {
    let (node, daemon) = reload::node(backend);
    let descriptors = metric(&node, "process_open_fds", &[]);
    let mut streams: Vec<(UnixStream, bool)> = (0..STREAMS).map(|_| (ask(&node, "/events"), false)).collect();
    streams.iter().for_each(|(stream, _)| stream.set_nonblocking(true).expect("a socket can do that"));
    let (scraped, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let memory = || metric(&node, "process_resident_memory_bytes", &[]);
    let after_first = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                scraped.fetch_add(scrape(&node), Ordering::Relaxed);
            }
        });
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) || streams.iter().any(|(_, told)| !told) {
                streams.iter_mut().for_each(|(stream, told)| take(stream, told));
                std::thread::yield_now();
            }
        });
        let rounds = |count: u64| {
            let enough = scraped.load(Ordering::Relaxed) + count * SCRAPES as u64;
            let mut repairs = 0;
            while scraped.load(Ordering::Relaxed) < enough {
                node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
                reload::comes_into_force(&node, "op", 80);
                repairs += 1;
            }
            repairs
        };
        let first = rounds(2);
        let after_first = memory();
        let more = rounds(4);
        assert!(first + more > 1, "hardly any repair was made among all these scrapes");
        over.store(true, Ordering::Relaxed);
        reader.join().expect("all streams tell of the damage");
        after_first
    });
    let after_all = memory();
    assert!(after_all < after_first + LUCK, "memory grew from {after_first} to {after_all}");
    drop(streams);
    poll("all connections are closed", || (metric(&node, "process_open_fds", &[]) <= descriptors).then_some(()));
    assert!(daemon.status().report.in_sync);
    daemon.stop();
}
