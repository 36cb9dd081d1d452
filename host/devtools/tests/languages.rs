//! The example policy says the same in every language. `cargo xtask languages` leaves a component for each language that
//! this machine can build in target/examples; here each is asked about the same generated inputs by the program itself,
//! and every answer must be the Rust one's, byte for byte.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// What the others are compared with. It needs nothing but what builds this test.
const MODEL: &str = "rust";

/// The components in a folder below the target directory, by name.
fn built(folder: &str) -> Vec<(String, PathBuf)> {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let folder = target.join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask languages` builds what this test compares", folder.display())
    });
    let wasm = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "wasm"));
    let mut found: Vec<_> = wasm.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path)).collect();
    found.sort();
    found
}

fn components() -> Vec<(String, PathBuf)> {
    let found = built("examples");
    assert!(found.iter().any(|(name, _)| name == MODEL), "{MODEL} is missing");
    eprintln!("compared: {}", found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "));
    found
}

/// What `policy run` prints of a case, or why it refuses.
fn asked(component: &Path, case: &Path, cache: &Path) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ruleward-policy"))
        .args(["run", "--output", "json", "--case"])
        .args([case, component])
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The contribution and the rules as JSON text, or the place of the setting that is refused.
fn answer(component: &Path, folder: &Path, cache: &Path) -> String {
    let err = match asked(component, folder, cache) {
        Ok(out) => {
            let mut answer: Value = serde_json::from_str(&out).unwrap();
            answer["policy"].take();
            return answer.to_string();
        }
        Err(err) => err,
    };
    let place = err.split("refuses the setting ").nth(1).and_then(|rest| rest.split(':').next());
    format!("refused {}", place.unwrap_or_else(|| panic!("{}: {err}", component.display())))
}

fn network() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (any::<[u8; 4]>(), 0..=32u8)
            .prop_map(|(a, length)| format!("{}/{length}", std::net::Ipv4Addr::from(a))),
        4 => any::<[u8; 4]>().prop_map(|a| std::net::Ipv4Addr::from(a).to_string()),
        8 => (any::<[u16; 8]>(), 0..=128u8)
            .prop_map(|(a, length)| format!("{}/{length}", std::net::Ipv6Addr::from(a))),
        4 => (any::<[bool; 8]>(), any::<u16>()).prop_map(|(on, group)| {
            std::net::Ipv6Addr::from(on.map(|on| if on { group } else { 0 })).to_string()
        }),
        1 => any::<[u8; 4]>().prop_map(|a| format!("2001:db8::{}", std::net::Ipv4Addr::from(a))),
        1 => Just("192.0.2.300".to_owned()),
        1 => Just("2001:db8:::1".to_owned()),
        1 => Just("198.51.100.0/33".to_owned()),
    ]
}

fn inputs() -> impl Strategy<Value = (Value, &'static str)> {
    let settings = (
        proptest::collection::vec(network(), 0..12),
        proptest::collection::vec(any::<u16>(), 0..40),
        proptest::option::of("[ -~]{0,29}"),
    );
    let families = prop_oneof![Just("\"ipv4\", \"ipv6\""), Just("\"ipv4\""), Just("\"ipv6\"")];
    (settings, families).prop_map(|((admit, ports, prefix), families)| {
        let mut settings = json!({ "admit": admit, "ports": ports });
        if let Some(prefix) = prefix {
            settings["log-prefix"] = prefix.into();
        }
        (settings, families)
    })
}

#[test]
fn every_language_gives_the_same_answers_and_conforms() {
    let components = components();
    let folder = tempfile::tempdir().unwrap();
    let (case, cache) = (folder.path().join("case"), folder.path().join("cache"));
    std::fs::create_dir(&case).unwrap();
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let judged = runner.run(&inputs(), |(settings, families)| {
        std::fs::write(case.join("settings.json"), settings.to_string()).unwrap();
        std::fs::write(case.join("facts.toml"), format!("families = [{families}]\n")).unwrap();
        let answers: Vec<_> = components.iter().map(|(name, path)| (name, answer(path, &case, &cache))).collect();
        let (_, rust) = answers.iter().find(|(name, _)| *name == MODEL).unwrap();
        for (name, answer) in &answers {
            prop_assert_eq!(answer, rust, "{} differs from rust for {}", name, settings);
        }
        Ok(())
    });
    judged.unwrap_or_else(|error| panic!("{error}"));
    // With what was compiled for the comparison.
    for (_, component) in &components {
        conforms(component, Some(&root().join("examples/host-firewall-example/cases")), &cache);
    }
}

/// componentize-py passes every type of the contract as the cases say, and an exception reaches the operator.
#[test]
fn python_says_all_that_the_contract_can_say() {
    if !built("examples").iter().any(|(name, _)| name == "python") {
        eprintln!("NOT tested: there is no component in Python");
        return;
    }
    let (_, component) = built("python").into_iter().find(|(name, _)| name == "every-type").unwrap();
    let (source, cache) = (root().join("tests/python"), tempfile::tempdir().unwrap());
    passes(&source.join("tests"), &component, cache.path());

    let described = Command::new(env!("CARGO_BIN_EXE_ruleward-policy"))
        .arg("inspect")
        .arg(&component)
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    let described = String::from_utf8(described.stdout).unwrap();
    assert!(described.starts_with("every-type 1.0.0: Ünïcode 字 and \"quotes\".\n"), "{described}");

    let case = tempfile::tempdir().unwrap();
    std::fs::write(case.path().join("settings.json"), r#"{"fail": "nothing"}"#).unwrap();
    let said = asked(&component, case.path(), cache.path()).unwrap_err();
    let source = std::fs::read_to_string(source.join("policy.py")).unwrap();
    let line = 1 + source.lines().position(|line| line == "    return failures[kind]").unwrap();
    for told in ["error: KeyError: 'nothing'\n".to_owned(), format!("error: in failure, policy.py line {line}\n")] {
        assert!(said.contains(&told), "{told} is not in\n{said}");
    }
}

/// What this repository publishes keeps to what it asks of others.
#[test]
fn every_policy_that_ships_conforms() {
    let cache = tempfile::tempdir().unwrap();
    let shipped = built("policies").into_iter().filter(|(name, _)| root().join("plugins").join(name).exists());
    let shipped: Vec<_> = shipped.collect();
    assert!(shipped.len() >= 5, "{shipped:?}");
    for (_, component) in &shipped {
        conforms(component, None, cache.path());
    }
}

fn conforms(component: &Path, cases: Option<&Path>, cache: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ruleward-policy"));
    command.args(["conform"]).arg(component).env("XDG_CACHE_HOME", cache);
    if let Some(cases) = cases {
        command.arg("--cases").arg(cases);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 0 failed"), "{}:\n{text}", component.display());
}

/// A component answers these cases as expected.
fn passes(cases: &Path, component: &Path, cache: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_ruleward-policy"))
        .args(["test", "--cases"])
        .args([cases, component])
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 0 failed"), "{}:\n{text}", component.display());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A policy for each version of the contract that was ever served, with what it answered then.
#[test]
fn what_was_built_for_an_earlier_contract_goes_on_working() {
    let contracts = root().join("tests/contract");
    let cache = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(contracts).unwrap() {
        let folder = entry.unwrap().path();
        let version = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let name = format!("contract-{}", version.replace('.', "-"));
        let (_, component) = built("policies").into_iter().find(|(built, _)| *built == name).unwrap();
        passes(&folder.join("cases"), &component, cache.path());

        let (kept, now) = (folder.join("policy.wit"), contracts_now());
        let kept = std::fs::read_to_string(kept).unwrap();
        assert!(kept.contains(&format!("package ruleward:policy@{version};")), "{version} holds another contract");
        if now.contains(&format!("package ruleward:policy@{version};")) {
            assert!(
                kept == now,
                "wit/policy.wit is {version} and not the same as its copy in tests/contract/{version}"
            );
        }
    }
}

fn contracts_now() -> String {
    std::fs::read_to_string(root().join("wit/policy.wit")).unwrap()
}
