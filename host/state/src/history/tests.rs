//! Records on disk: what is written is read back, what was tampered with is named, what is too much goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::{Facts, System, Version as Number};
use ruleward_core::grants::Grants;
use ruleward_core::names::{Backend, PolicyName};

use super::Event;
use super::format::{self, FormatError, Parts};
use super::queue::MOST_WAITING;
use super::record::{CONTRACT, Header, Mode, Outcome, Part, Record, RecordName};
use super::store::{Bounds, Store, StoreError};
use crate::{CLOSE_TIME, Settings, StateWriter};
use ruleward_files::digest;
use ruleward_files::private_dir::power::lost_at_each_step;
use ruleward_sandbox::Limits;

fn facts(name: &str) -> Facts {
    let system =
        System { kernel: Number(6, 12, 0), iptables: Number(1, 8, 9), backend: Backend::Nft, families: Families::BOTH };
    Facts { node_name: name.to_owned(), system, interfaces: Vec::new(), resources: Vec::new(), nft_tables: Vec::new() }
}

fn record(policy: &str, component: &[u8], settings: &str, node: &str) -> Record {
    let header = Header {
        policy: PolicyName::new(policy).unwrap(),
        number: 0,
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        host: "0.1.0".to_owned(),
        contract: CONTRACT.to_owned(),
        component_name: Some("web".to_owned()),
        component_version: Some("1.0".to_owned()),
        component: digest::sha256(component),
        grants: Grants::default(),
        limits: Limits::default(),
        settings: Part::of(b""),
        facts: None,
        contribution: None,
        mode: Mode::Enforce,
        shadow_of: None,
        outcome: Outcome::InForce,
        chains: 0,
        rules: 0,
        sets: 0,
    };
    let contribution = Some(Contribution::default());
    Record { header, settings: settings.to_owned(), facts: Some(facts(node)), contribution }
}

/// Appends it and gives it back as it is kept.
fn keep(store: &Store, mut record: Record) -> Record {
    let parts = Parts::new(&record.settings, record.facts.as_ref(), record.contribution.as_ref()).unwrap();
    store.append(&mut record.header, &parts).unwrap();
    record
}

fn name(policy: &str, number: u64) -> RecordName {
    RecordName { policy: PolicyName::new(policy).unwrap(), number }
}

fn numbers(store: &Store, policy: &str) -> Vec<u64> {
    let listing = store.list(&PolicyName::new(policy).unwrap()).unwrap();
    listing.headers.iter().map(|header| header.number).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    assert!(store.policies().unwrap().is_empty());
    assert!(!state.path().join("history").exists(), "a look has made a folder");
    let one = keep(&store, record("web", b"1", "{}", "node"));
    let mut refused = record("web", b"2", "{\"a\":1}", "node");
    refused.header.outcome = Outcome::Refused { reason: "it is\nbroken".to_owned() };
    (refused.facts, refused.contribution) = (None, None);
    let two = keep(&store, refused);
    assert_eq!((one.header.number, two.header.number), (1, 2));
    assert_eq!(store.read(&name("web", 1)).unwrap(), one);
    assert_eq!(store.read(&name("web", 2)).unwrap(), two);
    assert_eq!(numbers(&store, "web"), [2, 1]);
    assert_eq!(two.header.changes_since(&one.header), ["component", "settings", "facts"]);
    assert!(matches!(store.read(&name("web", 3)), Err(StoreError::Missing(_))));
    assert!(matches!(store.read(&name("other", 1)), Err(StoreError::Missing(_))));
}

fn file(state: &Path, number: u64) -> std::path::PathBuf {
    state.join(format!("history/web/{number:010}.record"))
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let mut record = record("web", b"component", "{\"a\":1}", "node");
    let parts = Parts::new(&record.settings, record.facts.as_ref(), record.contribution.as_ref()).unwrap();
    parts.describe(&mut record.header);
    let good = format::encode(&record.header, &parts, Some(b"component")).unwrap();
    let portable = format::decode(&good[..]).unwrap();
    assert_eq!((portable.record, portable.component.as_deref()), (record, Some(b"component".as_slice())));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(format::decode(&bad[..]).is_err(), "bit {bit} of byte {at} may be flipped");
        }
        let whole_without_component = good.len() - b"component".len();
        assert!(at == whole_without_component || format::decode(&good[..at]).is_err(), "it may be cut at byte {at}");
    }
    let other = String::from_utf8_lossy(&good).replacen("record 1 ", "record 2 ", 1);
    assert!(matches!(format::decode(other.as_bytes()), Err(FormatError::OtherVersion(_))));
    assert!(matches!(format::decode(&b"\x7fELF"[..]), Err(FormatError::NoRecord)));
}

