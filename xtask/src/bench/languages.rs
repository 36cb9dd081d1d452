//! What a policy costs in each language: the same firewall, with so many ports, each a rule.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::Plan;
use super::sample::Sample;
use super::table::{Goal, Row};
use crate::command::Run;
use crate::workspace;

/// More rules than these would take a slow language seconds for each evaluation.
const MOST: usize = 10_000;
const REPETITIONS: usize = 30;
const GROUP: &str = "languages";

/// What measures inside the process.
pub const EXAMPLE: &str = "language_bench";

/// All languages whose component is in target/examples.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let sizes: Vec<String> = plan.sizes.iter().filter(|size| **size <= MOST).map(ToString::to_string).collect();
    let mut run = Run::new(plan.build.example(EXAMPLE)).args([
        workspace::program().into_os_string(),
        sizes.join(",").into(),
        REPETITIONS.to_string().into(),
    ]);
    for (name, path) in components()? {
        run = run.args([format!("{name}={}", path.display())]);
    }
    let text = run.text()?;
    let mut native: BTreeMap<u64, Sample> = BTreeMap::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        let line: Value =
            serde_json::from_str(line).with_context(|| format!("language_bench printed no JSON: {line}"))?;
        let values = line["values"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let sample = Sample::new(values).context("language_bench measured nothing")?;
        let (language, rules) = (line["language"].as_str().unwrap_or_default(), line["rules"].as_u64().unwrap_or(0));
        if language == "native" {
            native.insert(rules, sample);
            continue;
        }
        rows.push(match line["case"].as_str().unwrap_or_default() {
            "evaluate" => {
                let case = format!("{language}: evaluate {rules} rules");
                let goal = goal(language, rules).map(Goal::Value);
                let note = "stock: the same in Rust, native, without conversions".to_owned();
                Row { stock: native.get(&rules).cloned(), goal, note, ..Row::new(GROUP, case, "ms", sample) }
            }
            "size" => Row::new(GROUP, format!("{language}: component"), "MB", sample),
            "memory" => Row::new(GROUP, format!("{language}: memory for {rules} rules"), "MB", sample),
            "fuel" => Row::new(GROUP, format!("{language}: fuel for {rules} rules"), "M", sample),
            case => Row::new(GROUP, format!("{language}: {case}"), "ms", sample),
        });
    }
    Ok(rows)
}

/// Milliseconds.
fn goal(language: &str, rules: u64) -> Option<f64> {
    match (matches!(language, "rust" | "c"), rules) {
        (true, 1_000) => Some(1.0),
        (true, 10_000) => Some(8.0),
        (false, 1_000) => Some(10.0),
        _ => None,
    }
}

fn components() -> Result<Vec<(String, PathBuf)>> {
    let folder = workspace::target_dir().join("examples");
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}; `cargo xtask languages` fills it", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "wasm") {
            found.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path));
        }
    }
    ensure!(!found.is_empty(), "{} holds no component; run `cargo xtask languages`", folder.display());
    found.sort();
    Ok(found)
}
