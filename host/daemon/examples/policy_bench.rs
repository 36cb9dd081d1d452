//! What the sandbox costs: instances, and evaluations beside the same logic compiled natively. `cargo xtask bench policies` runs
//! it; alone: `policy_bench RULEWARD STATIC-RULES.WASM RULES,... REPETITIONS`. One JSON object a line, in milliseconds of
//! processor time: what else the machine does changes little of it.

#![allow(clippy::unwrap_used, reason = "a measurement that can't be made ends with the reason")]

mod shared;

use std::hint::black_box;
use std::path::Path;

use ruleward_core::contribution::Families;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use ruleward_sandbox::{Compiler, Limit, Limits, LoadedPolicy, PolicyEngine, PolicyEngineOptions};
use ruleward_sdk::Policy;
use shared::times;
use static_rules::StaticRules;

/// Rules of one chain.
const PER_CHAIN: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, component, sizes, repetitions] = arguments.as_slice() else {
        eprintln!("policy_bench RULEWARD STATIC-RULES.WASM RULES,... REPETITIONS");
        std::process::exit(64);
    };
    let repetitions = repetitions.parse().unwrap();
    let state = tempfile::tempdir().unwrap();
    let compiler = Compiler { program: program.into(), ..Compiler::default() };
    let options = PolicyEngineOptions { compiler, ..PolicyEngineOptions::new(state.path()) };
    let engine = PolicyEngine::new(options).unwrap();
    let limits = Limits::default().with(Limit::Time, 60_000_000).with(Limit::Fuel, u64::MAX >> 1);
    let name = PolicyName::new("static-rules").unwrap();
    let load = |limits: &Limits| engine.load(&name, Path::new(component), limits).unwrap();
    print("load from the cache", 0, repetitions, || _ = black_box(load(&limits)));
    let (policy, unread) = (load(&limits), load(&limits.clone().with(Limit::Output, 64 << 10)));
    print("instantiate", 0, repetitions * 20, || policy.instantiate().unwrap());
    for rules in sizes.split(',').map(|size| size.parse().unwrap()) {
        let settings = settings(rules);
        print("evaluate", rules, repetitions, || evaluate(&policy, &settings, rules));
        // An answer that is over its limit is not read: what is left is the input and the guest.
        print("guest alone", rules, repetitions, || {
            let error =
                unread.evaluate(&shared::facts(Families::BOTH), &Grants::default(), black_box(&settings)).unwrap_err();
            assert!(error.to_string().contains("`output`"), "{error}");
        });
        print("evaluate natively", rules, repetitions, || {
            let answer =
                StaticRules::evaluate(&shared::native_facts(ruleward_sdk::Families::all()), black_box(&settings))
                    .unwrap();
            assert_eq!(answer.chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), rules);
        });
    }
}

fn evaluate(policy: &LoadedPolicy, settings: &str, rules: usize) {
    let answer = policy.evaluate(&shared::facts(Families::BOTH), &Grants::default(), black_box(settings)).unwrap();
    assert_eq!(answer.usage[Limit::Rules], rules as u64);
}

fn print(case: &str, rules: usize, repetitions: usize, run: impl FnMut()) {
    println!("{}", serde_json::json!({ "case": case, "rules": rules, "ms": times(repetitions, run) }));
}

/// Settings of static-rules.
fn settings(rules: usize) -> String {
    let rule = |number: usize| {
        let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        format!(
            "-s 10.{a}.{b}.{c} -p tcp --dport {} -m conntrack --ctstate NEW -m comment --comment \"rule {number}\" -j ACCEPT",
            1 + number % 60_000
        )
    };
    let chain = |number: usize| {
        let rules: Vec<String> = (number * PER_CHAIN..rules.min((number + 1) * PER_CHAIN)).map(rule).collect();
        serde_json::json!({ "table": "filter", "name": format!("op-{number}"), "families": ["ipv4"], "rules": rules })
    };
    let chains: Vec<_> = (0..rules.div_ceil(PER_CHAIN)).map(chain).collect();
    serde_json::json!({ "chains": chains }).to_string()
}
