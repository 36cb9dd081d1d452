//! Chains of another program that come and go, alone and together with real drift.

use super::*;
use crate::check::CheckedRule;
use crate::drift::Kind;
use crate::expected::Basis;
use crate::grants::{Grants, Pattern};
use crate::merge::{Desired, DesiredAttachment, DesiredHook, DesiredTable};
use crate::names::ChainName;
use crate::ownership::Ownership;

const PLACE: (Family, Table) = (Family::Ipv4, Table::Nat);
const JUMP: &str = "-m comment --comment \"cali:a\" -j cali-POSTROUTING";
const OURS: &str = "-m comment --comment \"cali:b\" -j RETURN";

fn observed(chains: &[&str], postrouting: &[&str], prerouting: &[&str]) -> Observed {
    let mut table = ObservedTable::default();
    table.push_chain("POSTROUTING", postrouting.iter().map(|rule| (*rule, 1)));
    table.push_chain("PREROUTING", prerouting.iter().map(|rule| (*rule, 1)));
    chains.iter().for_each(|chain| table.push_chain(chain, []));
    Observed { tables: [(PLACE, table)].into(), ..Observed::default() }
}

/// In POSTROUTING a jump that waits and a rule that does not, in PREROUTING another jump that waits.
fn expected() -> Expected {
    let policy = || PolicyName::new("p").unwrap();
    let grants = Grants { tables: vec![Table::Nat], comments: vec!["cali:".into()], ..Grants::default() };
    let grants = Grants { chains: vec![Pattern::new("our-*").unwrap()], ..grants };
    let one = |text: &str, awaits: Option<&str>| DesiredAttachment {
        policy: policy(),
        rule: CheckedRule {
            text: text.into(),
            number: 1,
            awaits: awaits.map(|chain| [Foreign::Chain(ChainName::new(chain).unwrap())].into()),
        },
    };
    let second = "-m comment --comment \"cali:c\" -j cali-PREROUTING";
    let first = vec![one(JUMP, Some("cali-POSTROUTING")), one(OURS, None)];
    let postrouting = DesiredHook { first, ..DesiredHook::default() };
    let prerouting = DesiredHook { first: vec![one(second, Some("cali-PREROUTING"))], ..DesiredHook::default() };
    let hooks = [(Hook::Postrouting, postrouting), (Hook::Prerouting, prerouting)].into();
    let desired = Desired {
        tables: [(PLACE, DesiredTable { hooks, ..DesiredTable::default() })].into(),
        ownership: Ownership::new(vec![(policy(), grants)]),
        families: vec![Family::Ipv4],
        ..Desired::default()
    };
    let all = observed(&["cali-POSTROUTING", "cali-PREROUTING"], &[JUMP, OURS], &[second]);
    Expected::unproven(desired).prove(Basis::Rehearsed, &all).unwrap()
}

/// What is drift after `before` was in sync and `after` is seen: kinds, and how many attachments turned.
fn seen(before: &Observed, after: &Observed) -> (Vec<Kind>, usize) {
    let (expected, mut awaited) = (expected(), Awaited::default());
    awaited.renew(&expected, before, |_, _, _| false);
    assert!(awaited.turns(&expected, before).is_empty());
    let drifts = awaited.drifts(&expected, after, &plan(&expected, after));
    (drifts.iter().map(|drift| drift.kind).collect(), awaited.turns(&expected, after).len())
}

#[test]
fn a_chain_that_comes_or_goes_with_its_jump_is_no_drift() {
    let waiting = observed(&[], &[OURS], &[]);
    let second = "-m comment --comment \"cali:c\" -j cali-PREROUTING";
    let all = ["cali-POSTROUTING", "cali-PREROUTING"];
    let in_place = observed(&all, &[JUMP, OURS], &[second]);
    assert_eq!(seen(&waiting, &observed(&all, &[OURS], &[])), (vec![], 2), "Felix begins");
    assert_eq!(seen(&waiting, &in_place), (vec![], 2), "and puts the same jumps in");
    let differently = "-s 10.0.0.0/8 -m comment --comment \"cali:a\" -j cali-POSTROUTING";
    assert_eq!(seen(&waiting, &observed(&all, &[differently, OURS], &[second])), (vec![], 2));
    assert_eq!(seen(&in_place, &waiting), (vec![], 2), "Felix takes all away");
    assert_eq!(seen(&in_place, &observed(&all[1..], &[OURS], &[second])), (vec![], 1));
}

#[test]
fn what_else_differs_is_drift() {
    let all = ["cali-POSTROUTING", "cali-PREROUTING"];
    let second = "-m comment --comment \"cali:c\" -j cali-PREROUTING";
    let waiting = observed(&[], &[OURS], &[]);
    let in_place = observed(&all, &[JUMP, OURS], &[second]);
    assert_eq!(seen(&waiting, &observed(&all, &[], &[])), (vec![Kind::RuleDeleted], 2));
    assert_eq!(seen(&in_place, &observed(&all[1..], &[], &[second])), (vec![Kind::RuleDeleted], 1));
    assert_eq!(
        seen(&in_place, &observed(&all, &[OURS], &[second])),
        (vec![Kind::RuleDeleted], 0),
        "its chain is there"
    );
    assert_eq!(seen(&in_place, &observed(&all, &[], &[])), (vec![Kind::TableFlushed], 0));
    let moved = seen(&in_place, &observed(&all, &["-j ACCEPT", JUMP, OURS], &[second]));
    assert_eq!(moved, (vec![Kind::RuleMoved], 0));
}

#[test]
fn what_is_deferred_is_not_taken_for_in_sync() {
    let (expected, mut awaited) = (expected(), Awaited::default());
    let waiting = observed(&[], &[OURS], &[]);
    let appeared = observed(&["cali-POSTROUTING"], &[OURS], &[]);
    awaited.renew(&expected, &waiting, |_, _, _| false);
    awaited.renew(&expected, &appeared, |_, _, chain| chain == "POSTROUTING");
    let turns = awaited.turns(&expected, &appeared);
    let texts: Vec<String> = turns.iter().map(Turn::to_string).collect();
    assert_eq!(texts, ["IPv4 nat POSTROUTING: chain cali-POSTROUTING appeared, the jump of p is in place"]);
}
