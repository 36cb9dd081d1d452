//! `ruleward dev --live` with the Rust example: from the finished component on disk to the live rule. That is what an author
//! waits for after the language's own compiler, for which `cp` stands here. Each edit is a new component.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ruleward_tests::{Backend, Family, Node, Running, policy_file};
use serde_json::{Value, json};

use crate::node::{milliseconds, node_with, start};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// Rules of another policy on the node.
const RULES: usize = 100;
const EDITS: usize = 20;
/// Milliseconds.
const GOAL: f64 = 500.0;
/// What the names of the example's chains begin with.
const PREFIX: &str = "hfe-";
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/host-firewall-example/cases");

/// Both backends.
pub fn measure(plan: &Plan) -> Vec<Row> {
    plan.backends().iter().map(|backend| edits(plan, *backend)).collect()
}

fn edits(plan: &Plan, backend: Backend) -> Row {
    eprintln!("    dev, {backend}");
    let firewall = json!({
        "component": "./firewall.wasm",
        "grants": { "tables": ["filter"], "chains": ["h*"], "sets": ["h*"], "comments": ["hfe:"] },
        "settings": { "admit": ["192.0.2.0/24", "2001:db8::1"], "ports": [22, 443] },
    });
    let node = node_with(backend, Rules::ours(RULES), &json!({ "firewall": firewall }), &json!({}));
    let original = fs::read(policy_file("host-firewall-example.wasm")).expect("it was built");
    fs::write(node.path("firewall.wasm"), edited(&original, PREFIX)).expect("the node's folder takes it");
    let project = Project::create(node.path("project"), backend, &original);
    let (mut all, mut parts) = (Vec::new(), [const { Vec::new() }; 3]);
    node.apply();
    let _daemon = start(&node);
    let mut dev = Dev::start(&node, &project);
    dev.live(PREFIX);
    for number in 0..plan.times(EDITS) {
        let prefix = format!("h{number:02}-");
        project.expect(&prefix);
        let component = edited(&original, &prefix);
        let begin = Instant::now();
        project.put(&component);
        let round = dev.live(&prefix);
        all.push(milliseconds(begin.elapsed()));
        for (part, key) in parts.iter_mut().zip(["loaded-ms", "judged-ms", "live-ms"]) {
            part.push(round[key].as_f64().unwrap_or_else(|| panic!("a round has no {key}: {round}")));
        }
        let saved = node.save(Family::Ipv4, "filter");
        assert!(saved.contains(&format!(":{prefix}input ")), "the live kernel has no {prefix}input:\n{saved}");
    }
    let names = ["compiled to machine code", "cases and rehearsal", "reload of the node"];
    let beside = names.into_iter().zip(parts.map(Sample::new)).collect();
    let case = format!("{backend}, Rust example, {RULES} rules beside it");
    let ours = Sample::new(all);
    Row { goal: Some(Goal::Value(GOAL)), beside, ..Row::new("dev: component to live rule", case, "ms", ours) }
}

/// The component with another beginning for its names, as long as the old one.
fn edited(component: &[u8], prefix: &str) -> Vec<u8> {
    let mut edited = component.to_owned();
    let old = PREFIX.as_bytes();
    let places: Vec<usize> = (0..edited.len() - old.len()).filter(|at| edited[*at..].starts_with(old)).collect();
    assert!(!places.is_empty() && prefix.len() == old.len(), "the example has no name that begins with {PREFIX}");
    places.iter().for_each(|at| edited[*at..at + old.len()].copy_from_slice(prefix.as_bytes()));
    edited
}

/// A policy's folder with the example's cases.
struct Project {
    folder: PathBuf,
    /// Expected rules with the example's names, by file.
    expected: Vec<(PathBuf, String)>,
}

impl Project {
    fn create(folder: PathBuf, backend: Backend, component: &[u8]) -> Self {
        let mut expected = Vec::new();
        for entry in fs::read_dir(CASES).expect("the example has cases") {
            let from = entry.expect("the example has cases").path();
            let to = folder.join("tests").join(from.file_name().expect("a case has a name"));
            fs::create_dir_all(&to).expect("the node's folder takes it");
            fs::copy(from.join("settings.toml"), to.join("settings.toml")).expect("a case has settings");
            write(&to.join("facts.toml"), format!("backend = \"{backend}\"\n").as_bytes());
            let rules = fs::read_to_string(from.join("expected.rules")).expect("a case has rules");
            expected.push((to.join("expected.rules"), rules));
        }
        write(&folder.join("policy.toml"), b"component = \"policy.wasm\"\nbuild = \"cp source policy.wasm\"\n");
        let project = Self { folder, expected };
        project.expect(PREFIX);
        project.put(component);
        project
    }

    fn expect(&self, prefix: &str) {
        for (file, text) in &self.expected {
            write(file, text.replace(PREFIX, prefix).as_bytes());
        }
    }

    /// All at once, as a compiler's last step.
    fn put(&self, component: &[u8]) {
        let new = self.folder.join(".source");
        write(&new, component);
        fs::rename(new, self.folder.join("source")).expect("the node's folder takes it");
    }
}

fn write(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap_or_else(|error| panic!("can't write {}: {error}", file.display()));
}

/// A running `ruleward dev`.
struct Dev(Running);

impl Dev {
    fn start(node: &Node, project: &Project) -> Self {
        let command = node.ruleward(&["--output", "json", "dev", "--live", "firewall"]);
        Self(command.args(&[&project.folder]).start())
    }

    /// The round that put rules of this name in force.
    fn live(&mut self, prefix: &str) -> Value {
        loop {
            let line = self.0.line();
            let round: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
            let mut cases = round["cases"].as_array().into_iter().flatten();
            let named = cases.any(|case| case["difference"].as_str().is_some_and(|text| text.contains(prefix)));
            if named && round["live-ms"].is_u64() {
                return round;
            }
        }
    }
}
