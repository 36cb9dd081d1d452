//! What the sandbox costs: instances, evaluations beside the same logic compiled natively, and a daemon with a hundred policies.

use std::hint::black_box;
use std::time::Instant;

use ruleward_core::contribution::Families;
use ruleward_core::grants::Grants;
use ruleward_sandbox::{Limit, LoadedPolicy};
use ruleward_sdk::Policy;
use ruleward_tests::{Backend, policy_file};
use serde_json::{Value, json};
use static_rules::StaticRules;

use crate::in_process::{Engine, facts, limits, native_facts, times};
use crate::node::{memory, milliseconds, node_with, start};
use crate::plan::Plan;
use crate::rules::{PER_CHAIN, Rules};
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// Policies on one node.
const MANY: usize = 100;
/// Rules of each.
const RULES: usize = 10;
/// Evaluations with more rules would take minutes.
const MOST: usize = 10_000;
const REPETITIONS: usize = 50;
/// Refreshes of each start.
const REFRESHES: usize = 3;
const GROUP: &str = "policies";

/// All of it.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let mut rows = inside_the_process(plan);
    rows.extend(many_policies(plan));
    rows
}

/// Milliseconds of processor time.
fn inside_the_process(plan: &Plan) -> Vec<Row> {
    eprintln!("    instances and evaluations");
    let (engine, component, repetitions) = (Engine::new(), policy_file("static-rules.wasm"), plan.times(REPETITIONS));
    let (limits, short) = (limits(), limits().with(Limit::Output, 64 << 10));
    let loaded = times(repetitions, || _ = black_box(engine.load(&component, &limits)));
    let (policy, unread) = (engine.load(&component, &limits), engine.load(&component, &short));
    let instantiated = times(repetitions * 20, || policy.instantiate().unwrap());
    let mut rows = vec![
        Row::new(GROUP, "load from the cache, static-rules".to_owned(), "ms", loaded),
        Row {
            goal: Some(Goal::Value(0.05)),
            ..Row::new(GROUP, "instantiate static-rules".to_owned(), "ms", instantiated)
        },
    ];
    for rules in plan.sizes_up_to(MOST) {
        let settings = settings(rules);
        let evaluated = times(repetitions, || evaluate(&policy, &settings, rules));
        // An answer that is over its limit is not read: what is left is the input and the guest. Where the answer is
        // so short that it is within any limit, that can't be told apart.
        let alone = (rules >= 1_000).then(|| {
            times(repetitions, || {
                let error =
                    unread.evaluate(&facts(Families::BOTH), &Grants::default(), black_box(&settings)).unwrap_err();
                assert!(error.to_string().contains("`output`"), "{error}");
            })
        });
        let native = times(repetitions, || {
            let facts = native_facts(ruleward_sdk::Families::all());
            let answer = StaticRules::evaluate(&facts, black_box(&settings)).unwrap();
            assert_eq!(answer.chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), rules);
        });
        rows.push(Row {
            stock: Some(native),
            goal: Some(Goal::Ratio(3.0)),
            beside: alone.map(|alone| ("input and guest alone", alone)).into_iter().collect(),
            note: "stock: the same Rust code compiled natively, without conversions".to_owned(),
            ..Row::new(GROUP, format!("evaluate {rules} rules of static-rules"), "ms", evaluated)
        });
    }
    rows
}

fn evaluate(policy: &LoadedPolicy, settings: &str, rules: usize) {
    let answer = policy.evaluate(&facts(Families::BOTH), &Grants::default(), black_box(settings)).unwrap();
    assert_eq!(answer.usage[Limit::Rules], rules as u64);
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
        json!({ "table": "filter", "name": format!("op-{number}"), "families": ["ipv4"], "rules": rules })
    };
    let chains: Vec<_> = (0..rules.div_ceil(PER_CHAIN)).map(chain).collect();
    json!({ "chains": chains }).to_string()
}

fn many_policies(plan: &Plan) -> Vec<Row> {
    if !plan.backends().contains(&Backend::Nft) {
        return Vec::new();
    }
    let case = format!("{MANY} policies of {RULES} rules");
    eprintln!("    {case}");
    let (mut started, mut refresh, mut resident, mut anonymous) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let node = node_with(Backend::Nft, Rules::ours(RULES), &more_policies(), &json!({ "families": ["ipv4"] }));
    node.apply(); // compiles the component
    for _ in 0..plan.repetitions(usize::MAX) {
        let (daemon, until_ready) = start(&node.rebooted());
        started.push(until_ready);
        for _ in 0..REFRESHES {
            let begin = Instant::now();
            daemon.refresh();
            refresh.push(milliseconds(begin.elapsed()));
        }
        resident.push(memory(&daemon, "VmRSS"));
        anonymous.push(memory(&daemon, "RssAnon"));
        drop(daemon);
        plan.settle();
    }
    let row = |name: &str, unit, values| Row::new(GROUP, format!("{name}, {case}"), unit, Sample::new(values));
    vec![
        row("start to in-sync, warm cache", "ms", started),
        row("refresh", "ms", refresh),
        Row { beside: vec![("anonymous", Sample::new(anonymous))], ..row("resident memory", "MB", resident) },
    ]
}

/// All but one, each with chains of its own.
fn more_policies() -> Value {
    let rules: Vec<String> = (1..=RULES).map(|port| format!("-p tcp --dport {port} -j RETURN")).collect();
    let policy = |number: usize| {
        let chain = json!({ "table": "filter", "name": format!("m{number}-a"), "families": ["ipv4"], "rules": rules });
        let policy = json!({
            "component": "static-rules.wasm",
            "grants": { "tables": ["filter"], "chains": [format!("m{number}-*")] },
            "settings": { "chains": [chain] },
        });
        (format!("more-{number}"), policy)
    };
    Value::Object((1..MANY).map(policy).collect())
}
