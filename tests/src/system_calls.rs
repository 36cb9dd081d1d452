//! What the program under test and every tool that it starts ask the kernel for, as `strace` tells
//! it: which sockets they open, to whom they speak on them, and which programs are started.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use crate::node::which;
use crate::{Node, poll};

/// Calls that go through a socket, and those by which processes begin.
const TRACED: &str = "trace=%network,%process,io_uring_setup,bpf";

/// A trace of everything that the program under test does from now on: a file for each time that it is started.
pub struct SystemCalls {
    folder: PathBuf,
}

/// What one program did, in words: `socket NETLINK_NETFILTER`, `refused AF_UNIX`, `sendto on NETLINK_NETFILTER`.
pub type Deeds = BTreeMap<String, BTreeSet<String>>;

impl SystemCalls {
    /// Of this node.
    pub fn trace(node: &Node) -> Self {
        let folder = node.path("system-calls");
        fs::create_dir(&folder).expect("a free name");
        let strace =
            format!("exec {} -f -D -e {TRACED} -e signal=none -s 128 -o $0/$$ \"$@\"", which("strace").display());
        node.start_by(vec!["sh".into(), "-c".into(), strace.into(), folder.clone().into_os_string()]);
        Self { folder }
    }

    /// What each program did until now, by its name. The program under test has ended.
    #[track_caller]
    pub fn deeds(&self) -> Deeds {
        let mut deeds = Deeds::new();
        for entry in fs::read_dir(&self.folder).expect("it was made") {
            let file = entry.expect("it can be read").path();
            let first = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = poll("the trace ends", || {
                let text = fs::read_to_string(&file).ok()?;
                let mut own = text.lines().filter(|line| line.split(' ').next() == Some(&first));
                own.any(|line| line.contains(" +++ ")).then_some(text)
            });
            for (program, done) in Reading::of(&calls(&text)) {
                deeds.entry(program).or_default().extend(done);
            }
        }
        deeds
    }
}

/// `clone3(..., flags=CLONE_FILES...) = 7`
struct Call<'t> {
    pid: u32,
    name: &'t str,
    arguments: String,
    result: String,
}

/// Whole calls: what strace tells in two pieces is put together.
fn calls(text: &str) -> Vec<Call<'_>> {
    let mut begun: HashMap<u32, (&str, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, said)) = line.split_once(' ') else { continue };
        let (Ok(pid), said) = (pid.parse(), said.trim_start()) else { continue };
        let resumed = said.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"));
        let (name, before, rest) = match (resumed, said.split_once('(')) {
            (Some((_, rest)), _) => {
                let Some((name, before)) = begun.remove(&pid) else { continue };
                (name, before, rest)
            }
            (None, Some((name, rest))) => match rest.strip_suffix(" <unfinished ...>") {
                Some(before) => {
                    begun.insert(pid, (name, before));
                    continue;
                }
                None => (name, "", rest),
            },
            (None, None) => continue,
        };
        // `socket(...)          = 3`
        let parts =
            rest.rsplit_once(" = ").and_then(|(call, result)| Some((call.trim_end().strip_suffix(')')?, result)));
        if let Some((arguments, result)) = parts {
            calls.push(Call { pid, name, arguments: format!("{before}{arguments}"), result: result.to_owned() });
        }
    }
    calls
}

/// A process or thread while the trace is read.
#[derive(Clone, Default)]
struct Process {
    program: String,
    /// Which open files it has; threads have them together.
    files: usize,
}

#[derive(Default)]
struct Reading {
    processes: HashMap<u32, Process>,
    /// The kind of each open socket.
    files: Vec<HashMap<u32, String>>,
    deeds: Deeds,
}

