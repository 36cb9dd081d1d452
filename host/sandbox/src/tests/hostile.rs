//! Components that crash, loop, grow, flood and lie. Each is told apart, and the engine serves the next one.

use ruleward_core::grants::Grants;

use crate::testkit::{Guest, Kit, facts};
use crate::{Cause, EvaluateError, Exceeded, Fault, Limit, LoadProblem, LogLevel, Refusal};

const FOREVER: &str = "(loop $again (br $again)) unreachable";

#[test]
fn a_quiet_policy_answers_with_an_empty_contribution() {
    let evaluation = Kit::new().evaluate("i32.const 128").unwrap();
    assert!(evaluation.contribution.chains.is_empty());
    let usage = evaluation.usage;
    for limit in [Limit::Chains, Limit::Rules, Limit::Sets, Limit::Members, Limit::LogLines, Limit::LogLineSize] {
        assert_eq!(usage[limit], 0, "{limit}");
    }
    assert!(usage[Limit::Fuel] > 0 && usage[Limit::Time] > 0);
    assert_eq!(usage[Limit::Memory], 8 << 16);
}

#[test]
fn usage_is_kept_of_the_last_call_and_of_the_worst() {
    let kit = Kit::new();
    let policy = kit.load(&Guest::default().component()).unwrap();
    assert_eq!(policy.usage(), None);
    policy.evaluate(&facts(), &Grants::default(), "{}").unwrap();
    policy.evaluate(&facts(), &Grants::default(), r#"{"longer":1}"#).unwrap();
    policy.evaluate(&facts(), &Grants::default(), "{}").unwrap();
    let (last, worst) = policy.usage().unwrap();
    assert_eq!(worst[Limit::Input] - last[Limit::Input], 10);
    assert_eq!((last[Limit::Memories], last[Limit::Memory]), (1, 8 << 16));
    // The module, and what adapts its functions to the component model.
    assert!((1..=4).contains(&last[Limit::Instances]), "{}", last[Limit::Instances]);
}

#[test]
fn fuel_bounds_a_loop() {
    let mut kit = Kit::new();
    kit.limits[Limit::Fuel] = 1_000_000;
    let over = kit.exceeded(FOREVER);
    assert_eq!((over.limit, over.most), (Limit::Fuel, 1_000_000));
}

#[test]
fn time_bounds_a_loop_with_endless_fuel() {
    let mut kit = Kit::new();
    kit.limits[Limit::Fuel] = u64::MAX;
    kit.limits[Limit::Time] = 250_000;
    let over = kit.exceeded(FOREVER);
    assert_eq!((over.limit, over.most), (Limit::Time, 250_000));
    assert!(over.used >= 250_000, "{over}");
}

#[test]
fn one_policys_deadline_does_not_end_anothers_call() {
    let mut kit = Kit::new();
    kit.limits[Limit::Fuel] = u64::MAX;
    kit.limits[Limit::Time] = 250_000;
    let guest = Guest { evaluate: FOREVER, ..Guest::default() };
    let hasty = kit.load(&guest.component()).unwrap();
    kit.limits[Limit::Time] = 600_000_000;
    kit.limits[Limit::Fuel] = 2_000_000_000;
    let patient = kit.load(&guest.component()).unwrap();
    std::thread::scope(|scope| {
        let ask = |policy: &super::super::LoadedPolicy| {
            policy.evaluate(&facts(), &Default::default(), "{}").unwrap_err().cause
        };
        let limit = |cause: Cause| match cause {
            Cause::Fault(Fault::Exceeded(over)) => over.limit,
            other => panic!("{other:?}"),
        };
        let patient = scope.spawn(move || ask(&patient));
        assert_eq!(limit(ask(&hasty)), Limit::Time);
        assert_eq!(limit(patient.join().unwrap()), Limit::Fuel);
    });
}

#[test]
fn recursion_ends_at_the_stack() {
    let guest =
        Guest { more: "(func $deeper (call $deeper))", evaluate: "(call $deeper) unreachable", ..Guest::default() };
    let kit = Kit::new();
    let policy = kit.load(&guest.component()).unwrap();
    let error = policy.evaluate(&facts(), &Default::default(), "{}").unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("it calls itself too deeply; it was in deeper"), "{text}");
}

#[test]
fn memory_that_was_refused_is_the_reason_for_the_abort_that_follows() {
    let grow = "(if (i32.eq (memory.grow (i32.const 1020)) (i32.const -1)) (then unreachable)) i32.const 128";
    let over = Kit::new().exceeded(grow);
    assert_eq!(over, Exceeded { limit: Limit::Memory, used: 1028 << 16, most: 64 << 20 });
    let text = over.to_string();
    assert_eq!(text, "wants 64.2 MiB of memory, and its limit `memory` is 64 MiB; raise that if it is meant");
}

#[test]
fn a_policy_that_lives_with_refused_memory_may_go_on() {
    let evaluation = Kit::new().evaluate("(drop (memory.grow (i32.const 1020))) i32.const 128").unwrap();
    assert_eq!(evaluation.usage[Limit::Memory], 8 << 16);
}

