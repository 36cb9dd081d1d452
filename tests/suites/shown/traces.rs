//! Traces: what a collector in the node's namespace gets of a check and of a tampering, and that one that hangs, refuses or is
//! away holds up no repair and no stop.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use ruleward_tests::trial;
use ruleward_tests::web::metric;
use ruleward_tests::{Backend, Daemon, Family, Incident, Node, PATIENCE, poll};
use serde_json::{Value, json};

use crate::reload;

const ADDRESS: &str = "127.0.0.1:4318";
const ENDPOINT: &str = "http://127.0.0.1:4318/v1/traces";

/// How a collector behaves.
enum Manner {
    /// It takes everything.
    Well,
    /// It takes connections and never answers.
    Hang,
    /// It has no time.
    Busy,
    /// Nobody listens.
    Away,
}

/// Who listens in the node's namespace, and what has come.
struct Collector {
    requests: Receiver<Value>,
    /// Spans whose root has not come yet, by trace.
    begun: BTreeMap<String, Vec<Value>>,
    /// Traces that were looked at already.
    seen: Vec<Trace>,
}

/// The spans of one trace, the root first.
#[derive(Clone)]
struct Trace(Vec<Value>);

impl Collector {
    fn listen(node: &Node, manner: &Manner) -> Self {
        let (sender, requests) = channel();
        if !matches!(manner, Manner::Away) {
            let listener = node.net.run(|| TcpListener::bind(ADDRESS)).expect("the address is free");
            let busy = matches!(manner, Manner::Busy);
            let hang = matches!(manner, Manner::Hang);
            std::thread::spawn(move || serve(&listener, &sender, busy, hang));
        }
        Self { requests, begun: BTreeMap::new(), seen: Vec::new() }
    }

    /// Waits for a trace that fits.
    #[track_caller]
    fn wait_for(&mut self, what: &str, fits: impl Fn(&Trace) -> bool) -> Trace {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find(|trace| fits(trace)) {
                return found.clone();
            }
            match self.requests.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(request) => self.take(&request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let causes: Vec<_> =
                        self.seen.iter().map(|trace| trace.attribute("ruleward.check.cause")).collect();
                    panic!("no trace of {what}, but of {causes:?}");
                }
            }
        }
    }

    /// All that has come so far.
    fn all(&mut self) -> &[Trace] {
        while let Ok(request) = self.requests.try_recv() {
            self.take(&request);
        }
        &self.seen
    }

    /// A trace may come in two requests; its root is the last of it.
    fn take(&mut self, request: &Value) {
        let resource = &request["resourceSpans"][0];
        assert_eq!(attribute(&resource["resource"], "service.name"), "ruleward");
        assert_eq!(attribute(&resource["resource"], "k8s.node.name"), "node1");
        for span in resource["scopeSpans"][0]["spans"].as_array().expect("spans") {
            let trace = text(&span["traceId"]);
            if is_root(span) {
                let below = self.begun.remove(&trace).unwrap_or_default();
                self.seen.push(Trace([vec![span.clone()], below].concat()));
            } else {
                self.begun.entry(trace).or_default().push(span.clone());
            }
        }
    }
}

fn serve(listener: &TcpListener, requests: &Sender<Value>, busy: bool, hang: bool) {
    let mut held = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let Some(request) = read_request(&mut stream) else { continue };
        if hang {
            held.push(stream);
            continue;
        }
        let answer: &[u8] = if busy {
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
        };
        if stream.write_all(answer).is_err() || requests.send(request).is_err() {
            return; // the test is over
        }
    }
}

/// A request, in OTLP's JSON; none if it was broken off.
fn read_request(stream: &mut TcpStream) -> Option<Value> {
    let mut text = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&buffer[..read]);
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if text.len() == end + 4 + length.parse::<usize>().expect("a number") {
            let request = ExportTraceServiceRequest::decode(&text[end + 4..]).expect("OTLP");
            return Some(serde_json::to_value(request).expect("JSON"));
        }
    }
}

