//! Somebody undoes a repair before it is read back.

use ruleward_core::check::{OutputLimits, check};
use ruleward_core::contribution::{Attachment, Contribution, Families};
use ruleward_core::fight::Limits;
use ruleward_core::grants::{Grants, Pattern, Uses};
use ruleward_core::merge::merge;
use ruleward_core::names::{Backend, ChainName, Hook, Placement, PolicyName};
use ruleward_core::ownership::Ownership;
use ruleward_core::rule::{Rule, Target};

use ruleward_core::drift;

use super::events::is_known;
use super::*;
use crate::found::Found;
use crate::pass::{Pass, Stop};
use crate::sim::SimRuntime;
use crate::trace::Recorder;
use ruleward_kernel::observe::observe_forms;
use ruleward_kernel::rehearse::{Learn, rehearse};
use ruleward_kernel::sim::{Fake, Fault};
use ruleward_kernel::watch::Watch;
use ruleward_report::{Intent, Outcome, Report};

const REFRESH: Duration = Duration::from_secs(90);
/// Longer than any machine stands still here; what is to come is brought nearer, not waited for.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
/// Repairs of one place at once, before they wait.
const CALM: usize = 5;

/// One rule in INPUT, in force; what must be there, and what keeps it.
fn kept(port: &Fake) -> (Arc<Expected>, Kernel) {
    kept_with(port, Target::Accept)
}

fn kept_with(port: &Fake, target: Target) -> (Arc<Expected>, Kernel) {
    let uses = Uses { chains: vec![Pattern::new("f2b-*").unwrap()], ..Uses::default() };
    let grants = Grants { tables: vec![Table::Filter], uses, ..Grants::default() };
    let policy = PolicyName::new("web").unwrap();
    let attachment = Attachment {
        table: Table::Filter,
        hook: Hook::Input,
        families: Families { ipv4: true, ipv6: false },
        placement: Placement::First,
        order: 0,
        rule: Rule { matches: Vec::new(), target: Some(target), comment: None },
    };
    let contribution = Contribution { attachments: vec![attachment], ..Contribution::default() };
    let checked = check(&policy, &grants, |_| true, OutputLimits::default(), &contribution).unwrap();
    let desired = merge(&[checked], Ownership::new(vec![(policy, grants)]), Family::ALL.to_vec());
    let mut expected = Arc::new(rehearse(port, desired, Learn::Encodings(None)).unwrap().expected);
    let mut kernel =
        Kernel::new(Box::new(Watch::Off("nobody tells".to_owned())), Arc::new(SimRuntime::default()), REFRESH);
    kernel.fights = Fights::with_limits(REFRESH, Limits { first_pause: FIRST_PAUSE, ..Limits::default() });
    repair(port, &mut kernel, &mut expected, OnRevert::Retry).unwrap();
    assert_eq!(rules(port), 1);
    (expected, kernel)
}

fn rules(port: &Fake) -> usize {
    port.save(Family::Ipv4, Table::Filter).unwrap().lines().filter(|line| line.starts_with("-A INPUT")).count()
}

/// Looks, and repairs what is not as expected. The report of a failure.
fn repair(
    port: &Fake,
    kernel: &mut Kernel,
    expected: &mut Arc<Expected>,
    on_revert: OnRevert,
) -> Result<(), Box<Report>> {
    let mut pass = Pass {
        report: Report::default(),
        started: kernel.runtime.now(),
        intent: Intent::Write,
        committed_at: None,
        committing: false,
        settled: false,
        on_revert,
        found: Found { measure: Some(Arc::clone(expected)), ..Found::default() },
        recorder: Recorder::new(false),
        cause: "",
        runtime: Arc::clone(&kernel.runtime),
    };
    let mut observed = kernel.look(port, expected, &Scope::All, CompareMode::Encoded, false).unwrap();
    let mut todo = plan(expected, &observed);
    let drifts = drift::name(&todo, expected, &observed);
    if on_revert == OnRevert::Backoff {
        kernel.defer(&drifts, &Activity::default(), &Scope::All, &todo);
    }
    let done = kernel.write(port, &mut pass, expected, &mut observed, &mut todo, &Scope::All);
    done.map(drop).map_err(|Stop| Box::new(pass.report))
}

/// A pause goes by.
fn go_by(kernel: &mut Kernel) {
    kernel.started -= FIRST_PAUSE;
}

fn flush(port: &Fake) {
    port.stranger(|kernel| kernel.table(Family::Ipv4, Table::Filter).get_mut("INPUT").unwrap().clear());
}

/// The next so many writes are undone as soon as they are done.
fn undo(port: &Fake, writes: usize) {
    for _ in 0..writes {
        let clear = |kernel: &mut ruleward_core::simulate::Simulated| {
            kernel.table(Family::Ipv4, Table::Filter).get_mut("INPUT").unwrap().clear();
        };
        port.fault(Fault::Undo(Box::new(clear)));
    }
}

