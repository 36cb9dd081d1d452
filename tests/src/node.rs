//! A node: namespaces, directories, a configuration, and the commands that run there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::trial::leave_evidence;
use crate::{Backend, Daemon, Family, Netns, Report, Running, Stranger, TABLES, program, save, warm};

/// One machine as the program sees it. Its namespaces and files vanish with it.
pub struct Node {
    /// Where it lives.
    pub net: Netns,
    /// Which iptables it uses.
    pub backend: Backend,
    directory: Arc<TempDir>,
    settings: Mutex<Value>,
    path_front: Mutex<Option<PathBuf>>,
    transcript: Mutex<Vec<(String, String)>>,
    bounding_set: Mutex<Option<String>>,
    tracer: Mutex<Vec<OsString>>,
    environment: Mutex<BTreeMap<String, OsString>>,
    clock: Mutex<Option<String>>,
    configuration: Mutex<String>,
    to_warm: Mutex<bool>,
}

/// What a finished command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command line inside a node.
pub struct Command<'n> {
    node: &'n Node,
    process: Process,
    input: Option<String>,
}

impl Node {
    /// An empty node whose program finds the shipped policies compiled.
    pub fn new(backend: Backend) -> Arc<Self> {
        let node = Self::cold(backend);
        *node.to_warm.lock().unwrap() = true;
        node
    }

    /// An empty node whose program has to compile.
    pub fn cold(backend: Backend) -> Arc<Self> {
        let directory = tempfile::Builder::new().prefix("rw-").tempdir().expect("a directory for temporary files");
        let node = Self::around(backend, Arc::new(directory));
        for name in ["state", "run", "resources", "tools"] {
            fs::create_dir(node.path(name)).expect("an empty directory takes new ones");
        }
        for family in Family::ALL {
            let target = which(&family.tool(backend, ""));
            std::os::unix::fs::symlink(target, node.path("tools").join(family.program())).expect("a free name");
        }
        node.configure(json!({}));
        Arc::new(node)
    }

    /// The same files on a kernel that has just started: without rules, and without what was set on this value besides
    /// the configuration.
    pub fn rebooted(&self) -> Arc<Self> {
        let node = Self::around(self.backend, Arc::clone(&self.directory));
        self.settings.lock().unwrap().clone_into(&mut node.settings.lock().unwrap());
        Arc::new(node)
    }

    fn around(backend: Backend, directory: Arc<TempDir>) -> Self {
        Self {
            net: Netns::new(),
            backend,
            directory,
            settings: Mutex::new(json!({})),
            path_front: Mutex::default(),
            transcript: Mutex::default(),
            bounding_set: Mutex::default(),
            tracer: Mutex::default(),
            environment: Mutex::default(),
            clock: Mutex::default(),
            configuration: Mutex::new("ruleward.toml".to_owned()),
            to_warm: Mutex::new(false),
        }
    }

    /// A path in the node's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration: these keys over the kit's defaults. Most suites are about what a check finds, and would
    /// be disturbed by a daemon that repairs before they ask for one: the watch is off unless they turn it on.
    pub fn configure(&self, keys: Value) {
        let mut all = json!({
            "node-name": "node1",
            "refresh-interval": "1h",
            "watch": "off",
            "state-directory": self.path("state"),
            "runtime-directory": self.path("run"),
            "policy-directory": program::policy_directory(),
            "resources": self.path("resources"),
            "backend": self.backend.to_string(),
        });
        for (key, value) in keys.as_object().expect("the configuration is a table") {
            all[key] = value.clone();
        }
        let text = toml::to_string(&all).expect("JSON without null is TOML");
        self.write("ruleward.toml", &text);
        *self.settings.lock().unwrap() = all;
    }

    /// Changes one key of the configuration and keeps the others.
    pub fn set(&self, key: &str, value: Value) {
        let mut all = self.settings.lock().unwrap().clone();
        all[key] = value;
        self.configure(all);
    }

