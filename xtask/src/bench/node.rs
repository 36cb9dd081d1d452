//! One node as Ruleward sees it: a configuration, its folders, and the program run on it. State lies on the disk, where
//! it lies on a real node; sockets lie in /run.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::cpu;
use super::rules::Rules;
use super::stock::Backend;
use crate::command::Run;
use crate::workspace;

/// Longest wait for anything that the daemon is asked.
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for one measurement.
const QUIET: Duration = Duration::from_secs(3);
/// The daemon looks only when something happens or somebody asks.
pub const HOURLY: &str = "refresh-interval = \"1h\"\n";
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

/// Policies that run beside static-rules, as parts of a configuration.
pub const CALICO: &str = r#"
[policies.calico-postrouting]
grants = { tables = ["nat"], chains = ["cali-*"], sets = ["cali4*", "cali6*"], comments = ["cali:"], jumps = "exclusive", resources = ["IPPool", "Node"] }
"#;
pub const IP_MASQUERADE: &str = r#"
[policies.ip-masquerade]
grants = { tables = ["nat"], chains = ["ipm-*"], comments = ["ipm:"] }
"#;
pub const HOST_FIREWALL: &str = r#"
[policies.host-firewall]
grants = { tables = ["filter"], chains = ["hfw-*"], comments = ["hfw:"] }
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
    /// Policies beside static-rules, such as [`CALICO`].
    pub beside: &'static [&'static str],
    /// Lines of the configuration that differ from case to case, such as [`HOURLY`].
    pub options: &'static str,
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
        fs::create_dir_all(folder.join("resources"))?;
        fs::write(folder.join("resources/ippool.yaml"), POOL)?;
        fs::write(folder.join("ruleward.toml"), configuration(wanted, &runtime)?)?;
        Ok(Self { folder, runtime })
    }

    /// For scripts and the like.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces a part of the configuration.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let file = self.folder.join("ruleward.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if !text.contains(from) {
            bail!("{} does not hold what should be replaced: {from}", file.display());
        }
        fs::write(&file, text.replace(from, to)).with_context(|| format!("cannot write {}", file.display()))
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
        socket.set_read_timeout(Some(POLL))?;
        let log = fs::File::create(self.folder.join("log"))?;
        let run = Run::new(workspace::program()).args(["--log-level", "warn", "--config"]);
        let mut command = run.args([self.folder.join("ruleward.toml")]).args(["run"]).into_command();
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", workspace::program().display()))?;
        let mut daemon = Daemon { child, node: self, until_ready: 0.0 };
        let mut word = [0; 512];
        loop {
            match socket.recv(&mut word) {
                // What it says besides is for `systemctl status`.
                Ok(length) if word[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => break,
                Ok(_) => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error).context("no word came"),
                Err(_) => daemon.expect_life(start)?,
            }
        }
        daemon.until_ready = start.elapsed().as_secs_f64() * 1e3;
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

    /// What `ruleward reload` asks for; gives the report.
    pub fn reload(&self) -> Result<Value> {
        self.ask("control.sock", "{\"command\":\"reload\"}\n")
    }

    /// Waits until the daemon will not look by itself for some time: after a write it looks again at growing intervals.
    pub fn rest(&self) -> Result<()> {
        self.rest_for(QUIET)
    }

    /// The same for a longer time.
    pub fn rest_for(&self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.status()?["next-check-in-ms"].as_f64().is_some_and(|left| left > time.as_secs_f64() * 1e3) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("the daemon did not come to rest within {} s", PATIENCE.as_secs())
    }

    /// What `ruleward status` shows.
    pub fn status(&self) -> Result<Value> {
        self.ask("status.sock", "")
    }

    /// Where its sockets are.
    pub fn runtime(&self) -> &Path {
        &self.node.runtime
    }

    /// Processor time that it has used since its start, with that of the tools that it has run.
    pub fn cpu(&self) -> Result<Duration> {
        cpu::of_process(self.child.id())
    }

    /// Says why a daemon that was started then is not ready, if it has ended or takes too long.
    fn expect_life(&mut self, started: Instant) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the daemon ended with {status} before it was ready:\n{}", self.log());
        }
        if started.elapsed() > PATIENCE {
            bail!("the daemon is not ready after {} s:\n{}", PATIENCE.as_secs(), self.log());
        }
        Ok(())
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
        "node-name = \"bench\"\nbackend = \"{}\"\nfamilies = {families}\n{}\
         state-directory = \"state\"\nresources = \"resources\"\n",
        wanted.backend.name(),
        wanted.options,
    );
    for (key, folder) in [("runtime-directory", runtime), ("policy-directory", &workspace::policies_dir())] {
        let folder = folder.to_str().with_context(|| format!("{} is not UTF-8", folder.display()))?;
        text += &format!("{key} = '{folder}'\n");
    }
    text.extend(wanted.beside.iter().copied());
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
