//! Which rules and sets use a set: where its type has to change, these decide whether it can.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ruleward_core::expected::Expected;
use ruleward_core::grants::HOST_PREFIX;
use ruleward_core::names::{Family, SetName, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::set_type::{self, SetUser};
use ruleward_core::sets::ObservedSet;

use crate::port::{Port, Wanted};

/// How long an answer about a set's users may be older than the rules: the kernel forgets the users of rules that are
/// gone a moment later.
const LAGS: Duration = Duration::from_millis(300);

/// Looks, once rules and sets were read, who uses sets whose type has to change, and scratch sets that are in use.
pub fn find_set_users(port: &dyn Port, expected: &Expected, observed: &mut Observed) {
    let Some(sets) = &mut observed.sets else { return };
    let concerned = |name: &str, set: &ObservedSet| {
        let wanted = SetName::new(name).ok().and_then(|name| expected.sets.get(&name));
        let other_type = wanted.is_some_and(|wanted| set_type::is_other_type(wanted, set));
        set.references > 0 && (other_type || name.starts_with(HOST_PREFIX))
    };
    let mut users: BTreeMap<String, Vec<SetUser>> =
        sets.iter().filter(|(name, set)| concerned(name, set)).map(|(name, _)| (name.clone(), Vec::new())).collect();
    if users.is_empty() {
        return;
    }
    let all = super::list_sets(port, &|_| true).unwrap_or_default();
    for (of, set) in all.iter().filter(|(_, set)| set.kind == set_type::LIST) {
        for member in set_type::listed(&set.members) {
            users.entry(member.to_owned()).and_modify(|users| users.push(SetUser::Set(of.as_str().into())));
        }
    }
    for family in Family::ALL {
        for table in Table::ALL {
            find_rules_with_sets(port, (family, table), &mut users);
        }
    }
    for (name, users) in &users {
        let known: u32 = users.iter().map(SetUser::uses).sum();
        let began = Instant::now();
        while let Some(set) = sets.get_mut(name).filter(|set| set.references > known) {
            let Some(references) = port.set_references(name) else { break };
            set.references = references;
            if references <= known || began.elapsed() > LAGS {
                break;
            }
            // No event tells when the kernel has forgotten a rule: it is asked for, within `LAGS`.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    observed.set_users = users;
}

fn find_rules_with_sets(port: &dyn Port, place: (Family, Table), users: &mut BTreeMap<String, Vec<SetUser>>) {
    let (family, table) = place;
    let save = || ObservedTable::parse(table, port.save(family, table).ok()?).ok();
    let user = |chain: &str, at: usize, text: &str, uses: u32| {
        let (chain, text) = (chain.into(), text.into());
        SetUser::Rule { family, table, chain, number: at + 1, text, uses }
    };
    let Ok(raw) = port.raw(family, table, Wanted::Which(&|_| true)) else {
        let Some(save) = save() else { return };
        for (name, users) in users {
            for chain in save.chain_names() {
                let rules = save.rules(chain).into_iter().enumerate();
                let with_uses = rules.map(|(at, text)| (at, text, set_type::uses_of_set(text, name)));
                users.extend(with_uses.filter(|used| used.2 > 0).map(|(at, text, uses)| user(chain, at, text, uses)));
            }
        }
        return;
    };
    let mut push = |name: &str, chain: &str, at: usize, text: &str, uses: u32| {
        if let Some(users) = users.get_mut(name) {
            users.push(user(chain, at, text, uses));
        }
    };
    let mut shown: Option<Option<ObservedTable>> = None;
    for chain in raw.chains {
        for (at, rule) in chain.rules.iter().enumerate() {
            let mut uses: BTreeMap<&str, u32> = BTreeMap::new();
            rule.form.sets.iter().for_each(|used| *uses.entry(&used.name).or_default() += 1);
            for (name, uses) in uses {
                let save = shown.get_or_insert_with(save).as_ref();
                let texts = save.map(|save| save.rules(&chain.name)).filter(|texts| texts.len() == chain.rules.len());
                match texts.and_then(|texts| texts.get(at).copied()) {
                    Some(text) => push(name, &chain.name, at, text, uses),
                    None => push(name, &chain.name, at, &port.marks(family, &rule.form), uses),
                }
            }
        }
    }
}