#[test]
fn a_damaged_record_is_named_and_the_others_are_there() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    for number in 1..=3 {
        keep(&store, record("web", b"1", &format!("{{\"a\":{number}}}"), "node"));
    }
    let bytes = std::fs::read(file(state.path(), 2)).unwrap();
    std::fs::write(file(state.path(), 2), String::from_utf8(bytes).unwrap().replacen("web", "wob", 1)).unwrap();
    let listing = store.list(&PolicyName::new("web").unwrap()).unwrap();
    assert_eq!(listing.headers.len(), 2);
    assert!(listing.damaged[0].contains("0000000002.record") && listing.damaged[0].contains("digest"), "{listing:?}");
    assert!(matches!(store.read(&name("web", 2)), Err(StoreError::Format { .. })));
    // One record under the name of another is no record of that name.
    std::fs::copy(file(state.path(), 1), file(state.path(), 2)).unwrap();
    let error = store.read(&name("web", 2)).unwrap_err().to_string();
    assert!(error.contains("it is the record web@1"), "{error}");
    assert_eq!(keep(&store, record("web", b"1", "{}", "node")).header.number, 4);
}

#[test]
fn steps_of_the_facts_go_before_versions_and_the_newest_stay() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    keep(&store, record("web", b"1", "{}", "node"));
    for step in 0..4 {
        keep(&store, record("web", b"2", "{}", &format!("node{step}")));
    }
    let mut refused = record("web", b"3", "{}", "node");
    refused.header.outcome = Outcome::Refused { reason: "no".to_owned() };
    keep(&store, refused);
    let prune = |records| store.prune(Bounds { records, bytes: 1 << 30 }, &BTreeMap::new()).unwrap();
    assert_eq!(prune(4), None);
    assert_eq!(numbers(&store, "web"), [6, 5, 2, 1], "the versions are there, and the newest facts");
    prune(3);
    assert_eq!(numbers(&store, "web"), [6, 5, 2]);
    prune(1);
    assert_eq!(numbers(&store, "web"), [6, 5], "what is in force has lost its record");
}

#[test]
fn room_is_made_by_the_oldest_and_components_count() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    let mut components = BTreeMap::new();
    for number in 1..=5 {
        let mut one = record("web", format!("component {}", number / 2).as_bytes(), "{}", "node");
        one.header.at = format!("2026-01-0{number}T00:00:00.000Z");
        components.insert(one.header.component.clone(), 100_000);
        keep(&store, one);
    }
    assert_eq!(store.components().unwrap().len(), 3);
    let prune = |bytes| store.prune(Bounds { records: 100, bytes }, &components).unwrap();
    assert_eq!(prune(320_000), None);
    assert_eq!(numbers(&store, "web").len(), 5);
    assert_eq!(prune(220_000), None);
    assert_eq!(numbers(&store, "web"), [5, 4, 3, 2], "one goes for its component");
    assert!(prune(10).is_some_and(|text| text.contains("history-size")));
    assert_eq!(numbers(&store, "web"), [5]);
}

/// A record is there or not, whenever the power goes; none that was there is lost, and the next one gets its own number.
#[test]
fn a_power_loss_while_a_record_is_written_leaves_all_others() {
    let steps = lost_at_each_step(
        |state| keep(&Store::new(state), record("web", b"1", "{}", "node")),
        |state, _| drop(keep(&Store::new(state), record("web", b"2", "{}", "node"))),
        |state, first, ended| {
            let store = Store::new(state);
            let listing = store.list(&first.header.policy).unwrap();
            assert!(listing.damaged.is_empty(), "{listing:?}");
            assert!(listing.headers.len() == 2 || (listing.headers.len() == 1 && !ended), "{listing:?}");
            assert_eq!(store.read(&name("web", 1)).unwrap(), *first);
            let next = keep(&store, record("web", b"3", "{}", "node"));
            assert_eq!(next.header.number, listing.headers.len() as u64 + 1);
            assert_eq!(store.read(&next.header.name()).unwrap(), next);
        },
    );
    assert_eq!(steps.last(), Some(&"sync the folder"));
}

/// The newest, and the newest that was put in force, are there whenever the power goes while others are removed.
#[test]
fn a_power_loss_while_records_are_removed_leaves_those_that_stay() {
    let bounds = Bounds { records: 2, bytes: 1 << 30 };
    let steps = lost_at_each_step(
        |state| {
            let store = Store::new(state);
            (1..=4).for_each(|number: u8| drop(keep(&store, record("web", &[number], "{}", "node"))));
            let mut refused = record("web", b"5", "{}", "node");
            refused.header.outcome = Outcome::Refused { reason: "no".to_owned() };
            keep(&store, refused);
        },
        |state, ()| drop(Store::new(state).prune(bounds, &BTreeMap::new()).unwrap()),
        |state, (), ended| {
            let store = Store::new(state);
            let left = numbers(&store, "web");
            assert_eq!(left[..2], [5, 4], "{left:?}");
            assert!(!ended || left.len() == 2, "{left:?}");
            store.prune(bounds, &BTreeMap::new()).unwrap();
            assert_eq!(numbers(&store, "web"), [5, 4]);
        },
    );
    assert_eq!(steps, ["remove", "sync the folder"].repeat(3));
}