    /// Writes a file into the node's directory.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap_or_else(|error| panic!("can't write {name}: {error}"));
    }

    /// Puts the node's resources in place of the earlier ones.
    pub fn resources(&self, yaml: &str) {
        self.write("resources/all.yaml", yaml);
    }

    /// Puts a directory of tools in front of `PATH` for the program under test.
    pub(crate) fn set_path_front(&self, directory: Option<PathBuf>) {
        *self.path_front.lock().unwrap() = directory;
    }

    /// From now on the program under test is started by these words; none: by itself.
    pub(crate) fn start_by(&self, words: Vec<OsString>) {
        *self.tracer.lock().unwrap() = words;
    }

    /// From now on the program under test runs without CAP_SYS_ADMIN.
    pub fn without_sys_admin(&self) {
        self.confine("-sys_admin");
    }

    /// From now on the program under test runs with these capabilities at most, in the words of `setpriv --bounding-set`.
    pub fn confine(&self, bounding_set: &str) {
        *self.bounding_set.lock().unwrap() = Some(bounding_set.to_owned());
    }

    /// Sets an environment variable for the program under test.
    pub fn set_environment(&self, name: &str, value: impl Into<OsString>) {
        self.environment.lock().unwrap().insert(name.to_owned(), value.into());
    }

    /// From now on the program under test has a monotonic clock that differs from the machine's by so many seconds.
    pub fn shift_clock(&self, seconds: &str) {
        *self.clock.lock().unwrap() = Some(seconds.to_owned());
    }

    /// From now on the program under test reads its configuration from this file of the node's directory.
    pub fn use_configuration(&self, name: &str) {
        name.clone_into(&mut self.configuration.lock().unwrap());
    }

    /// A tool, run as the node's administrator (never through fake tools).
    pub fn command(&self, program: impl AsRef<Path>) -> Command<'_> {
        Command { node: self, process: Process::new(program.as_ref()), input: None }
    }

    /// The program under test with this node's configuration.
    pub fn ruleward(&self, words: &[&str]) -> Command<'_> {
        let binary = program::binary();
        assert!(program::policy_directory().is_dir(), "the policies are not built; run `cargo xtask build` first");
        if std::mem::take(&mut *self.to_warm.lock().unwrap()) {
            warm::fill(&self.path("state"));
        }
        let mut line: Vec<OsString> = self.tracer.lock().unwrap().clone();
        if let Some(seconds) = &*self.clock.lock().unwrap() {
            line.extend(["unshare", "--time", "--monotonic", seconds, "--boottime", seconds].map(OsString::from));
        }
        if let Some(set) = &*self.bounding_set.lock().unwrap() {
            line.extend(["setpriv", "--bounding-set", set, "--inh-caps", "-all"].map(OsString::from));
        }
        line.push(binary.into());
        let mut command = self.command(&line[0]);
        let configuration = self.path(&self.configuration.lock().unwrap());
        command.process.args(&line[1..]).arg("--config").arg(configuration).args(words);
        command.process.envs(&*self.environment.lock().unwrap());
        if let Some(front) = &*self.path_front.lock().unwrap() {
            let rest = std::env::var("PATH").unwrap_or_default();
            command.process.env("PATH", format!("{}:{rest}", front.display()));
        }
        command
    }

    /// `ruleward apply`, which must end with status 0.
    #[track_caller]
    pub fn apply(&self) -> Report {
        self.ruleward(&["--output", "json", "apply"]).report(0)
    }

    /// `ruleward plan`, which must end with `code`.
    #[track_caller]
    pub fn plan(&self, code: i32) -> Report {
        self.ruleward(&["--output", "json", "plan"]).report(code)
    }

    /// `ruleward cleanup`, which must succeed.
    #[track_caller]
    pub fn cleanup(&self) -> Output {
        let output = self.ruleward(&["cleanup"]).output();
        assert_eq!(output.code, Some(0), "cleanup failed: {output:#?}");
        output
    }

    /// Starts `ruleward run` and waits until it is in sync.
    #[track_caller]
    pub fn daemon(self: &Arc<Self>) -> Daemon {
        let daemon = Daemon::start(self);
        daemon.wait_until("in sync", |status| status.report.in_sync);
        daemon
    }

    /// One table as `iptables-save` shows it, without counters and comment lines.
    #[track_caller]
    pub fn save(&self, family: Family, table: &str) -> String {
        save::canonical(&self.save_exact(family, table))
    }

    /// One table with its counters.
    #[track_caller]
    pub fn save_exact(&self, family: Family, table: &str) -> String {
        let output = self.command(family.tool(self.backend, "save")).args(&["-c", "-t", table]).output();
        let refused = output.stdout.contains("is incompatible") || output.stdout.contains("Table `");
        assert!(output.code == Some(0) && !refused, "can't save {family} {table}: {output:?}");
        output.stdout
    }

    /// Everything: all tables of both families without counters, then the sets.
    #[track_caller]
    pub fn save_all(&self) -> String {
        let mut text = String::new();
        for family in Family::ALL {
            for table in TABLES {
                text += &format!("# {family}\n{}", self.save(family, table));
            }
        }
        text + &self.sets()
    }

    /// The sets with their members, sorted, without what depends on luck (hash sizes).
    #[track_caller]
    pub fn sets(&self) -> String {
        let output = self.command("ipset").args(&["save"]).must();
        let mut lines: Vec<_> = output.lines().map(|line| without_word_after(line, "initval")).collect();
        let name = |line: &str| line.split(' ').nth(1).map(ToOwned::to_owned);
        lines.sort_by_cached_key(|line| (name(line), !line.starts_with("create"), line.clone()));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Loads `iptables-save` text; tables in it are replaced, counters taken over.
    #[track_caller]
    pub fn load(&self, family: Family, text: &str) {
        self.command(family.tool(self.backend, "restore")).args(&["-c"]).input(text).must();
    }

    /// Adds rules from `iptables-save` text to what is there.
    #[track_caller]
    pub fn add(&self, family: Family, text: &str) {
        self.command(family.tool(self.backend, "restore")).args(&["--noflush"]).input(text).must();
    }

    /// Loads `ipset save` text.
    #[track_caller]
    pub fn load_sets(&self, text: &str) {
        self.command("ipset").args(&["restore"]).input(text).must();
    }

    /// Somebody with root who tampers with one family.
    pub fn stranger(&self, family: Family) -> Stranger<'_> {
        Stranger::new(self, family)
    }

    /// Somebody who speaks to the kernel without a stock tool; `src/bin/raw_stranger/main.rs` tells the words.
    pub fn raw(&self, words: &[&str]) -> Command<'_> {
        self.command(program::own("raw_stranger")).args(words)
    }

    /// A command that is repeated until it says something else is kept once, with its last answer.
    fn record(&self, line: &str, answer: &str) {
        let mut transcript = self.transcript.lock().unwrap();
        transcript.pop_if(|(last, _)| last == line);
        transcript.push((line.to_owned(), answer.to_owned()));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let transcript = self.transcript.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = transcript.iter().map(|(line, answer)| format!("$ {line}\n{answer}")).collect();
        leave_evidence("commands, latest last", &lines.join("\n"));
        if let Ok(text) = fs::read_to_string(self.path("ruleward.toml")) {
            leave_evidence("ruleward.toml", &text);
        }
    }
}

