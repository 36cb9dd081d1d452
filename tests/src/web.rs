//! What the daemon of a node shows over HTTP, by its socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::Node;

/// A connection to the node's daemon, with a request for `path` sent.
#[track_caller]
pub fn ask(node: &Node, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(node.path("run/http.sock")).expect("the daemon listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes()).expect("it reads");
    stream
}

/// The whole answer, status line first.
#[track_caller]
pub fn get(node: &Node, path: &str) -> String {
    let mut answer = String::new();
    ask(node, path).read_to_string(&mut answer).expect("it answers");
    answer
}

/// What is behind the head of the answer.
#[track_caller]
pub fn body(node: &Node, path: &str) -> String {
    let answer = get(node, path);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    body.to_owned()
}

/// The sum of all series of this name whose labels hold these.
#[track_caller]
pub fn metric(node: &Node, name: &str, labels: &[&str]) -> f64 {
    let text = body(node, "/metrics");
    let of_name = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, with) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| with.contains(label))).then_some(value)
    });
    of_name.map(|value| value.parse::<f64>().expect("a number")).sum()
}
