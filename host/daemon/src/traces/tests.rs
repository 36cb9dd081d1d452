//! What is sent, and that no collector can do harm.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::*;

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

fn encoded(trace: &Trace) -> Json {
    let resource = vec![("service.name", "ruleward".into()), ("process.pid", 1_u32.into())];
    let mut number = 0xab00_0000_0000_0000;
    let body = otlp::encode(&resource, [trace], || {
        number += 1;
        number
    });
    serde_json::from_slice(&body).unwrap()
}

/// The same text was read by opentelemetry-proto's own types, and by protobuf's strict JSON parser for them: see decision 21.
#[test]
fn a_trace_is_encoded_as_otlp_has_it() {
    let golden: Json = serde_json::from_str(include_str!("golden.json")).unwrap();
    let encoded = encoded(&trace(Instant::now()));
    assert_eq!(encoded, golden, "{encoded:#}");
}

#[test]
fn ids_are_random_and_never_zero() {
    let ids: std::collections::BTreeSet<u64> = (0..1000).map(|_| otlp::random()).collect();
    assert!(ids.len() == 1000 && !ids.contains(&0));
}

#[test]
fn what_a_collector_says_of_a_part_is_understood() {
    let rejected = |text: &str| otlp::rejected(text.as_bytes());
    let some = Some((2, "too old".to_owned()));
    assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#), some);
    assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":2,"errorMessage":"too old"}}"#), some);
    for nothing in ["", "{}", "{\"partialSuccess\":{}}", "nonsense", "[1", r#"{"partialSuccess":{"rejectedSpans":-1}}"#]
    {
        assert_eq!(rejected(nothing), None, "{nothing}");
    }
    assert_eq!(rejected(&"[".repeat(60_000)), None);
}

/// A collector that gives these answers, one a connection, and the requests that it has got. Without further answers nobody listens.
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
            return (head, serde_json::from_slice(&text[end + 4..]).unwrap());
        }
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn board() -> StatusStore {
    StatusStore::new("node", Duration::from_secs(90))
}

fn traces(endpoint: &Endpoint) -> (Traces, StatusStore) {
    let board = board();
    let traces = Traces::new(board.clone());
    traces.configure(Some(endpoint), Some("worker-7"));
    (traces, board)
}

fn counts(board: &StatusStore) -> [u64; 3] {
    [Fate::Sent, Fate::Refused, Fate::Dropped].map(|fate| board.metrics().traces().count(fate))
}

fn note(board: &StatusStore) -> Option<String> {
    board.status().report.notes.into_iter().find(|note| note.contains("does not take traces"))
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
fn traces_are_sent_together_and_told_who_sends_them() {
    let (endpoint, requests) = collector(vec![answer("200 OK", "{}")]);
    let (traces, board) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    traces.leave(trace(Instant::now()));
    let (head, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\ncontent-type: application/json") && head.contains("\r\nuser-agent: ruleward/"),
        "{head}"
    );
    assert_eq!(names(&body), ["check", "facts", "evaluate", "evaluate web"].repeat(2));
    let resource = body["resourceSpans"][0]["resource"]["attributes"].to_string();
    assert!(resource.contains("worker-7") && resource.contains("service.version"), "{resource}");
    until("both are counted", || counts(&board) == [8, 0, 0]);
    traces.close(PATIENCE);
}

#[test]
fn a_socket_does_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (traces, board) = traces(&Endpoint::parse(&format!("unix:{}", path.display())).unwrap());
    traces.leave(trace(Instant::now()));
    let (mut stream, _) = listener.accept().unwrap();
    assert!(read_request(&mut stream).0.contains("\r\nhost: localhost"));
    stream.write_all(&answer("200 OK", "")).unwrap();
    until("it is counted", || counts(&board) == [4, 0, 0]);
}

#[test]
fn who_answers_503_gets_the_same_again() {
    let (endpoint, requests) = collector(vec![answer("503 Busy", ""), answer("429 Busy", ""), answer("200 OK", "{}")]);
    let (traces, board) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    let spans = |(_, body): (String, Json)| names(&body).len();
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    until("it is noted", || note(&board).is_some_and(|note| note.contains("it answered 503")));
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    assert_eq!(spans(requests.recv_timeout(PATIENCE).unwrap()), 4);
    until("it is sent, and the note is gone", || counts(&board) == [4, 0, 0] && note(&board).is_none());
}

