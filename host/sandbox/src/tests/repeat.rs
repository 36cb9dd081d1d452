//! The same inputs give the same answer: what could make a policy differ is closed, and an answer that differs is found.

use ruleward_core::contribution::{Attachment, Chain, Contribution, Families};
use ruleward_core::grants::Grants;
use ruleward_core::names::{ChainName, Hook, Placement, Table};
use ruleward_core::rule::{Rule, Target};

use crate::repeat::{confirm, difference};
use crate::testkit::{Guest, Kit, facts};
use crate::trace::Trace;
use crate::{Cause, EvaluateError, Evaluation, Exceeded, Fault, Limit, Log, Usage, contribution_digest};

/// A failure whose text is what this WebAssembly leaves in the first of four bytes: `A` and the number's low four bits.
fn told(number: &str) -> String {
    format!(
        "(i32.store (i32.const 256) (i32.add (i32.const 65) (i32.and (i32.const 15) {number})))
         (i32.store8 (i32.const 128) (i32.const 1)) (i32.store8 (i32.const 132) (i32.const 3))
         (i32.store (i32.const 136) (i32.const 256)) (i32.store (i32.const 140) (i32.const 1)) i32.const 128"
    )
}

/// What a guest with this body of `evaluate` says, in each of three calls.
#[track_caller]
fn says(expected: &str, more: &str, evaluate: &str) {
    let policy = Kit::new().load(&Guest { more, evaluate, ..Guest::default() }.component()).unwrap();
    for _ in 0..3 {
        let error = policy.evaluate(&facts(), &Grants::default(), "{}").unwrap_err();
        assert_eq!(error.to_string(), format!("refuses: {expected}"));
    }
}

#[test]
fn nothing_is_left_of_the_call_before() {
    let counted = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))";
    says("B", "(global $calls (mut i32) (i32.const 0))", &format!("{counted} {}", told("(global.get $calls)")));
    let written = "(i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))";
    says("B", "", &format!("{written} {}", told("(i32.load (i32.const 4096))")));
    let grown = "(drop (memory.grow (i32.const 1)))";
    says("J", "", &format!("{grown} {}", told("(memory.size)")));
}

#[test]
fn nan_has_one_bit_pattern() {
    // Processors differ in the sign of 0/0, and in which payload comes out.
    for nan in [
        "(f32.div (f32.load (i32.const 8192)) (f32.load (i32.const 8192)))",
        "(f32.add (f32.const nan:0x400123) (f32.const 1))",
        "(f32.mul (f32.const 2) (f32.const -nan:0x7fffff))",
        "(f32.sqrt (f32.const -1))",
        "(f32.sub (f32.const inf) (f32.const inf))",
        "(f32.demote_f64 (f64.const nan:0x8000000000123))",
    ] {
        // 7fc00000: positive, without a payload.
        let bits = format!("(i32.reinterpret_f32 {nan})");
        says("H", "", &told(&format!("(i32.shr_u {bits} (i32.const 28))")));
        says("A", "", &told(&bits));
    }
}

#[test]
fn relaxed_simd_has_one_result() {
    // The specification leaves each of these open to the processor.
    let lane =
        |vector: &str, shift: u32| told(&format!("(i32.shr_u (i32x4.extract_lane 0 {vector}) (i32.const {shift}))"));
    // An index over the last lane: zero, and not the lane of its low bits.
    let swizzled = "(i8x16.relaxed_swizzle (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
        (v128.const i8x16 17 16 200 255 0 0 0 0 0 0 0 0 0 0 0 0))";
    says("A", "", &lane(swizzled, 0));
    // No number: zero, and not the least integer.
    says("A", "", &lane("(i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 nan 1e30 -1e30 0))", 28));
    // (1 + 2^-23)(1 - 2^-23) - 1: -2^-46 when rounded once, 0 when rounded twice.
    let fused = "(i32x4.trunc_sat_f32x4_s (f32x4.mul (v128.const f32x4 0x1p46 0 0 0) (f32x4.relaxed_madd
        (v128.const f32x4 0x1.000002p0 0 0 0) (v128.const f32x4 0x1.fffffcp-1 0 0 0) (v128.const f32x4 -1 0 0 0))))";
    says("P", "", &lane(fused, 0));
}

#[test]
fn threads_and_shared_memory_are_not_there() {
    let error =
        Kit::new().load(&Guest { more: "(memory $shared 1 1 shared)", ..Guest::default() }.component()).unwrap_err();
    assert!(error.to_string().contains("is not a valid component"), "{error}");
}

#[test]
fn memory_over_its_own_maximum_is_refused_to_it_and_no_reason_to_stop() {
    let guest = Guest {
        more: "(memory $small 1 2) (table $t 1 2 funcref)",
        evaluate:
            "(if (i32.ne (memory.grow $small (i32.const 9)) (i32.const -1)) (then unreachable))
            (if (i32.ne (table.grow $t (ref.null func) (i32.const 9)) (i32.const -1)) (then unreachable)) i32.const 128",
        ..Guest::default()
    };
    Kit::new().load(&guest.component()).unwrap().evaluate(&facts(), &Grants::default(), "{}").unwrap();
}

