//! Versions and candidates without a kernel: who counts when, who owns what, and what is left after a restart.

use std::time::Duration;

use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::names::Table;

use super::*;
use crate::sim::SimRuntime;
use ruleward_report::CandidateState;
use ruleward_sandbox::last_good::{self, InDirectory};
use ruleward_sandbox::testkit::{Guest, Kit, facts};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1)
}

fn name(text: &str) -> PolicyName {
    PolicyName::new(text).unwrap()
}

fn grants(chain: &str) -> Grants {
    Grants { tables: vec![Table::Nat], chains: vec![Pattern::new(chain).unwrap()], ..Grants::default() }
}

/// A version with this body of `evaluate`; `number` makes it another one.
fn version(kit: &Kit, policy: &str, number: u32, evaluate: &str, grants: Grants) -> Arc<Version> {
    let more = format!("(global i32 (i32.const {number}))");
    let loaded = kit.load(&Guest { evaluate, more: &more, ..Guest::default() }.component()).unwrap();
    Arc::new(Version::new(name(policy), loaded, "{}".to_owned(), grants))
}

const EMPTY: &str = "i32.const 128";
const TRAP: &str = "unreachable";

fn offer(versions: &[&Arc<Version>]) -> PolicySet {
    let spec = |version: &&Arc<Version>| {
        let state = SpecState::Loaded(Arc::clone(version));
        let (grants, limits) = (version.grants().clone(), version.loaded().limits().clone());
        (version.policy().clone(), PolicySpec { grants, settings: Arc::clone(version.settings()), limits, state })
    };
    PolicySet { specs: versions.iter().map(spec).collect(), complete: true, ..PolicySet::default() }
}

fn opened(kit: &Kit) -> Roster {
    Roster::open(Arc::new(InDirectory(kit.folder.path().join("kept"))), Families::BOTH)
}

/// Takes the offer, asks, and puts in force what is chosen.
fn put_in_force(roster: &mut Roster, versions: &[&Arc<Version>]) -> Vec<Accepted> {
    roster.take(&offer(versions));
    roster.evaluate(Some(&Arc::new(facts())), &Whom::All, false, &SimRuntime::default());
    accept(roster, true)
}

/// What is chosen is in force, and kept for the next start.
fn accept(roster: &mut Roster, gone: bool) -> Vec<Accepted> {
    let accepted = roster.accept(gone, now());
    roster.save();
    accepted
}

fn digest(roster: &Roster, at: usize) -> Option<String> {
    roster.report()[at].digest.clone()
}

#[test]
fn a_candidate_takes_its_place_when_it_is_accepted_and_not_before() {
    let kit = Kit::new();
    let (first, second) =
        (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "web", 2, EMPTY, grants("w-*")));
    let mut roster = opened(&kit);
    let accepted = put_in_force(&mut roster, &[&first]);
    assert!(accepted.len() == 1 && accepted[0].new_version);
    roster.take(&offer(&[&second]));
    roster.evaluate(Some(&Arc::new(facts())), &Whom::All, false, &SimRuntime::default());
    assert_eq!(digest(&roster, 0).as_deref(), Some(first.loaded().digest()));
    assert_eq!(roster.report()[0].candidate.as_ref().unwrap().state, CandidateState::Waiting);
    let kept = |policy: &str| last_good::load(&kit.folder.path().join("kept"), &name(policy)).unwrap().unwrap().digest;
    assert_eq!(kept("web"), first.loaded().digest());
    assert!(accept(&mut roster, true)[0].new_version);
    assert_eq!((digest(&roster, 0), kept("web")), (Some(second.loaded().digest().to_owned()), kept("web")));
    assert_eq!(kept("web"), second.loaded().digest());
    assert!(roster.report()[0].candidate.is_none());
    assert!(accept(&mut roster, true).is_empty(), "nothing is new");
}

