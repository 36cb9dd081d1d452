//! Packets flow all the time while the jump is deleted again and again: once it is back, none leaves with the pod's own
//! address; how many did before that is counted and printed.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ruleward_tests::traffic::{Place, Transport, at};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Traffic, poll};

use crate::traffic::{JUMP, calico_node};

/// So often the jump is deleted, if that does not take longer than [`ENOUGH`]: a daemon may take it for a fight.
const DELETIONS: u32 = 1_000;
const ENOUGH: Duration = Duration::from_secs(20);
/// One packet in this time, each from another port, which is a new connection to the kernel.
const PACE: Duration = Duration::from_millis(1);

/// What a stream of packets met.
#[derive(Default)]
struct Count {
    arrived: u64,
    leaked: u64,
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "events::{backend}::{family}::no_packet_leaks_once_repaired",
    no_packet_leaks_once_repaired(backend, family)
);
fn no_packet_leaks_once_repaired(backend: Backend, family: Family) {
    let (node, _daemon) = calico_node(backend, "");
    let traffic = Traffic::around(&node);
    let before = node.save(family, "nat");
    let ended = AtomicBool::new(false);
    let begun = Instant::now();
    let mut deletions = 0;
    let count = std::thread::scope(|scope| {
        let stream = scope.spawn(|| stream(&traffic, family, &ended));
        // However this ends, the stream must.
        let end = End(&ended);
        while deletions < DELETIONS && (deletions < 3 || begun.elapsed() < ENOUGH) {
            node.stranger(family).delete("nat", "POSTROUTING", JUMP);
            deletions += 1;
            poll("the jump comes back", || (node.save(family, "nat") == before).then_some(()));
            let seen = traffic.seen(Place::Pod, Place::Outside, family, Transport::Udp).ip();
            assert_eq!(seen, at(Place::Node, family), "after repair {deletions}");
        }
        drop(end);
        stream.join().expect("the stream's sockets work")
    });
    eprintln!(
        "events::{backend}::{family}: {deletions} deletions, {} packets in {:.1?}, {} of them unmasqueraded",
        count.arrived,
        begun.elapsed(),
        count.leaked
    );
    assert!(count.arrived > u64::from(deletions), "hardly a packet arrived: {}", count.arrived);
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends from the pod to the outside until told to end, and looks at what arrives.
fn stream(traffic: &Traffic<'_>, family: Family, ended: &AtomicBool) -> Count {
    let bind = |place, port| traffic.inside(place, || UdpSocket::bind((at(place, family), port)));
    let server = bind(Place::Outside, 0).expect("a free port");
    server.set_nonblocking(true).expect("a socket can be so");
    let to = server.local_addr().expect("it is bound");
    let mut count = Count::default();
    traffic.inside(Place::Pod, || {
        while !ended.load(Ordering::Acquire) {
            let client = UdpSocket::bind((at(Place::Pod, family), 0)).expect("a free port");
            client.send_to(b"!", to).expect("the way is known");
            while let Ok((_, source)) = server.recv_from(&mut [0; 8]) {
                count.arrived += 1;
                count.leaked += u64::from(source.ip() == at(Place::Pod, family));
            }
            std::thread::sleep(PACE);
        }
    });
    count
}
