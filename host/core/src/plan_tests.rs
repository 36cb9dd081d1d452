//! Plans held to their promises: by property tests on a kernel of plain data, and case by case.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base_chain::{BaseChain, ChainState, Owner};
use crate::check::{CheckedRule, CheckedSet};
use crate::contribution::Verdict;
use crate::expected::Basis;
use crate::grants::{Grants, Pattern};
use crate::merge::{Desired, DesiredAttachment, DesiredHook, DesiredTable};
use crate::names::{ChainName, PolicyName, SetName};
use crate::ownership::Ownership;
use crate::rule_encodings::RuleEncodings;
use crate::script::{self, Deletion, Rehearsal};
use crate::simulate::{Simulated, form_of};
use crate::transaction::transaction;

const PLACE: (Family, Table) = (Family::Ipv4, Table::Nat);

fn policy() -> PolicyName {
    PolicyName::new("p").unwrap()
}

fn ownership() -> Ownership {
    let grants = Grants {
        tables: vec![Table::Nat],
        chains: vec![Pattern::new("our-*").unwrap()],
        sets: vec![Pattern::new("ourset*").unwrap()],
        comments: vec!["our:".into()],
        ..Grants::default()
    };
    Ownership::new(vec![(policy(), grants)])
}

/// `chains`: own chains with their rules; `first`, `last`: identifiers of rules in POSTROUTING.
fn expected(
    chains: &BTreeMap<String, Vec<String>>,
    first: &[String],
    last: &[String],
    sets: &BTreeMap<String, Vec<String>>,
) -> Expected {
    let rule = |text: &String| CheckedRule { text: text.as_str().into(), number: 1, awaits: None };
    let attach = |list: &[String]| -> Vec<DesiredAttachment> {
        list.iter().map(|text| DesiredAttachment { policy: policy(), rule: rule(text) }).collect()
    };
    let table = DesiredTable {
        chains: chains
            .iter()
            .map(|(name, rules)| (ChainName::new(name).unwrap(), (policy(), rules.iter().map(rule).collect())))
            .collect(),
        hooks: [(Hook::Postrouting, DesiredHook { first: attach(first), last: attach(last), policy: None })].into(),
    };
    let sets = sets.iter().map(|(name, members)| {
        let set =
            CheckedSet { create: "hash:net family inet".into(), members: members.iter().collect(), dynamic: false };
        (SetName::new(name).unwrap(), set)
    });
    let desired = Desired {
        tables: [(PLACE, table)].into(),
        sets: sets.collect(),
        ownership: ownership(),
        families: vec![Family::Ipv4],
        ..Desired::default()
    };
    let mut scratch = Simulated::default();
    for (name, set) in script::sets_in_order(&desired) {
        script::rehearsal_set(name, set).for_each(|script| scratch.restore_sets(&script).unwrap());
    }
    let rehearsal = Rehearsal::new(PLACE.0, PLACE.1, &desired.tables[&PLACE]);
    scratch.table(PLACE.0, PLACE.1);
    scratch.restore(PLACE.0, &rehearsal.script(&rehearsal.rules())).unwrap();
    let shown = scratch.observe([PLACE]);
    Expected::unproven(desired).prove(Basis::Rehearsed, &shown).unwrap()
}

fn carry_out(plan: &Plan, kernel: &mut Simulated) {
    for step in &plan.sets {
        script::set_step(step).for_each(|script| kernel.restore_sets(&script).unwrap());
    }
    for table in &plan.tables {
        if let Some(update) = script::update(table, Deletion::ByText) {
            kernel.restore(table.family, &update).unwrap_or_else(|error| panic!("{error:?} in\n{update}"));
        }
    }
    for table in &plan.tables {
        if let Some(removal) = script::removal(table) {
            kernel.restore(table.family, &removal).unwrap_or_else(|error| panic!("{error:?} in\n{removal}"));
        }
    }
    for set in &plan.remove_sets {
        kernel.sets().remove(set);
    }
}

