//! What a policy costs in each language: the same firewall, with so many ports, each a rule. Times are of the processor,
//! but for compiling, which a child does.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use host_firewall_example::HostFirewallExample;
use ruleward_core::contribution::Families;
use ruleward_sandbox::{Limit, LoadedPolicy};
use ruleward_sdk::Policy;
use ruleward_tests::{policy_file, program};
use serde_json::json;

use crate::in_process::{Engine, facts, limits, native_facts, times};
use crate::node::milliseconds;
use crate::plan::Plan;
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// More rules than these would take a slow language seconds for each evaluation.
const MOST: usize = 10_000;
const REPETITIONS: usize = 30;
const GROUP: &str = "languages";
/// The family that is measured.
const IPV4: Families = Families { ipv4: true, ipv6: false };
/// Rules that the example has besides one for each port, in one family.
const OTHERS: u64 = 6;
/// Those that `cargo xtask languages` leaves in target/examples where the machine has their tools.
const BUILT: [&str; 4] = ["c", "go", "javascript", "python"];

/// In a smoke larger components are left out: compiling them takes longer than all other parts.
const MOST_IN_SMOKE: u64 = 4_000_000;

/// All languages for which there is a component.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let native: Vec<(usize, Sample)> =
        plan.sizes_up_to(MOST).into_iter().map(|rules| (rules, native(plan, rules))).collect();
    let languages = components(plan).into_iter();
    languages.flat_map(|(language, component)| language_rows(plan, language, &component, &native)).collect()
}

/// The example in Rust is always built, with the policies.
fn components(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let mut found = vec![("rust", policy_file("host-firewall-example.wasm"))];
    for language in BUILT {
        let component = program::target_directory().join("examples").join(language).with_extension("wasm");
        let size = component.metadata().map(|file| file.len());
        match size {
            Err(error) => {
                let file = component.display();
                eprintln!("!!! skipped: {language}: {file}: {error}; `cargo xtask languages` builds it");
            }
            Ok(size) if plan.smoke && size > MOST_IN_SMOKE => {
                eprintln!("!!! skipped: {language}: its component of {size} bytes takes a smoke too long to compile");
            }
            Ok(_) => found.push((language, component)),
        }
    }
    found
}

fn native(plan: &Plan, rules: usize) -> Sample {
    let settings = settings(rules);
    times(plan.times(REPETITIONS), || {
        let facts = native_facts(ruleward_sdk::Families::IPV4);
        black_box(HostFirewallExample::evaluate(&facts, black_box(&settings)).unwrap());
    })
}

fn language_rows(plan: &Plan, language: &str, component: &Path, native: &[(usize, Sample)]) -> Vec<Row> {
    eprintln!("    {language}");
    let (limits, repetitions) = (limits(), plan.times(REPETITIONS));
    let row = |case: String, unit, ours| Row::new(GROUP, format!("{language}: {case}"), unit, ours);
    let one = |value| Sample::new(vec![value]);
    let size = std::fs::metadata(component).unwrap().len();
    let (mut engine, mut compiled) = (Engine::new(), Vec::new());
    for _ in 0..plan.compilations() {
        engine = Engine::new();
        let begin = Instant::now();
        assert!(engine.load(component, &limits).was_compiled());
        compiled.push(milliseconds(begin.elapsed()));
    }
    let loaded = times(repetitions, || drop(black_box(engine.load(component, &limits))));
    let policy = engine.load(component, &limits);
    let mut rows = vec![
        row("component".to_owned(), "MB", one(size as f64 / 1e6)),
        row("compile".to_owned(), "ms", Sample::new(compiled)),
        row("load from the cache".to_owned(), "ms", loaded),
        row("instantiate".to_owned(), "ms", times(repetitions * 4, || policy.instantiate().unwrap())),
    ];
    for (rules, native) in native {
        let settings = settings(*rules);
        let evaluated = times(repetitions, || evaluate(&policy, &settings, *rules));
        let (last, _) = policy.usage().unwrap();
        rows.push(Row {
            stock: Some(native.clone()),
            goal: goal(language, *rules).map(Goal::Value),
            note: "stock: the same in Rust, native, without conversions".to_owned(),
            ..row(format!("evaluate {rules} rules"), "ms", evaluated)
        });
        rows.push(row(format!("memory for {rules} rules"), "MB", one(last[Limit::Memory] as f64 / 1e6)));
        rows.push(row(format!("fuel for {rules} rules"), "M", one(last[Limit::Fuel] as f64 / 1e6)));
    }
    rows
}

/// Milliseconds. Python has none: most of its time is componentize-py's.
fn goal(language: &str, rules: usize) -> Option<f64> {
    match (matches!(language, "rust" | "c"), rules) {
        (true, 1_000) => Some(1.0),
        (true, 10_000) => Some(8.0),
        (false, 1_000) if language != "python" => Some(10.0),
        _ => None,
    }
}

fn evaluate(policy: &LoadedPolicy, settings: &str, rules: usize) {
    let grants = policy.description().wants.clone();
    let answer = policy.evaluate(&facts(IPV4), &grants, black_box(settings)).unwrap();
    assert_eq!(answer.usage[Limit::Rules], rules as u64 + OTHERS);
}

fn settings(rules: usize) -> String {
    let ports: Vec<usize> = (0..rules).map(|number| 1 + number % 60_000).collect();
    json!({ "admit": ["192.0.2.0/24"], "ports": ports }).to_string()
}