impl Reading {
    fn of(calls: &[Call<'_>]) -> Deeds {
        // A child may be heard of before the call that made it ends.
        let made = |call: &&Call<'_>| matches!(call.name, "clone" | "clone3" | "fork" | "vfork");
        let parents: HashMap<u32, (u32, bool)> = calls
            .iter()
            .filter(made)
            .filter_map(|call| Some((call.result.parse().ok()?, (call.pid, call.arguments.contains("CLONE_FILES")))))
            .collect();
        let mut reading = Self::default();
        for call in calls {
            reading.know(call.pid, &parents);
            reading.take(call);
        }
        reading.deeds
    }

    fn know(&mut self, pid: u32, parents: &HashMap<u32, (u32, bool)>) {
        if self.processes.contains_key(&pid) {
            return;
        }
        let Some((parent, shares)) = parents.get(&pid) else {
            self.files.push(HashMap::new());
            self.processes.insert(pid, Process { program: "?".to_owned(), files: self.files.len() - 1 });
            return;
        };
        self.know(*parent, parents);
        let mut process = self.processes[parent].clone();
        if !shares {
            let copy = self.files[process.files].clone();
            self.files.push(copy);
            process.files = self.files.len() - 1;
        }
        self.processes.insert(pid, process);
    }

    fn take(&mut self, call: &Call<'_>) {
        let Some(process) = self.processes.get_mut(&call.pid) else { return };
        let error = call.result.strip_prefix("-1 ").map(|error| error.split(' ').next().unwrap_or(error));
        let first = call.arguments.split([',', ')']).next().unwrap_or_default();
        let fd: Option<u32> = first.parse().ok();
        let kind = fd.and_then(|fd| self.files[process.files].get(&fd)).map_or("a file", String::as_str);
        let deed = match call.name {
            "execve" | "execveat" if error.is_none() => {
                let path = call.arguments.split('"').nth(1).unwrap_or("?");
                if path != "/proc/self/exe" {
                    process.program = path.rsplit('/').next().unwrap_or(path).to_owned();
                }
                self.files.push(HashMap::new());
                process.files = self.files.len() - 1;
                "runs".to_owned()
            }
            "socket" | "socketpair" => {
                let kind = kind_of(&call.arguments);
                let files = &mut self.files[process.files];
                if call.name == "socketpair" {
                    let pair = call.arguments.rsplit('[').next().unwrap_or_default().trim_end_matches(']');
                    let pair = pair.split(", ").filter_map(|fd| fd.parse().ok());
                    files.extend(pair.map(|fd: u32| (fd, "a socket pair".to_owned())));
                } else if let Ok(fd) = call.result.parse() {
                    files.insert(fd, kind.clone());
                }
                match error {
                    Some(_) => format!("refused {kind}"),
                    None => format!("{} {kind}", call.name),
                }
            }
            "accept" | "accept4" => {
                let accepted = format!("accepted {kind}");
                if let Ok(fd) = call.result.parse() {
                    self.files[process.files].insert(fd, accepted.clone());
                }
                accepted
            }
            "connect" | "bind" | "sendto" | "sendmsg" | "sendmmsg" => {
                let to_process = ["nl_pid=", "nl_groups="].iter().any(|field| {
                    let value = call.arguments.rsplit_once(field).map_or("0", |(_, value)| value);
                    call.name != "bind" && !value.starts_with(['0', 'N'])
                });
                let path = call.arguments.split("sun_path=").nth(1).map(|path| path.split('}').next().unwrap_or(path));
                let path = path.map(|path| format!(" {path}")).unwrap_or_default();
                format!("{} on {kind}{path}{}", call.name, if to_process { " to a process" } else { "" })
            }
            "io_uring_setup" | "bpf" if error.is_some() => format!("refused {}", call.name),
            "io_uring_setup" | "bpf" => call.name.to_owned(),
            _ => return,
        };
        self.deeds.entry(process.program.clone()).or_default().insert(deed);
    }
}

/// `NETLINK_NETFILTER`, or `AF_INET SOCK_RAW`.
fn kind_of(arguments: &str) -> String {
    let mut words = arguments.split(", ");
    let mut next = || words.next().unwrap_or("?");
    let (domain, kind, protocol) = (next(), next(), next());
    let kind = kind.split('|').next().unwrap_or(kind);
    if domain == "AF_NETLINK" { protocol.to_owned() } else { format!("{domain} {kind}") }
}
