//! Somebody with root and no stock tool, as a program: what [`ruleward_tests::raw`] does, by words.
//!
//! Commands that go on and on end when their standard input closes; what they print last is the sum of what they did.
//!
//! ```text
//! delete-rule FAMILY TABLE CHAIN NUMBER           append-copy FAMILY TABLE CHAIN NUMBER
//! delete-needle FAMILY TABLE CHAIN NEEDLE         loop-delete FAMILY TABLE CHAIN NEEDLE COUNT
//! burst FAMILY TABLE CHAIN COUNT one|many         write-loop FAMILY TABLE CHAIN PREFIX MICROSECONDS
//! watch-dump FAMILY:TABLE:CHAIN...                legacy-delete FAMILY TABLE CHAIN NUMBER
//! ```
//! FAMILY is `ipv4` or `ipv6`, NUMBER counts from 1, a NEEDLE is any text in a rule's bytes (a comment, a chain's name),
//! COUNT 0 is no bound.

mod loops;

use std::process::ExitCode;

use ruleward_tests::raw::{Nft, Place, Result, legacy};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match act(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raw_stranger: {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn act(words: &[&str]) -> Result<()> {
    match words {
        ["delete-rule", family, table, chain, number] => {
            Nft::open()?.delete_number(&Place::parse(family, table, chain)?, number.parse()?)
        }
        ["append-copy", family, table, chain, number] => {
            Nft::open()?.append_copy(&Place::parse(family, table, chain)?, number.parse()?)
        }
        ["delete-needle", family, table, chain, needle] => {
            match Nft::open()?.delete_needle(&Place::parse(family, table, chain)?, needle)? {
                0 => Err(format!("no rule holds `{needle}`").into()),
                _ => Ok(()),
            }
        }
        ["loop-delete", family, table, chain, needle, count] => {
            loops::delete(&Place::parse(family, table, chain)?, needle, count.parse()?)
        }
        ["burst", family, table, chain, count, mode @ ("one" | "many")] => {
            loops::burst(&Place::parse(family, table, chain)?, count.parse()?, *mode == "one")
        }
        ["write-loop", family, table, chain, prefix, pause] => {
            let pause = std::time::Duration::from_micros(pause.parse()?);
            loops::write(&Place::parse(family, table, chain)?, prefix, pause)
        }
        ["watch-dump", places @ ..] if !places.is_empty() => {
            let places: Result<Vec<_>> = places.iter().map(|place| Place::parse_joined(place)).collect();
            loops::watch(&places?)
        }
        ["legacy-delete", family, table, chain, number] => legacy::delete(family, table, chain, number.parse()?),
        _ => Err("no such command".into()),
    }
}
