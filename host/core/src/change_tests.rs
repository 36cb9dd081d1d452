//! A plan in words: one line for each run of rules, with its place.

use super::*;
use crate::observed::ObservedTable;
use crate::plan::Insert;

fn table(rules: &[&str]) -> ObservedTable {
    let mut table = ObservedTable::default();
    table.push_chain("INPUT", rules.iter().map(|rule| (*rule, 0)));
    table.push_chain("ours", std::iter::empty());
    table
}

fn built_in(removed: &[(usize, &str)], added: &[(Option<usize>, &str)]) -> ChainPlan {
    ChainPlan {
        chain: "INPUT".to_owned(),
        removed: removed.iter().map(|(_, rule)| (*rule).to_owned()).collect(),
        added: added.iter().map(|(_, rule)| (*rule).to_owned()).collect(),
        edit: Edit::BuiltIn {
            delete: removed.iter().rev().map(|(number, rule)| ((*rule).into(), *number)).collect(),
            insert: added.iter().map(|(number, rule)| Insert { number: *number, text: (*rule).into() }).collect(),
        },
    }
}

/// `ACTION NUMBER FROM AFTER BEFORE ADDED REMOVED` of each run.
fn told(plan: &ChainPlan, has: &ObservedTable) -> Vec<String> {
    let or = |number: Option<usize>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let one = |run: Run| {
        let at = run.position.map_or_else(
            || "nowhere".to_owned(),
            |at| format!("{} {} {} {}", at.number, or(at.from), or(at.after), or(at.before)),
        );
        format!("{} {at} {:?} {:?}", run.action.as_str(), run.added, run.removed)
    };
    of_rules(plan, has).into_iter().map(one).collect()
}

#[test]
fn a_rule_is_told_with_its_place_among_those_that_exist() {
    let has = table(&["-j A", "-j B", "-j C"]);
    assert_eq!(told(&built_in(&[], &[(Some(1), "-j X")]), &has), [r#"add 1 - 0 3 ["-j X"] []"#]);
    assert_eq!(told(&built_in(&[], &[(None, "-j X")]), &has), [r#"add 4 - 3 0 ["-j X"] []"#]);
    let both = built_in(&[(2, "-j B")], &[(Some(1), "-j X"), (Some(2), "-j Y"), (None, "-j Z")]);
    assert_eq!(
        told(&both, &has),
        [r#"add 1 - 0 2 ["-j X"] []"#, r#"change 2 2 0 2 ["-j Y"] ["-j B"]"#, r#"add 5 - 2 0 ["-j Z"] []"#]
    );
}

#[test]
fn rules_that_follow_each_other_are_told_together() {
    let has = table(&["-j A", "-j B", "-j C"]);
    let plan = built_in(&[(2, "-j B"), (3, "-j C")], &[]);
    assert_eq!(told(&plan, &has), [r#"remove 2 - - - [] ["-j B", "-j C"]"#]);
    let plan = built_in(&[], &[(Some(1), "-j X"), (Some(2), "-j Y"), (None, "-j Z")]);
    assert_eq!(told(&plan, &has), [r#"add 1 - 0 3 ["-j X", "-j Y"] []"#, r#"add 6 - 3 0 ["-j Z"] []"#]);
}

#[test]
fn the_same_text_is_a_move_and_the_same_comment_or_jump_a_change() {
    let has = table(&["-j A", "-j X"]);
    let moved = built_in(&[(2, "-j X")], &[(Some(1), "-j X")]);
    assert_eq!(told(&moved, &has), [r#"move 1 2 0 1 ["-j X"] ["-j X"]"#]);
    let comment = built_in(
        &[(1, "-s 1.2.3.4 -m comment --comment our:1 -j DROP")],
        &[(Some(1), "-m comment --comment our:1 -j ACCEPT")],
    );
    assert!(told(&comment, &has)[0].starts_with("change 1 1 0 1 "), "{:?}", told(&comment, &has));
    let jump = built_in(&[(2, "-j ours")], &[(Some(1), "-m comment --comment our:1 -j ours")]);
    assert!(told(&jump, &has)[0].starts_with("change 1 2 0 1 "), "{:?}", told(&jump, &has));
    let verdict = built_in(&[(2, "-j DROP")], &[(Some(1), "-s 10.0.0.0/8 -j DROP")]);
    assert_eq!(told(&verdict, &has).len(), 2, "two rules that drop need not be one rule");
}

#[test]
fn a_chain_that_is_written_anew_is_told_by_rule_or_as_a_whole() {
    let replaced = |removed: &[&str], added: &[&str], rules: usize| ChainPlan {
        chain: "INPUT".to_owned(),
        removed: removed.iter().map(|rule| (*rule).to_owned()).collect(),
        added: added.iter().map(|rule| (*rule).to_owned()).collect(),
        edit: Edit::Replace { rules: vec!["".into(); rules] },
    };
    let has = table(&["-j A", "-j B"]);
    assert_eq!(
        told(&replaced(&["-j A", "-j B"], &["-j C", "-j D"], 2), &has),
        [r#"change 1 1 0 0 ["-j C", "-j D"] ["-j A", "-j B"]"#]
    );
    // Some stay, or nothing but what is not known of them differs.
    assert_eq!(told(&replaced(&["-j A"], &[], 1), &has), [r#"change nowhere [] ["-j A"]"#]);
    let same = replaced(&["-j A", "-j B"], &["-j A", "-j B"], 2);
    assert_eq!(told(&same, &has), [r#"change nowhere ["-j A", "-j B"] ["-j A", "-j B"]"#]);
}
