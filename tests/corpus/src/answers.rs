//! Answers that break the calling convention, and answers with names that the kernel, the tools or other policies would suffer
//! from.

use super::layout::{self, ANSWER, Chain, Rule, store};
use super::{Case, Fate, Guest};

pub fn cases() -> Vec<Case> {
    let mut cases = forged();
    cases.extend(names());
    cases.extend(not_granted());
    cases.push(Case::guest("nothing_at_all", &Guest::default(), Fate::Harmless(&[])));
    cases
}

const BROKEN: &str = "broke the calling convention: ";

/// Pointers, lengths and cases that can't be.
fn forged() -> Vec<Case> {
    let case =
        |name, evaluate: &str, words| Case::guest(name, &Guest { evaluate, ..Guest::default() }, Fate::NoAnswer(words));
    let words = |name, words: &[(u32, u32)], says| case(name, &format!("{} i32.const 128", store(words)), says);
    // An answer of the failure `other`.
    let other = [(128, 1), (132, 3)];
    let text = |at, length| [other[0], other[1], (136, at), (140, length)];
    vec![
        case("answer_outside_its_memory", "i32.const -4", &[BROKEN, "out of bounds"]),
        case("answer_misaligned", "i32.const 129", &[BROKEN, "not aligned"]),
        case("answer_across_the_end", "i32.const 524280", &[BROKEN, "out of bounds"]),
        words("list_outside_its_memory", &[(132, 0x7fff_0000), (136, 10)], &[BROKEN, "out of bounds"]),
        words("list_across_the_end", &[(132, 1024), (136, 100_000)], &[BROKEN, "out of bounds"]),
        words("list_whose_length_overflows", &[(132, 1024), (136, u32::MAX)], &[BROKEN, "out of bounds"]),
        words("list_misaligned", &[(132, 1026), (136, 1)], &[BROKEN, "not aligned"]),
        words("list_of_itself", &[(132, 128), (136, 1)], &["chain 1 of table raw"]),
        words("text_outside_its_memory", &text(0x7fff_0000, 10), &[BROKEN, "out of bounds"]),
        words("text_whose_length_overflows", &text(1024, u32::MAX), &[BROKEN, "out of bounds"]),
        words("text_that_is_not_utf8", &[&text(512, 4)[..], &[(512, 0xfffe_fdfc)]].concat(), &[BROKEN, "utf-8"]),
        words("text_with_a_surrogate", &[&text(512, 3)[..], &[(512, 0x00_80_a0_ed)]].concat(), &[BROKEN, "utf-8"]),
        words("unknown_case_of_the_result", &[(128, 7)], &[BROKEN]),
        words("unknown_case_of_the_failure", &[(128, 1), (132, 250)], &[BROKEN]),
        words(
            "failure_with_control_characters",
            &[&text(512, 4)[..], &[(512, 0x0a0d_071b)]].concat(),
            &["refuses: \u{fffd}"],
        ),
        words("failure_without_a_reason", &text(512, 0), &["refuses: (it gives no reason)"]),
        chains("unknown_table", &[Chain { table: 9, ..Chain::named(b"bad-x") }], Fate::NoAnswer(&[BROKEN])),
        chains(
            "unknown_target",
            &[Chain::with(b"bad-x", Rule { target: Some((99, b"")), comment: None })],
            Fate::NoAnswer(&[BROKEN]),
        ),
    ]
}

fn chains(name: &'static str, chains: &[Chain<'_>], fate: Fate) -> Case {
    Case::guest(name, &Guest { more: &layout::chains(chains), evaluate: ANSWER, ..Guest::default() }, fate)
}

