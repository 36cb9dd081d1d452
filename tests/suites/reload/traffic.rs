//! A thousand reloads while packets flow: each arrives masqueraded, whatever is swapped. And the daemon is no larger after
//! them than before.

use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ruleward_tests::policies::calico;
use ruleward_tests::traffic::{Place, at};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Traffic, policy_file, sandbox};
use serde_json::{Value, json};

use crate::traffic::POOLS;

/// So many reloads.
const RELOADS: u32 = 1_000;
/// As an ordinary user, where it is run a second time, fewer do.
const RELOADS_AGAIN: u32 = 200;
/// From here on nothing may grow.
const WARM: u32 = 100;
/// What a page cache, an allocator's free lists and a debug log's buffers may move, in KiB.
const SLACK: u64 = 8 << 10;
/// One packet in this time, each from another port, which is a new connection to the kernel.
const PACE: Duration = Duration::from_millis(1);

/// calico-postrouting, whose masquerading rule is another one for each of these numbers.
fn policies(number: u32) -> Value {
    let mut policy = calico("3.32.1");
    policy["component"] = json!("./calico.wasm");
    policy["limits"] = json!({ "log-lines": 50 + number % 2 });
    json!({ "calico": policy })
}

fn component(node: &Node, number: u32) {
    let mut bytes = fs::read(policy_file("calico-postrouting.wasm")).expect("a built policy is readable");
    // A custom section without a name: another file, the same policy.
    bytes.extend([0, 5, 0]);
    bytes.extend((number % 3).to_le_bytes());
    fs::write(node.path("new.wasm"), bytes).expect("writable");
    fs::rename(node.path("new.wasm"), node.path("calico.wasm")).expect("the same folder");
}

/// What packets see stays the same; the rules do not: whether ports are random is said in the rule.
fn resources(number: u32) -> String {
    let range = if number.is_multiple_of(2) { "20000:40000" } else { "30000:50000" };
    format!(
        "{POOLS}---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{natPortRange: '{range}'}}\n"
    )
}

/// Files that are being read or written at the moment when descriptors are counted; a leak would make hundreds.
const FEW: usize = 16;

trial!(
    for backend in Backend::ALL,
    "reload::traffic::{backend}::a_thousand_reloads_under_traffic",
    a_thousand_reloads_under_traffic(backend)
);
fn a_thousand_reloads_under_traffic(backend: Backend) {
    let node = Node::new(backend);
    node.resources(&resources(0));
    component(&node, 0);
    node.configure(json!({ "policies": policies(0) }));
    let daemon = node.daemon();
    let traffic = Traffic::around(&node);
    let ended = AtomicBool::new(false);
    let mut sizes = Vec::new();
    let reloads = if sandbox::is_real_root() { RELOADS } else { RELOADS_AGAIN };
    let arrived = std::thread::scope(|scope| {
        let streams = Family::ALL.map(|family| {
            let (traffic, ended) = (&traffic, &ended);
            scope.spawn(move || stream(traffic, family, ended))
        });
        let end = End(&ended);
        for number in 1..=reloads {
            match number % 3 {
                0 => component(&node, number / 3),
                1 => node.set("policies", policies(number / 3)),
                _ => node.resources(&resources(number / 3)),
            }
            let report = daemon.reload(0);
            assert!(report.in_sync, "reload {number}: {report:#?}");
            if number == WARM || number == reloads {
                sizes.push(size(&daemon));
            }
        }
        drop(end);
        streams.map(|stream| stream.join().expect("every packet was masqueraded"))
    });
    assert!(arrived.iter().all(|arrived| *arrived > u64::from(reloads) / 10), "hardly a packet arrived: {arrived:?}");
    let [(memory, descriptors), (memory_then, descriptors_then)] = sizes[..] else { panic!("two were taken") };
    eprintln!(
        "reload::traffic::{backend}: {reloads} reloads, {arrived:?} packets, {memory} -> {memory_then} KiB, {descriptors} -> \
         {descriptors_then} descriptors"
    );
    assert!(memory_then < memory + SLACK, "it grew from {memory} to {memory_then} KiB");
    assert!(descriptors_then < descriptors + FEW, "descriptors leak: {descriptors}, then {descriptors_then}");
    let incidents = daemon.status().incidents_total;
    assert_eq!(incidents, 0, "a swap was taken for drift");
}

/// Resident memory that is no file's, in KiB, and open descriptors.
fn size(daemon: &Daemon) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("every process has it");
    let memory = line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it is ours");
    let own = descriptors.flatten().filter(|fd| {
        // Connections of clients come and go.
        !fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    (memory, own.count())
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends from the pod to the outside until told to end. How many arrived; all of them came from the node.
fn stream(traffic: &Traffic<'_>, family: Family, ended: &AtomicBool) -> u64 {
    let server = traffic.inside(Place::Outside, || UdpSocket::bind((at(Place::Outside, family), 0)));
    let server = server.expect("a free port");
    server.set_nonblocking(true).expect("a socket can be so");
    let to = server.local_addr().expect("it is bound");
    let mut arrived = 0;
    traffic.inside(Place::Pod, || {
        while !ended.load(Ordering::Acquire) {
            let client = UdpSocket::bind((at(Place::Pod, family), 0)).expect("a free port");
            client.send_to(b"!", to).expect("the way is known");
            while let Ok((_, source)) = server.recv_from(&mut [0; 8]) {
                arrived += 1;
                assert_eq!(source.ip(), at(Place::Node, family), "packet {arrived} left unmasqueraded");
            }
            std::thread::sleep(PACE);
        }
    });
    arrived
}
