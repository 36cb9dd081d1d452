//! What people read, word for word.

use std::time::{Duration, SystemTime};

use ruleward_core::actor::Actor;
use ruleward_core::change::{Action, Object, Position};
use ruleward_core::drift::Kind;
use ruleward_core::names::{Backend, Family, Table};

use super::*;
use ruleward_report::screen::status;
use ruleward_report::status::{FightReport, Verdict, WatchReport};
use ruleward_report::text::*;
use ruleward_report::{ActorReport, AwaitingReport, Basis, ErrorClass, Intent, Timings};

const STYLE: Style = Style { colours: false };

fn change(
    family: Option<Family>,
    chain: &str,
    (action, object): (Action, Object),
    added: &[&str],
    removed: &[&str],
) -> Change {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (table, chain, position) = (family.map(|_| Table::Nat), chain.to_owned(), None);
    Change { action, object, family, table, chain, position, added: strings(added), removed: strings(removed) }
}

fn at(number: usize, from: Option<usize>, before: usize, change: Change) -> Change {
    Change { position: Some(Position { number, from, after: Some(number - 1), before: Some(before) }), ..change }
}

fn report() -> Report {
    Report {
        outcome: Outcome::Changed,
        backend: Some(Backend::Nft),
        backend_reason: "its tables hold rules".to_owned(),
        basis: Some(Basis::Rehearsed),
        timings_ms: Timings { total: 12.34, ..Timings::default() },
        changes: vec![
            change(None, "cali40all", (Action::Change, Object::Members), &["10.0.0.0/8"], &["\u{1b}[2J"]),
            change(Some(Family::Ipv6), "cali-x", (Action::Add, Object::Chain), &["-A cali-x -j RETURN"], &[]),
            at(
                1,
                Some(1),
                0,
                change(
                    Some(Family::Ipv4),
                    "POSTROUTING",
                    (Action::Change, Object::Rules),
                    &["-A POSTROUTING -j cali-POSTROUTING"],
                    &["-A POSTROUTING -j OTHER"],
                ),
            ),
        ],
        policies: vec![PolicyReport {
            version: Some("0.1.0".to_owned()),
            reason: Some("trapped".to_owned()),
            chains: 2,
            rules: 1,
            ..PolicyReport::new("calico-postrouting", PolicyState::LastGood)
        }],
        notes: vec!["leftovers in legacy".to_owned()],
        ..Report::default()
    }
}

fn incident() -> Incident {
    Incident {
        id: 7,
        at: "1970-01-01T00:00:01.000Z".to_owned(),
        last_at: "1970-01-01T00:00:01.000Z".to_owned(),
        family: Some(Family::Ipv4),
        table: Some(Table::Nat),
        chain: "POSTROUTING".to_owned(),
        kind: Kind::RuleDeleted,
        detail: "`-A POSTROUTING -j cali-POSTROUTING` missing".to_owned(),
        added: Vec::new(),
        removed: Vec::new(),
        repaired: true,
        how: "iptables-restore".to_owned(),
        took_ms: 1234.0,
        latency_ms: None,
        latency_ms_max: None,
        events: 0,
        times: 1,
        actors: vec![ActorReport::once(Actor::unknown(), "1970-01-01T00:00:01.000Z")],
        more_actors: 0,
        latest: Vec::new(),
    }
}

