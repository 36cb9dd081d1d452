//! A stranger goes from chain to chain and takes the masquerading out of each, while packets flow all the time: each
//! packet says whether it was masqueraded. Once one is again, no later one of that chain leaves with the pod's own
//! address; how many did before that is counted, and compared with a daemon that only looks every second.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::traffic::{Place, at};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, Traffic, poll, sandbox};
use serde_json::json;

use super::settled;

/// Chains, each for the packets to one port. Enough that no chain is met so often that it would be a fight.
const CHAINS: usize = 200;
/// The first port.
const PORTS: u16 = 20_000;
/// The ports that packets come from, one after the other: each packet is a new connection to the kernel, which keeps
/// those of old ones in mind, and with them how they were masqueraded.
const FROM: std::ops::Range<u16> = 2_000..62_000;
/// One packet in this time.
const PACE: Duration = Duration::from_micros(500);
/// Packets that are looked at after a repair.
const AFTERWARDS: usize = 3;
/// If so many repairs take longer, fewer will do.
const ENOUGH: Duration = Duration::from_secs(60);
/// The same as an ordinary user, where it is run a second time.
const ENOUGH_AGAIN: Duration = Duration::from_secs(15);
/// For the comparison.
const FEW: usize = 5;

/// Each write of legacy replaces the whole table, and the daemon bounds what it spends on that: as many as it repairs
/// without a pause.
fn deletions(backend: Backend) -> usize {
    match backend {
        Backend::Nft => 1_000,
        Backend::Legacy => 240,
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "events::{backend}::{family}::a_sweep_under_traffic",
    a_sweep_under_traffic(backend, family)
);
fn a_sweep_under_traffic(backend: Backend, family: Family) {
    let (node, _daemon) = node(backend, family, json!("auto"), "1h");
    let sweep = sweep(&node, family, deletions(backend));
    eprintln!("events::{backend}::{family}: {sweep}");
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::ipv4::fewer_packets_leak_than_with_a_poller",
    fewer_packets_leak_than_with_a_poller(backend)
);
fn fewer_packets_leak_than_with_a_poller(backend: Backend) {
    let leaked = [("auto", "1h"), ("off", "1s")].map(|(watch, refresh)| {
        let (node, _daemon) = node(backend, Family::Ipv4, json!(watch), refresh);
        let sweep = sweep(&node, Family::Ipv4, FEW);
        eprintln!("events::{backend}: watch = {watch:?}, refresh-interval = {refresh:?}: {sweep}");
        assert_eq!(sweep.deletions, FEW, "{sweep}");
        sweep.leaked
    });
    assert!(leaked[0] < leaked[1], "by events {} packets leaked, with a look every second {}", leaked[0], leaked[1]);
}

fn node(backend: Backend, family: Family, watch: serde_json::Value, refresh: &str) -> (Arc<Node>, Daemon) {
    let name = |number: usize| format!("op-{number}");
    let chains: Vec<_> = (0..CHAINS).map(|n| chain(family, "nat", &name(n), &["-j MASQUERADE"])).collect();
    let jump = |n: usize| {
        let rule = format!("-p udp --dport {} -j {}", usize::from(PORTS) + n, name(n));
        attachment(family, "nat", "POSTROUTING", Placement::First, &rule)
    };
    let policy = static_rules(&chains, &(0..CHAINS).map(jump).collect::<Vec<_>>(), &[]);
    let node = Node::new(backend);
    node.configure(json!({ "refresh-interval": refresh, "watch": watch, "policies": { "masquerade": policy } }));
    let daemon = settled(&node);
    (node, daemon)
}

/// What packets met while chains were emptied.
struct Sweep {
    deletions: usize,
    packets: usize,
    leaked: usize,
    time: Duration,
}

impl std::fmt::Display for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { deletions, packets, leaked, time } = self;
        let each = *leaked as f64 / *deletions as f64;
        write!(
            f,
            "{deletions} deletions in {time:.1?}, {packets} packets, {leaked} unmasqueraded, {each:.2} a deletion"
        )
    }
}

/// Empties one chain after the other, and waits for each to be filled again.
#[track_caller]
fn sweep(node: &Node, family: Family, deletions: usize) -> Sweep {
    let traffic = Traffic::around(node);
    let stream = Stream::default();
    let begun = Instant::now();
    let mut done = 0;
    let arrived = std::thread::scope(|scope| {
        let flowing = scope.spawn(|| stream.flow(&traffic, family));
        // However this ends, the stream must.
        let end = End(&stream.ended);
        let enough = if sandbox::is_real_root() { ENOUGH } else { ENOUGH_AGAIN };
        while done < deletions && (done < FEW || begun.elapsed() < enough) {
            let victim = done * 7 % CHAINS;
            stream.aim(victim);
            empty(node, family, victim);
            stream.is_masqueraded_again(victim);
            done += 1;
        }
        drop(end);
        flowing.join().expect("the stream's sockets work")
    });
    Sweep { deletions: done, packets: arrived.len(), leaked: leaked(&arrived), time: begun.elapsed() }
}

