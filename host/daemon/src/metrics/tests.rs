//! What is counted, under which names, and that hostile names stay labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::actor::Actor;
use ruleward_core::drift::Kind;
use ruleward_core::expected::{Expected, ExpectedTable};
use ruleward_core::limit::{Limit, Limits, Usage};
use ruleward_core::names::{ChainName, Family as IpFamily, PolicyName, Table};
use ruleward_core::ownership::Ownership;

use super::*;
use crate::status_store::LONGEST_LOOK;
use ruleward_report::limits::LimitReport;
use ruleward_report::{CandidateReport, CandidateState, PolicyReport, PolicyState, Timings};

fn store() -> StatusStore {
    StatusStore::new("worker-7", Duration::from_secs(90))
}

fn incident(name: &str) -> Incident {
    Incident {
        id: 1,
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        last_at: "2026-01-01T00:00:00.000Z".to_owned(),
        family: Some(IpFamily::Ipv4),
        table: Some(Table::Nat),
        chain: "POSTROUTING".to_owned(),
        kind: Kind::RuleDeleted,
        detail: String::new(),
        added: Vec::new(),
        removed: Vec::new(),
        repaired: true,
        how: "netlink".to_owned(),
        took_ms: 0.4,
        latency_ms: Some(0.6),
        latency_ms_max: Some(0.6),
        events: 1,
        times: 1,
        actors: Vec::new(),
        more_actors: 0,
        latest: vec![Actor { name: name.to_owned(), pid: Some(7), ..Actor::default() }],
    }
}

fn report(incidents: Vec<Incident>) -> Report {
    let policy = PolicyReport {
        version: Some("1.0.0".to_owned()),
        digest: Some("sha256:00".to_owned()),
        chains: 2,
        rules: 3,
        sets: 1,
        ..PolicyReport::new("p", PolicyState::Current)
    };
    Report {
        outcome: Outcome::Changed,
        in_sync: true,
        timings_ms: Timings { commit: 1.5, total: 3.0, ..Timings::default() },
        incidents,
        policies: vec![policy],
        ..Report::default()
    }
}

#[test]
fn each_series_moves_with_its_cause() {
    let store = store();
    let before = render(&store, Format::Text);
    assert!(before.contains("ruleward_in_sync 0"), "{before}");
    assert!(!before.contains("ruleward_sync_age_seconds"), "{before}");
    store.checked(&report(vec![incident("iptables")]), SystemTime::UNIX_EPOCH);
    store.waiting(WaitFor::Policies, Some("for policies to be loaded".to_owned()));
    store.waiting(WaitFor::Lock, Some("for the xtables lock".to_owned()));
    store.waiting(WaitFor::Lock, Some("for the xtables lock, held for longer".to_owned()));
    let text = render(&store, Format::Text);
    for line in [
        "ruleward_checks_total{outcome=\"changed\"} 1",
        "ruleward_check_phase_seconds_count{phase=\"total\"} 1",
        "ruleward_commits_total 1",
        "ruleward_commit_seconds_bucket{le=\"0.005\"} 1",
        "ruleward_drifts_total{kind=\"rule-deleted\",family=\"ipv4\",table=\"nat\",actor=\"iptables\",repaired=\"true\"} 1",
        "ruleward_repair_latency_seconds_bucket{le=\"0.001\"} 1",
        "ruleward_repair_latency_seconds_bucket{le=\"0.0005\"} 0",
        "ruleward_repair_seconds_count 1",
        "ruleward_waits_total{cause=\"lock\"} 1",
        "ruleward_waits_total{cause=\"policies\"} 1",
        "ruleward_waiting 1",
        "ruleward_in_sync 1",
        "ruleward_sync_age_seconds 0",
        "ruleward_policy_info{policy=\"p\",version=\"1.0.0\",digest=\"sha256:00\"} 1",
        "ruleward_policy_state{policy=\"p\",state=\"current\"} 1",
        "ruleward_policy_state{policy=\"p\",state=\"last-good\"} 0",
        "ruleward_policy_sets{policy=\"p\"} 1",
        "ruleward_build_info{version=\"0.1.0\",node=\"worker-7\"} 1",
    ] {
        let found = text.lines().any(|found| found == line || found.strip_suffix(".0") == Some(line));
        assert!(found, "{line} is not in\n{text}");
    }
    assert!(text.contains("ruleward_files_unseen_seconds 0.0\n"), "{text}");
    store.watcher_heartbeat().begins(Instant::now().checked_sub(2 * LONGEST_LOOK).unwrap(), "looking", false);
    store.checked(&Report::failure(ruleward_report::ErrorClass::Temporary, "x"), SystemTime::UNIX_EPOCH);
    let text = render(&store, Format::Text);
    assert!(text.contains("ruleward_checks_total{outcome=\"failed\"} 1"), "{text}");
    assert!(text.contains("ruleward_problems 2"), "{text}");
    assert!(text.contains("ruleward_files_unseen_seconds 20."), "{text}");
    assert!(text.contains("ruleward_waiting 0"), "{text}");
    let waited = text.lines().find_map(|line| line.strip_prefix("ruleward_wait_seconds_total{cause=\"lock\"} "));
    assert!(waited.is_some_and(|seconds| seconds.parse::<f64>().unwrap() > 0.0), "{text}");
}

