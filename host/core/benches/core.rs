//! The pure parts that a check goes through, by themselves: no kernel, no policy. `cargo bench --package ruleward-core`
//! runs them, and compares each with its last run.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a measurement that can't be made panics")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ruleward_core::align;
use ruleward_core::check::{Checked, OutputLimits, check};
use ruleward_core::contribution::{Attachment, Chain, Contribution, Families};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::merge::{Desired, merge};
use ruleward_core::names::{ChainName, Comment, Family, Hook, Placement, PolicyName, Table};
use ruleward_core::observed::Observed;
use ruleward_core::ownership::Ownership;
use ruleward_core::plan::plan;
use ruleward_core::render;
use ruleward_core::rule::{Match, PortRange, Rule, Target};
use ruleward_core::script::Rehearsal;
use ruleward_core::simulate::Simulated;

const SIZES: [usize; 2] = [1_000, 10_000];
const PER_CHAIN: usize = 20;
const PLACE: (Family, Table) = (Family::Ipv4, Table::Filter);
const IPV4: Families = Families { ipv4: true, ipv6: false };

fn name() -> PolicyName {
    PolicyName::new("bench").unwrap()
}

fn grants() -> Grants {
    Grants { tables: vec![Table::Filter], chains: vec![Pattern::new("bm-*").unwrap()], ..Grants::default() }
}

/// Of every sort that a policy has: addresses, ports, comments, verdicts.
fn rule(number: usize) -> Rule {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    let port = number as u16 % 60_000 + 1;
    let source = Match::Source { network: format!("10.{a}.{b}.{c}/32").parse().unwrap(), negated: false };
    let ports = Match::DestinationPorts { ranges: vec![PortRange { first: port, last: port }], negated: false };
    let matches = match number % 3 {
        0 => vec![source],
        1 => vec![Match::Protocol { number: 6, negated: false }, ports],
        _ => vec![Match::Protocol { number: 17, negated: false }, source, ports],
    };
    let target = if number.is_multiple_of(2) { Target::Accept } else { Target::Drop };
    let comment = number.is_multiple_of(4).then(|| Comment::new(&format!("rule {number}")).unwrap());
    Rule { matches, target: Some(target), comment }
}

fn chain(number: usize) -> ChainName {
    ChainName::new(&format!("bm-{number:05}")).unwrap()
}

fn contribution(rules: usize) -> Contribution {
    let chains = (0..rules / PER_CHAIN).map(|number| Chain {
        table: Table::Filter,
        families: IPV4,
        name: chain(number),
        rules: (number * PER_CHAIN..(number + 1) * PER_CHAIN).map(rule).collect(),
    });
    let jump = Rule { matches: Vec::new(), target: Some(Target::Jump(chain(0))), comment: None };
    let attachment = Attachment {
        table: Table::Filter,
        hook: Hook::Input,
        families: IPV4,
        placement: Placement::First,
        order: 0,
        rule: jump,
    };
    Contribution { chains: chains.collect(), attachments: vec![attachment], ..Contribution::default() }
}

fn checked(rules: usize) -> Checked {
    check(&name(), &grants(), |family| family == PLACE.0, OutputLimits::default(), &contribution(rules)).unwrap()
}

fn desired(checked: &Checked) -> Desired {
    merge(&[checked], Ownership::new(vec![(name(), grants())]), vec![PLACE.0])
}

/// What a rehearsal says of the desired state.
fn expected(desired: Desired) -> Expected {
    let mut scratch = Simulated::default();
    let rehearsal = Rehearsal::new(PLACE.0, PLACE.1, &desired.tables[&PLACE]);
    scratch.restore(PLACE.0, &rehearsal.script(&rehearsal.rules())).unwrap();
    Expected::unproven(desired).prove(Basis::Rehearsed, &scratch.observe([PLACE])).unwrap()
}

/// A kernel that has all of it, and lacks the first rule of one chain if that is wished.
fn observed(expected: &Expected, lacks: Option<usize>) -> Observed {
    let mut kernel = Simulated::default();
    let table = kernel.table(PLACE.0, PLACE.1);
    let wanted = &expected.tables[&PLACE];
    for (name, (_, rules)) in &wanted.chains {
        let skip = usize::from(lacks.is_some_and(|lacks| chain(lacks) == *name));
        let shown = rules.iter().skip(skip).map(|rule| rule.show().unwrap().to_owned());
        table.insert(name.as_str().to_owned(), shown.collect());
    }
    for (hook, rules) in &wanted.hooks {
        let shown = rules.first.iter().map(|one| one.rule.show().unwrap().to_owned());
        table.insert(hook.as_str().to_owned(), shown.collect());
    }
    kernel.observe([PLACE])
}

fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    for size in SIZES {
        let rules: Vec<Rule> = (0..size).map(rule).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &rules, |bencher, rules| {
            bencher.iter(|| {
                for one in rules {
                    black_box(render::rule(one, Family::Ipv4, None).unwrap());
                }
            });
        });
    }
}

fn merging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for size in SIZES {
        let checked = checked(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &checked, |bencher, checked| {
            bencher.iter_with_large_drop(|| desired(black_box(checked)));
        });
    }
}

fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for size in SIZES {
        let expected = expected(desired(&checked(size)));
        let cases = [
            ("nothing changed", observed(&expected, None), true),
            ("one rule gone", observed(&expected, Some(size / PER_CHAIN / 2)), false),
            ("empty kernel", Simulated::default().observe([PLACE]), false),
        ];
        group.throughput(Throughput::Elements(size as u64));
        for (case, observed, is_empty) in &cases {
            assert_eq!(plan(&expected, observed).is_empty(), *is_empty, "{case}");
            group.bench_with_input(BenchmarkId::new(*case, size), observed, |bencher, observed| {
                bencher.iter_with_large_drop(|| plan(black_box(&expected), black_box(observed)));
            });
        }
    }
}

/// One chain with all rules.
fn aligning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("align");
    for size in SIZES {
        let text = |number| render::rule(&rule(number), Family::Ipv4, None).unwrap();
        let texts: Vec<String> = (0..size).map(text).collect();
        let new: Vec<&str> = texts.iter().map(String::as_str).collect();
        let gone = [&new[..size / 2], &new[size / 2 + 1..]].concat();
        let backwards: Vec<&str> = new.iter().rev().copied().collect();
        group.throughput(Throughput::Elements(size as u64));
        for (case, old) in [("one rule gone", gone), ("backwards", backwards)] {
            group.bench_with_input(BenchmarkId::new(case, size), &old, |bencher, old| {
                bencher.iter(|| align::stay(black_box(old), black_box(&new)));
            });
        }
    }
}

criterion_group!(core, rendering, merging, planning, aligning);
criterion_main!(core);