/// Deletes the only rule of a chain.
#[track_caller]
fn empty(node: &Node, family: Family, victim: usize) {
    let chain = format!("op-{victim}");
    match node.backend {
        Backend::Nft => node.raw(&["delete-rule", &family.to_string(), "nat", &chain, "1"]).must(),
        Backend::Legacy => {
            node.command(family.tool(node.backend, "")).args(&["-w", "-t", "nat", "-D", &chain, "1"]).must()
        }
    };
}

/// A packet that arrived outside.
#[derive(Debug, Clone, Copy)]
struct Packet {
    /// Which one it was, in the order of sending.
    number: usize,
    /// The chain that was to masquerade it.
    chain: usize,
    /// It has the pod's own address.
    leaked: bool,
}

#[derive(Default)]
struct Stream {
    ended: AtomicBool,
    aim: AtomicUsize,
    sent: AtomicUsize,
    arrived: Mutex<Vec<Packet>>,
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Stream {
    /// Sends from the pod to the outside until told to end, and looks at what arrives.
    fn flow(&self, traffic: &Traffic<'_>, family: Family) -> Vec<Packet> {
        let server = |port: u16| {
            let server = UdpSocket::bind((at(Place::Outside, family), port)).expect("a free port");
            server.set_nonblocking(true).expect("a socket can be so");
            server
        };
        let ports = || (PORTS..).take(CHAINS).map(server).collect::<Vec<_>>();
        let servers = traffic.inside(Place::Outside, ports);
        traffic.inside(Place::Pod, || {
            while !self.ended.load(Ordering::Acquire) {
                let chain = self.aim.load(Ordering::Acquire);
                let number = self.sent.fetch_add(1, Ordering::AcqRel);
                let to = servers[chain].local_addr().expect("it is bound");
                let port = FROM.start + u16::try_from(number % FROM.len()).expect("a port");
                let client = UdpSocket::bind((at(Place::Pod, family), port)).expect("a free port");
                client.send_to(&number.to_ne_bytes(), to).expect("the way is known");
                self.take(&servers[chain], chain, family);
                std::thread::sleep(PACE);
            }
        });
        std::mem::take(&mut *self.arrived.lock().expect("nobody panics with it"))
    }

    fn take(&self, server: &UdpSocket, chain: usize, family: Family) {
        let mut bytes = [0; size_of::<usize>()];
        while let Ok((_, source)) = server.recv_from(&mut bytes) {
            let (number, leaked) = (usize::from_ne_bytes(bytes), source.ip() == at(Place::Pod, family));
            self.arrived.lock().expect("nobody panics with it").push(Packet { number, chain, leaked });
        }
    }

    /// What arrived of those packets to a chain that were sent from now on, as soon as there are so many.
    #[track_caller]
    fn next(&self, chain: usize, what: &str, enough: impl Fn(&[Packet]) -> bool) -> Vec<Packet> {
        let from = self.sent.load(Ordering::Acquire);
        poll(what, || {
            let arrived = self.arrived.lock().expect("nobody panics with it");
            let new = arrived.iter().rev().take_while(|packet| packet.number >= from);
            let mut new: Vec<Packet> = new.filter(|packet| packet.chain == chain).copied().collect();
            new.reverse();
            enough(&new).then_some(new)
        })
    }

    /// Sends packets to this chain from now on; they are masqueraded before anything happens.
    #[track_caller]
    fn aim(&self, chain: usize) {
        self.aim.store(chain, Ordering::Release);
        let before = self.next(chain, "a packet arrives before the deletion", |packets| !packets.is_empty());
        assert_eq!(leaked(&before), 0, "of {} packets to chain {chain} before the deletion", before.len());
    }

    /// The rule is away: waits until a packet is masqueraded again. Later ones all are.
    #[track_caller]
    fn is_masqueraded_again(&self, chain: usize) {
        let repaired = |packets: &[Packet]| packets.iter().position(|packet| !packet.leaked);
        let packets = self.next(chain, "packets are masqueraded again", |packets| {
            repaired(packets).is_some_and(|at| packets.len() > at + AFTERWARDS)
        });
        let after = packets.get(repaired(&packets).unwrap_or_default()..).unwrap_or_default();
        assert_eq!(leaked(after), 0, "of {} packets to chain {chain} once it was repaired", after.len());
    }
}

fn leaked(packets: &[Packet]) -> usize {
    packets.iter().filter(|packet| packet.leaked).count()
}
