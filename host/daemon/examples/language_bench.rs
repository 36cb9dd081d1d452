//! What a policy costs in each language: the example firewall with so many ports, each a rule. `cargo xtask bench languages` runs
//! it; alone: `language_bench RULEWARD RULES,... REPETITIONS NAME=COMPONENT...`. One JSON object a line; times are milliseconds
//! of processor time, but for compiling, which a child does.

#![allow(clippy::unwrap_used, reason = "a measurement that can't be made ends with the reason")]

mod shared;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use host_firewall_example::HostFirewallExample;
use ruleward_core::contribution::Families;
use ruleward_core::names::PolicyName;
use ruleward_sandbox::{Compiler, Limit, Limits, LoadedPolicy, PolicyEngine, PolicyEngineOptions};
use ruleward_sdk::Policy;
use serde_json::{Value, json};
use shared::times;

/// The family that is measured.
const IPV4: Families = Families { ipv4: true, ipv6: false };
/// Rules that the example has besides one for each port, in one family.
const OTHERS: u64 = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, sizes, repetitions, components @ ..] = arguments.as_slice() else {
        eprintln!("language_bench RULEWARD RULES,... REPETITIONS NAME=COMPONENT...");
        std::process::exit(64);
    };
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    let repetitions = repetitions.parse().unwrap();
    for rules in &sizes {
        let settings = settings(*rules);
        let times = times(repetitions, || {
            black_box(
                HostFirewallExample::evaluate(
                    &shared::native_facts(ruleward_sdk::Families::IPV4),
                    black_box(&settings),
                )
                .unwrap(),
            );
        });
        print("native", "evaluate", *rules, json!(times));
    }
    for component in components {
        let (language, path) = component.split_once('=').unwrap();
        measure(language, Path::new(path), program, &sizes, repetitions);
    }
}

fn measure(language: &str, path: &Path, program: &str, sizes: &[usize], repetitions: usize) {
    let limits = Limits::default().with(Limit::Time, 60_000_000).with(Limit::Fuel, u64::MAX >> 1);
    let name = PolicyName::new("firewall").unwrap();
    print(language, "size", 0, json!([std::fs::metadata(path).unwrap().len() as f64 / 1e6]));
    let states: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let engine = |at: &Path| {
        let timeout = Duration::from_secs(600);
        let compiler = Compiler { program: program.into(), timeout, ..Compiler::default() };
        PolicyEngine::new(PolicyEngineOptions { compiler, ..PolicyEngineOptions::new(at) }).unwrap()
    };
    let load = |engine: &PolicyEngine| engine.load(&name, path, &limits).unwrap();
    let compile = states.iter().map(|state| {
        let engine = engine(state.path());
        let start = Instant::now();
        assert!(load(&engine).was_compiled());
        start.elapsed().as_secs_f64() * 1e3
    });
    print(language, "compile", 0, json!(compile.collect::<Vec<_>>()));
    let engine = engine(states[0].path());
    print(language, "load from the cache", 0, json!(times(repetitions, || drop(black_box(load(&engine))))));
    let policy = load(&engine);
    print(language, "instantiate", 0, json!(times(repetitions * 4, || policy.instantiate().unwrap())));
    for rules in sizes {
        let settings = settings(*rules);
        print(language, "evaluate", *rules, json!(times(repetitions, || evaluate(&policy, &settings, *rules))));
        let (last, _) = policy.usage().unwrap();
        print(language, "memory", *rules, json!([last[Limit::Memory] as f64 / 1e6]));
        print(language, "fuel", *rules, json!([last[Limit::Fuel] as f64 / 1e6]));
    }
}

fn evaluate(policy: &LoadedPolicy, settings: &str, rules: usize) {
    let grants = policy.description().wants.clone();
    let answer = policy.evaluate(&shared::facts(IPV4), &grants, black_box(settings)).unwrap();
    assert_eq!(answer.usage[Limit::Rules], rules as u64 + OTHERS);
}

fn print(language: &str, case: &str, rules: usize, values: Value) {
    println!("{}", json!({ "language": language, "case": case, "rules": rules, "values": values }));
}

fn settings(rules: usize) -> String {
    let ports: Vec<usize> = (0..rules).map(|number| 1 + number % 60_000).collect();
    json!({ "admit": ["192.0.2.0/24"], "ports": ports }).to_string()
}
