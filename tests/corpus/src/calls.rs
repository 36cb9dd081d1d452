//! Guests that trap, loop and recurse, in each function that the host or the calling convention calls.

use super::{Case, Fate, Guest};

/// Ends by fuel alone.
const FOREVER: &str = "(loop $again (br $again)) unreachable";
/// Calls itself without end.
const DEEPER: &str = "(func $deeper (param i64) (call $deeper (i64.add (local.get 0) (i64.const 1))) (drop (i64.mul (local.get 0) (local.get 0))))";

const IN_DESCRIBE: &str = "failed in `describe`: it ";
const PANICKED: &str = "panicked (it executed `unreachable`)";
const NO_FUEL: &str = "ran out of fuel after";
const RAISE_FUEL: &str = "raise its limit `fuel`";

pub fn cases() -> Vec<Case> {
    let evaluate =
        |name, evaluate: &str, words| Case::guest(name, &Guest { evaluate, ..Guest::default() }, Fate::NoAnswer(words));
    let describe = |name, describe: &str, words| {
        Case::guest(name, &Guest { describe, ..Guest::default() }, Fate::NotLoaded(words))
    };
    let realloc =
        |name, realloc: &str, words| Case::guest(name, &Guest { realloc, ..Guest::default() }, Fate::NoAnswer(words));
    let more =
        |name, more: &str, evaluate: &str, fate| Case::guest(name, &Guest { more, evaluate, ..Guest::default() }, fate);
    let plain = "i32.const 128";
    vec![
        describe("trap_in_describe", "unreachable", &[IN_DESCRIBE, PANICKED]),
        evaluate("trap_in_evaluate", "unreachable", &[PANICKED]),
        realloc("trap_in_realloc", "unreachable", &[PANICKED]),
        more("trap_in_post_return", &post_return("unreachable"), plain, Fate::NoAnswer(&[PANICKED])),
        more(
            "trap_at_the_start",
            "(func $begin unreachable) (start $begin)",
            plain,
            Fate::NotLoaded(&[IN_DESCRIBE, PANICKED]),
        ),
        describe("loop_in_describe", FOREVER, &[IN_DESCRIBE, NO_FUEL, RAISE_FUEL]),
        evaluate("loop_in_evaluate", FOREVER, &[NO_FUEL, RAISE_FUEL]),
        realloc("loop_in_realloc", FOREVER, &[NO_FUEL, RAISE_FUEL]),
        more("loop_in_post_return", &post_return(FOREVER), plain, Fate::NoAnswer(&[NO_FUEL])),
        more(
            "loop_at_the_start",
            &format!("(func $begin {FOREVER}) (start $begin)"),
            plain,
            Fate::NotLoaded(&[IN_DESCRIBE, NO_FUEL]),
        ),
        more(
            "recursion",
            DEEPER,
            "(call $deeper (i64.const 0)) unreachable",
            Fate::NoAnswer(&["overflowed its stack of 512 KiB: it calls itself too deeply"]),
        ),
        evaluate(
            "division_by_zero",
            "(i32.div_u (i32.const 1) (i32.const 0))",
            &["crashed: wasm trap: integer divide by zero"],
        ),
        evaluate(
            "load_outside_its_memory",
            "(i32.load (i32.const -4))",
            &["crashed: wasm trap: out of bounds memory access"],
        ),
        more(
            "call_of_a_wrong_type",
            "(table 1 funcref) (elem (i32.const 0) $other) (func $other (param i64)) (type $none (func))",
            "(call_indirect (type $none) (i32.const 0)) unreachable",
            Fate::NoAnswer(&["crashed: wasm trap: indirect call type mismatch"]),
        ),
        more(
            "call_of_nothing",
            "(table 1 funcref) (type $none (func))",
            "(call_indirect (type $none) (i32.const 0)) unreachable",
            Fate::NoAnswer(&["crashed: wasm trap: uninitialized element"]),
        ),
        realloc(
            "log_while_it_is_given_memory",
            &format!("{LOG} {}", crate::guest::REALLOC),
            &["cannot leave component instance"],
        ),
        more("log_after_its_answer", &post_return(LOG), plain, Fate::NoAnswer(&["cannot leave component instance"])),
        realloc("memory_for_input_outside", "i32.const -4", &["broke the calling convention"]),
        realloc(
            "memory_for_input_misaligned",
            &format!("(i32.add (i32.const 1) (block (result i32) {}))", crate::guest::REALLOC),
            &["broke the calling convention"],
        ),
        // Facts over its own description: its affair.
        Case::guest(
            "memory_for_input_on_itself",
            &Guest { realloc: "i32.const 65536", ..Guest::default() },
            Fate::Harmless(&[]),
        ),
        // The third line of a log tells that it is still alive.
        Case::guest(
            "right_today_and_trapping_tomorrow",
            &Guest {
                evaluate: "(if (i32.gt_u (i32.load offset=124 (local.get 0)) (i32.const 2)) (then unreachable)) i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&[]),
        ),
        Case::guest(
            "log_flood",
            &Guest {
                evaluate: "(local $n i32) (loop $again
                (call $emit (i32.const 2) (i32.const 256) (i32.const 4))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
                i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&["test"]),
        ),
        Case::guest(
            "log_of_a_page_of_memory",
            &Guest {
                evaluate: "(call $emit (i32.const 3) (i32.const 0) (i32.const 65536)) i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&["test1.0"]),
        ),
        Case::guest(
            "log_that_moves_the_cursor",
            &Guest {
                evaluate: "(i32.store (i32.const 256) (i32.const 0x4a325b1b)) (call $emit (i32.const 2) (i32.const 256) (i32.const 7)) i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&["[2J1.0"]),
        ),
        evaluate(
            "log_outside_its_memory",
            "(call $emit (i32.const 2) (i32.const -4) (i32.const 100)) i32.const 128",
            &["broke the calling convention"],
        ),
        evaluate(
            "log_of_an_unknown_level",
            "(call $emit (i32.const 77) (i32.const 256) (i32.const 4)) i32.const 128",
            &["broke the calling convention"],
        ),
    ]
}

const LOG: &str = "(call $emit (i32.const 2) (i32.const 256) (i32.const 4))";

/// What the host calls when it has read the answer of `evaluate`.
fn post_return(body: &str) -> String {
    format!(r#"(func (export "cabi_post_evaluate") (param i32) {body})"#)
}
