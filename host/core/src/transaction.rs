//! A plan as one transaction for a backend that takes rules in their byte form: all tables, both families, tied to the
//! generation that was compared.
//!
//! Always true: a rule is deleted by the handle that was read, so that no stranger's rule can be hit; a rule is added
//! next to a rule of known handle, or at the end; only proven forms are in it. What can't be put like that makes no
//! transaction at all, and the stock tools carry out the plan.

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use crate::base_chain::Structure;
use crate::contribution::Verdict;
use crate::encoded_rule::EncodedRule;
use crate::names::{Family, Hook, Table};
use crate::observed::{Observed, ObservedTable};
use crate::plan::{ChainPlan, Edit, Insert, Plan, TablePlan};
use crate::rule_encodings::RuleEncodings;
use crate::set_type::StandIns;

/// All or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The generation that it was made for; no other may be current.
    pub generation: u32,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step and where it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which family.
    pub family: Family,
    /// Which table.
    pub table: Table,
    /// What is done.
    pub change: Change,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the table if it does not exist.
    AddTable,
    /// Makes a base chain.
    AddHook {
        /// Which.
        hook: Hook,
        /// How, in the backend's words.
        definition: Box<[u8]>,
        /// Its policy; the kernel's own is to accept.
        policy: Option<Verdict>,
    },
    /// Sets the policy of a base chain.
    SetPolicy {
        /// Which.
        hook: Hook,
        /// To what.
        policy: Verdict,
    },
    /// Switches a table on.
    Wake {
        /// Its other flags.
        flags: u32,
    },
    /// Makes a chain.
    AddChain(Box<str>),
    /// Deletes all rules of a chain.
    Flush(Box<str>),
    /// Deletes one rule.
    DeleteRule {
        /// Its chain.
        chain: Box<str>,
        /// Its handle.
        handle: u64,
    },
    /// Adds a rule.
    AddRule {
        /// Its chain.
        chain: Box<str>,
        /// The rule in front of which it comes; `None` for the end.
        before: Option<u64>,
        /// The rule.
        form: Arc<EncodedRule>,
        /// As it is written, for people.
        text: Box<str>,
    },
    /// Deletes a chain that nothing refers to any more.
    DeleteChain(Box<str>),
}

/// Why a plan is no transaction.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTransaction {
    /// A rule has no proven form.
    #[error("{family} {table} {chain}: `{rule}` can't be replayed: {reason}")]
    Unproven {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// Where.
        chain: String,
        /// As it is written.
        rule: String,
        /// Why.
        reason: String,
    },
    /// The observation does not say enough.
    #[error("{family} {table}: {reason}")]
    Unknown {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// What is missing.
        reason: String,
    },
}

/// Puts `plan`, made from `observed`, into one transaction. Its sets are not in it.
///
/// # Errors
/// [`NoTransaction`]
pub fn transaction(plan: &Plan, observed: &Observed, forms: &RuleEncodings) -> Result<Transaction, NoTransaction> {
    transaction_without(plan, observed, forms, &|_, _| false)
}

/// The same without the rules that `skip` names by their table and the text that is written.
///
/// # Errors
/// [`NoTransaction`]
pub fn transaction_without(
    plan: &Plan,
    observed: &Observed,
    forms: &RuleEncodings,
    skip: &dyn Fn((Family, Table), &str) -> bool,
) -> Result<Transaction, NoTransaction> {
    let mut build = Build { forms, observed, stand_ins: &plan.stand_ins, skip, steps: Vec::new() };
    // A jump needs its target: all chains come first, of all tables.
    for table in &plan.tables {
        build.make_chains(table)?;
    }
    for table in &plan.tables {
        let place = (table.family, table.table);
        for chain in &table.chains {
            match table.structure.iter().find(|step| step.rebuilds(&chain.chain)) {
                Some(step) if Hook::from_name(&chain.chain).is_some() => {
                    build.rebuild_hook(place, step, Some(chain))?
                }
                _ => build.edit(place, chain)?,
            }
        }
        build.restructure(table)?;
        let gone = |name: &String| name.as_str().into();
        build.extend(place, table.remove.iter().map(|name| Change::Flush(gone(name))));
        build.extend(place, table.remove.iter().map(|name| Change::DeleteChain(gone(name))));
    }
    let generation = plan.generation.ok_or_else(|| {
        let (family, table) =
            plan.tables.first().map_or((Family::Ipv4, Table::Filter), |plan| (plan.family, plan.table));
        NoTransaction::Unknown { family, table, reason: "the generation that was compared is not known".to_owned() }
    })?;
    Ok(Transaction { generation, steps: build.steps })
}

