//! What people read, word for word.

use ruleward_core::change::Position;

use super::*;
use crate::ErrorClass;

const STYLE: Style = Style { colours: false };

fn change(chain: &str, (action, object): (Action, Object), added: &[&str], removed: &[&str]) -> Change {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let (family, table, chain) = (Some(Family::Ipv4), Some(Table::Nat), chain.to_owned());
    Change { action, object, family, table, chain, position: None, added: strings(added), removed: strings(removed) }
}

fn at(number: usize, from: Option<usize>, before: usize, change: Change) -> Change {
    Change { position: Some(Position { number, from, after: Some(number - 1), before: Some(before) }), ..change }
}

#[test]
fn a_plan_says_where_a_rule_would_stand() {
    let rule = |action, added: &[&str], removed: &[&str]| change("INPUT", (action, Object::Rules), added, removed);
    let middle = Position { number: 4, from: None, after: Some(3), before: Some(2) };
    let changes = vec![
        at(1, None, 13, rule(Action::Add, &["-A INPUT -j a", "-A INPUT -j b"], &[])),
        at(1, Some(5), 1, rule(Action::Move, &["-A INPUT -j c"], &["-A INPUT -j c"])),
        Change { position: Some(middle), ..rule(Action::Add, &["-A INPUT -j d"], &[]) },
        at(9, None, 0, rule(Action::Add, &["-A INPUT -j e"], &[])),
        Change {
            position: Some(Position { number: 7, from: None, after: None, before: None }),
            ..rule(Action::Remove, &[], &["-A INPUT -j f", "-A INPUT -j g"])
        },
        rule(Action::Change, &["-A INPUT -j h"], &[]),
        change("FORWARD", (Action::Change, Object::Policy), &["-P FORWARD DROP"], &[]),
    ];
    insta::assert_snapshot!(plan(&Report { changes, outcome: Outcome::Changed, ..Report::default() }, STYLE), @r"
    IPv4 nat
      ~ change policy of FORWARD
          + -P FORWARD DROP
      + add INPUT #1 to #2, before 13 existing rules
          -A INPUT -j a
          -A INPUT -j b
      > move INPUT #5 to #1, before 1 existing rule
          -A INPUT -j c
      + add INPUT #4, after 3 and before 2 existing rules
          -A INPUT -j d
      + add INPUT #9, after 8 existing rules
          -A INPUT -j e
      - remove INPUT #7 to #8
          -A INPUT -j f
          -A INPUT -j g
      ~ change INPUT: emptied and filled again
          + -A INPUT -j h
    Plan: 4 to add, 2 to remove, 2 to change, 1 to move. Nothing was written.
    ");
}

#[test]
fn a_check_says_which_policy_is_invalid() {
    let waits =
        CandidateReport { version: Some("2".to_owned()), digest: None, state: CandidateState::Waiting, reason: None };
    let valid = PolicyReport { candidate: Some(waits), ..PolicyReport::new("a", PolicyState::Current) };
    let mut report = Report { outcome: Outcome::Unchanged, in_sync: true, policies: vec![valid], ..Report::default() };
    insta::assert_snapshot!(checked(&report, STYLE), @r"
    Configuration and policies are valid.
      a: valid; 0 chains, 0 rules, 0 sets
    ");
    // A policy whose rules the kernel refuses has answered.
    report.policies.push(PolicyReport::new("b", PolicyState::Current));
    report.problems.push("policy b: this kernel refuses its answer: no such match".to_owned());
    (report.class, report.outcome, report.in_sync) = (ErrorClass::Configuration, Outcome::Refused, false);
    insta::assert_snapshot!(checked(&report, STYLE), @r"
    INVALID.
      a: valid; 0 chains, 0 rules, 0 sets
      b: invalid; 0 chains, 0 rules, 0 sets
    ");
}
