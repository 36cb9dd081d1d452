//! The program under demonstration: its configuration, its process, and the questions that the story asks it.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::Run;
use crate::demo::terminal;
use crate::workspace;

/// How long the daemon may take for anything that it is asked here. A machine that is busy compiling is slow.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

const POOL: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.244.0.0/16
  natOutgoing: true
";

/// All paths count from the configuration's folder.
const CONFIGURATION: &str = r#"node-name = "worker-7"
resources = "resources"
policy-directory = "policies"
state-directory = "state"
runtime-directory = "run"

[policies.calico-postrouting.grants]
tables = ["nat"]
chains = ["cali-*"]
sets = ["cali40masq-ipam-pools", "cali40all-ipam-pools", "cali40network-ip-pools",
    "cali60masq-ipam-pools", "cali60all-ipam-pools", "cali60network-ip-pools"]
comments = ["cali:"]
jumps = "exclusive"
resources = ["IPPool", "Node"]
"#;

/// A running `ruleward run`; killed when dropped.
pub struct Daemon {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Writes the configuration into `scratch`, shows it, and starts the daemon.
    pub fn start(scratch: &Path) -> Result<Self> {
        let config = scratch.join("ruleward.toml");
        let resources = scratch.join("resources");
        fs::create_dir(&resources)?;
        write(&resources.join("ippool.yaml"), POOL)?;
        write(&config, CONFIGURATION)?;
        symlink(workspace::policies_dir(), scratch.join("policies")).context("cannot link the policies")?;
        terminal::typed("cat resources/ippool.yaml");
        terminal::quoted(POOL);
        terminal::typed("cat ruleward.toml");
        terminal::quoted(CONFIGURATION);
        terminal::typed("ruleward run &");
        let log = scratch.join("log");
        let output = File::create(&log)?;
        let mut command =
            Run::new(workspace::program()).args(["--config"]).args([&config]).args(["run"]).into_command();
        command.stdout(output.try_clone()?).stderr(output).stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {}", workspace::program().display()))?;
        Ok(Self { child, config, log })
    }

    /// Polls `ruleward status` until `wanted` holds of its answer.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Duration> {
        let start = Instant::now();
        let mut last = Value::Null;
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status} while the story waited until {what}; its log:\n{}", self.log());
            }
            if let Some(status) = self.status()? {
                if wanted(&status) {
                    return Ok(start.elapsed());
                }
                last = status;
            }
            thread::sleep(POLL);
        }
        let seconds = PATIENCE.as_secs();
        bail!("waited {seconds} s in vain until {what}; last status: {last:#}\nthe daemon's log:\n{}", self.log())
    }

    /// `ruleward status` as JSON; nothing while the daemon does not answer yet.
    fn status(&self) -> Result<Option<Value>> {
        let (code, text) = self.ask(&["--output", "json", "status"])?;
        match code {
            Some(0 | 1) => {
                serde_json::from_str(&text).map(Some).map_err(|error| anyhow!("status is not JSON: {error}"))
            }
            Some(69) => Ok(None),
            other => bail!("`ruleward status` ended with {other:?}; the daemon's log:\n{}", self.log()),
        }
    }

    /// Runs the program's command line against this daemon's configuration.
    pub fn ask(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        Run::new(workspace::program()).args(["--config"]).args([&self.config]).args(arguments).status_and_text()
    }

    /// Everything that the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Run::new("kill").args(["-TERM", &pid]).text()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the daemon ended with {status}; its log:\n{}", self.log());
            }
            thread::sleep(POLL);
        }
        bail!("the daemon did not stop within {} s of SIGTERM", PATIENCE.as_secs())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