#[test]
fn a_candidate_that_fails_is_asked_again_for_other_facts_only() {
    let kit = Kit::new();
    let (good, bad) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "web", 2, TRAP, grants("w-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&good]);
    assert!(put_in_force(&mut roster, &[&bad]).is_empty());
    let report = roster.report();
    assert_eq!(report[0].state, PolicyState::LastGood);
    assert_eq!(report[0].digest.as_deref(), Some(good.loaded().digest()));
    let candidate = report[0].candidate.as_ref().unwrap();
    assert_eq!(candidate.state, CandidateState::Refused);
    assert!(candidate.reason.as_ref().unwrap().contains("panicked"), "{candidate:?}");
    // The version in force still answers.
    let mut other = facts();
    other.node_name = "other".to_owned();
    roster.evaluate(Some(&Arc::new(other)), &Whom::All, false, &SimRuntime::default());
    assert_eq!(roster.contributions().len(), 1);
    // Back to what is in force: nothing is asked for any more.
    roster.take(&offer(&[&good]));
    assert!(roster.report()[0].candidate.is_none());
    assert_eq!(roster.report()[0].state, PolicyState::Current);
}

#[test]
fn who_leaves_owns_until_the_commit_that_removes_it() {
    let kit = Kit::new();
    let (web, app) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, EMPTY, grants("a-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&web, &app]);
    roster.take(&offer(&[&web]));
    roster.evaluate(Some(&Arc::new(facts())), &Whom::All, false, &SimRuntime::default());
    assert!(roster.is_leaving() && roster.ownership().owns_chain(Table::Nat, "a-1"));
    assert_eq!(roster.contributions().len(), 1);
    accept(&mut roster, false);
    assert!(roster.ownership().owns_chain(Table::Nat, "a-1"), "it could not be removed yet");
    accept(&mut roster, true);
    assert!(!roster.is_leaving() && !roster.ownership().owns_chain(Table::Nat, "a-1"));
    let kept = last_good::policies(&kit.folder.path().join("kept")).unwrap();
    assert_eq!(kept, [name("web")]);
}

#[test]
fn who_left_while_nobody_looked_is_known_by_its_record() {
    let kit = Kit::new();
    let (web, app) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, EMPTY, grants("a-*")));
    put_in_force(&mut opened(&kit), &[&web, &app]);
    let mut roster = opened(&kit);
    roster.take(&offer(&[&web]));
    assert!(roster.can_begin(), "the last answer is known");
    assert!(roster.ownership().owns_chain(Table::Nat, "a-1") && roster.whole_ownership().owns_chain(Table::Nat, "a-1"));
    put_in_force(&mut roster, &[&web]);
    assert!(!roster.whole_ownership().owns_chain(Table::Nat, "a-1"));
}

#[test]
fn who_leaves_stays_while_others_are_being_loaded() {
    let kit = Kit::new();
    let (web, app) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, EMPTY, grants("a-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&web, &app]);
    roster.take(&PolicySet { complete: false, ..offer(&[&web]) });
    assert!(!roster.is_leaving() && roster.contributions().len() == 2);
    roster.take(&offer(&[&web]));
    assert!(roster.is_leaving() && roster.contributions().len() == 1);
}

#[test]
fn grants_that_shrink_end_with_the_commit() {
    let kit = Kit::new();
    let (wide, narrow) =
        (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "web", 1, EMPTY, grants("w-in")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&wide]);
    roster.take(&offer(&[&narrow]));
    roster.evaluate(Some(&Arc::new(facts())), &Whom::All, false, &SimRuntime::default());
    assert!(roster.ownership().owns_chain(Table::Nat, "w-out"));
    accept(&mut roster, true);
    assert!(!roster.ownership().owns_chain(Table::Nat, "w-out"));
}