#[test]
fn addresses_and_fuel_are_the_same_in_every_call() {
    let kit = Kit::new();
    let guest =
        Guest { evaluate: &told("(i32.shr_u (i32.load offset=120 (local.get 0)) (i32.const 3))"), ..Guest::default() };
    let policy = kit.load(&guest.component()).unwrap();
    let ask = || policy.evaluate(&facts(), &Grants::default(), r#"{"a":1}"#).unwrap_err();
    let (first, second) = (ask(), ask());
    assert_eq!(first.to_string(), second.to_string());
    assert_eq!(first.usage[Limit::Fuel], second.usage[Limit::Fuel]);
    let other = Kit::new().load(&guest.component()).unwrap();
    assert_eq!(other.evaluate(&facts(), &Grants::default(), r#"{"a":1}"#).unwrap_err().to_string(), first.to_string());
}

fn contribution() -> Contribution {
    let rule = |target| Rule { matches: Vec::new(), target: Some(target), comment: None };
    let chain = |name: &str| Chain {
        table: Table::Nat,
        families: Families::BOTH,
        name: ChainName::new(name).unwrap(),
        rules: vec![rule(Target::Accept), rule(Target::Drop)],
    };
    let attachment = Attachment {
        table: Table::Nat,
        hook: Hook::Postrouting,
        families: Families::BOTH,
        placement: Placement::First,
        order: 0,
        rule: rule(Target::Accept),
    };
    Contribution { chains: vec![chain("web"), chain("site")], attachments: vec![attachment], ..Contribution::default() }
}

fn evaluation(contribution: Contribution) -> Evaluation {
    Evaluation { contribution, usage: Usage::default(), log: Log::default() }
}

#[test]
fn the_first_difference_is_named() {
    let differs = |change: &dyn Fn(&mut Contribution)| {
        let mut changed = contribution();
        change(&mut changed);
        let error = confirm(evaluation(contribution()), Ok(evaluation(changed))).unwrap_err();
        assert!(matches!(error.cause, Cause::Unrepeatable(_)));
        error.to_string()
    };
    let text = differs(&|changed| changed.chains[1].rules[1].target = Some(Target::Return));
    assert_eq!(
        text,
        "answers the same inputs in two ways; chain nat/site, rule 2, target is first \"drop\", then \"return\": make it depend on \
         its facts and settings alone"
    );
    assert!(differs(&|changed| changed.attachments[0].order = 7).contains("; attachment 1, order is first 0, then 7:"));
    assert!(differs(&|changed| _ = changed.chains.pop()).contains("; chain nat/site is first {"));
    assert!(differs(&|changed| _ = changed.chains.pop()).contains(", then missing:"));
    let text = differs(&|changed| changed.chains.swap(0, 1));
    assert!(text.contains("; chain nat/web, name is first \"web\", then \"site\":"), "{text}");
    assert_eq!(difference(&contribution(), &contribution()), None);
    assert_eq!(
        confirm(evaluation(contribution()), Ok(evaluation(contribution()))).unwrap().contribution,
        contribution()
    );
}

#[test]
fn the_first_answer_is_asked_for_twice_and_a_confirmed_one_once() {
    let policy = Kit::new().load(&Guest::default().component()).unwrap();
    let mut changed = contribution();
    changed.attachments[0].order = 7;
    let mut answers = vec![contribution(), changed, contribution(), contribution(), contribution()].into_iter();
    let mut ask = || policy.confirmed(|| Ok(evaluation(answers.next().unwrap())));
    assert!(matches!(ask().unwrap_err().cause, Cause::Unrepeatable(_)), "one answer, and another");
    assert!(ask().is_ok(), "twice the same");
    assert!(ask().is_ok());
    assert_eq!(answers.next(), None);
}

#[test]
fn an_answer_and_then_none_is_a_difference_too() {
    let failed = |fault| {
        Err(Box::new(EvaluateError { cause: Cause::Fault(fault), usage: Usage::default(), log: Log::default() }))
    };
    let error = confirm(evaluation(contribution()), failed(Fault::Panicked(Trace::default()))).unwrap_err().to_string();
    assert!(error.contains("the answer is first a contribution, then none, because it panicked"), "{error}");
    let late = Exceeded { limit: Limit::Time, used: 2, most: 1 };
    let error = confirm(evaluation(contribution()), failed(Fault::Exceeded(late))).unwrap_err();
    assert_eq!(error.cause, Cause::Fault(Fault::Exceeded(late)), "a machine that is busy makes no policy unrepeatable");
}

#[test]
fn equal_contributions_have_equal_digests() {
    // This very number on every machine: the digest is compared between nodes. It is that of this text:
    // {"chains":[],"attachments":[],"sets":[],"policies":[]}
    let digest = contribution_digest(&Contribution::default());
    assert_eq!(digest, "sha256:cf08cc8bcf4b2164f571afa16cc709b46fb30036454740894139ca7b584bb7ac");
    assert_ne!(digest, contribution_digest(&contribution()));
}
