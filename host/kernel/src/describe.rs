//! Finds the text of rules of which only the bytes are known: loads them into a private namespace, where iptables-save shows
//! them. For telling an operator what another program had written; takes milliseconds, so it is done after the repair.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ruleward_core::names::{Family, Table};
use ruleward_core::observed::ObservedTable;
use ruleward_core::quote;
use ruleward_core::transaction::{Change, Step, Transaction};

use super::observe::UnknownRule;
use super::port::{Port, TransactError};

/// The chain that they are loaded into.
const CHAIN: &str = "ruleward";
/// How often rules that the kernel refuses are left out.
const TRIES: usize = 4;

/// The text of each rule by its line of marks, as far as it can be found.
pub fn describe(port: &dyn Port, strange: &[UnknownRule]) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut by_place: BTreeMap<(Family, Table), Vec<&UnknownRule>> = BTreeMap::new();
    for one in strange {
        by_place.entry(one.place).or_default().push(one);
    }
    // Without a namespace the marks have to do.
    let _ = port.in_scratch(&mut |scratch| {
        for (place, rules) in &by_place {
            load(scratch, *place, rules.clone(), &mut found);
        }
    });
    found
}

fn load(
    scratch: &dyn Port,
    (family, table): (Family, Table),
    mut rules: Vec<&UnknownRule>,
    found: &mut HashMap<String, String>,
) {
    let sets: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.form.sets).map(|set| &*set.name).collect();
    let script: String = sets.iter().map(|set| format!("create {set} hash:ip\n")).collect();
    if !script.is_empty() && scratch.restore_sets(&script).is_err() {
        return;
    }
    let marks = |rule: &UnknownRule| scratch.marks(family, &rule.form);
    for _ in 0..TRIES {
        let Some(generation) = scratch.generation() else { return };
        // A chain for every target: whatever is no jump does not mind.
        let targets: BTreeSet<String> =
            rules.iter().filter_map(|rule| Some(quote::marks(&marks(rule)).target?.into_owned())).collect();
        let mut steps = vec![Change::AddTable, Change::AddChain(CHAIN.into())];
        let verdicts = ["ACCEPT", "DROP", "RETURN", CHAIN];
        let jumps = targets.iter().filter(|target| !verdicts.contains(&target.as_str()));
        steps.extend(jumps.map(|target| Change::AddChain(target.as_str().into())));
        let before = steps.len();
        steps.extend(rules.iter().map(|rule| Change::AddRule {
            chain: CHAIN.into(),
            before: None,
            form: Arc::new(rule.form.clone()),
            text: Box::default(),
        }));
        let steps = steps.into_iter().map(|change| Step { family, table, change }).collect();
        match scratch.transact(&Transaction { generation, steps }) {
            Ok(()) => break,
            Err(TransactError::Refused { steps, .. }) => {
                let mut number = before;
                rules.retain(|_| {
                    number += 1;
                    !steps.contains(&(number - 1))
                });
                if rules.is_empty() || steps.is_empty() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    let Ok(save) = scratch.save(family, table) else { return };
    let Ok(save) = ObservedTable::parse(table, save) else { return };
    let shown = save.rules(CHAIN);
    if shown.len() == rules.len() {
        found.extend(rules.iter().zip(shown).map(|(rule, text)| (marks(rule), text.to_owned())));
    }
}
