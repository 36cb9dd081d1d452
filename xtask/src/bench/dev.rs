//! `ruleward dev --live` with the Rust example: from the finished component on disk to the live rule. That is what an author
//! waits for after the language's own compiler, for which `cp` stands here. Each edit is a component that nobody has seen.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use super::Plan;
use super::namespace::Namespace;
use super::node::{HOURLY, Node, Wanted};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};
use crate::command::Run;
use crate::workspace;

/// Rules of another policy on the node.
const RULES: usize = 100;
const EDITS: usize = 20;
/// Milliseconds.
const GOAL: f64 = 500.0;
/// What the names of the example's chains begin with.
const PREFIX: &str = "hfe-";
const POLICY: &str = r#"
[policies.firewall]
component = "./firewall.wasm"
grants = { tables = ["filter"], chains = ["h*"], sets = ["h*"], comments = ["hfe:"] }
settings = { admit = ["192.0.2.0/24", "2001:db8::1"], ports = [22, 443] }
"#;

/// Both backends.
pub fn measure(_plan: &Plan) -> Result<Vec<Row>> {
    Backend::ALL.into_iter().map(edits).collect()
}

fn edits(backend: Backend) -> Result<Row> {
    eprintln!("    dev, {}", backend.name());
    let wanted = Wanted { backend, both_families: true, beside: &[POLICY], options: HOURLY, rules: Rules::ours(RULES) };
    let node = Node::create(&wanted)?;
    fs::write(node.folder().join("firewall.wasm"), edited(&component()?, PREFIX)?)?;
    let project = Project::create(node.folder().join("project"), backend)?;
    let (mut all, mut parts) = (Vec::new(), [const { Vec::new() }; 3]);
    Namespace::create()?.run(|| {
        node.apply()?;
        let _daemon = node.start()?;
        let mut dev = Dev::start(&node, &project)?;
        dev.live(PREFIX)?;
        for number in 0..EDITS {
            let prefix = format!("h{number:02}-");
            project.expect(&prefix)?;
            let component = edited(&project.component, &prefix)?;
            let start = Instant::now();
            project.put(&component)?;
            let round = dev.live(&prefix)?;
            all.push(start.elapsed().as_secs_f64() * 1e3);
            for (part, key) in parts.iter_mut().zip(["loaded-ms", "judged-ms", "live-ms"]) {
                part.push(round[key].as_f64().with_context(|| format!("a round has no {key}: {round}"))?);
            }
            let saved = Run::new(format!("iptables-{}-save", backend.name())).args(["-t", "filter"]).text()?;
            ensure!(saved.contains(&format!(":{prefix}input ")), "the live kernel has no {prefix}input:\n{saved}");
        }
        Ok(())
    })?;
    let ours = Sample::new(all).context("nothing was measured")?;
    let names = ["compiled to machine code", "cases and rehearsal", "reload of the node"];
    let beside = names.into_iter().zip(parts).filter_map(|(name, part)| Some((name, Sample::new(part)?))).collect();
    let case = format!("{}, Rust example, {RULES} rules beside it", backend.name());
    Ok(Row { goal: Some(Goal::Value(GOAL)), beside, ..Row::new("dev: component to live rule", case, "ms", ours) })
}

fn component() -> Result<Vec<u8>> {
    let file = workspace::policies_dir().join("host-firewall-example.wasm");
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// The component with another beginning for its names, as long as the old one.
fn edited(component: &[u8], prefix: &str) -> Result<Vec<u8>> {
    let mut edited = component.to_owned();
    let old = PREFIX.as_bytes();
    let places: Vec<usize> = (0..edited.len() - old.len()).filter(|at| edited[*at..].starts_with(old)).collect();
    ensure!(!places.is_empty() && prefix.len() == old.len(), "the example has no name that begins with {PREFIX}");
    places.iter().for_each(|at| edited[*at..at + old.len()].copy_from_slice(prefix.as_bytes()));
    Ok(edited)
}

/// A policy's folder with the example's cases.
struct Project {
    folder: PathBuf,
    component: Vec<u8>,
    /// Expected rules with the example's names, by file.
    expected: Vec<(PathBuf, String)>,
}

impl Project {
    fn create(folder: PathBuf, backend: Backend) -> Result<Self> {
        let cases = workspace::root().join("examples/host-firewall-example/cases");
        let mut expected = Vec::new();
        for entry in fs::read_dir(&cases).with_context(|| format!("cannot read {}", cases.display()))? {
            let (from, to) = (entry?.path(), folder.join("tests"));
            let to = to.join(from.file_name().unwrap_or_default());
            fs::create_dir_all(&to)?;
            fs::copy(from.join("settings.toml"), to.join("settings.toml"))?;
            fs::write(to.join("facts.toml"), format!("backend = \"{}\"\n", backend.name()))?;
            expected.push((to.join("expected.rules"), fs::read_to_string(from.join("expected.rules"))?));
        }
        fs::write(folder.join("policy.toml"), "component = \"policy.wasm\"\nbuild = \"cp source policy.wasm\"\n")?;
        let project = Self { folder, component: component()?, expected };
        project.expect(PREFIX)?;
        project.put(&project.component)?;
        Ok(project)
    }

    fn expect(&self, prefix: &str) -> Result<()> {
        for (file, text) in &self.expected {
            fs::write(file, text.replace(PREFIX, prefix))?;
        }
        Ok(())
    }

    /// All at once, as a compiler's last step.
    fn put(&self, component: &[u8]) -> Result<()> {
        let new = self.folder.join(".source");
        fs::write(&new, component)?;
        Ok(fs::rename(new, self.folder.join("source"))?)
    }
}

/// A running `ruleward dev`; killed when dropped.
struct Dev {
    child: Child,
    rounds: Box<dyn BufRead>,
}

impl Dev {
    fn start(node: &Node, project: &Project) -> Result<Self> {
        let run = Run::new(workspace::program()).args(["--output", "json", "--config"]);
        let run = run.args([node.folder().join("ruleward.toml")]).args(["dev", "--live", "firewall"]);
        let mut command = run.args([Path::new(&project.folder)]).into_command();
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start `ruleward dev`")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        Ok(Self { child, rounds: Box::new(BufReader::new(output)) })
    }

    /// The round that put rules of this name in force.
    fn live(&mut self, prefix: &str) -> Result<Value> {
        let mut line = String::new();
        let mut last = String::new();
        loop {
            line.clear();
            if self.rounds.read_line(&mut line)? == 0 {
                bail!("`ruleward dev` ended; the last round was {last}");
            }
            let round: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
            let named = round["cases"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|case| case["difference"].as_str().is_some_and(|difference| difference.contains(prefix)));
            if named && round["live-ms"].is_u64() {
                return Ok(round);
            }
            last.clone_from(&line);
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
