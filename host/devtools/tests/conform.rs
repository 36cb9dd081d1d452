//! `ruleward policy conform` gives every component of the corpus its verdict: what is refused at load or in a call fails with the
//! words of the refusal, and nothing there is keeps it from a report.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use ruleward_corpus::{Case, Fate, Guest};
use serde_json::Value;

fn conform(component: &Path, cache: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ruleward-policy"))
        .arg("conform")
        .arg(component)
        .args(more)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

/// Exit code and text.
fn told(output: &Output) -> (Option<i32>, String) {
    let both = [output.stdout.clone(), output.stderr.clone()].concat();
    (output.status.code(), String::from_utf8(both).unwrap())
}

fn surprise(case: &Case, folder: &Path) -> Option<String> {
    let path = folder.join(format!("{}.wasm", case.name.replace('_', "-")));
    case.place(&path).unwrap();
    let (code, text) = told(&conform(&path, &folder.join("cache"), &[]));
    let (fails, words): (_, &[&str]) = match case.fate {
        Fate::NotLoaded(words) => (true, words),
        // What a policy says itself is no fault of it; time and fuel are those of the corpus, not the default ones.
        Fate::NoAnswer(words) => (!words.iter().any(|word| word.contains("refuses")), &[]),
        Fate::NotGranted(_) => (true, &["FAIL  answers to a node's facts"]),
        Fate::Harmless(_) => (false, &[]),
    };
    if std::fs::metadata(&path).map_or(true, |found| found.is_dir()) {
        return (code != Some(78)).then(|| format!("{}: exit code {code:?}\n{text}", case.name));
    }
    let wrong = if fails { code != Some(1) } else { !matches!(code, Some(0 | 1)) };
    // Which of the default limits an endless loop meets first, fuel or time, is a matter of the machine.
    let told = |word: &str| text.contains(word) || text.contains(&word.replace("fuel", "time"));
    let missing = words.iter().find(|word| !told(word));
    (wrong || missing.is_some()).then(|| format!("{}: exit code {code:?}, missing {missing:?}\n{text}", case.name))
}

#[test]
fn every_component_of_the_corpus_gets_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let cases = ruleward_corpus::all();
    let surprises: Vec<String> = cases.iter().filter_map(|case| surprise(case, folder.path())).collect();
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
}

/// The verdict on one check.
fn verdict(report: &Value, check: &str) -> (String, String) {
    let found = report["checks"].as_array().unwrap().iter().find(|one| one["check"].as_str().unwrap().contains(check));
    let found = found.unwrap_or_else(|| panic!("no check {check:?} in {report}"));
    let why = [&found["detail"], &found["reason"], &found["reasons"][0]].into_iter().find_map(Value::as_str);
    (found["verdict"].as_str().unwrap().to_owned(), why.unwrap_or_default().to_owned())
}

#[test]
fn each_check_can_pass_and_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.wasm");
    let judged = |schema: &str| {
        std::fs::write(&path, Guest { schema, ..Guest::default() }.component()).unwrap();
        let output = conform(&path, &folder.path().join("cache"), &["--output", "json"]);
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let good =
        r#"{"type":"object","additionalProperties":false,"properties":{"port":{"type":"integer","default":80}}}"#;
    let (code, report) = judged(good);
    assert_eq!(code, Some(0), "{report}");
    for check in ["loads", "describes itself", "default limits", "does not know", "own defaults"] {
        assert_eq!(verdict(&report, check).0, "pass", "{check}: {report}");
    }
    assert_eq!(report["policy"]["name"], "test");
    assert!(
        report["limits"]
            .as_array()
            .unwrap()
            .iter()
            .any(|share| share["limit"] == "fuel" && share["most"] == 1_000_000_000)
    );

    let (code, report) =
        judged(r#"{"type":"object","properties":{"port":{"default":"x","type":"integer"}, "any":{}}}"#);
    assert_eq!(code, Some(1));
    let (outcome, why) = verdict(&report, "does not know");
    assert!(outcome == "fail" && why.contains("additionalProperties"), "{why}");
    let (outcome, why) = verdict(&report, "own defaults");
    assert!(outcome == "fail" && why.contains("the default of `port` does not fit"), "{why}");
    let (outcome, why) = verdict(&report, "wrong type");
    assert!(outcome == "fail" && why.contains("`any` takes a value of every type"), "{why}");
}

#[test]
fn a_file_that_is_not_there_has_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = told(&conform(Path::new("/nonexistent/x.wasm"), folder.path(), &[]));
    assert!(code == Some(78) && text.contains("/nonexistent/x.wasm: No such file"), "{text}");
}
