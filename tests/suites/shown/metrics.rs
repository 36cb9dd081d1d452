//! Each metric moves with its cause, and whatever is said of metrics elsewhere (alerts, board, documentation) is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ruleward_tests::trial;
use ruleward_tests::web::{body, get, metric};
use ruleward_tests::{Backend, Family, Node, poll};
use serde_json::{Value, json};

use crate::reload;

/// Waits until a metric has this value.
#[track_caller]
fn becomes(node: &Node, name: &str, labels: &[&str], value: f64) {
    poll(&format!("{name} {labels:?} is {value}"), || (metric(node, name, labels) == value).then_some(()));
}

trial!("shown::metrics::policies_and_configuration", policies_and_configuration());
fn policies_and_configuration() {
    let (node, _daemon) = reload::node(Backend::Nft);
    let web = "policy=\"web\"";
    let versions = |outcome: &str| metric(&node, "ruleward_policy_versions_total", &[web, outcome]);
    let evaluations = |outcome: &str| metric(&node, "ruleward_evaluations_total", &[web, outcome]);
    let configurations = |outcome: &str| metric(&node, "ruleward_configurations_total", &[outcome]);
    const TAKEN: &str = "outcome=\"taken\"";
    const REFUSED: &str = "outcome=\"refused\"";

    assert_eq!((versions(TAKEN), versions(REFUSED)), (1.0, 0.0));
    assert_eq!((configurations(TAKEN), configurations(REFUSED)), (0.0, 0.0));
    assert!(evaluations("outcome=\"answered\"") >= 1.0);
    let (fuel, seconds) = ("ruleward_evaluation_fuel_total", "ruleward_evaluation_seconds_sum");
    let before = (metric(&node, fuel, &[web]), metric(&node, seconds, &[web]));
    assert!(before.0 > 0.0 && before.1 > 0.0, "{before:?}");
    assert!(metric(&node, "ruleward_policy_memory_bytes", &[web]) >= 65_536.0);
    assert_eq!(metric(&node, "ruleward_policy_memory_limit_bytes", &[web]), 64.0 * 1024.0 * 1024.0);
    let memory = metric(&node, "ruleward_policy_limit_used_ratio", &[web, "limit=\"memory\""]);
    assert!(memory > 0.0 && memory < 1.0, "{memory}");
    let commits = metric(&node, "ruleward_commit_seconds_count", &[]);
    assert!(commits >= 1.0, "the rules were written");

    // Another port: a changed configuration, another version, another evaluation, another commit.
    node.set("policies", json!({ "web": reload::policy("op", 81) }));
    reload::comes_into_force(&node, "op", 81);
    becomes(&node, "ruleward_policy_versions_total", &[web, TAKEN], 2.0);
    becomes(&node, "ruleward_configurations_total", &[TAKEN], 1.0);
    becomes(&node, "ruleward_commit_seconds_count", &[], commits + 1.0);
    assert!(metric(&node, fuel, &[web]) > before.0 && metric(&node, seconds, &[web]) > before.1);

    // Too little fuel: the version is refused, once, and its limit was used up.
    let mut starved = reload::policy("op", 82);
    starved["limits"] = json!({ "fuel": 1000 });
    node.set("policies", json!({ "web": starved }));
    becomes(&node, "ruleward_policy_versions_total", &[web, REFUSED], 1.0);
    becomes(&node, "ruleward_policy_refused", &[web], 1.0);
    assert!(evaluations("outcome=\"failed\"") >= 1.0);
    becomes(&node, "ruleward_configurations_total", &[TAKEN], 2.0);

    // Text that is no configuration.
    let right = fs::read_to_string(node.path("ruleward.toml")).expect("it is there");
    node.write("ruleward.toml", "nonsense = 1\n");
    becomes(&node, "ruleward_configuration_refused", &[], 1.0);
    assert_eq!((configurations(REFUSED), configurations(TAKEN)), (1.0, 2.0));
    node.write("ruleward.toml", &right.replace("fuel = 1000", "fuel = 1000000000"));
    becomes(&node, "ruleward_configuration_refused", &[], 0.0);
    becomes(&node, "ruleward_policy_versions_total", &[web, TAKEN], 3.0);
    becomes(&node, "ruleward_policy_refused", &[web], 0.0);
    assert!(metric(&node, "ruleward_policy_limit_worst_ratio", &[web, "limit=\"fuel\""]) > 0.0);
}

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

