//! Logs: the level while it runs, by command and by configuration, and the forms.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, poll};
use serde_json::{Value, json};

use super::node;

fn level(node: &Node) -> String {
    node.ruleward(&["log"]).must().trim().to_owned()
}

trial!("service::logs::the_level_is_changed_while_it_runs", the_level_is_changed_while_it_runs());
fn the_level_is_changed_while_it_runs() {
    let node = node(Backend::Nft);
    node.set("log", json!("warn"));
    let daemon = Daemon::start_with(&node, &[]);
    daemon.wait_until("in sync", |status| status.report.in_sync);
    assert_eq!(level(&node), "warn");
    daemon.refresh();
    assert!(!daemon.log().contains("in sync"), "{}", daemon.log());
    // By command ...
    assert_eq!(
        node.ruleward(&["--output", "json", "log", "debug"]).must().split_whitespace().collect::<String>(),
        r#"{"log":"debug"}"#
    );
    daemon.refresh();
    daemon.refresh();
    assert!(daemon.log().contains("DEBUG check on request"), "{}", daemon.log());
    // ... until the configuration says something new.
    daemon.reload(0);
    assert_eq!(level(&node), "debug");
    node.set("log", json!("error"));
    poll("the configured level is taken", || (level(&node) == "error").then_some(()));
    let wrong = node.ruleward(&["log", "loud"]).output();
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
}

trial!("service::logs::json_is_one_object_a_line_with_fields", json_is_one_object_a_line_with_fields());
fn json_is_one_object_a_line_with_fields() {
    let node = node(Backend::Nft);
    node.set("log-format", json!("json"));
    let daemon = node.daemon();
    let before = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&before, "chain-flushed", Family::Ipv4, "filter", "op-in");
    let log = daemon.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let incident = lines.iter().find(|line| line["kind"] == "chain-flushed").expect("the incident is logged");
    assert_eq!((&incident["level"], &incident["repaired"]), (&json!("warn"), &json!(true)));
    assert!(incident["actor-pid"].is_u64() && incident["actor"].is_string(), "{incident}");
    assert!(
        incident["message"].as_str().is_some_and(|text| text.starts_with("incident 1: chain-flushed")),
        "{incident}"
    );
    assert!(incident["place"].as_str().is_some_and(|place| place.contains("op-in")), "{incident}");
}

trial!("service::logs::times_are_in_utc_whatever_the_zone", times_are_in_utc_whatever_the_zone());
fn times_are_in_utc_whatever_the_zone() {
    let node = node(Backend::Nft);
    node.set_environment("TZ", "Pacific/Kiritimati"); // UTC+14
    let now = || node.command("date").args(&["-u", "+%Y-%m-%dT%H:%M:%S"]).must().trim().to_owned();
    let before = now();
    let daemon = node.daemon();
    let mark = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    let incident = daemon.incident_after(&mark, "chain-flushed", Family::Ipv4, "filter", "op-in");
    let after = now();
    let log = daemon.log();
    let logged = log.lines().find(|line| line.contains("incident 1")).expect("the incident is logged");
    for time in [incident.at.as_str(), incident.last_at.as_str(), &logged[..19]] {
        assert!(
            (before.as_str()..=after.as_str()).contains(&&time[..19]),
            "{time} is not between {before} and {after}"
        );
    }
}