#[test]
fn tables_are_limited() {
    let guest = Guest {
        more: "(table $t 1 funcref)",
        evaluate: "(drop (table.grow $t (ref.null func) (i32.const 2000000))) unreachable",
        ..Guest::default()
    };
    let kit = Kit::new();
    let policy = kit.load(&guest.component()).unwrap();
    let error = policy.evaluate(&facts(), &Default::default(), "{}").unwrap_err();
    assert!(error.to_string().contains("elements in its tables, and its limit `table-elements` is 1000000"), "{error}");
}

#[test]
fn a_panic_and_other_traps_are_told_apart() {
    let kit = Kit::new();
    let panicked = kit.fault("unreachable");
    assert!(matches!(panicked, Fault::Panicked(_)), "{panicked:?}");
    let divided = kit.fault("(i32.div_u (i32.const 1) (i32.const 0))").to_string();
    assert!(divided.starts_with("crashed: wasm trap: integer divide by zero"), "{divided}");
    let outside = kit.fault("(i32.load (i32.const -4))").to_string();
    assert!(outside.starts_with("crashed: wasm trap: out of bounds memory access"), "{outside}");
}

#[test]
fn a_trap_in_describe_names_describe() {
    for body in ["unreachable", FOREVER] {
        let mut kit = Kit::new();
        kit.limits[Limit::Fuel] = 1_000_000;
        let error = kit.load(&Guest { describe: body, ..Guest::default() }.component()).unwrap_err();
        assert!(matches!(error.problem, LoadProblem::Describe { .. }), "{error}");
        assert!(error.to_string().contains("failed in `describe`: it "), "{error}");
    }
}

#[test]
fn pointers_outside_memory_are_an_error() {
    let kit = Kit::new();
    assert!(matches!(kit.fault("i32.const -4"), Fault::BrokenConvention(_)));
    assert!(matches!(kit.fault("i32.const 129"), Fault::BrokenConvention(_)), "an unaligned pointer");
    // A list of chains that is longer than the memory.
    let list =
        "(i32.store (i32.const 132) (i32.const 1024)) (i32.store (i32.const 136) (i32.const 100000)) i32.const 128";
    assert!(matches!(kit.fault(list), Fault::BrokenConvention(_)));
}

#[test]
fn an_unknown_case_is_an_error() {
    let kit = Kit::new();
    assert!(matches!(
        kit.fault("(i32.store8 (i32.const 128) (i32.const 7)) i32.const 128"),
        Fault::BrokenConvention(_)
    ));
}

/// An error of the case `other` whose text is at `at`.
fn failure(at: i32, length: i32) -> String {
    format!(
        "(i32.store8 (i32.const 128) (i32.const 1)) (i32.store8 (i32.const 132) (i32.const 3))
         (i32.store (i32.const 136) (i32.const {at})) (i32.store (i32.const 140) (i32.const {length})) i32.const 128"
    )
}

#[test]
fn a_policys_own_reason_is_passed_on() {
    let error = Kit::new().evaluate(&failure(256, 4)).unwrap_err();
    assert_eq!(error.cause, Cause::Refused(Refusal::Other("test".to_owned())));
    assert_eq!(error.to_string(), "refuses: test");
}

#[test]
fn text_that_is_not_utf8_is_an_error() {
    let body = format!("(i32.store8 (i32.const 256) (i32.const 255)) {}", failure(256, 4));
    let fault = Kit::new().fault(&body);
    assert!(matches!(&fault, Fault::BrokenConvention(text) if text.contains("utf-8")), "{fault}");
}

#[test]
fn too_much_output_is_named_as_such() {
    let mut kit = Kit::new();
    kit.limits[Limit::Output] = 100_000;
    let over = kit.exceeded(&failure(0, 500_000));
    assert_eq!((over.limit, over.most), (Limit::Output, 100_000));
}

#[test]
fn a_log_flood_is_cut_and_counted() {
    let mut kit = Kit::new();
    kit.limits[Limit::LogLines] = 3;
    let flood = "(local $n i32)
        (i32.store (i32.const 256) (i32.const 0x0a410a1b))
        (loop $again
            (call $emit (i32.const 2) (i32.const 256) (i32.const 5000))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
        i32.const 128";
    let evaluation = kit.evaluate(flood).unwrap();
    assert_eq!((evaluation.log.lines.len(), evaluation.log.dropped, evaluation.usage[Limit::LogLines]), (3, 997, 1000));
    let line = &evaluation.log.lines[0];
    assert_eq!(line.level, LogLevel::Warn);
    assert!(line.message.starts_with("\u{fffd}\u{fffd}A\u{fffd}"), "{:?}", line.message);
    assert!(line.message.len() <= 1024 && !line.message.chars().any(char::is_control));
}

#[test]
fn log_lines_survive_a_crash() {
    let body = "(call $emit (i32.const 3) (i32.const 256) (i32.const 4)) unreachable";
    let error: Box<EvaluateError> = Kit::new().evaluate(body).unwrap_err();
    assert_eq!(error.log.lines[0].message, "test");
    assert_eq!(error.usage[Limit::LogLines], 1);
}

#[test]
fn equal_calls_are_equal_in_fuel_too() {
    let kit = Kit::new();
    let policy = kit.load(&Guest::default().component()).unwrap();
    let ask = || policy.evaluate(&facts(), &Default::default(), "{}").unwrap();
    let (first, second) = (ask(), ask());
    assert_eq!((first.contribution, first.usage[Limit::Fuel]), (second.contribution, second.usage[Limit::Fuel]));
}
