//! What the sandbox costs: instances, evaluations beside the same logic compiled natively, and a daemon with a hundred policies.

use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;
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

/// Policies on one node.
const MANY: usize = 100;
/// Rules of each.
const RULES: usize = 10;
/// Evaluations with more rules would take minutes.
const MOST: usize = 10_000;
const REPETITIONS: usize = 50;
const GROUP: &str = "policies";

/// What measures inside the process.
pub const EXAMPLE: &str = "policy_bench";

/// All of it.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = inside_the_process(plan)?;
    rows.extend(many_policies(plan)?);
    Ok(rows)
}

fn inside_the_process(plan: &Plan) -> Result<Vec<Row>> {
    eprintln!("    instances and evaluations");
    let sizes: Vec<String> = plan.sizes.iter().filter(|size| **size <= MOST).map(ToString::to_string).collect();
    let run = Run::new(plan.build.example(EXAMPLE))
        .args([workspace::program(), workspace::policies_dir().join("static-rules.wasm")]);
    let text = run.args([sizes.join(","), REPETITIONS.to_string()]).text()?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let lines = lines.with_context(|| format!("policy_bench printed no JSON: {text}"))?;
    let mut rows: Vec<Row> = Vec::new();
    for line in &lines {
        let values = line["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let sample = Sample::new(values).context("policy_bench measured nothing")?;
        match (line["case"].as_str().unwrap_or_default(), rows.last_mut()) {
            ("evaluate natively", Some(evaluated)) => {
                evaluated.stock = Some(sample);
                evaluated.goal = Some(Goal::Ratio(3.0));
                evaluated.note = "stock: the same Rust code compiled natively, without conversions".to_owned();
            }
            ("guest alone", Some(evaluated)) => evaluated.beside.push(("input and guest alone", sample)),
            ("evaluate", _) => {
                rows.push(Row::new(GROUP, format!("evaluate {} rules of static-rules", line["rules"]), "ms", sample));
            }
            ("instantiate", _) => {
                let goal = Some(Goal::Value(0.05));
                rows.push(Row { goal, ..Row::new(GROUP, "instantiate static-rules".to_owned(), "ms", sample) });
            }
            (case, _) => rows.push(Row::new(GROUP, format!("{case}, static-rules"), "ms", sample)),
        }
    }
    Ok(rows)
}

fn many_policies(plan: &Plan) -> Result<Vec<Row>> {
    let backend = Backend::Nft;
    let case = format!("{MANY} policies of {RULES} rules");
    eprintln!("    {case}");
    let (mut start, mut refresh, mut resident, mut anonymous) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let wanted = Wanted { backend, both_families: false, beside: &[], options: HOURLY, rules: Rules::ours(RULES) };
    let node = Node::create(&wanted)?;
    node.edit("\n[policies.static-rules]\n", &format!("{}\n[policies.static-rules]\n", more_policies()))?;
    Namespace::create()?.run(|| node.apply())?; // compiles the component
    for _ in 0..plan.repetitions(usize::MAX) {
        Namespace::create()?.run(|| {
            let daemon = node.start()?;
            start.push(daemon.until_ready);
            for _ in 0..3 {
                let begin = Instant::now();
                daemon.refresh()?;
                refresh.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            resident.push(daemon.memory("VmRSS")?);
            anonymous.push(daemon.memory("RssAnon")?);
            Ok(())
        })?;
    }
    let sample = |values| Sample::new(values).context("nothing was measured");
    let mut memory = Row::new(GROUP, format!("resident memory, {case}"), "MB", sample(resident)?);
    memory.beside.push(("anonymous", sample(anonymous)?));
    Ok(vec![
        Row::new(GROUP, format!("start to in-sync, warm cache, {case}"), "ms", sample(start)?),
        Row::new(GROUP, format!("refresh, {case}"), "ms", sample(refresh)?),
        memory,
    ])
}

/// All but one, each with chains of its own.
fn more_policies() -> String {
    let mut text = String::new();
    for number in 1..MANY {
        let rules: Vec<String> = (1..=RULES).map(|port| format!("\"-p tcp --dport {port} -j RETURN\"")).collect();
        let _ = write!(
            text,
            "\n[policies.more-{number}]\ncomponent = \"static-rules.wasm\"\n\
             grants = {{ tables = [\"filter\"], chains = [\"m{number}-*\"] }}\n[policies.more-{number}.settings]\n\
             chains = [{{ table = \"filter\", name = \"m{number}-a\", families = [\"ipv4\"], rules = [{}] }}]\n",
            rules.join(", ")
        );
    }
    text
}