fn is_root(span: &Value) -> bool {
    span["parentSpanId"].as_str().is_none_or(str::is_empty)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// An attribute of a span, an event or a resource, in words; empty if there is none.
fn attribute(of: &Value, key: &str) -> String {
    let all = of["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let value = all.iter().find(|one| one["key"] == key).and_then(|one| one["value"].as_object()?.values().next());
    value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
}

/// From when until when, in nanoseconds.
fn times(span: &Value) -> (u64, u64) {
    let time = |key: &str| text(&span[key]).parse::<u64>().expect("nanoseconds");
    (time("startTimeUnixNano"), time("endTimeUnixNano"))
}

impl Trace {
    fn root(&self) -> &Value {
        &self.0[0]
    }

    fn attribute(&self, key: &str) -> String {
        attribute(self.root(), key)
    }

    /// The names below a span, in the order of time.
    fn below(&self, parent: &Value) -> Vec<&Value> {
        let mut children: Vec<&Value> = self.0.iter().filter(|span| span["parentSpanId"] == parent["spanId"]).collect();
        children.sort_by_key(|span| times(span));
        children
    }

    fn events(&self) -> Vec<&Value> {
        self.root()["events"].as_array().map(|events| events.iter().collect()).unwrap_or_default()
    }

    /// One root; every other span is within its parent and begins after its elder ones have ended; all of them are reached.
    #[track_caller]
    fn assert_nested(&self) {
        let (root, mut reached, mut todo) = (self.root(), 1, vec![self.root()]);
        assert!(is_root(root), "{root:#}");
        while let Some(parent) = todo.pop() {
            let (mut from, to) = times(parent);
            let mut sum = 0;
            for child in self.below(parent) {
                let (began, ended) = times(child);
                assert!(
                    from <= began && began <= ended && ended <= to,
                    "{child:#} is not within its place in {parent:#}"
                );
                (from, sum) = (ended, sum + (ended - began));
                todo.push(child);
                reached += 1;
            }
            assert!(sum <= to - times(parent).0, "the parts of {parent:#} take longer than it");
        }
        assert_eq!(reached, self.0.len(), "a span without its parent: {:#?}", self.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        let ended = u128::from(times(root).1);
        assert!(ended <= now && now - ended < 2 * PATIENCE.as_nanos(), "it ended at {ended}, and now is {now}");
    }

    fn names(&self, parent: &Value) -> Vec<String> {
        self.below(parent).iter().map(|span| text(&span["name"])).collect()
    }
}

fn node(backend: Backend, manner: &Manner, keys: &[(&str, Value)]) -> (std::sync::Arc<Node>, Daemon, Collector) {
    let node = Node::new(backend);
    let collector = Collector::listen(&node, manner);
    std::fs::copy(ruleward_tests::policy_file("static-rules.wasm"), node.path("op.wasm")).expect("it can be copied");
    node.configure(json!({ "watch": "auto", "traces": ENDPOINT, "policies": { "web": reload::policy("op", 80) } }));
    keys.iter().for_each(|(key, value)| node.set(key, value.clone()));
    let daemon = node.daemon();
    daemon.wait_until("right", |status| status.report.in_sync);
    (node, daemon, collector)
}

/// Somebody empties a chain; the incident.
#[track_caller]
fn tamper(node: &Node, daemon: &Daemon) -> Incident {
    let mark = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&mark, "chain-flushed", Family::Ipv4, "filter", "op-in")
}

trial!(
    for backend in Backend::ALL,
    "shown::traces::{backend}::a_tampering_is_told_with_its_actor",
    a_tampering_is_told_with_its_actor(backend)
);
fn a_tampering_is_told_with_its_actor(backend: Backend) {
    let (node, daemon, mut collector) = node(backend, &Manner::Well, &[]);
    let first = collector.wait_for("the first check", |trace| trace.attribute("ruleward.check.cause") == "start");
    first.assert_nested();
    let names = first.names(first.root());
    for stage in
        ["facts", "evaluate", "merge", "rehearse", "listen", "observe", "plan", "lock", "commit", "verify", "report"]
    {
        assert!(names.iter().any(|name| name == stage), "no {stage} in {names:?}");
    }
    assert_eq!((names.first().map(String::as_str), names.last().map(String::as_str)), (Some("facts"), Some("report")));
    assert_eq!(first.attribute("ruleward.check.outcome"), "changed");
    assert_eq!(first.attribute("ruleward.check.in_sync"), "true");
    let evaluate = first.below(first.root()).into_iter().find(|span| span["name"] == "evaluate").expect("it is there");
    let asked = first.below(evaluate);
    assert_eq!(first.names(evaluate), ["evaluate web"]);
    assert!(attribute(asked[0], "ruleward.policy.digest").starts_with("sha256:"), "{:#}", asked[0]);
    let fuel: u64 = attribute(asked[0], "ruleward.policy.fuel").parse().expect("a number");
    let memory: u64 = attribute(asked[0], "ruleward.policy.memory_bytes").parse().expect("a number");
    assert!(fuel > 1000 && memory >= 65_536, "fuel {fuel}, memory {memory}");

    let incident = tamper(&node, &daemon);
    let repair = collector.wait_for("the repair", |trace| !trace.events().is_empty());
    repair.assert_nested();
    assert_eq!(repair.root()["name"], "repair");
    assert_eq!(repair.attribute("ruleward.check.cause"), "drift");
    let names = repair.names(repair.root());
    assert_eq!((names.first().map(String::as_str), names.last().map(String::as_str)), (Some("listen"), Some("report")));
    assert!(names.iter().any(|name| name == "observe") && names.iter().any(|name| name == "commit"), "{names:?}");
    let [event] = repair.events()[..] else { panic!("{:#}", repair.root()) };
    assert_eq!(event["name"], "drift");
    let told = |key: &str| attribute(event, key);
    assert_eq!(told("ruleward.incident.id"), incident.id.to_string());
    assert_eq!(told("ruleward.incident.kind"), "chain-flushed");
    assert_eq!(told("ruleward.incident.place"), "IPv4 filter op-in");
    assert_eq!(told("ruleward.actor.name"), incident.actor().name);
    assert_eq!(told("ruleward.actor.pid"), incident.actor().pid.map_or_else(String::new, |pid| pid.to_string()));
    assert!(backend == Backend::Legacy || incident.actor().name == "iptables", "{incident:?}");
    assert_eq!(told("ruleward.incident.times"), "1");
    assert!(!repair.root().to_string().contains("flush-chain"), "command lines stay here: {:#}", repair.root());

    // What the last moment left is sent as well.
    let again = tamper(&node, &daemon);
    assert!(backend == Backend::Legacy || (again.id, again.times) == (incident.id, 2), "{again:?}");
    daemon.stop();
    let told = [("ruleward.incident.id", again.id), ("ruleward.incident.times", again.times)];
    collector.wait_for("the second repair", |trace| {
        trace.events().iter().any(|event| told.iter().all(|(key, value)| attribute(event, key) == value.to_string()))
    });
}

trial!(
    for backend in Backend::ALL,
    "shown::traces::{backend}::a_collector_that_hangs_holds_up_nothing",
    holds_up_nothing(backend, &Manner::Hang)
);
trial!(
    for backend in Backend::ALL,
    "shown::traces::{backend}::a_collector_that_answers_503_holds_up_nothing",
    holds_up_nothing(backend, &Manner::Busy)
);
trial!(
    for backend in Backend::ALL,
    "shown::traces::{backend}::a_collector_that_is_away_holds_up_nothing",
    holds_up_nothing(backend, &Manner::Away)
);
fn holds_up_nothing(backend: Backend, manner: &Manner) {
    let (node, daemon, _collector) = node(backend, manner, &[]);
    let slow = Duration::from_secs(5);
    let began = Instant::now();
    let incidents = [tamper(&node, &daemon), tamper(&node, &daemon), tamper(&node, &daemon)];
    assert!(began.elapsed() < PATIENCE, "repairs took {:?}", began.elapsed());
    for incident in incidents {
        assert!(Duration::from_secs_f64(incident.took_ms / 1e3) < slow, "{incident:?}");
    }
    daemon.wait_until("telling of the collector", |status| {
        status.report.in_sync && status.report.notes.iter().any(|note| note.contains("does not take traces"))
    });
    assert_eq!(metric(&node, "ruleward_trace_spans_total", &["outcome=\"sent\""]), 0.0);
    let told = daemon.log().matches("does not take traces").count();
    assert_eq!(told, 1, "it is told once, and not for each request:\n{}", daemon.log());
    let began = Instant::now();
    let log = node.path("daemon.log");
    daemon.stop();
    assert!(began.elapsed() < slow * 2, "stopping took {:?}", began.elapsed());
    let log = std::fs::read_to_string(log).expect("a log");
    assert!(log.contains("spans of traces are lost"), "{log}");
}

trial!("shown::traces::a_quiet_refresh_leaves_none", a_quiet_refresh_leaves_none());
fn a_quiet_refresh_leaves_none() {
    let keys = [("refresh-interval", json!("100ms")), ("full-comparison-every", json!(1_000_000))];
    let (node, daemon, mut collector) = node(Backend::Nft, &Manner::Well, &keys);
    collector.wait_for("the first check", |trace| trace.attribute("ruleward.check.cause") == "start");
    let checks = || metric(&node, "ruleward_checks_total", &[]);
    let enough = checks() + 20.0;
    poll("twenty refreshes are made", || (checks() >= enough).then_some(()));
    let before = collector.all().len();
    let enough = checks() + 20.0;
    poll("twenty more are made", || (checks() >= enough).then_some(()));
    tamper(&node, &daemon);
    collector.wait_for("the repair", |trace| !trace.events().is_empty());
    // While the repair waits for its writer a refresh may come and make it: that one had something to read.
    let traces = collector.all();
    let quiet = traces[before..].iter().filter(|trace| trace.events().is_empty());
    let causes: Vec<_> = quiet.map(|trace| trace.attribute("ruleward.check.cause")).collect();
    assert!(causes.iter().all(|cause| cause != "refresh"), "refreshes that read nothing were told: {causes:?}");
    daemon.stop();
}

trial!("shown::traces::they_are_turned_on_and_off_while_it_runs", they_are_turned_on_and_off_while_it_runs());
fn they_are_turned_on_and_off_while_it_runs() {
    let (node, daemon, mut collector) = node(Backend::Nft, &Manner::Well, &[("traces", json!("off"))]);
    tamper(&node, &daemon);
    node.set("traces", json!(ENDPOINT));
    daemon.reload(0);
    tamper(&node, &daemon);
    let repair = collector.wait_for("a repair", |trace| !trace.events().is_empty());
    let times = attribute(repair.events()[0], "ruleward.incident.times");
    assert_eq!(times, "2", "the first repair was told although nobody wanted to know");
    node.set("traces", json!("https://127.0.0.1:4318"));
    let report = daemon.reload(78);
    assert!(report.problems.iter().any(|problem| problem.contains("let it send on with TLS")), "{report:?}");
    node.set("traces", json!("off"));
    daemon.reload(0);
    let before = collector.all().len();
    tamper(&node, &daemon);
    daemon.stop();
    // The reload itself was made while they were off.
    assert_eq!(collector.all().len(), before);
}
