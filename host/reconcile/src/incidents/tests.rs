//! Incidents: counted, coalesced, shortened, and harmless to a terminal.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use ruleward_core::actor::Parent;
use ruleward_core::names::{Family, Table};
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use super::*;
use ruleward_report::ActorReport;

fn drift(kind: Kind, added: &[&str], removed: &[&str]) -> Drift {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Drift {
        family: Some(Family::Ipv4),
        table: Some(Table::Nat),
        chain: "POSTROUTING".to_owned(),
        kind,
        added: strings(added),
        removed: strings(removed),
    }
}

fn repair() -> Repair {
    let how = "iptables-restore".to_owned();
    Repair { repaired: true, how, took: Duration::from_micros(12_345), latency: None }
}

fn by(name: &str, events: u64) -> Cause {
    let actor = Actor { name: name.to_owned(), pid: Some(4711), ..Actor::default() };
    Cause { actors: vec![actor], events, ..Cause::default() }
}

/// The actors that an incident names, and how often each did it.
fn told(incident: &Incident) -> Vec<(String, u64)> {
    incident.actors.iter().map(|one| (one.actor.name.clone(), one.times)).collect()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn an_incident_says_what_where_how_and_how_long() {
    let mut incidents = Incidents::new(0);
    let jump = drift(Kind::RuleDeleted, &["-m comment --comment \"cali:a\" -j cali-POSTROUTING"], &[]);
    let recorded = incidents.record(&[jump], |_| Cause::default(), &repair(), SystemTime::UNIX_EPOCH);
    let first = &recorded[0];
    assert_eq!((first.id, first.times, first.events), (1, 1, 0));
    assert_eq!(first.at, "1970-01-01T00:00:00.000Z");
    assert_eq!(first.last_at, first.at);
    assert_eq!(first.place(), "IPv4 nat POSTROUTING");
    assert_eq!(first.added, ["-A POSTROUTING -m comment --comment \"cali:a\" -j cali-POSTROUTING"]);
    assert_eq!(first.took_ms, 12.345);
    assert_eq!((first.latency_ms, first.latency_ms_max), (None, None));
    assert_eq!(told(first), [("unknown".to_owned(), 1)]);
    assert!(first.detail.ends_with(" missing"), "{}", first.detail);
}

#[test]
fn a_fight_is_one_incident_with_counts_the_worst_latency_and_all_rules() {
    let mut incidents = Incidents::new(0);
    let mut last = None;
    for (second, latency) in [(0, 3), (59, 9), (118, 2)] {
        let rule = format!("-j RULE{}", second % 118);
        let repair = Repair { latency: Some(Duration::from_millis(latency)), ..repair() };
        let recorded = incidents.record(
            &[drift(Kind::RuleDeleted, &[&rule, "-j SAME"], &[])],
            |_| by("loop", 10_000),
            &repair,
            at(second),
        );
        last = recorded.into_iter().next();
    }
    let last = last.unwrap();
    assert_eq!((last.id, last.times, last.events), (1, 3, 30_000));
    assert_eq!((last.latency_ms, last.latency_ms_max), (Some(2.0), Some(9.0)));
    assert_eq!((last.at.as_str(), last.last_at.as_str()), ("1970-01-01T00:00:00.000Z", "1970-01-01T00:01:58.000Z"));
    assert_eq!(last.added, ["-A POSTROUTING -j RULE0", "-A POSTROUTING -j SAME", "-A POSTROUTING -j RULE59"]);
}

#[test]
fn another_time_kind_or_place_is_another_incident() {
    let mut incidents = Incidents::new(0);
    let deleted = drift(Kind::RuleDeleted, &["-j X"], &[]);
    let mut record = |drift: &Drift, cause: Cause, time| {
        incidents.record(std::slice::from_ref(drift), |_| cause.clone(), &repair(), time)[0].id
    };
    assert_eq!(record(&deleted, by("a", 1), at(100)), 1);
    assert_eq!(record(&drift(Kind::RuleMoved, &["-j X"], &["-j X"]), by("a", 1), at(100)), 2);
    assert_eq!(record(&Drift { chain: "INPUT".into(), ..deleted.clone() }, by("a", 1), at(100)), 3);
    assert_eq!(record(&deleted, by("b", 1), at(159)), 1);
    assert_eq!(record(&deleted, by("a", 1), at(219)), 4, "a minute after the last");
    assert_eq!(record(&deleted, by("a", 1), at(10)), 5, "the clock was set back");
}

#[test]
fn every_actor_of_an_incident_is_kept_with_its_count_and_its_times() {
    let mut incidents = Incidents::new(0);
    let jump = [drift(Kind::RuleDeleted, &["-j X"], &[])];
    let script = |name: &str| {
        let parent = Parent { name: "sh".into(), pid: 1, command_line: Some(format!("sh {name}")), parent: None };
        Actor { name: "iptables".into(), pid: Some(7), parent: Some(Box::new(parent)), ..Actor::default() }
    };
    let mut last = None;
    let causes = [vec![script("a.sh")], vec![script("b.sh")], vec![], vec![script("a.sh"), script("c.sh")]];
    for (second, actors) in causes.into_iter().enumerate() {
        let cause = Cause { actors, events: 1, ..Cause::default() };
        last = incidents.record(&jump, |_| cause.clone(), &repair(), at(second as u64)).pop();
    }
    let last = last.unwrap();
    let second = |number| format!("1970-01-01T00:00:0{number}.000Z");
    let who = |one: &ActorReport| {
        let words = one.actor.parents().next().and_then(|parent| parent.command_line.clone());
        (words.unwrap_or(one.actor.name.clone()), one.times, one.at.clone(), one.last_at.clone())
    };
    let expected = [
        ("sh a.sh".to_owned(), 2, second(0), second(3)),
        ("sh b.sh".to_owned(), 1, second(1), second(1)),
        ("unknown".to_owned(), 1, second(2), second(2)),
        ("sh c.sh".to_owned(), 1, second(3), second(3)),
    ];
    assert_eq!(last.actors.iter().map(who).collect::<Vec<_>>(), expected);
    assert_eq!((last.id, last.times, last.more_actors), (1, 4, 0));
    assert_eq!(last.latest, [script("a.sh"), script("c.sh")]);
    for number in 0..20 {
        let cause = Cause { actors: vec![script(&format!("{number}.sh"))], ..Cause::default() };
        let recorded = incidents.record(&jump, |_| cause.clone(), &repair(), at(4));
        assert_eq!(recorded[0].actors.iter().map(|one| one.times).sum::<u64>() + recorded[0].more_actors, 6 + number);
    }
}

#[test]
fn latency_counts_only_for_what_an_event_announced_and_a_repair_ended() {
    let mut incidents = Incidents::new(0);
    let announced = Repair { latency: Some(Duration::from_millis(5)), ..repair() };
    let failed = Repair { repaired: false, ..announced.clone() };
    let drift = [drift(Kind::RuleDeleted, &["-j X"], &[])];
    assert_eq!(incidents.record(&drift, |_| by("a", 1), &announced, at(0))[0].latency_ms, Some(5.0));
    assert_eq!(incidents.record(&drift, |_| by("b", 0), &announced, at(0))[0].latency_ms, None);
    assert_eq!(incidents.record(&drift, |_| by("c", 1), &failed, at(0))[0].latency_ms, None);
}

#[test]
fn a_flood_is_counted_not_logged_and_a_long_chain_is_shortened() {
    let mut incidents = Incidents::new(0);
    let start = SystemTime::UNIX_EPOCH + MINUTE;
    let logged = (0..200).filter(|_| incidents.may_log(start)).count();
    assert_eq!(logged, LINES_A_MINUTE as usize);
    assert_eq!(incidents.unlogged, 200 - u64::from(LINES_A_MINUTE));
    assert!(incidents.may_log(start + MINUTE));
    assert!(incidents.may_log(start), "a clock that was set back begins a new minute");

    let many: Vec<String> = (0..500).map(|n| format!("-j C{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let flushed = [drift(Kind::ChainFlushed, &many, &[])];
    for times in 1..4 {
        let recorded = incidents.record(&flushed, |_| Cause::default(), &repair(), start);
        assert_eq!((recorded[0].added.len(), recorded[0].times), (KEPT_LINES, times));
        assert_eq!(recorded[0].detail, "500 rules (the first 100 are kept) missing");
    }
}

#[test]
fn what_is_kept_for_repeats_is_bounded() {
    let mut incidents = Incidents::new(0);
    let drifts: Vec<Drift> = (0..3 * OPEN_INCIDENTS)
        .map(|n| Drift { chain: format!("c{n}"), ..drift(Kind::ChainDeleted, &["-j X"], &[]) })
        .collect();
    assert_eq!(incidents.record(&drifts, |_| Cause::default(), &repair(), at(0)).len(), drifts.len());
    assert_eq!(incidents.open.len(), OPEN_INCIDENTS);
    let again = incidents.record(&drifts, |_| Cause::default(), &repair(), at(1));
    assert_eq!(again.iter().filter(|incident| incident.times == 2).count(), OPEN_INCIDENTS);
}

#[test]
fn the_log_line_of_a_hostile_actor_is_one_line() {
    let mut incidents = Incidents::new(0);
    let rule = "-m comment --comment \"a\nERROR forged \u{1b}[2J\" -j X";
    let cause = by("ev\nil\u{1b}[31m", 1);
    let lines = logged(move || {
        incidents.record(&[drift(Kind::RuleAdded, &[], &[rule])], |_| cause.clone(), &repair(), at(0));
        for _ in 0..7 {
            incidents.record(&[drift(Kind::RuleAdded, &[], &[rule])], |_| cause.clone(), &repair(), at(1));
        }
    });
    assert_eq!(lines.len(), 4, "the first, 2nd, 4th and 8th time: {lines:?}");
    assert!(lines[0].contains("incident 1: rule-added in IPv4 nat POSTROUTING by ev\\nil\\u{1b}[31m (pid 4711)"));
    assert!(lines[3].contains("(time 8)"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(['\u{1b}', '\n'])), "{lines:?}");
}

thread_local! {
    /// What this thread has logged since somebody wants to know.
    static LOGGED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps the messages that are logged.
struct Messages;

impl<S: Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            if field.name() == "message" {
                LOGGED.with_borrow_mut(|logged| logged.iter_mut().for_each(|lines| lines.push(format!("{value:?}"))));
            }
        });
    }
}

/// What `work` logs. All tests have one subscriber: `tracing` decides once for each line in the code whether anybody
/// listens, and asks the thread that comes there first.
fn logged(work: impl FnOnce()) -> Vec<String> {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        tracing::subscriber::set_global_default(registry().with(Messages)).unwrap();
        tracing::callsite::rebuild_interest_cache();
    });
    LOGGED.set(Some(Vec::new()));
    work();
    LOGGED.take().unwrap()
}
