//! Guests that grow: memory, tables, instances, and answers larger than what made them.

use super::layout::{self, store};
use super::{Case, Fate, Guest};

pub fn cases() -> Vec<Case> {
    let refused = |name, guest: Guest<'_>, words| Case::guest(name, &guest, Fate::NoAnswer(words));
    let not_loaded = |name, guest: Guest<'_>, words| Case::guest(name, &guest, Fate::NotLoaded(words));
    let memories: String = (0..20).map(|_| "(memory 1)").collect();
    let tables: String = (0..80).map(|_| "(table 1 funcref)").collect();
    vec![
        refused(
            "memory_that_grows",
            Guest {
                evaluate: "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
                ..Guest::default()
            },
            &["of memory, and its limit `memory` is 64 MiB; raise that if it is meant"],
        ),
        Case::guest(
            "memory_that_grows_and_does_without",
            &Guest {
                evaluate: "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) i32.const 128",
                ..Guest::default()
            },
            Fate::Harmless(&[]),
        ),
        not_loaded(
            "memory_of_four_gigabytes",
            Guest { pages: 65_536, ..Guest::default() },
            &["wants 4 GiB of memory, and its limit `memory` is 64 MiB"],
        ),
        not_loaded(
            "many_memories",
            Guest { more: &memories, ..Guest::default() },
            &["memories, and its limit `memories` is 16"],
        ),
        not_loaded(
            "table_of_a_billion",
            Guest { more: "(table 1000000000 funcref)", ..Guest::default() },
            &["elements in its tables, and its limit `table-elements` is 1000000"],
        ),
        refused(
            "table_that_grows",
            Guest {
                more: "(table $t 1 funcref)",
                evaluate: "(loop $again
                (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable",
                ..Guest::default()
            },
            &["elements in its tables, and its limit `table-elements` is 1000000"],
        ),
        not_loaded(
            "many_tables",
            Guest { more: &tables, ..Guest::default() },
            &["tables, and its limit `tables` is 64"],
        ),
        Case::bytes(
            "many_instances",
            instances(100),
            Fate::NotLoaded(&["core instances, and its limit `instances` is 64"]),
        ),
        refused(
            "answer_that_multiplies",
            Guest { evaluate: MULTIPLIED, pages: 16, ..Guest::default() },
            &["answers with at least", "its limit `output` is 64 MiB"],
        ),
        refused(
            "text_of_sixty_megabytes",
            Guest {
                evaluate: &format!(
                    "(i32.store8 (i32.const 128) (i32.const 1)) (i32.store8 (i32.const 132) (i32.const 3))
                 (drop (memory.grow (i32.const 1000))) {} i32.const 128",
                    store(&[(136, 131_072), (140, 65_000_000)])
                ),
                ..Guest::default()
            },
            &["refuses: \u{fffd}"],
        ),
        refused(
            "more_chains_than_allowed",
            Guest { evaluate: &list_of(132, 20, 5000), ..Guest::default() },
            &["asks for 5000 chains, and its limit `chains` is 4096"],
        ),
        refused(
            "more_rules_than_allowed",
            Guest {
                evaluate: &format!("(drop (memory.grow (i32.const 300))) {}", list_of(140, 128, 100_001)),
                ..Guest::default()
            },
            &["asks for 100001 rules (attachments included), and its limit `rules` is 100000"],
        ),
        refused(
            "more_members_than_allowed",
            Guest {
                more: &layout::set(b"bad-set", 131_072, 1_100_000),
                evaluate: "(drop (memory.grow (i32.const 900))) i32.const 32768",
                ..Guest::default()
            },
            &["asks for 1100000 set members, and its limit `members` is 1000000"],
        ),
        refused(
            "members_without_end",
            Guest { more: &layout::set(b"bad-set", 131_072, u32::MAX), evaluate: layout::ANSWER, ..Guest::default() },
            &["broke the calling convention"],
        ),
    ]
}

/// 4,000 chains, each with the same 3,000 rules: half a megabyte that would become gigabytes.
const MULTIPLIED: &str = "(local $n i32)
    (i32.store (i32.const 132) (i32.const 655360))
    (i32.store (i32.const 136) (i32.const 4000))
    (loop $again
        (i32.store offset=655364 (local.get $n) (i32.const 256))
        (i32.store offset=655368 (local.get $n) (i32.const 4))
        (i32.store offset=655372 (local.get $n) (i32.const 131072))
        (i32.store offset=655376 (local.get $n) (i32.const 3000))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 20))) (i32.const 80000))))
    i32.const 128";

/// An answer whose list at `at` claims `length` elements of `size` bytes, all of them zero.
fn list_of(at: u32, size: u32, length: u32) -> String {
    assert!(size * length < 256 << 16);
    format!("{} i32.const 128", store(&[(at, 131_072), (at + 4, length)]))
}

/// A good policy with so many more core instances, of a module without content.
fn instances(count: u8) -> Vec<u8> {
    let mut component = super::good();
    let modules = sections(&component).filter(|(number, _)| *number == 1).count();
    let empty = b"\0asm\x01\0\0\0";
    component.extend([1, u8::try_from(empty.len()).unwrap()]);
    component.extend(empty);
    // Each: instantiate, the module's index, no arguments.
    let each = [0, u8::try_from(modules).unwrap(), 0];
    let body: Vec<u8> = std::iter::once(count).chain(each.repeat(usize::from(count))).collect();
    component.push(2);
    component.extend(leb128(body.len()));
    component.extend(body);
    component
}

/// Numbers and lengths of a component's sections.
fn sections(component: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let mut at = 8;
    std::iter::from_fn(move || {
        let number = *component.get(at)?;
        let (mut length, mut shift) = (0, 0);
        loop {
            at += 1;
            length |= usize::from(component[at] & 0x7f) << shift;
            shift += 7;
            if component[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + length;
        Some((number, length))
    })
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}
