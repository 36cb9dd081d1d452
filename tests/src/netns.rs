//! A network namespace (with a private `/run`) in which closures and commands run.

use std::panic::{self, AssertUnwindSafe};
use std::process::Command;

use crate::sandbox::Handles;
use crate::trial;

/// Lives as long as this value, or as the processes inside it.
pub struct Netns {
    handles: Handles,
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Netns {
    /// An empty one with its loopback interface up.
    pub fn new() -> Self {
        let namespace =
            Self { handles: Handles::new().unwrap_or_else(|error| panic!("can't make a network namespace: {error}")) };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `work` on a thread inside. Sockets and child processes made there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.handles.enter().unwrap_or_else(|error| panic!("can't enter a namespace: {error}"));
            work()
        };
        // What the thread leaves when it panics is for the trial, which goes on here.
        let attempt = || panic::catch_unwind(AssertUnwindSafe(inside)).map_err(|panic| (panic, trial::take_traces()));
        let ended =
            std::thread::scope(|scope| scope.spawn(attempt).join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        ended.unwrap_or_else(|(panic, traces)| {
            trial::leave_traces(traces);
            panic::resume_unwind(panic)
        })
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) {
        self.must("ip", words);
    }

    /// Runs `program` with these words, which must succeed; its standard output.
    pub fn must(&self, program: &str, words: &str) -> String {
        let output = self.run(|| Command::new(program).args(words.split_whitespace()).output());
        let output = output.unwrap_or_else(|error| panic!("can't start {program}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{program} {words}` failed with {}: {errors}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets a kernel parameter of this namespace: `net/ipv4/ip_forward`.
    pub fn sysctl(&self, path: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/{path}"), value))
            .unwrap_or_else(|error| panic!("can't set {path} to {value}: {error}"));
    }

    /// Joins this namespace to `other` by a pair of interfaces with these names, both up.
    pub fn join(&self, name: &str, other: &Self, other_name: &str) {
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {}", other.handles.network_path()));
        self.ip(&format!("link set {name} up"));
        other.ip(&format!("link set {other_name} up"));
    }

    /// How the kernel names it: `net:[4026531840]`.
    pub fn identity(&self) -> String {
        let link = self.run(|| std::fs::read_link("/proc/thread-self/ns/net"));
        link.expect("every thread has a network namespace").to_string_lossy().into_owned()
    }
}