trial!("shown::metrics::a_status_fits_its_schema", a_status_fits_its_schema());
fn a_status_fits_its_schema() {
    let schema = fs::read_to_string(repository("docs/schema/status.json")).expect("it is there");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let (node, daemon) = reload::node(Backend::Nft);
    let fits = |text: &str| {
        let status: Value = serde_json::from_str(text).expect("JSON");
        let errors: Vec<String> =
            validator.iter_errors(&status).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?} in {text}");
        status
    };
    let shown = || node.ruleward(&["--output", "json", "status"]).output().stdout;
    assert_eq!(fits(&shown())["incidents"], json!([]));
    let mark = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&mark, "chain-flushed", Family::Ipv4, "filter", "op-in");
    let status = fits(&shown());
    assert_eq!(status["incidents"].as_array().map(Vec::len), Some(1), "{status:#}");
    fits(&body(&node, "/status.json"));
    let mut bad = reload::policy("op", 80);
    bad["settings"] = json!({ "nonsense": 1 });
    node.set("policies", json!({ "web": bad, "db": { "mode": "off" } }));
    reload::is_refused(&daemon, "web", &["nonsense"]);
    assert_eq!(fits(&shown())["policies"][0]["candidate"]["state"], "refused");
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metric = |word: &&str| word.starts_with("ruleward_") || word.starts_with("process_");
    words.filter(metric).map(ToOwned::to_owned).collect()
}

/// Set, it names a file that gets what Prometheus reads: for `promtool check metrics`.
const KEEP: &str = "RULEWARD_METRICS_FILE";

trial!("shown::metrics::what_is_said_of_metrics_is_so", what_is_said_of_metrics_is_so());
fn what_is_said_of_metrics_is_so() {
    let (node, daemon) = reload::node(Backend::Nft);
    let mark = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&mark, "chain-flushed", Family::Ipv4, "filter", "op-in");
    poll("the incident is counted", || (metric(&node, "ruleward_drifts_total", &[]) == 1.0).then_some(()));
    let text = body(&node, "/metrics");
    if let Some(file) = std::env::var_os(KEEP) {
        fs::write(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let shown: BTreeSet<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for file in ["packaging/prometheus/ruleward.rules.yml", "packaging/grafana/ruleward.json"] {
        let of_file = named(&fs::read_to_string(repository(file)).expect("it is there"));
        assert!(of_file.len() > 4, "{file} names {of_file:?}");
        for metric in of_file {
            assert!(shown.contains(&*metric), "{file} asks for {metric}, which the daemon does not show:\n{text}");
        }
    }
    let documented = named(&fs::read_to_string(repository("docs/monitoring.md")).expect("it is there"));
    let families: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(ToOwned::to_owned)
        .collect();
    let unknown: Vec<_> = families.symmetric_difference(&documented).collect();
    assert!(unknown.is_empty(), "not both shown and in docs/monitoring.md: {unknown:#?}");
    let open = get_open_metrics(&node);
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(get(&node, "/metrics").starts_with("HTTP/1.1 200"));
}

trial!("shown::metrics::every_alert_has_a_runbook", every_alert_has_a_runbook());
fn every_alert_has_a_runbook() {
    let rules = fs::read_to_string(repository("packaging/prometheus/ruleward.rules.yml")).expect("it is there");
    let after = |key: &str| -> Vec<&str> {
        rules
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix(key))
            .map(|rest| rest.trim_matches('"'))
            .collect()
    };
    let (alerts, runbooks) = (after("- alert: "), after("runbook: "));
    assert!(!alerts.is_empty());
    let expected: Vec<String> =
        alerts.iter().map(|alert| format!("docs/alerts.md#{}", alert.to_ascii_lowercase())).collect();
    assert_eq!(runbooks, expected);
    let book = fs::read_to_string(repository("docs/alerts.md")).expect("it is there");
    let sections: Vec<&str> = book.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections.iter().collect::<BTreeSet<_>>(), alerts.iter().collect::<BTreeSet<_>>());
}

fn get_open_metrics(node: &Node) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(node.path("run/http.sock")).expect("the daemon listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
