//! What real Felix programmed, from the resources that it was given: every line of every capture.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ruleward_sdk::{Family, Placement};

/// The folders of captures, with the release that each was taken from.
fn captures() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/captures");
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let releases = folders(&root);
    let found: Vec<(String, PathBuf)> = releases
        .iter()
        .flat_map(|release| {
            let name = release.file_name().unwrap().to_str().unwrap().to_owned();
            folders(release).into_iter().map(move |folder| (name.clone(), folder))
        })
        .collect();
    assert_eq!(found.len(), 28, "captures are missing from {}", root.display());
    found
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap()
}

/// Lines of a save that are Felix's: rules of its chains, and its rules in built-in chains.
fn rules_of<'a>(save: &'a str, chain: &str) -> Vec<&'a str> {
    let prefix = format!("-A {chain} ");
    save.lines().filter(|line| line.starts_with(&prefix)).collect()
}

#[test]
fn every_chain_rule_and_identifier_is_that_of_felix() {
    for (release, folder) in captures() {
        let contribution =
            support::answer(&read(&folder, "resources.yaml"), &format!(r#"{{"calico-version":"{release}"}}"#));
        for (family, file) in [(Family::Ipv4, "nat4.save"), (Family::Ipv6, "nat6.save")] {
            let save = read(&folder, file);
            let chains: BTreeSet<&str> = save
                .lines()
                .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
                .filter(|name| name.starts_with("cali-"))
                .collect();
            let families = |chain: &&ruleward_sdk::Chain| chain.families.contains(family.into());
            let ours: BTreeSet<&str> =
                contribution.chains.iter().filter(families).map(|chain| chain.name.as_str()).collect();
            assert_eq!(ours, chains, "{} {file}", folder.display());
            for chain in chains {
                assert_eq!(
                    support::chain(&contribution, family, chain),
                    rules_of(&save, chain),
                    "{}",
                    folder.display()
                );
            }
        }
    }
}

#[test]
fn every_jump_stands_where_felix_put_it_in_both_scopes() {
    for (release, folder) in captures() {
        let yaml = read(&folder, "resources.yaml");
        let settings = format!(r#"{{"calico-version":"{release}"}}"#);
        let all = support::answer(&yaml, &settings);
        let beside = support::evaluate(&support::facts_beside_felix(&yaml), &settings).unwrap();
        assert!(beside.chains.is_empty() && beside.sets.is_empty());
        for contribution in [&all, &beside] {
            assert_eq!(contribution.attachments.len(), 3);
            for attachment in &contribution.attachments {
                let (placement, line) = support::attachment(attachment);
                for (family, file) in [(Family::Ipv4, "nat4.save"), (Family::Ipv6, "nat6.save")] {
                    assert!(attachment.families.contains(family.into()));
                    let save = read(&folder, file);
                    let chain = rules_of(&save, support::hook_name(attachment.hook));
                    let there = if placement == Placement::First { chain.first() } else { chain.last() };
                    assert_eq!(there, Some(&line.as_str()), "{} {file}", folder.display());
                }
            }
        }
    }
}

#[test]
fn every_set_has_the_members_that_felix_gave_it() {
    for (release, folder) in captures() {
        let contribution =
            support::answer(&read(&folder, "resources.yaml"), &format!(r#"{{"calico-version":"{release}"}}"#));
        let save = read(&folder, "ipset.save");
        let all: BTreeSet<&str> =
            save.lines().filter_map(|line| line.strip_prefix("create ")?.split(' ').next()).collect();
        // The capture of a whole node also holds the sets of Felix's filter rules.
        let nat = read(&folder, "nat4.save") + &read(&folder, "nat6.save");
        let whole_node = folder.join("filter4.save").exists();
        let of_nat = all.iter().filter(|name| !whole_node || nat.contains(&format!("--match-set {name} "))).copied();
        let ours: BTreeSet<&str> = contribution.sets.iter().map(|set| set.name.as_str()).collect();
        assert!(ours.is_subset(&all), "{}: {ours:?}", folder.display());
        assert!(of_nat.collect::<BTreeSet<_>>().is_subset(&ours), "{}: {ours:?}", folder.display());
        for name in ours {
            let lines: Vec<&str> = save.lines().filter(|line| line.split(' ').nth(1) == Some(name)).collect();
            assert_eq!(support::set(&contribution, name).unwrap(), lines, "{}", folder.display());
        }
    }
}
