//! What is sent, and that no collector can do harm.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use ruleward_reconcile::trace::{Event, Span};
use serde_json::Value as Json;

use super::*;
use crate::traces::CLOSE_TIME;

/// How long anything may take. Generous: a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

fn trace(ended: Instant) -> Trace {
    let at = |before: u64| ended - Duration::from_millis(before);
    let mut root = Span::new("check", at(100), ended);
    root.attributes = vec![
        ("ruleward.check.cause", "refresh".into()),
        ("n", 7_u64.into()),
        ("in_sync", true.into()),
        ("ms", 0.5.into()),
    ];
    root.problem = Some("the kernel can't be read \"now\"".to_owned());
    let mut policy = Span::new("evaluate web", at(70), at(60));
    policy.parent = Some(1);
    policy.problem = Some("panicked".to_owned());
    let spans = vec![Span::new("facts", at(99), at(80)), Span::new("evaluate", at(75), at(55)), policy];
    let actor = vec![("ruleward.actor.name", "ipt\"ables\n".into()), ("ruleward.actor.pid", 7_u32.into())];
    Trace {
        root,
        ended: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        events: vec![Event { name: "drift", at: at(100), attributes: actor }],
        events_left_out: 3,
        spans,
    }
}

/// What a collector gets, with the ids in the order in which they come, so that it is the same each
/// time.
#[test]
fn a_trace_is_encoded_as_otlp_has_it() {
    let golden: Json = serde_json::from_str(include_str!("golden.json")).unwrap();
    let (endpoint, requests) = collector(vec![answer("200 OK", "")]);
    let (traces, _board) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    let (_, mut sent) = requests.recv_timeout(PATIENCE).unwrap();
    let mut ids = BTreeMap::new();
    for span in sent["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap() {
        for key in ["traceId", "spanId", "parentSpanId"] {
            let Some(id) = span.get_mut(key).filter(|id| **id != "") else { continue };
            let digits = id.as_str().unwrap();
            assert!(
                !digits.trim_matches('0').is_empty() && digits.len() == if key == "traceId" { 32 } else { 16 },
                "{id}"
            );
            let number = ids.len();
            *id = format!("#{}", ids.entry(id.to_string()).or_insert(number)).into();
        }
    }
    let resource = sent["resourceSpans"][0]["resource"].take();
    for (key, value) in [
        ("service.name", "ruleward"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("process.pid", &std::process::id().to_string()),
        ("host.name", &rustix::system::uname().nodename().to_string_lossy()),
        ("k8s.node.name", "worker-7"),
    ] {
        let attribute = resource["attributes"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap();
        assert_eq!(attribute["value"].as_object().unwrap().values().next().unwrap(), value, "{attribute}");
    }
    assert_eq!(sent, golden, "{sent:#}");
}

#[test]
fn what_a_collector_says_of_a_part_is_understood() {
    let rejected = |rejected_spans, text: &str| {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: text.to_owned() };
        let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
        client::rejected(answer.encode_to_vec().into())
    };
    assert_eq!(rejected(2, "too old"), Some((2, "too old".to_owned())));
    assert_eq!((rejected(0, "slow down"), rejected(-1, "")), (None, None));
    for nothing in ["", "{}", "nonsense", &"[".repeat(60_000)] {
        assert_eq!(client::rejected(nothing.to_owned().into()), None, "{nothing}");
    }
}

/// A collector that gives these answers, one a connection, and the requests that it has got.
/// Without further answers nobody listens.
fn collector(answers: Vec<Vec<u8>>) -> (Endpoint, Receiver<(String, Json)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(read_request(&mut stream)).unwrap();
            let _ = stream.write_all(&answer); // it need not listen to the end
        }
    });
    (endpoint, requests)
}

fn read_request(stream: &mut impl Read) -> (String, Json) {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request ended early");
        text.extend_from_slice(&buffer[..read]);
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(text[..end].to_vec()).unwrap().to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if text.len() == end + 4 + length {
            let request = ExportTraceServiceRequest::decode(&text[end + 4..]).unwrap();
            return (head, serde_json::to_value(request).unwrap());
        }
    }
}

fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn store() -> StatusStore {
    StatusStore::new("node", Duration::from_secs(90))
}

fn traces(endpoint: &Endpoint) -> (Traces, StatusStore) {
    let store = store();
    let traces = Traces::new(store.clone());
    traces.configure(Some(endpoint), Some("worker-7"));
    (traces, store)
}

fn counts(store: &StatusStore) -> [u64; 3] {
    [Fate::Sent, Fate::Refused, Fate::Dropped].map(|fate| store.metrics().traces().count(fate))
}

fn note(store: &StatusStore) -> Option<String> {
    store.status().report.notes.into_iter().find(|note| note.contains("does not take traces"))
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names(request: &Json) -> Vec<&str> {
    let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    spans.iter().map(|span| span["name"].as_str().unwrap()).collect()
}

#[test]
fn traces_are_sent_together() {
    let (endpoint, requests) = collector(vec![answer("200 OK", "")]);
    let (traces, store) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    traces.leave(trace(Instant::now()));
    let (head, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\ncontent-type: application/x-protobuf") && head.contains("\r\nuser-agent: ruleward/"),
        "{head}"
    );
    assert_eq!(names(&body), ["facts", "evaluate", "evaluate web", "check"].repeat(2));
    until("both are counted", || counts(&store) == [8, 0, 0]);
    traces.close(PATIENCE);
}

#[test]
fn a_socket_does_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (traces, store) = traces(&Endpoint::parse(&format!("unix:{}", path.display())).unwrap());
    traces.leave(trace(Instant::now()));
    let (mut stream, _) = listener.accept().unwrap();
    assert!(read_request(&mut stream).0.contains("\r\nhost: localhost"));
    stream.write_all(&answer("200 OK", "")).unwrap();
    until("it is counted", || counts(&store) == [4, 0, 0]);
}

