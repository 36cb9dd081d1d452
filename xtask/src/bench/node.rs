//! One node as Ruleward sees it: a configuration, its folders, and the program run on it. State lies on the disk, where
//! it lies on a real node; sockets lie in /run.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::rules::Rules;
use super::stock::Backend;
use crate::command::Run;
use crate::workspace;

/// Longest wait for anything that the daemon is asked.
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for one measurement.
const QUIET: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

const POOL: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.244.0.0/16
  natOutgoing: true
";

const CALICO: &str = r#"
[policies.calico-postrouting]
grants = { tables = ["nat"], chains = ["cali-*"], sets = ["cali4*", "cali6*"], comments = ["cali:"], documents = ["IPPool", "Node"] }
"#;

/// A configuration with its folders; removed when dropped.
pub struct Node {
    folder: PathBuf,
    runtime: PathBuf,
}

/// What a node runs.
pub struct Wanted {
    pub backend: Backend,
    /// IPv6 as well.
    pub both_families: bool,
    pub calico: bool,
    /// For static-rules.
    pub rules: Rules,
}

impl Node {
    /// Writes the configuration.
    pub fn create(wanted: &Wanted) -> Result<Self> {
        let folder = workspace::target_dir().join("bench-node");
        let runtime = PathBuf::from("/run/ruleward-bench");
        for old in [&folder, &runtime] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("cannot empty {}", old.display()))?;
            }
        }
        fs::create_dir_all(folder.join("documents"))?;
        fs::write(folder.join("documents/ippool.yaml"), POOL)?;
        fs::write(folder.join("ruleward.toml"), configuration(wanted, &runtime)?)?;
        Ok(Self { folder, runtime })
    }

    /// For scripts and the like.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets compiled components and last good answers.
    pub fn forget(&self) -> Result<()> {
        let state = self.folder.join("state");
        if state.exists() { fs::remove_dir_all(&state).context("cannot empty the state directory") } else { Ok(()) }
    }

    /// `ruleward apply` in the calling thread's namespace; gives its report.
    pub fn apply(&self) -> Result<Value> {
        let run = Run::new(workspace::program()).args(["--output", "json", "--config"]);
        let (code, text) = run.args([self.folder.join("ruleward.toml")]).args(["apply"]).status_and_text()?;
        let report: Value =
            serde_json::from_str(&text).with_context(|| format!("`ruleward apply` ({code:?}) printed no JSON"))?;
        if code != Some(0) {
            bail!("`ruleward apply` ended with {code:?}: {:#}", report["problems"]);
        }
        Ok(report)
    }

    /// Starts the daemon in the calling thread's namespace and waits until it is in sync.
    pub fn start(&self) -> Result<Daemon<'_>> {
        fs::create_dir_all(&self.runtime)?;
        let path = self.runtime.join("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let log = fs::File::create(self.folder.join("log"))?;
        let run = Run::new(workspace::program()).args(["--log-level", "warn", "--config"]);
        let mut command = run.args([self.folder.join("ruleward.toml")]).args(["run"]).into_command();
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", workspace::program().display()))?;
        let mut daemon = Daemon { child, node: self, until_ready: 0.0 };
        let mut state = [0; 64];
        let length = socket.recv(&mut state).with_context(|| format!("the daemon is not ready:\n{}", daemon.log()))?;
        daemon.until_ready = start.elapsed().as_secs_f64() * 1e3;
        if &state[..length] != b"READY=1" {
            bail!("the daemon said {:?} first:\n{}", String::from_utf8_lossy(&state[..length]), daemon.log());
        }
        Ok(daemon)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon<'a> {
    child: Child,
    node: &'a Node,
    /// Milliseconds from the start of the process until it said that the kernel is in sync.
    pub until_ready: f64,
}

impl Daemon<'_> {
    /// What `ruleward refresh` asks for; gives the report.
    pub fn refresh(&self) -> Result<Value> {
        self.ask("control.sock", "{\"command\":\"refresh\"}\n")
    }

    /// Waits until the daemon will not look by itself for some time: after a write it looks again at growing intervals.
    pub fn rest(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let status = self.ask("status.sock", "")?;
            if status["next-check-in-ms"].as_f64().is_some_and(|left| left > QUIET.as_secs_f64() * 1e3) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("the daemon did not come to rest within {} s", PATIENCE.as_secs())
    }

    fn ask(&self, socket: &str, request: &str) -> Result<Value> {
        let answer = || -> Result<Value> {
            let mut stream = UnixStream::connect(self.node.runtime.join(socket))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(serde_json::from_str(&text)?)
        };
        answer().with_context(|| format!("{socket} gave no answer; the daemon's log:\n{}", self.log()))
    }

    /// A value of `/proc/PID/status` in MB of 1,000,000 bytes.
    pub fn memory(&self, key: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("{path} has no {key}"))? * 1024.0 / 1e6)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.node.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(wanted: &Wanted, runtime: &Path) -> Result<String> {
    let families = if wanted.both_families { r#"["ipv4", "ipv6"]"# } else { r#"["ipv4"]"# };
    let mut text = format!(
        "node-name = \"bench\"\nrefresh-interval = \"1h\"\nbackend = \"{}\"\nfamilies = {families}\n\
         state-directory = \"state\"\ndocuments = \"documents\"\n",
        wanted.backend.name(),
    );
    for (key, folder) in [("runtime-directory", runtime), ("policy-directory", &workspace::policies_dir())] {
        let folder = folder.to_str().with_context(|| format!("{} is not UTF-8", folder.display()))?;
        text += &format!("{key} = '{folder}'\n");
    }
    if wanted.calico {
        text.push_str(CALICO);
    }
    text.push_str(
        "\n[policies.static-rules]\ngrants = { tables = [\"filter\"], chains = [\"bm-*\"] }\n\
         limits = { memory = \"512MiB\", time = \"30s\", fuel = 100000000000, chains = 100000, rules = 1000000, \
         output = \"512MiB\" }\n\n[policies.static-rules.settings]\n",
    );
    text.push_str(&wanted.rules.settings());
    Ok(text)
}

/// One of the timings in a report, in milliseconds.
pub fn timing(report: &Value, phase: &str) -> Result<f64> {
    report["timings-ms"][phase].as_f64().with_context(|| format!("the report has no timing `{phase}`"))
}