fn strangers(rules: &[String]) -> Vec<String> {
    rules.iter().filter(|rule| !ownership().owns_rule(Table::Nat, rule)).cloned().collect()
}

fn own_rules() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((0_u8..6).prop_map(|n| format!("-s 10.0.0.{n}/32 -j ACCEPT")), 0..6)
}

fn own_chains() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    proptest::collection::btree_map("our-[abcd]", own_rules(), 0..4)
}

fn marked_rules() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((0_u8..5).prop_map(|n| format!("-m comment --comment \"our:{n}\" -j ACCEPT")), 0..4)
}

fn hook_rules() -> impl Strategy<Value = Vec<String>> {
    let rule = prop_oneof![
        (0_u8..4).prop_map(|n| format!("-s 192.0.2.{n}/32 -j RETURN")),
        (0_u8..5).prop_map(|n| format!("-m comment --comment \"our:{n}\" -j ACCEPT")),
    ];
    proptest::collection::vec(rule, 0..8)
}

fn set_map() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    proptest::collection::btree_map("ourset[ab]", proptest::collection::btree_set("10\\.[0-3]\\.0\\.0/16", 0..3), 0..3)
        .prop_map(|sets| sets.into_iter().map(|(name, members)| (name, members.into_iter().collect())).collect())
}