#[test]
fn policies_and_configurations_are_counted_by_what_becomes_of_them() {
    let store = store();
    let policies = store.metrics().policies();
    let mut usage = Usage::default();
    (usage[Limit::Time], usage[Limit::Fuel]) = (2_000, 700);
    policies.evaluated("p", &usage, true);
    policies.evaluated("p", &usage, true);
    policies.evaluated("p", &usage, false);
    policies.version_taken("p");
    policies.configuration(true);
    policies.configuration(false);
    policies.configuration_refused(true);
    let refused = |reason: &str| {
        let candidate = CandidateReport {
            version: None,
            digest: Some("sha256:01".to_owned()),
            state: CandidateState::Refused,
            reason: Some(reason.to_owned()),
        };
        let limits = LimitReport::all(&Limits::default(), &BTreeMap::new(), Some(&(usage.clone(), usage.clone())));
        let policy =
            PolicyReport { candidate: Some(candidate), limits, ..PolicyReport::new("p", PolicyState::LastGood) };
        Report { policies: vec![policy], ..Report::default() }
    };
    // Each report says it again; another reason is another refusal.
    for reason in ["it traps", "it traps", "it is too large", "it is too large"] {
        store.checked(&refused(reason), SystemTime::UNIX_EPOCH);
        store.checked(&Report::failure(ruleward_report::ErrorClass::Internal, "a fault"), SystemTime::UNIX_EPOCH);
    }
    store.checked(&refused("it is too large"), SystemTime::UNIX_EPOCH);
    let text = render(&store, Format::Text);
    for line in [
        "ruleward_evaluations_total{policy=\"p\",outcome=\"answered\"} 2",
        "ruleward_evaluations_total{policy=\"p\",outcome=\"failed\"} 1",
        "ruleward_evaluation_seconds_count{policy=\"p\"} 3",
        "ruleward_evaluation_seconds_bucket{policy=\"p\",le=\"0.001\"} 0",
        "ruleward_evaluation_seconds_bucket{policy=\"p\",le=\"0.0025\"} 3",
        "ruleward_evaluation_fuel_total{policy=\"p\"} 2100",
        "ruleward_policy_versions_total{policy=\"p\",outcome=\"taken\"} 1",
        "ruleward_policy_versions_total{policy=\"p\",outcome=\"refused\"} 2",
        "ruleward_configurations_total{outcome=\"taken\"} 1",
        "ruleward_configurations_total{outcome=\"refused\"} 1",
        "ruleward_configuration_refused 1",
        "ruleward_policy_limit_used_ratio{policy=\"p\",limit=\"time\"} 0.002",
        "ruleward_policy_limit_worst_ratio{policy=\"p\",limit=\"memory\"} 0",
        "ruleward_policy_memory_limit_bytes{policy=\"p\"} 67108864",
        "ruleward_policy_time_limit_seconds{policy=\"p\"} 1",
        "ruleward_policy_fuel_limit{policy=\"p\"} 1000000000",
    ] {
        let found = text.lines().any(|found| found == line || found.strip_suffix(".0") == Some(line));
        assert!(found, "{line} is not in\n{text}");
    }
}

#[test]
fn names_of_strangers_are_bounded_and_harmless() {
    let store = store();
    let hostile = "a\"} 1\nruleward_in_sync 1\\";
    store.repaired(&report(vec![incident(hostile)]), SystemTime::UNIX_EPOCH);
    for number in 0..100 {
        store.repaired(&report(vec![incident(&format!("n{number}"))]), SystemTime::UNIX_EPOCH);
    }
    let text = render(&store, Format::Text);
    let drifts: Vec<&str> = text.lines().filter(|line| line.starts_with("ruleward_drifts_total{")).collect();
    assert_eq!(drifts.len(), MOST_ACTORS + 1, "{drifts:#?}");
    assert!(drifts.iter().any(|line| line.contains("actor=\"a\\\"} 1\\\\nruleward_in_sync 1\\\\\"")), "{drifts:#?}");
    let others = drifts.iter().find(|line| line.contains(OTHERS)).unwrap();
    assert!(others.ends_with(&format!(" {}", 101 - MOST_ACTORS)), "{others}");
    assert_eq!(text.lines().filter(|line| line.starts_with("ruleward_in_sync ")).count(), 1);
}

#[test]
fn rules_are_counted_again_when_others_are_in_force() {
    let store = store();
    let expected = |chains: &[&str]| {
        let mut expected = Expected::nothing(Ownership::default(), Vec::new(), BTreeSet::new());
        let policy = PolicyName::new("web").unwrap();
        let chains = chains.iter().map(|name| (ChainName::new(name).unwrap(), (policy.clone(), Vec::new()))).collect();
        let table = ExpectedTable { chains, ..ExpectedTable::default() };
        expected.tables.insert((IpFamily::Ipv4, Table::Nat), table);
        Arc::new(expected)
    };
    let chains = || {
        let text = render(&store, Format::Text);
        let name = "ruleward_chains{family=\"ipv4\",table=\"nat\",policy=\"web\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok())
    };
    assert_eq!(chains(), None);
    store.expect(&expected(&["a"]));
    assert_eq!((chains(), chains()), (Some(1.0), Some(1.0)));
    store.expect(&expected(&["a", "b"]));
    assert_eq!(chains(), Some(2.0));
}

#[test]
fn both_formats_are_complete() {
    let text = render(&store(), Format::Text);
    assert!(text.contains("# TYPE ruleward_commits_total counter\n"), "{text}");
    assert!(!text.contains("# EOF"));
    let open = render(&store(), Format::OpenMetrics);
    assert!(open.contains("# TYPE ruleward_commits counter\n"), "{open}");
    assert!(open.ends_with("# EOF\n"));
    assert_eq!(
        Format::accepted(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")),
        Format::OpenMetrics
    );
    assert_eq!(Format::accepted(Some("*/*")), Format::Text);
    assert_eq!(Format::accepted(None), Format::Text);
}