/// Names and texts that are not well formed.
fn names() -> Vec<Case> {
    let name = |case, name: &[u8], words| chains(case, &[Chain::named(name)], Fate::NoAnswer(words));
    let rule = |case, rule, words| chains(case, &[Chain::with(b"bad-x", rule)], Fate::NoAnswer(words));
    const CHAIN: &str = "its answer is wrong in chain 1 of table filter";
    vec![
        name("name_that_is_an_option", b"-j", &[CHAIN]),
        name("name_that_is_a_long_option", b"--flush", &[CHAIN]),
        name("name_with_a_newline", b"bad-x\nCOMMIT", &[CHAIN]),
        name("name_with_a_nul", b"bad-x\0", &[CHAIN]),
        name("name_with_a_quote", b"bad-\"x", &[CHAIN]),
        name("name_with_a_space", b"bad-x -j DROP", &[CHAIN]),
        name("name_with_an_exclamation_mark", b"!bad-x", &[CHAIN]),
        name("name_without_letters", b"", &[CHAIN]),
        name("name_that_is_too_long", b"bad-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &[CHAIN]),
        name("name_of_a_built_in_chain", b"INPUT", &[CHAIN]),
        name("name_of_a_target", b"ACCEPT", &[CHAIN]),
        chains(
            "families_without_any",
            &[Chain { families: 0, ..Chain::named(b"bad-x") }],
            Fate::NoAnswer(&["chain filter/bad-x, families: none is set; set ipv4, ipv6 or both"]),
        ),
        rule("jump_to_an_option", Rule::jump(b"--flush"), &["chain filter/bad-x, rule 1, target"]),
        rule("jump_with_a_newline", Rule::jump(b"x\n-F"), &["chain filter/bad-x, rule 1, target"]),
        rule(
            "comment_with_a_newline",
            Rule { target: None, comment: Some(b"a\n-A INPUT -j DROP") },
            &["chain filter/bad-x, rule 1"],
        ),
        rule(
            "log_prefix_with_a_newline",
            Rule { target: Some((12, b"a\nb")), comment: None },
            &["chain filter/bad-x, rule 1, target"],
        ),
        Case::guest(
            "attachment_to_a_hook_that_is_not_there",
            &Guest { more: &layout::attachment(2, 2, &Rule::default()), evaluate: ANSWER, ..Guest::default() },
            Fate::NoAnswer(&["table nat has no FORWARD"]),
        ),
    ]
}

/// Well-formed answers that are somebody else's affair.
fn not_granted() -> Vec<Case> {
    let refused = Fate::NotGranted;
    let attachment = |name, data: &str, words| {
        Case::guest(name, &Guest { more: data, evaluate: ANSWER, ..Guest::default() }, Fate::NotGranted(words))
    };
    vec![
        chains("chain_of_another_policy", &[Chain::named(b"op-in")], refused(&["op-in", "grant"])),
        chains(
            "chain_of_a_table_that_is_not_granted",
            &[Chain { table: 2, ..Chain::named(b"bad-x") }],
            refused(&["the table nat is not granted"]),
        ),
        chains(
            "jump_to_a_chain_of_another_policy",
            &[Chain::with(b"bad-x", Rule::jump(b"op-in"))],
            refused(&["op-in"]),
        ),
        chains("jump_to_nowhere", &[Chain::with(b"bad-x", Rule::jump(b"bad-y"))], refused(&["bad-y"])),
        chains("jump_to_itself", &[Chain::with(b"bad-x", Rule::jump(b"bad-x"))], refused(&["bad-x"])),
        chains(
            "jumps_in_a_circle",
            &[Chain::with(b"bad-x", Rule::jump(b"bad-y")), Chain::with(b"bad-y", Rule::jump(b"bad-x"))],
            refused(&["bad-x", "bad-y"]),
        ),
        chains("chain_twice", &[Chain::named(b"bad-x"), Chain::named(b"bad-x")], refused(&["bad-x"])),
        attachment(
            "attachment_to_a_table_that_is_not_granted",
            &layout::attachment(2, 4, &Rule::default()),
            &["the table nat is not granted"],
        ),
        attachment(
            "attachment_that_jumps_to_another_policy",
            &layout::attachment(3, 1, &Rule::jump(b"op-in")),
            &["op-in"],
        ),
        attachment("set_of_another_policy", &layout::set(b"op-set", 131_072, 0), &["op-set", "grant"]),
    ]
}
