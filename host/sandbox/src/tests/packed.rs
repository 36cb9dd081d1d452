//! Answers in one piece, as Python policies give them: what is read of a good one, and that no other becomes rules.

use std::sync::LazyLock;

use proptest::prelude::*;
use ruleward_core::grants::Grants;
use ruleward_core::rule::{Match, PortRange, Target};

use super::super::testkit::{Kit, facts, packing, python_binding};
use crate::{EvaluateError, Evaluation, LoadedPolicy};

/// A component whose `evaluate-packed` answers with the bytes that its settings are in hexadecimal digits.
fn echo(description: &[u8]) -> Vec<u8> {
    let data: String = description.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let length = description.len();
    let module = format!(
        r#"(module
            (memory (export "memory") 64)
            (global $free (mut i32) (i32.const 0x200000))
            (data (i32.const 1024) "{data}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func $digit (param i32) (result i32)
                (local.set 0 (i32.sub (i32.load8_u (local.get 0)) (i32.const 48)))
                (i32.sub (local.get 0) (i32.mul (i32.const 39) (i32.gt_u (local.get 0) (i32.const 9)))))
            (func (export "describe-packed") (result i32)
                (i32.store (i32.const 16) (i32.const 1024))
                (i32.store (i32.const 20) (i32.const {length}))
                (i32.const 16))
            (func (export "evaluate-packed") (param $arguments i32) (result i32)
                (local $from i32) (local $end i32) (local $to i32)
                (local.set $from (i32.load offset=120 (local.get $arguments)))
                (local.set $end (i32.add (local.get $from) (i32.load offset=124 (local.get $arguments))))
                (local.set $to (i32.const 0x10000))
                (block $done
                    (loop $bytes
                        (br_if $done (i32.eq (local.get $from) (local.get $end)))
                        (i32.store8
                            (local.get $to)
                            (i32.add
                                (i32.shl (call $digit (local.get $from)) (i32.const 4))
                                (call $digit (i32.add (local.get $from) (i32.const 1)))))
                        (local.set $from (i32.add (local.get $from) (i32.const 2)))
                        (local.set $to (i32.add (local.get $to) (i32.const 1)))
                        (br $bytes)))
                (i32.store (i32.const 16) (i32.const 0x10000))
                (i32.store (i32.const 20) (i32.sub (local.get $to) (i32.const 0x10000)))
                (i32.const 16)))"#
    );
    ruleward_author::unpacked(&packing(&module)).unwrap().unwrap()
}

/// Python's marshal format, in its second version.
fn sequence(kind: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(parts.len()).unwrap().to_le_bytes());
    bytes.extend(parts.concat());
    bytes
}

fn list(parts: &[Vec<u8>]) -> Vec<u8> {
    sequence(b'[', parts)
}

fn int(number: i32) -> Vec<u8> {
    [&b"i"[..], &number.to_le_bytes()].concat()
}