fn event(settings: &str) -> Event {
    Event {
        policy: PolicyName::new("web").unwrap(),
        at: SystemTime::UNIX_EPOCH,
        mode: Mode::Enforce,
        shadow_of: None,
        outcome: Outcome::InForce,
        component: digest::sha256(settings.as_bytes()),
        described: None,
        settings: settings.into(),
        grants: Grants::default(),
        limits: Limits::default(),
        facts: None,
        sees_interfaces: false,
        sees_nft_tables: false,
        sees_resources: BTreeSet::new(),
        contribution: None,
    }
}

/// What is noted next.
fn next(notes: &mpsc::Receiver<Option<String>>) -> Option<String> {
    notes.recv_timeout(Duration::from_secs(60)).expect("a note within a minute")
}

/// A thread that keeps so many records, and what it notes.
fn started(directory: &Path, records: usize) -> (StateWriter, mpsc::Receiver<Option<String>>) {
    let (sender, notes) = mpsc::channel();
    let bounds = Bounds { records, bytes: 1 << 20 };
    let settings = Settings { journal: None, history: Some((bounds, Box::new(BTreeMap::new))) };
    (StateWriter::start(directory, settings, move |_, note| drop(sender.send(note))), notes)
}

#[test]
fn what_says_nothing_new_is_left_out_also_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let both = BTreeSet::from([digest::sha256(b"1"), digest::sha256(b"2")]);
    for (events, recorded) in [(&["1", "1", "2", "2"][..], &[2, 1][..]), (&["2", "2"], &[2, 1]), (&["1"], &[3, 2, 1])] {
        let (writer, _notes) = started(state.path(), 10);
        for settings in events {
            writer.record_version(event(settings));
        }
        writer.close(CLOSE_TIME);
        assert_eq!(writer.named_components().unwrap(), both);
        assert_eq!(numbers(&Store::new(state.path()), "web"), recorded);
    }
}

#[test]
fn a_record_that_could_not_be_written_is_written_later() {
    let state = tempfile::tempdir().unwrap();
    let (folder, aside) = (state.path().join("history"), state.path().join("aside"));
    let (writer, notes) = started(state.path(), 10);
    writer.record_version(event("1"));
    assert_eq!(next(&notes), None, "the first is written");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    writer.record_version(event("2"));
    assert!(next(&notes).is_some());
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    while next(&notes).is_some() {}
    assert_eq!(numbers(&Store::new(state.path()), "web"), [2, 1]);
    writer.close(CLOSE_TIME);
}

#[test]
fn records_wait_for_a_folder_that_can_not_be_used() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("history");
    std::fs::write(&folder, "in the way").unwrap();
    let (writer, notes) = started(state.path(), 10);
    let note = next(&notes).expect("a problem");
    assert!(note.starts_with("the history of policies can't be written since "), "{note}");
    assert_eq!(writer.named_components(), None, "what was kept before is not known");
    writer.record_version(event("1"));
    writer.record_version(event("2"));
    std::fs::remove_file(&folder).unwrap();
    while next(&notes).is_some() {}
    assert_eq!(numbers(&Store::new(state.path()), "web"), [2, 1]);
    assert_eq!(writer.named_components().unwrap().len(), 2);
    writer.close(CLOSE_TIME);
}

#[test]
fn what_waits_is_bounded_and_what_is_lost_is_told() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("history");
    std::fs::write(&folder, "in the way").unwrap();
    let (writer, notes) = started(state.path(), 100);
    assert!(next(&notes).is_some());
    for number in 0..MOST_WAITING + 3 {
        writer.record_version(event(&number.to_string()));
    }
    std::fs::remove_file(&folder).unwrap();
    let told = std::iter::from_fn(|| next(&notes)).find(|note| note.contains("3 answers are not"));
    assert!(told.is_some());
    assert_eq!(numbers(&Store::new(state.path()), "web").len(), MOST_WAITING);
    writer.close(CLOSE_TIME);
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_fails() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("history"), "in the way").unwrap();
    let (writer, notes) = started(state.path(), 10);
    assert!(next(&notes).is_some());
    writer.record_version(event("1"));
    let start = Instant::now();
    writer.close(CLOSE_TIME);
    assert!(start.elapsed() < CLOSE_TIME, "it took {:?}", start.elapsed());
}