#[test]
fn each_time_it_counts_and_in_a_fight_it_waits() {
    let port = Fake::new(Backend::Nft);
    let (mut expected, mut kernel) = kept(&port);
    let before = port.transactions();
    flush(&port);
    undo(&port, 100);
    repair(&port, &mut kernel, &mut expected, OnRevert::Backoff).unwrap();
    assert_eq!((port.transactions() - before, rules(&port)), (CALM, 0));
    let [fight] = &kernel.fights.fights(kernel.elapsed())[..] else { panic!("there is a fight") };
    assert_eq!(fight.rounds, CALM as u64);
    assert!(kernel.sync.defers((Family::Ipv4, Table::Filter), "INPUT"));
    assert!(kernel.sync.contended().is_some_and(|contended| contended.due > kernel.runtime.now()));
    // One more repair, and the next pause.
    go_by(&mut kernel);
    repair(&port, &mut kernel, &mut expected, OnRevert::Backoff).unwrap();
    assert_eq!((port.transactions() - before, rules(&port)), (CALM + 1, 0));
    assert!(kernel.sync.contended().is_some_and(|contended| contended.due > kernel.runtime.now()));
}

#[test]
fn what_is_undone_once_is_right_at_the_end_of_the_same_pass() {
    let port = Fake::new(Backend::Nft);
    let (mut expected, mut kernel) = kept(&port);
    flush(&port);
    undo(&port, 1);
    repair(&port, &mut kernel, &mut expected, OnRevert::Backoff).unwrap();
    assert_eq!(rules(&port), 1);
    assert!(kernel.sync.contended().is_none());
}

/// After a lost race only the chain that changes is read again, and the one that its rule waits for.
#[test]
fn a_jump_to_another_programs_chain_comes_back_after_a_lost_race() {
    let port = Fake::new(Backend::Nft);
    let chain = |kernel: &mut ruleward_core::simulate::Simulated| {
        kernel.table(Family::Ipv4, Table::Filter).insert("f2b-sshd".to_owned(), Vec::new());
    };
    port.stranger(chain);
    let (mut expected, mut kernel) = kept_with(&port, Target::Jump(ChainName::new("f2b-sshd").unwrap()));
    flush(&port);
    port.fault(Fault::Stranger(Box::new(|kernel| {
        kernel.table(Family::Ipv4, Table::Filter).insert("other".to_owned(), Vec::new());
    })));
    repair(&port, &mut kernel, &mut expected, OnRevert::Retry).unwrap();
    assert_eq!(rules(&port), 1);
}

#[test]
fn who_insists_tries_again_and_is_told_when_it_was_in_vain() {
    let port = Fake::new(Backend::Nft);
    let (mut expected, mut kernel) = kept(&port);
    flush(&port);
    undo(&port, TRIES);
    let report = repair(&port, &mut kernel, &mut expected, OnRevert::Retry).unwrap_err();
    assert_eq!((report.outcome, rules(&port)), (Outcome::Failed, 0));
    assert!(report.problems[0].contains("the same rules; gave up after 6 tries"), "{:?}", report.problems);
    undo(&port, TRIES - 1);
    repair(&port, &mut kernel, &mut expected, OnRevert::Retry).unwrap();
    assert_eq!(rules(&port), 1);
}

/// A table that was emptied again and again waits, and a look finds one chain of it. If the table waited still it would be
/// due at once, and for ever.
#[test]
fn what_is_not_found_again_waits_for_nothing() {
    let port = Fake::new(Backend::Nft);
    let (expected, mut kernel) = kept(&port);
    flush(&port);
    let part = [((Family::Ipv4, Table::Filter), Some([Box::from("INPUT")].into()))];
    let scope = Scope::Part { tables: part.into(), sets: false };
    let observed = observe_forms(&port, &expected, &scope, &mut |_| None).unwrap().unwrap().observed;
    let todo = plan(&expected, &observed);
    let chain = drift::name(&todo, &expected, &observed);
    let table = vec![drift::Drift { chain: String::new(), ..chain[0].clone() }];
    for drifts in [table, chain] {
        let mut waits = || !kernel.defer(&drifts, &Activity::default(), &scope, &todo).is_empty();
        assert_eq!((0..=CALM).find(|_| waits()), Some(CALM));
        assert!(kernel.sync.contended().is_some_and(|contended| contended.due > kernel.runtime.now()), "{drifts:?}");
        go_by(&mut kernel);
    }
}

#[test]
fn our_transactions_are_known_also_when_nothing_is_right() {
    let port = Fake::new(Backend::Nft);
    let (mut expected, mut kernel) = kept(&port);
    flush(&port);
    let theirs = port.generation().unwrap();
    kernel.sync.set_generation(Some(theirs));
    repair(&port, &mut kernel, &mut expected, OnRevert::Backoff).unwrap();
    let ours = port.generation().unwrap();
    assert_eq!((kernel.sync.generation(), ours), (Some(ours), theirs + 1));
    assert!(is_known(ours, &kernel.own, None, false) && !is_known(theirs, &kernel.own, None, false));
}

#[test]
fn of_others_what_was_there_when_all_was_right_is_known() {
    let known = |by_text| move |generation: &u32| is_known(*generation, &VecDeque::from([4]), Some(1), by_text);
    // They begin anew when they are used up.
    let generations = [u32::MAX, 0, 1, 2, 3, 4];
    let text: Vec<_> = generations.into_iter().filter(known(true)).collect();
    assert_eq!(text, [u32::MAX, 0, 1, 4]);
    let forms: Vec<_> = generations.into_iter().filter(known(false)).collect();
    assert_eq!(forms, [u32::MAX, 0, 4], "the last one may have been read before its rules were there");
}