/// Makes a chain of ours anew, empty and as one that only jumps lead to.
fn remake(chain: &str) -> [Change; 3] {
    [Change::Flush(chain.into()), Change::DeleteChain(chain.into()), Change::AddChain(chain.into())]
}

/// The parts of a plan that the stock tools can't do, each as a transaction of its own for the generation that is current
/// then: one that is refused holds up no other. What it is about, and its steps.
pub fn structural(plan: &TablePlan) -> Vec<(String, Vec<Step>)> {
    let (family, table) = (plan.family, plan.table);
    let (observed, forms) = (Observed::default(), RuleEncodings::default());
    let one = |step: &Structure| {
        let stand_ins = StandIns::default();
        let mut build =
            Build { forms: &forms, observed: &observed, stand_ins: &stand_ins, skip: &|_, _| false, steps: Vec::new() };
        match step {
            Structure::Rebuild { chain, base: None, .. } => build.extend((family, table), remake(chain)),
            step => {
                let alone = TablePlan { family, table, structure: vec![step.clone()], chains: vec![], remove: vec![] };
                build.restructure(&alone).ok()?;
            }
        }
        let what =
            step.chain().map_or_else(|| format!("{family} {table}"), |chain| format!("{family} {table} {chain}"));
        Some((what, build.steps))
    };
    plan.structure.iter().filter(|step| step.needs_transaction()).filter_map(one).collect()
}

struct Build<'a> {
    forms: &'a RuleEncodings,
    observed: &'a Observed,
    stand_ins: &'a StandIns,
    skip: &'a dyn Fn((Family, Table), &str) -> bool,
    steps: Vec<Step>,
}