#[test]
fn a_plan_says_what_would_be_done_by_family_and_table() {
    insta::assert_snapshot!(plan(&report(), STYLE), @r"
    IPv4 nat
      ~ change POSTROUTING #1
          - -A POSTROUTING -j OTHER
          + -A POSTROUTING -j cali-POSTROUTING
    IPv6 nat
      + add chain cali-x, 1 rule
          -A cali-x -j RETURN
    sets
      ~ change members of set cali40all
          - \u{1b}[2J
          + 10.0.0.0/8
    Plan: 2 to add, 1 to remove, 1 to change. Nothing was written.
    Note: leftovers in legacy
    ");
    let quiet = Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() };
    insta::assert_snapshot!(plan(&quiet, STYLE), @"No changes: the node is in sync.");
}

#[test]
fn what_was_done_begins_with_how_it_stands() {
    let mut report = Report { in_sync: true, ..report() };
    report.changes.truncate(1);
    insta::assert_snapshot!(done(&report, STYLE), @r"
    In sync: 1 added, 1 removed (12.3 ms).
    sets
      ~ change members of set cali40all
          - \u{1b}[2J
          + 10.0.0.0/8
    Note: leftovers in legacy
    ");
    let refused = Report::failure(ErrorClass::Configuration, "line one\nline two");
    insta::assert_snapshot!(done(&refused, STYLE), @"Refused: nothing was written.");
    insta::assert_snapshot!(problems(&refused), @r"
    ruleward: line one
    ruleward: line two
    ");
}

/// A store on which everything is said that can be.
pub(crate) fn store() -> StatusStore {
    let store = StatusStore::new("worker-7", Duration::from_secs(90));
    let report = Report {
        problems: vec!["policy calico-postrouting trapped; fix it".to_owned()],
        incidents: vec![incident()],
        ..report()
    };
    store.checked(&report, SystemTime::UNIX_EPOCH);
    store.fights(vec![FightReport {
        place: "IPv4 nat POST\nROUTING".to_owned(),
        since: "1970-01-01T00:00:00.500Z".to_owned(),
        opponents: vec![ActorReport::once(
            Actor { name: "ev\u{1b}[2Jil".to_owned(), pid: Some(7), ..Actor::default() },
            "1970-01-01T00:00:01.000Z",
        )],
        more_opponents: 0,
        rounds: 12,
        pause_ms: 30_000.0,
        every_ms: 20_000.0,
        missing_since: Some("1970-01-01T00:03:00.000Z".to_owned()),
        next_try: Some("1970-01-01T00:03:30.000Z".to_owned()),
    }]);
    store.watch(WatchReport {
        method: "nf_tables events".to_owned(),
        detail: String::new(),
        repair: "netlink replay; 3 of 1,204 rules only by iptables-restore: no proof".to_owned(),
        unproven: 3,
    });
    store.note("journal", Some("the disk is full".to_owned()));
    store.waiting(WaitFor::Lock, Some("for the xtables lock, held by pid 1 (x) for 12 s".to_owned()));
    store
}

#[test]
fn the_status_screen_says_first_whether_all_is_right() {
    let empty = StatusStore::new("worker-7", Duration::from_secs(90)).status();
    assert!(status(&empty, SystemTime::now(), STYLE).starts_with("NOT IN SYNC YET: the first check runs since "));
    let store = store();
    let mut shown = store.status();
    (shown.pid, shown.version, shown.started) = (42, "1".to_owned(), "then".to_owned());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(200);
    insta::assert_snapshot!(status(&shown, now, STYLE), @r"
    OUT OF SYNC since 1970-01-01T00:00:00.000Z (3m 20s)
    ALARM: ev\u{1b}[2Jil (pid 7) keeps undoing IPv4 nat POST\nROUTING since 1970-01-01T00:00:00.500Z: 12 repairs so far; missing now, since 1970-01-01T00:03:00.000Z (20s), the next repair is due in 10.0 s; decide which of the two owns this place, and stop the other
    The running check waits for the xtables lock, held by pid 1 (x) for 12 s
    Problem: policy calico-postrouting trapped; fix it

    Policies
      calico-postrouting 0.1.0: running the previous version; 2 chains, 1 rule, 0 sets; trapped

    Incidents: 1 since the start
      3m 19s ago: #7 rule-deleted in IPv4 nat POSTROUTING: `-A POSTROUTING -j cali-POSTROUTING` missing; repaired by iptables-restore in 1.2 s

    Daemon
      node worker-7, pid 42, version 1, started then
      checks: 1 (1 failed), every 1m 30s, last 1970-01-01T00:00:00.000Z, one is running
      backend nft: its tables hold rules
      drift is detected by nf_tables events
      drift is repaired by netlink replay; 3 of 1,204 rules only by iptables-restore: no proof
      expected rules are known from a rehearsal in a private network namespace
    Note: leftovers in legacy
    Note: the disk is full
    ");
}

/// A report of a node that is in sync with what was in force before.
fn with_refusal() -> Report {
    let refused = "policy web: its component traps".to_owned();
    Report {
        outcome: Outcome::Unchanged,
        class: ErrorClass::Configuration,
        in_sync: true,
        problems: vec![refused.clone()],
        refused: vec![refused],
        ..Report::default()
    }
}

#[test]
fn what_is_refused_is_said_first_everywhere() {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let expected = "REFUSED: policy web: its component traps";
    let report = with_refusal();
    for text in [done(&report, STYLE), reloaded(&report, STYLE), plan(&report, STYLE)] {
        assert_eq!(first(text), expected);
    }
    insta::assert_snapshot!(done(&report, STYLE), @r"
    REFUSED: policy web: its component traps
    In sync, running the previous version: nothing had to change (0.00 ms).
    ");
    let store = StatusStore::new("n", Duration::from_secs(1));
    store.checked(&report, SystemTime::UNIX_EPOCH);
    let shown = store.status();
    let screen = status(&shown, SystemTime::now(), STYLE);
    assert!(screen.starts_with(&format!("{expected}\nIn sync, running the previous version, since ")), "{screen}");
    assert_eq!(screen.matches("its component traps").count(), 1, "{screen}");
    assert_eq!((shown.verdict(), shown.verdict().exit_code()), (Verdict::Refused, 3));
    assert_eq!(crate::serve::notify::status_line(&report), "STATUS=REFUSED: policy web: its component traps");
}

#[test]
fn a_node_on_which_nothing_is_enforced_says_so() {
    let awaiting = |hook: &str| AwaitingReport {
        family: Family::Ipv4,
        table: Table::Filter,
        within: hook.to_owned(),
        policy: "jumps".to_owned(),
        chain: Some("cali-X".to_owned()),
        set: None,
    };
    let right = Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() };
    let none = Report { nothing_enforced: Some("no policy is enabled".to_owned()), ..right.clone() };
    let waits = Report { awaiting: vec![awaiting("INPUT"), awaiting("FORWARD")], ..right.clone() };
    let all_wait = Report { nothing_enforced: Some("all wait".to_owned()), ..waits.clone() };
    let shown = |report: &Report| {
        let store = StatusStore::new("n", Duration::from_secs(1));
        store.checked(report, SystemTime::UNIX_EPOCH);
        let shown = store.status();
        (status(&shown, SystemTime::now(), STYLE), shown.verdict().exit_code())
    };
    let (text, code) = shown(&none);
    assert!(text.starts_with("NOTHING ENFORCED: no policy is enabled\nIn sync since ") && code == 4, "{code}: {text}");
    let line = "Waiting: 2 attachments of jumps wait for the chain cali-X, which does not exist \
                (IPv4 filter INPUT, IPv4 filter FORWARD)\n";
    let (text, code) = shown(&waits);
    assert!(text.starts_with("IN SYNC since ") && text.contains(line) && code == 0, "{code}: {text}");
    let (text, code) = shown(&all_wait);
    assert!(text.starts_with("NOTHING ENFORCED: all wait\n") && text.contains(line) && code == 4, "{code}: {text}");
    for text in [done(&all_wait, STYLE), plan(&all_wait, STYLE)] {
        assert!(text.contains("NOTHING ENFORCED: all wait\n") && text.contains(line), "{text}");
    }
    assert_eq!(right.exit_code(Intent::Write), 0);
    assert_eq!(shown(&right).1, 0);
    assert_eq!(shown(&Report { in_sync: false, ..none }).1, 1, "out of sync comes before all else");
}

#[test]
fn in_a_fight_the_time_goes_on_and_what_is_missing_is_not_told_as_repaired() {
    let store = StatusStore::new("n", Duration::from_secs(1));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let right = Report { outcome: Outcome::Changed, in_sync: true, incidents: vec![incident()], ..Report::default() };
    let wrong = Report { outcome: Outcome::Unchanged, ..Report::default() };
    let fight = |missing: Option<&str>| FightReport {
        place: "IPv4 nat POSTROUTING".to_owned(),
        since: "1970-01-01T00:00:10.000Z".to_owned(),
        opponents: vec![ActorReport::once(
            Actor { name: "loop".to_owned(), ..Actor::default() },
            "1970-01-01T00:00:10.000Z",
        )],
        more_opponents: 0,
        rounds: 6,
        pause_ms: 50.0,
        every_ms: 10.0,
        missing_since: missing.map(str::to_owned),
        next_try: missing.map(|_| "1970-01-01T00:00:31.000Z".to_owned()),
    };
    store.repaired(&right, at(10));
    store.fights(vec![fight(Some("1970-01-01T00:00:20.000Z"))]);
    store.repaired(&wrong, at(20));
    store.repaired(&right, at(25));
    store.repaired(&wrong, at(30));
    let status = store.status();
    assert_eq!(status.since, "1970-01-01T00:00:20.000Z", "out of sync since the first time");
    let last = status.report.incidents.last().unwrap();
    assert!(
        !last.repaired && last.how.starts_with("undone again, and missing since 1970-01-01T00:00:20.000Z"),
        "{last:?}"
    );
    store.fights(vec![fight(None)]);
    assert!(store.status().report.incidents.last().unwrap().repaired);
    store.repaired(&right, at(40));
    store.fights(Vec::new());
    store.repaired(&wrong, at(50));
    assert_eq!(store.status().since, "1970-01-01T00:00:50.000Z", "another time, when the fight is over");
}

#[test]
fn a_check_that_leaves_the_node_out_of_sync_is_counted_as_failed_everywhere() {
    let store = StatusStore::new("n", Duration::from_secs(1));
    for (outcome, in_sync) in [(Outcome::Unchanged, false), (Outcome::Changed, false), (Outcome::Changed, true)] {
        store.checked(&Report { outcome, in_sync, ..Report::default() }, SystemTime::UNIX_EPOCH);
    }
    store.checked(&Report::failure(ErrorClass::Configuration, "x"), SystemTime::UNIX_EPOCH);
    assert_eq!(store.status().checks_failed, 3);
    let text = crate::metrics::render(&store, crate::metrics::Format::Text);
    for (outcome, count) in [("failed", 2), ("refused", 1), ("changed", 1)] {
        let line = format!("ruleward_checks_total{{outcome=\"{outcome}\"}} {count}");
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
}

#[test]
fn an_incident_of_a_hostile_actor_stays_in_its_block() {
    let mut incident = incident();
    incident.actors[0].actor = Actor {
        name: "a\nb".to_owned(),
        pid: Some(9),
        command_line: Some("x \u{1b}]0;title\u{7} \u{202e}y".to_owned()),
        ..Actor::default()
    };
    (incident.times, incident.events) = (3, 10_000);
    (incident.latency_ms, incident.latency_ms_max) = (Some(0.25), Some(1500.0));
    incident.last_at = "1970-01-01T00:00:09.000Z".to_owned();
    incident.added = vec!["-A POSTROUTING -j cali-POSTROUTING".to_owned()];
    incident.removed = vec!["-A POSTROUTING -m comment --comment \"\u{9b}2J\r#8 forged\" -j ACCEPT".to_owned()];
    insta::assert_snapshot!(ruleward_report::incident_text::block(&incident, STYLE), @r#"
    1970-01-01T00:00:01.000Z #7 rule-deleted in IPv4 nat POSTROUTING
      what: `-A POSTROUTING -j cali-POSTROUTING` missing
      times: 3, the last at 1970-01-01T00:00:09.000Z
      who: a\nb (pid 9: x \u{1b}]0;title\u{7} \u{202e}y)
      detected: by 10000 events
      result: repaired by iptables-restore 0.25 ms after the change (at worst 1.5 s)
        - -A POSTROUTING -m comment --comment "\u{9b}2J\r#8 forged" -j ACCEPT
        + -A POSTROUTING -j cali-POSTROUTING
    "#);
    incident.repaired = false;
    incident.how = "no\nluck".to_owned();
    (incident.times, incident.events, incident.added, incident.removed) = (1, 0, Vec::new(), Vec::new());
    insta::assert_snapshot!(ruleward_report::incident_text::block(&incident, STYLE), @r"
    1970-01-01T00:00:01.000Z #7 rule-deleted in IPv4 nat POSTROUTING
      what: `-A POSTROUTING -j cali-POSTROUTING` missing
      who: a\nb (pid 9: x \u{1b}]0;title\u{7} \u{202e}y)
      detected: by comparison
      result: NOT repaired: no\nluck
    ");
    let coloured = ruleward_report::incident_text::block(&incident, Style { colours: true });
    assert_eq!(coloured.matches('\u{1b}').count(), 4, "only our own colours: {coloured:?}");
}

#[test]
fn the_board_shows_a_repeated_incident_once_and_counts_each_time() {
    let store = StatusStore::new("n", Duration::from_secs(1));
    for times in 1..=300 {
        let again = Incident { times, ..incident() };
        let other = Incident { id: 8, ..incident() };
        let incidents = if times == 1 { vec![again, other] } else { vec![again] };
        store.checked(&Report { incidents, ..Report::default() }, SystemTime::UNIX_EPOCH);
    }
    let status = store.status();
    assert_eq!(status.incidents_total, 301);
    let shown: Vec<_> = status.report.incidents.iter().map(|incident| (incident.id, incident.times)).collect();
    assert_eq!(shown, [(8, 1), (7, 300)]);
    assert!(status.report.notes.is_empty());
    store.note("journal", Some("full".to_owned()));
    store.note("journal", Some("still full".to_owned()));
    assert_eq!(store.status().report.notes, ["still full"]);
    store.note("journal", None);
    assert!(store.status().report.notes.is_empty());
}

#[test]
fn the_json_has_the_documented_names() {
    let json = serde_json::to_value(report()).unwrap();
    assert_eq!(json["outcome"], "changed");
    assert_eq!(json["timings-ms"]["total"], 12.34);
    assert_eq!(json["backend-reason"], "its tables hold rules");
    assert_eq!(json["policies"][0]["state"], "last-good");
    assert_eq!((&json["changes"][2]["action"], &json["changes"][2]["object"]), (&"change".into(), &"rules".into()));
    assert_eq!(json["changes"][2]["position"]["number"], 1);
    assert_eq!(json["changes"][0]["family"], serde_json::Value::Null);
    let back: Report = serde_json::from_value(json).unwrap();
    assert_eq!(back, report());
    let status = serde_json::to_value(StatusStore::new("n", Duration::from_secs(1)).status()).unwrap();
    for key in
        ["in-sync", "pid", "since", "node-name", "refresh-interval", "next-check-in-ms", "waiting", "fights", "watch"]
    {
        assert!(status.get(key).is_some(), "{key} is missing");
    }
}

#[test]
fn exit_codes_follow_from_the_report() {
    use Intent::{PlanOnly, Write};
    let right = Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() };
    assert_eq!((right.exit_code(Write), right.exit_code(PlanOnly)), (0, 0));
    assert_eq!(report().exit_code(PlanOnly), 2);
    assert_eq!(Report { outcome: Outcome::Changed, in_sync: true, ..Report::default() }.exit_code(Write), 0);
    assert_eq!(Report { in_sync: false, ..right.clone() }.exit_code(Write), 75);
    for (class, code) in [
        (ErrorClass::Temporary, 75),
        (ErrorClass::Permission, 77),
        (ErrorClass::Configuration, 78),
        (ErrorClass::Internal, 70),
    ] {
        assert_eq!(Report::failure(class, "").exit_code(PlanOnly), code);
        assert_eq!(Report { class, ..right.clone() }.exit_code(Write), code, "also when the node is right");
    }
}

#[test]
fn the_board_keeps_times_counts_and_a_bounded_past() {
    let store = StatusStore::new("n", Duration::from_secs(1));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let date = |seconds| format!("1970-01-01T00:00:{seconds}.000Z");
    let right = Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() };
    store.checked(&right, at(10));
    store.checked_again(at(20));
    let status = store.status();
    assert_eq!((status.since.as_str(), status.last_check.as_deref()), (&*date(10), Some(&*date(20))));
    store.checked(&Report { outcome: Outcome::Changed, ..right.clone() }, at(30));
    assert_eq!(store.status().since, date(30), "a repair begins a new time");
    store.checked(&Report::failure(ErrorClass::Temporary, "x"), at(40));
    let rules = vec!["-A c -j ACCEPT".to_owned(); 500];
    let long = Change { added: rules, ..change(Some(Family::Ipv4), "c", (Action::Add, Object::Chain), &[], &[]) };
    store.checked(&Report { changes: vec![long; 300], ..Report::default() }, at(50));
    let status = store.status();
    assert_eq!(status.since, date(40));
    assert_eq!((status.checks, status.checks_failed), (5, 2));
    assert_eq!(status.report.changes.len(), 100);
    assert_eq!(status.report.changes[0].added.last().unwrap(), "... and 400 more");
}
