//! The server over real sockets: paths, refusals, streams, slow clients, hostile texts.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::actor::Actor;
use ruleward_core::drift::Kind;

use super::authority::is_local;
use super::*;
use ruleward_report::{
    ActorReport, CandidateReport, CandidateState, ErrorClass, Incident, Outcome, PolicyReport, PolicyState, Report,
};

struct Server {
    store: StatusStore,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = StatusStore::new("worker-7", Duration::from_secs(90));
    let counters: ReadCounters = Arc::new(|_, _| Err("there are none".to_owned()));
    start(directory.path(), (Access::of_mode(0o660), vec![address]), store.clone(), counters).unwrap();
    let server = Server { store, directory, address };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() || !server.directory.path().join(HTTP_SOCKET).exists() {
        assert!(Instant::now() < deadline, "the server does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

impl Server {
    fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn incident(name: &str) -> Incident {
    let unknown = Actor::unknown();
    Incident {
        id: 1,
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        last_at: "2026-01-01T00:00:00.000Z".to_owned(),
        family: None,
        table: None,
        chain: "<b>set</b>".to_owned(),
        kind: Kind::SetChanged,
        detail: "<img src=x onerror=alert(1)>".to_owned(),
        added: vec!["</pre><script>alert(2)</script>".to_owned()],
        removed: Vec::new(),
        repaired: true,
        how: "ipset".to_owned(),
        took_ms: 1.0,
        latency_ms: None,
        latency_ms_max: None,
        events: 0,
        times: 1,
        actors: vec![ActorReport::once(Actor { name: name.to_owned(), pid: Some(1), ..unknown }, "then")],
        more_actors: 0,
        latest: Vec::new(),
    }
}

fn right(incidents: Vec<Incident>) -> Report {
    Report { outcome: Outcome::Unchanged, in_sync: true, incidents, ..Report::default() }
}

#[test]
fn health_says_why() {
    let server = server();
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
    let before = server.get("/readyz");
    assert!(before.starts_with("HTTP/1.1 503") && before.contains("no check has ended well yet"), "{before}");
    server.store.checked(&right(Vec::new()), SystemTime::now());
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
    server.store.checked(&Report::failure(ErrorClass::Temporary, "the kernel can't be read: x"), SystemTime::now());
    let wrong = server.get("/readyz");
    assert!(wrong.starts_with("HTTP/1.1 503") && wrong.contains("the kernel can't be read: x"), "{wrong}");
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"), "a wrong node has a living daemon");
}

#[test]
fn nothing_can_be_changed_and_no_name_from_elsewhere_leads_here() {
    let server = server();
    let paths = ["/", "/rules", "/metrics", "/status.json", "/livez", "/readyz", "/events", "/nowhere"];
    for path in paths {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL", "get", "X"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            let answer = server.send(&request);
            assert!(answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
        }
    }
    // A tunnel, and something that is no HTTP.
    for request in ["CONNECT node:80 HTTP/1.1\r\nHost: node:80\r\n\r\n", "{\"request\":\"stop\"}\r\n\r\n"] {
        let answer = server.send(request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    let head = server.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let rebound = server.send("GET /status.json HTTP/1.1\r\nHost: evil.example:80\r\n\r\n");
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    assert!(server.get("/nowhere").starts_with("HTTP/1.1 404"));
    assert!(server.get("/rules?family=ipv4&table=%3Cscript%3E").starts_with("HTTP/1.1 200"));
}

#[test]
fn only_an_address_or_localhost_is_a_host_of_this_machine() {
    for host in ["localhost", "LOCALHOST:9746", "127.0.0.1", "127.0.0.1:9746", "[::1]", "[::1]:9746", "[fe80::1]:1"] {
        assert!(is_local(host), "{host}");
    }
    for host in [
        "",
        " ",
        ":80",
        "evil.example",
        "evil.example:80",
        "localhost.",
        "127.0.0.1.",
        "localhost.evil.example",
        "127.0.0.1.evil",
        "127.0.0.1.evil.example:80",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "::1",
        "[::1",
        "[]",
        "[::1]evil.example",
        "[::1]evil.example:80",
        "[::1].evil.example",
        "[::1]:",
        "[::1]:80:80",
        "[::1]:x",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]:80",
        "[127.0.0.1]",
        "[localhost]",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:+80",
        "localhost:-1",
        "localhost: 80",
        "localhost:80 ",
        "localhost:80/",
        "localhost:x@evil",
        "localhost:80@evil.example",
        "localhost@evil.example",
        "user@localhost",
        "user:password@127.0.0.1:80",
        "localhost,evil.example",
        "localhost evil.example",
        "localhost/..",
        "localhost\u{130}",
    ] {
        assert!(!is_local(host), "{host}");
    }
}

#[test]
fn a_request_that_is_meant_for_another_host_is_not_answered() {
    let server = server();
    let status = |request: &str| {
        let answer = server.send(request);
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (host, expected) in [
        ("localhost", "200"),
        ("127.0.0.1:9746", "200"),
        ("[::1]evil.example", "421"),
        ("localhost:x@evil", "421"),
        ("127.0.0.1.evil", "421"),
        ("", "421"),
    ] {
        assert_eq!(status(&format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n")), expected, "{host:?}");
    }
    let two = |one: &str, other: &str| format!("GET /livez HTTP/1.1\r\nHost: {one}\r\nHost: {other}\r\n\r\n");
    for (one, other) in [("localhost", "localhost"), ("localhost", "evil.example"), ("evil.example", "localhost")] {
        assert_eq!(status(&two(one, other)), "400", "{one}, {other}");
    }
    assert_eq!(status("GET /livez HTTP/1.1\r\n\r\n"), "400", "HTTP/1.1 without Host");
    assert_eq!(status("GET /livez HTTP/1.0\r\n\r\n"), "200");
    // The target says it as well: both must be this machine.
    let absolute = |target: &str, host: &str| status(&format!("GET {target}/livez HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(absolute("http://localhost:9746", "localhost:9746"), "200");
    for (target, host) in [
        ("http://evil.example", "localhost"),
        ("http://localhost", "evil.example"),
        ("http://localhost:x@evil.example", "localhost"),
        ("http://user@localhost", "localhost"),
        ("ftp://localhost", "localhost"),
    ] {
        assert_ne!(absolute(target, host), "200", "{target}, {host}");
    }
}

#[test]
fn hostile_texts_stay_texts() {
    let server = server();
    server.store.checked(&right(vec![incident("<script>alert(0)</script>")]), SystemTime::now());
    let page = server.get("/");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for hostile in ["<script>alert", "<img src=x", "<b>set"] {
        assert!(!page.contains(hostile), "{hostile} in {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(0)"), "{page}");
    // Nothing is asked from elsewhere.
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"), "{page}");
    let mut events = EventStream::open(&server);
    let events = events.read(1);
    assert!(!events.contains("<script"), "{events}");
}

#[test]
fn a_refused_version_and_its_reason_are_beside_the_policy() {
    let server = server();
    let candidate = CandidateReport {
        version: Some("2.0".to_owned()),
        digest: None,
        state: CandidateState::Refused,
        reason: Some("<i>it traps</i>".to_owned()),
    };
    let policy = PolicyReport {
        reason: candidate.reason.clone(),
        candidate: Some(candidate),
        ..PolicyReport::new("web", PolicyState::LastGood)
    };
    server.store.checked(&Report { policies: vec![policy], ..right(Vec::new()) }, SystemTime::now());
    let page = server.get("/");
    assert!(
        page.contains(
            "running the previous version</span><br>new version 2.0 REFUSED: &lt;i&gt;it traps&lt;/i&gt;</td>"
        ),
        "{page}"
    );
}

struct EventStream {
    stream: TcpStream,
    text: String,
}

impl EventStream {
    fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads until the list of incidents has come so many times. All that has come.
    fn read(&mut self, lists: usize) -> &str {
        let mut buffer = [0; 65536];
        while self.text.matches("event: incidents").count() < lists {
            let count = match self.stream.read(&mut buffer) {
                // A process that is stopped meanwhile is told so where it waits with a time limit.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(count > 0, "the stream ended: {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        &self.text
    }
}

#[test]
fn a_stream_tells_what_changes() {
    let server = server();
    let mut events = EventStream::open(&server);
    events.read(1);
    server.store.checked(&right(vec![incident("somebody")]), SystemTime::now());
    let text = events.read(2);
    assert!(text.contains("text/event-stream"), "{text}");
    assert!(text.contains("NOT IN SYNC YET") && text.contains("<strong>IN SYNC</strong> since"), "{text}");
    let last = text.rsplit("event: incidents").next().unwrap();
    assert!(last.contains("somebody"), "{last}");
}

/// So many that no listener has a place for them, each with what it sends.
fn slow_clients(server: &Server, sends: &[u8]) -> Vec<TcpStream> {
    let client = |_| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let _ = stream.write_all(sends); // it may have been sent away
        stream
    };
    (0..SLOW_CLIENTS).map(client).collect()
}

/// Four times as many as there are places.
const SLOW_CLIENTS: usize = limits::CONNECTIONS * 4;

#[test]
fn slow_clients_are_dropped_and_hold_nobody_up() {
    let server = server();
    for sends in [&b""[..], b"GET / HTTP/1.1\r\nHost: loc"] {
        let began = Instant::now();
        let slow = slow_clients(&server, sends);
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = server.get(path);
            assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        }
        // Nobody has waited until the time of all that came before was over: that is four times as long.
        assert!(began.elapsed() < limits::HEAD * 3, "answered after {:?}", began.elapsed());
        // Those that are there before the others were sent away before their time was over.
        let mut first = slow.into_iter().next().unwrap();
        first.set_read_timeout(Some(limits::HEAD * 4)).unwrap();
        let mut rest = Vec::new();
        let ended = first.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}

#[test]
fn there_are_places_for_so_many_streams() {
    let server = server();
    let open = |_| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let streams: Vec<_> = (0..limits::STREAMS).map(open).collect();
    assert!(streams.iter().all(|(_, head)| head == "HTTP/1.1 200"));
    assert_eq!(open(0).1, "HTTP/1.1 503");
    assert!(server.get("/metrics").starts_with("HTTP/1.1 200"), "requests have places of their own");
}

#[test]
fn the_socket_answers_as_well() {
    let server = server();
    let mut stream = UnixStream::connect(server.directory.path().join(HTTP_SOCKET)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: anything\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ruleward_build_info"), "{answer}");
}