impl Build<'_> {
    fn extend(&mut self, (family, table): (Family, Table), changes: impl IntoIterator<Item = Change>) {
        self.steps.extend(changes.into_iter().map(|change| Step { family, table, change }));
    }

    fn table(&self, place: (Family, Table)) -> Option<&ObservedTable> {
        self.observed.tables.get(&place)
    }

    fn make_chains(&mut self, table: &TablePlan) -> Result<(), NoTransaction> {
        let place = (table.family, table.table);
        let mut made = Vec::new();
        for step in &table.structure {
            match step {
                Structure::Make { hook, base, policy } => {
                    made.push(Change::AddHook { hook: *hook, definition: base.definition.clone(), policy: *policy });
                }
                Structure::Rebuild { chain, base: None, .. } => self.extend(place, remake(chain)),
                _ => {}
            }
        }
        for plan in &table.chains {
            if self.table(place).is_some_and(|table| table.has(&plan.chain)) {
                continue;
            }
            made.push(match Hook::from_name(&plan.chain) {
                None => Change::AddChain(plan.chain.as_str().into()),
                Some(hook) => {
                    let is_made = |step: &Structure| step.chain() == Some(hook.as_str());
                    if table.structure.iter().any(is_made) {
                        continue;
                    }
                    let reason = format!("the base chain {hook} is missing, and how to make it is not known");
                    return Err(NoTransaction::Unknown { family: place.0, table: place.1, reason });
                }
            });
        }
        if !made.is_empty() {
            self.extend(place, [Change::AddTable]);
            self.extend(place, made);
        }
        Ok(())
    }

    /// What is done to a table besides rules, but for chains of ours.
    fn restructure(&mut self, table: &TablePlan) -> Result<(), NoTransaction> {
        let place = (table.family, table.table);
        for step in &table.structure {
            match step {
                Structure::Rebuild { chain, base: Some(_), .. } => {
                    if !table.chains.iter().any(|plan| *plan.chain == **chain) {
                        self.rebuild_hook(place, step, None)?;
                    }
                }
                Structure::Policy { hook, policy, .. } => {
                    self.extend(place, [Change::SetPolicy { hook: *hook, policy: *policy }]);
                }
                Structure::Make { .. } | Structure::Rebuild { base: None, .. } | Structure::Wake { .. } => {}
            }
        }
        // Last: the kernel makes no base chain in a table whose flags change in the same transaction.
        let flags = table.structure.iter().find_map(|step| match step {
            Structure::Wake { flags } => Some(*flags),
            _ => None,
        });
        self.extend(place, flags.map(|flags| Change::Wake { flags }));
        Ok(())
    }

    /// Makes a built-in chain anew, with the rules that it has and the changes of `plan`.
    fn rebuild_hook(
        &mut self,
        place: (Family, Table),
        step: &Structure,
        plan: Option<&ChainPlan>,
    ) -> Result<(), NoTransaction> {
        let Structure::Rebuild { chain, base: Some(base), policy, rules, .. } = step else { return Ok(()) };
        let Some(hook) = Hook::from_name(chain) else { return Ok(()) };
        let (family, table) = place;
        let unknown = |reason: String| NoTransaction::Unknown { family, table, reason };
        let mut forms: Vec<Arc<EncodedRule>> = rules.iter().cloned().map(Arc::new).collect();
        match plan.map(|plan| &plan.edit) {
            None => {}
            Some(Edit::BuiltIn { delete, insert }) => {
                for (_, number) in delete {
                    if *number == 0 || *number > forms.len() {
                        return Err(unknown(format!("the rules of {chain} are not known")));
                    }
                    forms.remove(number - 1);
                }
                for insert in insert.iter().filter(|insert| !(self.skip)(place, &insert.text)) {
                    let form = self.form(place, chain, &insert.text)?;
                    let at = insert.number.map_or(forms.len(), |number| (number - 1).min(forms.len()));
                    forms.insert(at, form);
                }
            }
            Some(_) => return Err(unknown(format!("{chain} is not planned as a built-in chain"))),
        }
        let name = || chain.clone();
        self.extend(place, [Change::Flush(name()), Change::DeleteChain(name())]);
        self.extend(place, [Change::AddHook { hook, definition: base.definition.clone(), policy: *policy }]);
        let add = |form| Change::AddRule { chain: name(), before: None, form, text: Box::default() };
        self.extend(place, forms.into_iter().map(add));
        Ok(())
    }

    fn form(&self, place: (Family, Table), chain: &str, text: &str) -> Result<Arc<EncodedRule>, NoTransaction> {
        let form = match self.stand_ins.original(text) {
            None => self.forms.replay(place, text).map(Arc::clone),
            Some(original) => self.forms.replay(place, original).map(|form| Arc::new(self.stand_ins.form(form))),
        };
        form.map_err(|reason| NoTransaction::Unproven {
            family: place.0,
            table: place.1,
            chain: chain.to_owned(),
            rule: text.to_owned(),
            reason,
        })
    }

    fn edit(&mut self, place: (Family, Table), plan: &ChainPlan) -> Result<(), NoTransaction> {
        let exists = self.table(place).is_some_and(|table| table.has(&plan.chain));
        let handles = self.table(place).map_or(&[][..], |table| table.handles(&plan.chain)).to_vec();
        let held = self.table(place).map_or(0, |table| table.rules(&plan.chain).len());
        let (deleted, inserts): (Vec<usize>, _) = match &plan.edit {
            Edit::Replace { rules } => {
                if exists {
                    self.extend(place, [Change::Flush(plan.chain.as_str().into())]);
                }
                let all = rules.iter().map(|text| Insert { number: None, text: text.clone() });
                return self.add(place, &plan.chain, &[], &all.collect::<Vec<_>>());
            }
            Edit::Splice { delete, insert } => (delete.clone(), insert),
            Edit::BuiltIn { delete, insert } => (delete.iter().map(|(_, number)| *number).collect(), insert),
        };
        if handles.len() != held {
            let reason = format!("the handles of the rules in {} are not known", plan.chain);
            return Err(NoTransaction::Unknown { family: place.0, table: place.1, reason });
        }
        let goes = |number: &usize| handles.get(number.wrapping_sub(1)).copied();
        let gone: Vec<u64> = deleted.iter().filter_map(goes).collect();
        let going: HashSet<u64> = gone.iter().copied().collect();
        let chain = plan.chain.as_str();
        self.extend(place, gone.iter().map(|handle| Change::DeleteRule { chain: chain.into(), handle: *handle }));
        let kept: Vec<u64> = handles.into_iter().filter(|handle| !going.contains(handle)).collect();
        self.add(place, chain, &kept, inserts)
    }

    /// Adds rules among those that stay, whose handles are `kept`.
    fn add(
        &mut self,
        place: (Family, Table),
        chain: &str,
        kept: &[u64],
        inserts: &[Insert],
    ) -> Result<(), NoTransaction> {
        for (added, insert) in inserts.iter().enumerate() {
            if (self.skip)(place, &insert.text) {
                continue;
            }
            let passed = insert.number.map_or(kept.len(), |number| (number - 1).saturating_sub(added));
            let (form, text) = (self.form(place, chain, &insert.text)?, insert.text.clone());
            let before = kept.get(passed).copied();
            self.extend(place, [Change::AddRule { chain: chain.into(), before, form, text }]);
        }
        Ok(())
    }
}