impl Command<'_> {
    /// Adds words.
    pub fn args<T: AsRef<std::ffi::OsStr>>(mut self, words: &[T]) -> Self {
        self.process.args(words);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.process.env(name, value);
        self
    }

    /// Standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn output(self) -> Output {
        let Self { node, mut process, input } = self;
        let line = line_of(&process);
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        process.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let run = || -> std::io::Result<std::process::Output> {
            let mut child = process.spawn()?;
            std::thread::scope(|scope| {
                if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
                    // A program that ends without reading its input is judged by its status.
                    scope.spawn(move || std::io::Write::write_all(&mut pipe, text.as_bytes()).ok());
                }
                child.wait_with_output()
            })
        };
        let output = node.net.run(run).unwrap_or_else(|error| panic!("can't run `{line}`: {error}"));
        let output = Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let shown = if output.code == Some(0) { "" } else { output.stdout.as_str() };
        node.record(&line, &format!("{shown}{}=> {:?}", output.stderr, output.code));
        output
    }

    /// Runs it; it must succeed. Its standard output.
    #[track_caller]
    pub fn must(self) -> String {
        let line = line_of(&self.process);
        let output = self.output();
        assert_eq!(output.code, Some(0), "`{line}` failed: {}", output.stderr);
        output.stdout
    }

    /// Runs it; it must end with `code` and print a report.
    #[track_caller]
    pub fn report(self, code: i32) -> Report {
        let line = line_of(&self.process);
        let output = self.output();
        assert_eq!(output.code, Some(code), "`{line}` ended with another status:\n{}{}", output.stdout, output.stderr);
        Report::parse(&output.stdout)
    }

    /// Starts it with pipes at both ends.
    #[track_caller]
    pub fn start(self) -> Running {
        let Self { node, mut process, .. } = self;
        let line = line_of(&process);
        node.record(&line, "in the background");
        process.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = node.net.run(move || process.spawn());
        Running::new(line.clone(), child.unwrap_or_else(|error| panic!("can't start `{line}`: {error}")))
    }

    /// Starts it with its output going to `log`.
    pub(crate) fn spawn(self, log: &Path) -> std::process::Child {
        let Self { node, mut process, .. } = self;
        node.record(&line_of(&process), "in the background");
        let open =
            || fs::OpenOptions::new().create(true).append(true).open(log).expect("the node's directory is writable");
        process.stdin(Stdio::null()).stdout(open()).stderr(open());
        node.net.run(move || process.spawn()).unwrap_or_else(|error| panic!("can't start a process: {error}"))
    }
}

/// The command line as a person would type it.
fn line_of(process: &Process) -> String {
    let words = std::iter::once(process.get_program()).chain(process.get_args()).map(|word| word.to_string_lossy());
    let quoted = words.map(|word| if word.contains(' ') { format!("'{word}'") } else { word.into_owned() });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The full path of a program, also where `/usr/sbin` is not on the path.
pub fn which(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let all = path.split(':').chain(["/usr/sbin", "/sbin"]).map(|directory| Path::new(directory).join(program));
    let found = all.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed; `cargo xtask test` names the package"))
}

fn without_word_after(line: &str, option: &str) -> String {
    let mut words = line.split(' ');
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == option {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}