#[test]
fn what_another_version_still_owns_is_waited_for() {
    let kit = Kit::new();
    let (web, app) = (version(&kit, "web", 1, EMPTY, grants("x-*")), version(&kit, "app", 1, EMPTY, grants("a-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&web, &app]);
    let (trapping, taking) =
        (version(&kit, "web", 2, TRAP, grants("w-*")), version(&kit, "app", 2, EMPTY, grants("x-*")));
    assert!(put_in_force(&mut roster, &[&trapping, &taking]).is_empty());
    let held = roster.report()[0].candidate.clone().unwrap();
    assert_eq!(held.state, CandidateState::Waiting);
    assert!(held.reason.unwrap().contains("what policy web owns"));
    let giving = version(&kit, "web", 3, EMPTY, grants("w-*"));
    assert_eq!(put_in_force(&mut roster, &[&giving, &taking]).len(), 2);
}

/// A body that answers `waiting` with the text `test`.
const WAIT: &str = "(i32.store8 (i32.const 128) (i32.const 1)) (i32.store8 (i32.const 132) (i32.const 2))
    (i32.store (i32.const 136) (i32.const 256)) (i32.store (i32.const 140) (i32.const 4)) i32.const 128";

#[test]
fn who_has_never_answered_holds_up_no_other_and_keeps_its_names() {
    let kit = Kit::new();
    for (body, state) in [(TRAP, PolicyState::NeverAnswered), (WAIT, PolicyState::Waiting)] {
        let (web, bad) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, body, grants("a-*")));
        let mut roster = Roster::without_records(Families::BOTH);
        assert_eq!(put_in_force(&mut roster, &[&web, &bad]).len(), 1);
        let ownership = roster.ownership();
        assert!(ownership.owns_chain(Table::Nat, "w-1") && !ownership.owns_chain(Table::Nat, "a-1"));
        assert!(!ownership.owns_rule(Table::Nat, "-m comment --comment rw:app:0123456789ab -j ACCEPT"));
        assert_eq!(roster.report()[0].state, state);
        let behind = roster.behind();
        let waits = state == PolicyState::Waiting;
        assert_eq!(
            (behind.missing, behind.refused.len(), behind.waiting.len()),
            (!waits, (!waits).into(), waits.into())
        );
        assert_eq!(roster.rejections().is_empty(), waits, "to wait is no refusal");
    }
}

#[test]
fn a_policy_that_waits_keeps_what_is_in_force() {
    let kit = Kit::new();
    let (good, waits) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "web", 2, WAIT, grants("w-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&good]);
    assert!(put_in_force(&mut roster, &[&waits]).is_empty());
    let report = &roster.report()[0];
    assert_eq!((report.state, report.digest.as_deref()), (PolicyState::Waiting, Some(good.loaded().digest())));
    let candidate = report.candidate.as_ref().unwrap();
    assert_eq!((candidate.state, candidate.reason.as_deref()), (CandidateState::Waiting, Some("is waiting: test")));
    assert_eq!(roster.behind().waiting, ["policy web is waiting: test; what was in force stays"]);
}

#[test]
fn who_left_stays_in_force_until_all_others_have_answered() {
    let kit = Kit::new();
    let old = version(&kit, "old", 1, EMPTY, grants("o-*"));
    let (web, waits) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, WAIT, grants("a-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&old]);
    put_in_force(&mut roster, &[&web, &waits]);
    assert!(roster.contributions().len() == 2 && roster.ownership().owns_chain(Table::Nat, "o-1"));
    assert!(!roster.is_leaving());
    let staying = roster.behind().staying;
    assert!(staying.len() == 1 && staying[0].contains("old") && staying[0].ends_with("missing: app"), "{staying:?}");
    let answers = version(&kit, "app", 2, EMPTY, grants("a-*"));
    put_in_force(&mut roster, &[&web, &answers]);
    assert!(!roster.ownership().owns_chain(Table::Nat, "o-1"));
    assert!(roster.behind() == Behind::default() && roster.contributions().len() == 2);
}

#[test]
fn who_left_makes_room_for_one_that_has_answered() {
    let kit = Kit::new();
    let old = version(&kit, "old", 1, EMPTY, grants("o-*"));
    let (heir, waits) = (version(&kit, "heir", 1, EMPTY, grants("o-*")), version(&kit, "app", 1, WAIT, grants("a-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&old]);
    assert_eq!(put_in_force(&mut roster, &[&heir, &waits]).len(), 1);
    assert_eq!(roster.ownership().chain_owner(Table::Nat, "o-1"), Some(&name("heir")));
}

#[test]
fn what_a_policy_warns_of_is_told_as_long_as_its_answer_counts() {
    let kit = Kit::new();
    let says = |level| format!("(call $emit (i32.const {level}) (i32.const 256) (i32.const 4)) i32.const 128");
    let warns = version(&kit, "web", 1, &says(2), grants("w-*"));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&warns]);
    assert_eq!(roster.report()[0].warnings, ["test"]);
    assert_eq!(opened(&kit).report()[0].warnings, ["test"], "also after a restart");
    let informs = version(&kit, "web", 2, &says(1), grants("w-*"));
    put_in_force(&mut roster, &[&informs]);
    assert!(roster.report()[0].warnings.is_empty());
    assert!(opened(&kit).report()[0].warnings.is_empty());
}

#[test]
fn what_is_gone_from_the_disk_is_kept_anew() {
    let kit = Kit::new();
    let web = version(&kit, "web", 1, EMPTY, grants("w-*"));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&web]);
    assert!(!roster.notice_lost(now()));
    let kept = kit.folder.path().join("kept");
    std::fs::remove_dir_all(&kept).unwrap();
    assert!(roster.notice_lost(now()) && !roster.notice_lost(now()));
    assert_eq!(roster.all_in_force().len(), 1);
    accept(&mut roster, true);
    assert!(last_good::load(&kept, &name("web")).unwrap().is_some());
    // Also what only a record was left of.
    let mut restarted = opened(&kit);
    std::fs::remove_dir_all(&kept).unwrap();
    assert!(restarted.notice_lost(now()));
    accept(&mut restarted, true);
    assert!(last_good::load(&kept, &name("web")).unwrap().is_some());
}

#[test]
fn only_one_of_several_is_asked() {
    let kit = Kit::new();
    let (web, app) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "app", 1, EMPTY, grants("a-*")));
    let mut roster = opened(&kit);
    let facts = Arc::new(facts());
    roster.take(&offer(&[&web, &app]));
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    assert_eq!(roster.retract("the kernel says no"), [name("app"), name("web")]);
    assert!(roster.is_silent());
    roster.evaluate(Some(&facts), &Whom::None, false, &SimRuntime::default());
    assert!(roster.is_silent());
    roster.evaluate(Some(&facts), &Whom::Only(name("web")), false, &SimRuntime::default());
    assert_eq!(roster.news(), [name("web")]);
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    assert_eq!(roster.news(), [name("app"), name("web")]);
}