fn without_repetition(rules: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    rules.into_iter().filter(|rule| seen.insert(rule.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_gives_the_expected_state_and_keeps_strangers(
        (chains, first, last, sets) in (own_chains(), marked_rules(), marked_rules(), set_map()),
        (has_chains, has_hook, stranger_chain, has_sets) in (own_chains(), hook_rules(), own_rules(), set_map()),
    ) {
        let first = without_repetition(first);
        let last = without_repetition(last).into_iter().filter(|rule| !first.contains(rule)).collect::<Vec<_>>();
        let expected = expected(&chains, &first, &last, &sets);
        let mut kernel = Simulated::default();
        kernel.table(PLACE.0, PLACE.1).extend(has_chains.clone());
        kernel.table(PLACE.0, PLACE.1).insert("POSTROUTING".into(), has_hook.clone());
        kernel.table(PLACE.0, PLACE.1).insert("theirs".into(), stranger_chain.clone());
        for (name, members) in &has_sets {
            kernel.restore_sets(&format!("create {name} hash:net family inet")).unwrap();
            for member in members {
                kernel.restore_sets(&format!("add {name} {member}")).unwrap();
            }
        }

        let plan = plan(&expected, &kernel.observe([PLACE]));
        for (name, rules) in &chains {
            if has_chains.get(name) == Some(rules) {
                prop_assert!(!plan.tables.iter().any(|t| t.chains.iter().any(|c| &c.chain == name)), "{name} is rewritten");
            }
        }
        let mut other = kernel.clone();
        carry_out(&plan, &mut kernel);
        transact(&expected, &mut other);
        prop_assert_eq!(other.table(PLACE.0, PLACE.1), kernel.table(PLACE.0, PLACE.1), "one transaction does the same");

        let again = super::plan(&expected, &kernel.observe([PLACE]));
        prop_assert!(again.is_empty(), "not settled: {again:?}");
        let table = kernel.table(PLACE.0, PLACE.1);
        let want: Vec<String> = first.iter().cloned().chain(strangers(&has_hook)).chain(last).collect();
        prop_assert_eq!(&table["POSTROUTING"], &want);
        prop_assert_eq!(&table["theirs"], &stranger_chain);
        for (name, rules) in &chains {
            prop_assert_eq!(&table[name], rules);
        }
        prop_assert_eq!(table.keys().filter(|name| name.starts_with("our-")).count(), chains.len());
        prop_assert_eq!(kernel.sets().len(), sets.len());
        for (name, members) in &sets {
            prop_assert_eq!(&kernel.sets()[name].members, &members.iter().collect());
        }
    }

    /// Whatever others did to the table and its chains, one transaction lets packets meet our rules again, and nothing
    /// foreign is lost.
    #[test]
    fn a_plan_puts_flags_and_base_chains_right(
        (chains, first, has_hook) in (own_chains(), marked_rules(), hook_rules()),
        (dormant, hook_hangs, own_hangs, drops) in (any::<bool>(), 0_u8..3, any::<bool>(), any::<bool>()),
    ) {
        let first = without_repetition(first);
        let mut expected = expected(&chains, &first, &[], &BTreeMap::new());
        let asked = first.len().is_multiple_of(2);
        let policy = asked.then(|| (policy(), Verdict::Drop));
        expected.tables.get_mut(&PLACE).unwrap().hooks.get_mut(&Hook::Postrouting).unwrap().policy = policy;
        let elsewhere = || Some(BaseChain { definition: b"elsewhere".as_slice().into(), shown: "elsewhere".into() });
        let mut kernel = Simulated::default();
        kernel.table(PLACE.0, PLACE.1).insert("POSTROUTING".into(), has_hook.clone());
        kernel.table(PLACE.0, PLACE.1).insert("our-a".into(), vec!["-j RETURN".into()]);
        kernel.table_state(PLACE).dormant = dormant;
        *kernel.policy(PLACE, Hook::Postrouting) = if drops { Verdict::Drop } else { Verdict::Accept };
        match hook_hangs {
            0 => kernel.hang(PLACE, "POSTROUTING", None),
            1 => kernel.hang(PLACE, "POSTROUTING", elsewhere()),
            _ => {}
        }
        if own_hangs {
            kernel.hang(PLACE, "our-a", elsewhere());
        }
        let wanted = !chains.is_empty() || !first.is_empty() || asked;
        transact(&expected, &mut kernel);
        let want: Vec<String> = first.iter().cloned().chain(strangers(&has_hook)).collect();
        prop_assert_eq!(&kernel.table(PLACE.0, PLACE.1)["POSTROUTING"], &want);
        prop_assert!(!wanted || !kernel.table_state(PLACE).dormant);
        if !first.is_empty() {
            prop_assert!(kernel.is_usual(PLACE), "{kernel:?}");
            prop_assert_eq!(*kernel.policy(PLACE, Hook::Postrouting), if asked || drops && hook_hangs != 0 { Verdict::Drop } else { Verdict::Accept });
        }
        prop_assert!(plan(&expected, &kernel.observe([PLACE])).is_empty());
    }

    #[test]
    fn one_change_in_a_chain_is_one_edit(len in 2_usize..40, at in 0_usize..40) {
        let at = at % len;
        let rules: Vec<String> = (0..len).map(|n| format!("-s 10.0.0.{n}/32 -j ACCEPT")).collect();
        let mut has = rules.clone();
        has[at] = "-j DROP".into();
        let expected = expected(&[("our-a".to_owned(), rules)].into(), &[], &[], &BTreeMap::new());
        let mut kernel = Simulated::default();
        kernel.table(PLACE.0, PLACE.1).insert("our-a".into(), has);
        let plan = plan(&expected, &kernel.observe([PLACE]));
        let Edit::Splice { delete, insert } = &plan.tables[0].chains[0].edit else { panic!("{plan:?}") };
        prop_assert_eq!((delete.as_slice(), insert.len()), (&[at + 1][..], 1));
    }
}

/// The same plan as one transaction.
fn transact(expected: &Expected, kernel: &mut Simulated) {
    let mut forms = RuleEncodings::default();
    forms.replayable = true;
    let wanted = &expected.tables[&PLACE];
    let hooked = wanted.hooks.values().flat_map(|hook| hook.first.iter().chain(&hook.last)).map(|one| &one.rule);
    for rule in wanted.chains.values().flat_map(|(_, rules)| rules).chain(hooked) {
        let shown = rule.show().expect("proven");
        forms.learn(PLACE, &rule.write().into(), shown, form_of(shown), None);
    }
    let mut table = ObservedTable::default();
    let raw = kernel.raw(PLACE.0, PLACE.1);
    table.set_table_state(raw.state);
    for chain in raw.chains {
        let texts: Vec<String> =
            chain.rules.iter().map(|rule| String::from_utf8(rule.form.bytes.to_vec()).unwrap()).collect();
        table.push_chain(&chain.name, texts.iter().map(String::as_str).zip(chain.rules.iter().map(|rule| rule.handle)));
        let misplaced = crate::judge_chain::is_misplaced(wanted, &chain.name, &chain.state);
        let rules = misplaced.then(|| chain.rules.iter().map(|rule| rule.form.clone()).collect());
        table.set_state(&chain.name, ChainState { rules, ..chain.state });
    }
    let observed = Observed { tables: [(PLACE, table)].into(), generation: Some(1), ..Observed::default() };
    let transaction = transaction(&plan(expected, &observed), &observed, &forms).expect("everything is proven");
    kernel.transact(&transaction).expect("it can be carried out");
}

#[test]
fn what_is_stuck_is_told_and_the_rest_is_planned() {
    let chains = [("our-a".to_owned(), vec!["-j RETURN".to_owned()])].into();
    let expected = expected(&chains, &["-m comment --comment our:1 -j our-a".to_owned()], &[], &BTreeMap::new());
    let mut kernel = Simulated::default();
    kernel.table(PLACE.0, PLACE.1).insert("POSTROUTING".into(), vec!["-j ACCEPT".into()]);
    kernel.hang(PLACE, "POSTROUTING", None);
    // `observe` gives no rules to make the chain anew with.
    let first = plan(&expected, &kernel.observe([PLACE]));
    assert!(matches!(first.stuck.as_slice(), [one] if one.drift.chain == "POSTROUTING"), "{first:?}");
    assert!(first.problems[0].contains("nft delete chain ip nat POSTROUTING"), "{first:?}");
    assert_eq!(first.tables[0].chains.iter().map(|chain| chain.chain.as_str()).collect::<Vec<_>>(), ["our-a"]);
    carry_out(&first, &mut kernel);
    let second = plan(&expected, &kernel.observe([PLACE]));
    assert!(second.is_empty() && second.stuck == first.stuck, "{second:?}");
}

#[test]
fn nothing_is_planned_for_a_table_that_another_process_owns() {
    let expected = expected(&[("our-a".to_owned(), Vec::new())].into(), &[], &[], &BTreeMap::new());
    let mut kernel = Simulated::default();
    kernel.table(PLACE.0, PLACE.1);
    let owner = Owner { port: 7, process: Some("nft (pid 7)".into()) };
    kernel.table_state(PLACE).owner = Some(owner);
    let plan = plan(&expected, &kernel.observe([PLACE]));
    assert!(plan.is_empty() && plan.problems[0].contains("nft (pid 7)"), "{plan:?}");
    assert_eq!(plan.stuck[0].drift.kind, crate::drift::Kind::TableOwned);
}

#[test]
fn a_flooded_chain_is_emptied_and_filled_anew() {
    let rules = vec!["-s 10.0.0.1/32 -j ACCEPT".to_owned()];
    let expected = expected(&[("our-a".to_owned(), rules.clone())].into(), &[], &[], &BTreeMap::new());
    for (strange, replaced) in [(MOST_SINGLE_DELETIONS, false), (MOST_SINGLE_DELETIONS + 1, true)] {
        let flood = (0..strange).map(|number| format!("-m mark --mark {number} -j DROP"));
        let mut kernel = Simulated::default();
        kernel.table(PLACE.0, PLACE.1).insert("our-a".into(), rules.iter().cloned().chain(flood).collect());
        let plan = plan(&expected, &kernel.observe([PLACE]));
        assert_eq!(matches!(plan.tables[0].chains[0].edit, Edit::Replace { .. }), replaced);
        carry_out(&plan, &mut kernel);
        assert_eq!(kernel.table(PLACE.0, PLACE.1)["our-a"], rules);
    }
}

fn one_jump(has: &[&str]) -> Plan {
    let jump = "-m comment --comment \"our:1\" -j our-a".to_owned();
    let chains = [("our-a".to_owned(), Vec::new())].into();
    let expected = expected(&chains, &[], &[jump], &BTreeMap::new());
    let mut kernel = Simulated::default();
    kernel.table(PLACE.0, PLACE.1).insert("our-a".into(), Vec::new());
    kernel.table(PLACE.0, PLACE.1).insert("POSTROUTING".into(), has.iter().map(|rule| (*rule).to_owned()).collect());
    plan(&expected, &kernel.observe([PLACE]))
}

/// Calico issue 10087: a built-in chain with nothing but an appended jump was never compared.
#[test]
fn a_lone_appended_jump_is_missed_when_it_is_gone() {
    let plan = one_jump(&[]);
    assert_eq!(plan.tables[0].chains[0].added, ["-m comment --comment \"our:1\" -j our-a"]);
}

#[test]
fn a_jump_in_its_place_is_left_alone() {
    assert!(one_jump(&["-j theirs", "-m comment --comment \"our:1\" -j our-a"]).is_empty());
}

#[test]
fn a_second_jump_goes_and_the_first_is_deleted_by_text_with_it() {
    let jump = "-m comment --comment \"our:1\" -j our-a";
    let plan = one_jump(&[jump, "-j theirs", jump]);
    let Edit::BuiltIn { delete, insert } = &plan.tables[0].chains[0].edit else { panic!("{plan:?}") };
    assert_eq!(delete.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(insert.as_slice(), [Insert { number: None, text: jump.into() }]);
}

#[test]
fn a_hand_written_jump_is_replaced() {
    let plan = one_jump(&["-j our-a"]);
    assert_eq!(plan.tables[0].chains[0].removed, ["-j our-a"]);
    assert_eq!(plan.tables[0].chains[0].added.len(), 1);
}

#[test]
fn an_obsolete_chain_that_a_stranger_uses_is_kept_and_named() {
    let expected = expected(&BTreeMap::new(), &[], &[], &BTreeMap::new());
    let mut kernel = Simulated::default();
    kernel.table(PLACE.0, PLACE.1).insert("our-old".into(), vec!["-j ACCEPT".into()]);
    kernel.table(PLACE.0, PLACE.1).insert("theirs".into(), vec!["-j our-old".into(), "-g our-old".into()]);
    let first = plan(&expected, &kernel.observe([PLACE]));
    carry_out(&first, &mut kernel);
    assert!(kernel.table(PLACE.0, PLACE.1)["our-old"].is_empty());
    assert!(first.notes[0].contains("our-old") && first.notes[0].contains("theirs"), "{:?}", first.notes);
    let second = plan(&expected, &kernel.observe([PLACE]));
    assert!(second.is_empty() && second.notes == first.notes, "{second:?}");
}

#[test]
fn a_cleanup_spares_a_marked_jump_to_a_strangers_chain() {
    let jump = "-m comment --comment our:1 -j theirs";
    let mut kernel = Simulated::default();
    kernel.table(PLACE.0, PLACE.1).insert("theirs".into(), Vec::new());
    kernel.table(PLACE.0, PLACE.1).insert("our-a".into(), Vec::new());
    let hook = vec![
        jump.to_owned(),
        "-m comment --comment our:2 -j our-a".into(),
        "-m comment --comment rw:p:0123456789ab -j DROP".into(),
    ];
    kernel.table(PLACE.0, PLACE.1).insert("POSTROUTING".into(), hook);
    let nothing = Expected::nothing(ownership(), vec![Family::Ipv4], BTreeSet::new());
    carry_out(&plan(&nothing, &kernel.observe([PLACE])), &mut kernel);
    assert_eq!(kernel.table(PLACE.0, PLACE.1)["POSTROUTING"], [jump]);
    assert!(!kernel.table(PLACE.0, PLACE.1).contains_key("our-a"));
}