#[test]
fn who_answers_503_gets_the_same_again() {
    let (endpoint, requests) = collector(vec![answer("503 Busy", ""), answer("429 Busy", ""), answer("200 OK", "")]);
    let (traces, store) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    let spans = |(_, body): (String, Json)| names(&body).len();
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    until("it is noted", || note(&store).is_some_and(|note| note.contains("it answered 503")));
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    until("it is sent, and the note is gone", || counts(&store) == [4, 0, 0] && note(&store).is_none());
}

#[test]
fn hostile_answers_end_in_a_counter() {
    let endless = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), b"fff\r\n".repeat(100)].concat();
    let huge = [answer("200 OK", "")[..17].to_vec(), b"X: y\r\n".repeat(1 << 16)].concat();
    let partial = ExportTracePartialSuccess { rejected_spans: i64::MAX, error_message: "no".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let elsewhere = b"HTTP/1.1 307 Over there\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (answer, counted, part) in [
        (elsewhere, [0, 4, 0], "redirections are not followed"),
        (answer("400 Bad", "x".repeat(1 << 20)), [0, 4, 0], "it answered 400"),
        (answer("400 \x1b[31mBad", ""), [0, 0, 0], "does not take traces"),
        (answer("404 Not Found", ""), [0, 4, 0], "it answered 404"),
        (answer("200 OK", partial), [0, 4, 0], "4 of 4 spans were refused: no"),
        (answer("200 OK", "[".repeat(1 << 20)), [4, 0, 0], ""),
        (endless, [4, 0, 0], ""),
        (huge, [0, 0, 0], "does not take traces"),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), [0, 0, 0], "does not take traces"),
        (Vec::new(), [0, 0, 0], "does not take traces"),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let (endpoint, requests) = collector(vec![answer]);
        let (traces, store) = traces(&endpoint);
        traces.leave(trace(Instant::now()));
        requests.recv_timeout(PATIENCE).unwrap();
        until(&shown, || {
            counts(&store) == counted && note(&store).is_some_and(|note| note.contains(part)) != part.is_empty()
        });
        traces.close(CLOSE_TIME);
    }
}

/// Somebody who takes connections and never says a word.
fn silence() -> (Endpoint, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap(), listener)
}

#[test]
fn silence_holds_up_nobody_and_what_waits_is_bounded() {
    let (endpoint, listener) = silence();
    let (traces, store) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    let (_held, _) = listener.accept().unwrap();
    let began = Instant::now();
    for _ in 0..3000 {
        traces.leave(trace(began));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "leaving them took {:?}", began.elapsed());
    let (spans, weight) = {
        let state = traces.shared.as_ref().unwrap().state();
        (state.spans, state.weight)
    };
    assert!(weight <= MOST_WAITING && weight > MOST_WAITING - 5, "{weight}");
    assert_eq!(counts(&store), [0, 0, (3001 * 4 - spans) as u64]);
    let began = Instant::now();
    traces.close(Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5), "closing took {:?}", began.elapsed());
}

#[test]
fn the_oldest_go_where_too_many_wait() {
    let (away, listener) = silence();
    drop(listener);
    let (traces, store) = traces(&away);
    let left = |name: &'static str, many: usize| {
        (0..many).for_each(|_| {
            let mut trace = trace(Instant::now());
            trace.root.name = name.into();
            traces.leave(trace);
        });
    };
    left("old", 1);
    until("it is noted", || note(&store).is_some());
    left("new", MOST_WAITING / 5 - 1);
    until("the oldest are dropped", || counts(&store)[2] > 0);
    let (endpoint, requests) = collector(vec![answer("200 OK", "")]);
    traces.configure(Some(&endpoint), None);
    let (_, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(names(&body).contains(&"new") && !names(&body).contains(&"old"), "{:?}", names(&body));
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let (endpoint, requests) = collector(vec![answer("200 OK", "")]);
    let (traces, store) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    traces.close(PATIENCE);
    assert_eq!(counts(&store), [4, 0, 0]);
    assert!(requests.try_recv().is_ok());
}

#[test]
fn another_collector_gets_what_the_first_did_not_take() {
    let (away, listener) = silence();
    drop(listener);
    let (traces, store) = traces(&away);
    traces.leave(trace(Instant::now()));
    until("it is noted", || note(&store).is_some());
    let (endpoint, requests) = collector(vec![answer("200 OK", "")]);
    traces.configure(Some(&endpoint), None);
    let (_, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(names(&body).len(), 4);
    until("the note is gone", || note(&store).is_none() && counts(&store) == [4, 0, 0]);
    // Turned off: what waits goes, and nothing is taken any more.
    traces.configure(None, None);
    assert!(!traces.are_wanted());
    traces.leave(trace(Instant::now()));
    assert_eq!(traces.shared.as_ref().unwrap().state().spans, 0);
}

#[test]
fn without_an_endpoint_there_is_no_thread() {
    let traces = Traces::new(store());
    traces.configure(None, None);
    assert!(!traces.are_wanted() && traces.processor.get().is_none());
    traces.close(PATIENCE); // at once
    Traces::none().close(PATIENCE);
}

#[test]
fn the_clock_on_the_wall_is_read_once() {
    let trace = Trace { ended: SystemTime::now(), ..trace(Instant::now()) };
    let ended = trace.ended;
    let spans = spans::of(trace);
    let root = spans.last().unwrap();
    assert_eq!((root.end_time, root.start_time), (ended, ended - Duration::from_millis(100)));
    assert!(spans.iter().all(|span| span.start_time >= root.start_time && span.end_time <= ended), "{spans:#?}");
}