#[test]
fn what_was_retracted_is_tried_again() {
    let kit = Kit::new();
    let trial = "(i32.store (i32.const 132) (i32.const 0)) i32.const 128";
    let (good, next) = (version(&kit, "web", 1, EMPTY, grants("w-*")), version(&kit, "web", 2, trial, grants("w-*")));
    let mut roster = opened(&kit);
    put_in_force(&mut roster, &[&good]);
    roster.take(&offer(&[&next]));
    let facts = Arc::new(facts());
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    roster.refuse(&name("web"), "the tool failed".to_owned(), false);
    assert_eq!(roster.report()[0].candidate.as_ref().unwrap().state, CandidateState::Refused);
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    assert_eq!(accept(&mut roster, true).len(), 1);
    roster.take(&offer(&[&good]));
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    roster.refuse(&name("web"), "the kernel says no".to_owned(), true);
    roster.evaluate(Some(&facts), &Whom::All, false, &SimRuntime::default());
    assert!(accept(&mut roster, true).is_empty(), "the same facts give the same refusal");
    roster.evaluate(Some(&facts), &Whom::All, true, &SimRuntime::default());
    assert_eq!(accept(&mut roster, true).len(), 1, "somebody asked");
}

#[test]
fn a_version_is_told_by_each_of_its_parts() {
    let limits = ruleward_sandbox::Limits::default();
    let other_limits = limits.clone().with(Limit::Fuel, 1);
    let id = |digest, settings, grants: &Grants, limits| identity(digest, settings, grants, limits);
    let ids = [
        id("sha256:1", "{}", &grants("a-*"), &limits),
        id("sha256:2", "{}", &grants("a-*"), &limits),
        id("sha256:1", "{ }", &grants("a-*"), &limits),
        id("sha256:1", "{}", &grants("b-*"), &limits),
        id("sha256:1", "{}", &grants("a-*"), &other_limits),
    ];
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(ids[0], id("sha256:1", "{}", &grants("a-*"), &limits));
}