#[test]
fn hostile_answers_end_in_a_counter() {
    let endless = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), b"fff\r\n".repeat(100)].concat();
    let huge = [answer("200 OK", "")[..17].to_vec(), b"X: y\r\n".repeat(1 << 16)].concat();
    let elsewhere = b"HTTP/1.1 307 Over there\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (answer, counted, part) in [
        (elsewhere, [0, 4, 0], "redirections are not followed"),
        (answer("400 Bad", &"x".repeat(1 << 20)), [0, 4, 0], "it answered 400"),
        (answer("400 \x1b[31mBad", ""), [0, 0, 0], "does not take traces"),
        (answer("404 Not Found", ""), [0, 4, 0], "it answered 404"),
        (
            answer("200 OK", r#"{"partialSuccess":{"rejectedSpans":"99999999999","errorMessage":"no"}}"#),
            [0, 4, 0],
            "4 of 4 spans were refused: no",
        ),
        (answer("200 OK", &"[".repeat(1 << 20)), [4, 0, 0], ""),
        (endless, [4, 0, 0], ""),
        (huge, [0, 0, 0], "does not take traces"),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), [0, 0, 0], "does not take traces"),
        (Vec::new(), [0, 0, 0], "does not take traces"),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let (endpoint, requests) = collector(vec![answer]);
        let (traces, board) = traces(&endpoint);
        traces.leave(trace(Instant::now()));
        requests.recv_timeout(PATIENCE).unwrap();
        until(&shown, || {
            counts(&board) == counted && note(&board).is_some_and(|note| note.contains(part)) != part.is_empty()
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
fn silence_holds_up_nobody_and_the_newest_are_kept() {
    let (endpoint, listener) = silence();
    let (traces, board) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    let (_held, _) = listener.accept().unwrap();
    let began = Instant::now();
    let many = 3000;
    for number in 0..many {
        let mut trace = trace(began);
        trace.root.attributes.push(("number", (number as u64).into()));
        traces.leave(trace);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "leaving them took {:?}", began.elapsed());
    let queue = traces.shared.as_ref().unwrap().queue();
    assert!(queue.weight <= MOST_WAITING && queue.weight == queue.waiting.iter().map(Trace::weight).sum::<usize>());
    let newest = &queue.waiting.back().unwrap().root.attributes;
    assert_eq!(newest.last(), Some(&("number", (many as u64 - 1).into())));
    let dropped = (many - queue.waiting.len()) as u64 * 4;
    drop(queue);
    assert_eq!(counts(&board), [0, 0, dropped]);
    let began = Instant::now();
    traces.close(Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5), "closing took {:?}", began.elapsed());
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let (endpoint, requests) = collector(vec![answer("200 OK", "{}")]);
    let (traces, board) = traces(&endpoint);
    traces.leave(trace(Instant::now()));
    traces.close(PATIENCE);
    assert_eq!(counts(&board), [4, 0, 0]);
    assert!(requests.try_recv().is_ok());
}

#[test]
fn another_collector_gets_what_the_first_did_not_take() {
    let (away, listener) = silence();
    drop(listener);
    let (traces, board) = traces(&away);
    traces.leave(trace(Instant::now()));
    until("it is noted", || note(&board).is_some());
    let (endpoint, requests) = collector(vec![answer("200 OK", "{}")]);
    traces.configure(Some(&endpoint), None);
    let (_, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(names(&body).len(), 4);
    until("the note is gone", || note(&board).is_none());
    // Turned off: what waits goes, and nothing is taken any more.
    traces.configure(None, None);
    assert!(!traces.are_wanted());
    traces.leave(trace(Instant::now()));
    assert!(traces.shared.as_ref().unwrap().queue().waiting.is_empty());
}

#[test]
fn without_an_endpoint_there_is_no_thread() {
    let traces = Traces::new(board());
    traces.configure(None, None);
    assert!(!traces.are_wanted() && !traces.shared.as_ref().unwrap().queue().running);
    traces.close(PATIENCE); // at once
    Traces::none().close(PATIENCE);
}

#[test]
fn the_clock_on_the_wall_is_read_once() {
    let ended = Instant::now();
    let trace = Trace { ended: SystemTime::now(), ..trace(ended) };
    let body = encoded(&trace);
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let time = |span: &Json, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    let root = &spans[0];
    assert_eq!(time(root, "endTimeUnixNano") - time(root, "startTimeUnixNano"), 100_000_000);
    for span in spans {
        assert!(time(span, "startTimeUnixNano") >= time(root, "startTimeUnixNano"), "{span}");
        assert!(time(span, "endTimeUnixNano") <= time(root, "endTimeUnixNano"), "{span}");
    }
}
