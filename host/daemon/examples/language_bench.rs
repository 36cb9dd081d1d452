//! What a policy costs in each language: the example firewall with so many ports, each a rule. `cargo xtask bench languages` runs
//! it; alone: `language_bench RULEWARD RULES,... REPETITIONS NAME=COMPONENT...`. One JSON object a line; times are milliseconds
//! of processor time, but for compiling, which a child does.

#![allow(clippy::unwrap_used, reason = "a measurement that can't be made ends with the reason")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use host_firewall_example::HostFirewallExample;
use ruleward::policies::{Compiler, Limit, Limits, LoadedPolicy, PolicyEngine, PolicyEngineOptions};
use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::names::{Backend, PolicyName};
use ruleward_sdk::Policy;
use serde_json::{Value, json};

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
            black_box(HostFirewallExample::evaluate(&native_facts(), black_box(&settings)).unwrap());
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
    let answer = policy.evaluate(&facts(), &grants, black_box(settings)).unwrap();
    assert_eq!(answer.usage[Limit::Rules], rules as u64 + OTHERS);
}

fn print(language: &str, case: &str, rules: usize, values: Value) {
    println!("{}", json!({ "language": language, "case": case, "rules": rules, "values": values }));
}

/// Of so many runs, after two to warm up.
fn times(repetitions: usize, mut run: impl FnMut()) -> Vec<f64> {
    run();
    run();
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = processor_time();
        run();
        times.push(processor_time() - start);
    }
    times
}

/// What this thread has used, milliseconds.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn settings(rules: usize) -> String {
    let ports: Vec<usize> = (0..rules).map(|number| 1 + number % 60_000).collect();
    json!({ "admit": ["192.0.2.0/24"], "ports": ports }).to_string()
}

fn facts() -> Facts {
    let system = System {
        kernel: Version(6, 12, 0),
        iptables: Version(1, 8, 9),
        backend: Backend::Nft,
        families: Families { ipv4: true, ipv6: false },
    };
    Facts { node_name: "node".to_owned(), system, interfaces: Vec::new(), documents: Vec::new() }
}

fn native_facts() -> ruleward_sdk::Facts {
    let version = ruleward_sdk::Version { major: 6, minor: 12, patch: 0 };
    ruleward_sdk::Facts {
        node_name: "node".into(),
        system: ruleward_sdk::System {
            kernel: version,
            iptables: version,
            backend: ruleward_sdk::Backend::Nft,
            random_fully: true,
            families: ruleward_sdk::Families::IPV4,
        },
        interfaces: Vec::new(),
        documents: Vec::new(),
        granted: ruleward_sdk::Ownership::default(),
    }
}
