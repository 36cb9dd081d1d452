//! Targets for fuzzing: each gives foreign bytes to one reader. No input may crash the reader or make it contradict
//! itself. `cargo xtask fuzz` looks for inputs that do. `corpus/` keeps some inputs of each kind, and every one that
//! was a fault; the tests of this crate run them all.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answers;

use std::path::Path;

use ruleward::config::{Config, Source};
use ruleward_core::quote::{push_word, words};
use ruleward_core::sets::parse_list;
use ruleward_netlink::{Attributes, Messages};
use ruleward_report::Incident;
use ruleward_state::history::format::{self, Parts};

/// The variable that names the target to the engine.
pub const TARGET_VARIABLE: &str = "RULEWARD_FUZZ_TARGET";

/// Something that reads bytes.
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Reads them; panics if it should not have read what it has.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target { name: "answer", run: answers::answer },
    Target { name: "configuration", run: configuration },
    Target { name: "incidents", run: incidents },
    Target { name: "legacy-table", run: ruleward_kernel::fuzz::legacy_table },
    Target { name: "netlink-messages", run: netlink_messages },
    Target { name: "nft-rule", run: ruleward_kernel::fuzz::nft_rule },
    Target { name: "record", run: record },
    Target { name: "resources", run: ruleward_facts::fuzz::resources },
    Target { name: "save-text", run: ruleward_kernel::fuzz::save_text },
    Target { name: "set-list", run: set_list },
    Target { name: "words", run: quoted_words },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// `ruleward.toml`. What is refused is refused with words, and what is taken is taken again the same.
fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Path::new("/etc/ruleward/ruleward.toml");
    let read = || Config::parse(file, &[Source { file: file.to_owned(), text: text.to_owned() }]);
    match (read(), read()) {
        (Ok(one), Ok(other)) => assert!(one == other, "read twice, it is two configurations"),
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (one, other) => assert_eq!(one.is_ok(), other.is_ok(), "read twice, it is right once"),
    }
}

/// A line of the journal of incidents. What is read can be written, and is then read as the same.
fn incidents(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(incident) = serde_json::from_slice::<Incident>(line) else { continue };
        let again = serde_json::to_vec(&incident).map(|line| serde_json::from_slice::<Incident>(&line));
        assert!(matches!(again, Ok(Ok(again)) if again == incident), "it does not survive being written");
    }
}

/// A datagram of netlink: its messages, what they carry, and interfaces with their addresses.
fn netlink_messages(bytes: &[u8]) {
    let mut messages = Messages::new(bytes);
    let mut length = 0;
    for message in messages.by_ref() {
        let _ = message.status();
        length += message.body.len() + attributes_within(message.attributes(), 4);
        ruleward_facts::fuzz::interfaces(message.body);
    }
    assert!(length <= 2 * bytes.len(), "more was read than there is");
}

/// The length of all content, so many levels down.
fn attributes_within(bytes: &[u8], levels: usize) -> usize {
    let content = |(_, content): (u16, &[u8])| match levels.checked_sub(1) {
        Some(levels) => attributes_within(content, levels),
        None => content.len(),
    };
    Attributes(bytes).map(content).sum()
}

/// A record of a policy. Nothing is believed but what was written: what is read is written as the same bytes.
fn record(bytes: &[u8]) {
    let header = format::decode_header(bytes);
    let Ok(portable) = format::decode(bytes) else { return };
    assert_eq!(header.as_ref().ok(), Some(&portable.record.header));
    let record = &portable.record;
    let parts = Parts::new(&record.settings, record.facts.as_ref(), record.contribution.as_ref());
    let written = parts.map(|parts| format::encode(&record.header, &parts, portable.component.as_deref()));
    let read = written.ok().and_then(Result::ok).map(|bytes| format::decode(bytes.as_slice()));
    assert!(matches!(read, Some(Ok(again)) if again == portable), "it does not survive being written");
}

/// What `ipset list` prints.
fn set_list(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parse_list(text);
}

/// A line of iptables' words. Words that were taken from a line can be put into one.
fn quoted_words(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let found: Vec<_> = words(line).collect();
    let mut again = String::new();
    for word in &found {
        push_word(&mut again, word);
    }
    let found_again: Vec<_> = words(&again).collect();
    assert_eq!(found, found_again, "{line:?} became {again:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_fails_on_what_is_kept() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in &TARGETS {
            let folder = corpus.join(target.name);
            let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(!files.is_empty(), "{} has no inputs", target.name);
            for file in files {
                let bytes = std::fs::read(&file).unwrap();
                let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
                assert!(outcome.is_ok(), "{} fails on {}", target.name, file.display());
            }
        }
        let folders = std::fs::read_dir(&corpus).unwrap().count();
        assert_eq!(folders, TARGETS.len(), "a folder is for no target");
    }
}

/// The unit-test executable as the process that compiles the guest.
#[cfg(test)]
#[test]
fn compiling_child_entry_point() {
    ruleward_sandbox::testkit::compiling_child();
}