/// What does not fit into 31 bits and a sign: digits of 15 bits.
fn long(number: u32) -> Vec<u8> {
    let digits = [number & 0x7fff, number >> 15 & 0x7fff, number >> 30].map(|digit| u16::try_from(digit).unwrap());
    [&b"l"[..], &3_i32.to_le_bytes(), &digits.map(u16::to_le_bytes).concat()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"u"[..], &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

const NONE: &[u8] = b"N";
const NO: &[u8] = b"F";

/// An object of this name, as its function in `types.py` makes it.
fn object(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let types = python_binding("ruleward/types.py");
    let function = types.split(&format!("def {name}(")).nth(1).unwrap();
    let number = function.split("return (").nth(1).unwrap().split([',', ')']).next().unwrap();
    sequence(b'(', &[&[int(number.parse().unwrap())], parts].concat())
}

/// That it went well, with this contribution.
fn ok(contribution: Vec<u8>) -> Vec<u8> {
    sequence(b'(', &[int(0), contribution])
}

fn contribution(matches: &[Vec<u8>]) -> Vec<u8> {
    let target = object("Target_Mark", &[object("MarkSet", &[long(0xdead_beef), int(0x7fff_ffff)])]);
    let rule = object("Rule", &[list(matches), target, text("a comment")]);
    let chain = object("Chain", &[int(1), int(3), text("test-chain"), list(&[rule])]);
    object("Contribution", &[list(&[chain]), list(&[]), list(&[]), list(&[])])
}

fn good() -> Vec<u8> {
    let ports = object("PortMatch", &[list(&[object("PortRange", &[int(0), int(65535)])]), NO.to_vec()]);
    let protocol = object("Match_Protocol", &[object("ProtocolMatch", &[int(6), NO.to_vec()])]);
    ok(contribution(&[protocol, object("Match_DestinationPorts", &[ports])]))
}

static ECHO: LazyLock<(Kit, LoadedPolicy)> = LazyLock::new(|| {
    let none = || list(&[]);
    let wants = object("Ownership", &[none(), none(), none(), none(), none(), none(), none(), NO.to_vec()]);
    let description = [text("test"), text("1.0"), text("test"), text("{}"), none(), NO.to_vec(), NO.to_vec(), wants];
    let kit = Kit::new();
    let policy = kit.load(&echo(&object("Description", &description))).unwrap();
    (kit, policy)
});

fn answer(bytes: &[u8]) -> Result<Evaluation, Box<EvaluateError>> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ECHO.1.evaluate(&facts(), &Grants::default(), &digits)
}

/// Why these bytes are no answer, in the component's own words.
fn told(bytes: &[u8]) -> String {
    answer(bytes).unwrap_err().log.lines.pop().unwrap().message
}

#[test]
fn a_good_answer_is_read() {
    let contribution = answer(&good()).unwrap().contribution;
    let rule = &contribution.chains[0].rules[0];
    let ranges = vec![PortRange { first: 0, last: 65535 }];
    assert_eq!(
        rule.matches,
        [Match::Protocol { number: 6, negated: false }, Match::DestinationPorts { ranges, negated: false }]
    );
    assert_eq!(rule.target, Some(Target::Mark { value: 0xdead_beef, mask: 0x7fff_ffff }));
    assert_eq!(rule.comment.as_ref().unwrap().as_str(), "a comment");
}

#[test]
fn an_answer_that_ends_early_is_none() {
    let good = good();
    for length in 0..good.len() {
        let said = told(&good[..length]);
        assert!(said.ends_with("more expected"), "{length} of {} bytes: {said}", good.len());
    }
}

#[test]
fn what_is_none_is_told_with_its_place() {
    let at = |matches: &[Vec<u8>]| told(&ok(contribution(matches)));
    let mark = |value: Vec<u8>| object("Match_Mark", &[object("MarkMatch", &[value, int(1), NO.to_vec()])]);
    assert_eq!(at(&[mark(int(-1))]), "chain 1: rule 1: match 1: a number from 0 to 4294967295 expected");
    assert_eq!(at(&[mark(text("1"))]), "chain 1: rule 1: match 1: a number from 0 to 4294967295 expected");
    // 2³⁴, in three digits.
    let beyond = [&b"l"[..], &3_i32.to_le_bytes(), &[0, 0, 0, 0, 16, 0]].concat();
    assert_eq!(at(&[mark(beyond)]), "chain 1: rule 1: match 1: a number from 0 to 4294967295 expected");
    let protocol = |number| object("Match_Protocol", &[object("ProtocolMatch", &[int(number), NO.to_vec()])]);
    assert_eq!(at(&[protocol(6), protocol(256)]), "chain 1: rule 1: match 2: a number from 0 to 255 expected");
    assert_eq!(at(&[NONE.to_vec()]), "chain 1: rule 1: match 1: match expected");
    assert_eq!(at(&[object("Target_Accept", &[])]), "chain 1: rule 1: match 1: match expected");
    assert_eq!(told(&sequence(b'(', &[int(2), NONE.to_vec()])), "evaluate-answer expected");
    let many: Vec<_> = (0..1234).map(|_| protocol(6)).chain([protocol(-1)]).collect();
    assert_eq!(at(&many), "chain 1: rule 1: match 1235: a number from 0 to 255 expected");
}

#[test]
fn lengths_beyond_what_is_there_take_no_memory() {
    let mut huge = list(&[]);
    huge[1..5].fill(0xff);
    assert_eq!(told(&ok(object("Contribution", &[huge]))), "more expected");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes is an answer of some kind or refused, and the next call finds all as it was.
    #[test]
    fn spoilt_bytes_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..4) {
        let mut bytes = good();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.drain(at..(at + cut).min(bytes.len()));
        if let Err(error) = answer(&bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
        prop_assert!(answer(&good()).is_ok());
    }
}
