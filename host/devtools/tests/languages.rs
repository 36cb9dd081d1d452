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

/// What a policy answers or says to these settings.
fn run(component: &Path, settings: &Value, cache: &Path) -> Result<String, String> {
    let case = tempfile::tempdir().unwrap();
    std::fs::write(case.path().join("settings.json"), settings.to_string()).unwrap();
    let facts =
        "[[interfaces]]\nname = \"eth0\"\nindex = 2\nup = true\naddresses = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n";
    std::fs::write(case.path().join("facts.toml"), facts).unwrap();
    asked(component, case.path(), cache)
}

/// Every type of the contract means the same in one piece, made by `ruleward` or of componentize-py's classes, as value by
/// value; and what is no answer is told with its place.
#[test]
fn python_answers_in_one_piece_as_value_by_value() {
    if !built("examples").iter().any(|(name, _)| name == "python") {
        eprintln!("NOT compared: there is no component in Python");
        return;
    }
    let found = built("python");
    let of = |way: &str| found.iter().find(|(name, _)| name == way).unwrap().1.clone();
    let (plain, packed) = (of("plain"), of("packed"));
    let cache = tempfile::tempdir().unwrap();
    let ask = |component: &Path, settings: Value| run(component, &settings, cache.path());

    let expected = ask(&plain, json!({})).unwrap();
    for kind in ["proxy", "clamp", "every-iface4", "2001:db8:", "--set-class"] {
        assert!(expected.contains(kind), "{kind} is not in the answer:\n{expected}");
    }
    for classes in [false, true] {
        assert!(ask(&packed, json!({ "classes": classes })).unwrap() == expected, "classes: {classes}");
        for kind in ["settings", "resource", "waiting", "other"] {
            let refused = ask(&packed, json!({ "classes": classes, "fail": kind })).unwrap_err();
            assert_eq!(refused, ask(&plain, json!({ "fail": kind })).unwrap_err());
        }
        for (wrong, told) in [
            ("number", "chain 1: rule 2: match 2: port-range 2: a number from 0 to 65535 expected"),
            ("variant", "chain 1: rule 3: match 1: match expected"),
            ("record", "chain 1: rule 1: rule expected"),
            ("text", "chain 1: rule 1: a text expected"),
            ("truth", "chain 1: rule 1: match 1: True or False expected"),
            ("object", "TypeError: <object object at"),
            ("list", "chain 1: a list expected"),
            ("nothing", "KeyError: 'nothing'\nerror: in WitWorld.evaluate, policy.py line "),
        ] {
            let said = ask(&packed, json!({ "classes": classes, "wrong": wrong })).unwrap_err();
            assert!(said.contains(told), "{wrong}: {said}");
        }
    }
}

/// What an evaluation makes lies side by side: in the gaps that importing leaves, 1,000 objects lie on 400 pages.
#[test]
fn a_policy_in_python_begins_without_gaps() {
    if !built("examples").iter().any(|(name, _)| name == "python") {
        eprintln!("NOT looked at: there is no component in Python");
        return;
    }
    let (_, packed) = built("python").into_iter().find(|(way, _)| way == "packed").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let said = run(&packed, &json!({ "spread": 1000 }), cache.path()).unwrap_err();
    let pages = said.split_once(" pages").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u32>().ok());
    assert!(pages.is_some_and(|pages| (4..60).contains(&pages)), "{said}");
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
        let output = Command::new(env!("CARGO_BIN_EXE_ruleward-policy"))
            .args(["test", "--cases"])
            .args([folder.join("cases"), component])
            .env("XDG_CACHE_HOME", cache.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "contract {version}:\n{text}");

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
