//! Proves that rules may be replayed: their forms are sent, in one transaction, to a second private namespace, whose
//! address sets have other indexes; what iptables-save shows there, and what the kernel holds there, must be the same
//! as where the tools had loaded them. A rule that fails stays with the tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ruleward_core::expected::{Expected, ExpectedRule};
use ruleward_core::form::RawRule;
use ruleward_core::forms::Forms;
use ruleward_core::grants::HOST_PREFIX;
use ruleward_core::merge::Desired;
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::plan::plan;
use ruleward_core::script;
use ruleward_core::transaction::{Change, transaction_without};

use super::estimators::Estimators;
use super::port::{Port, TransactError, Wanted};

type Place = (Family, Table);

/// How often rules that the kernel refuses are left out and the rest is tried again.
const TRIES: usize = 8;

/// What has to be there before the rules can come.
pub struct Stage {
    sets: String,
    /// Scripts of one table each: the foreign chains that attachments wait for, and estimators.
    stubs: Vec<(Family, String)>,
}

impl Stage {
    /// For this desired state.
    pub fn of(desired: &Desired, estimators: &Estimators) -> Self {
        let sets = if desired.sets.is_empty() {
            String::new()
        } else {
            // A set before all others: the indexes are not those of the first namespace.
            format!("create {HOST_PREFIX}padding hash:ip\n{}", script::rehearsal_sets(desired))
        };
        let mut stubs: Vec<_> = estimators.scripts().collect();
        for ((family, table), wanted) in &desired.tables {
            let attachments = wanted.hooks.values().flat_map(|hook| hook.first.iter().chain(&hook.last));
            let chains: BTreeSet<&str> =
                attachments.filter_map(|one| one.awaits.as_ref()).map(|chain| chain.as_str()).collect();
            if !chains.is_empty() {
                let mut stub = format!("*{table}\n");
                for chain in chains {
                    let _ = writeln!(stub, ":{chain} - [0:0]");
                }
                stubs.push((*family, stub + "COMMIT\n"));
            }
        }
        Self { sets, stubs }
    }
}

/// Gives `expected` its forms, proven as far as the backend can replay. `known`: forms of an earlier desired state.
///
/// # Errors
/// Why forms can't serve at all.
pub fn prove(
    port: &dyn Port,
    stage: &Stage,
    expected: &mut Expected,
    mut forms: Forms,
    known: Option<&Forms>,
) -> Result<(), String> {
    if port.backend() == Backend::Nft {
        forms.replayable = true;
        let mut proof = Proof { expected, forms: &mut forms, known, again: false };
        let mut outcome = Ok(());
        for _ in 0..TRIES {
            proof.again = false;
            port.in_scratch(&mut |scratch| outcome = proof.hold(scratch, stage)).map_err(|error| error.to_string())?;
            if !proof.again {
                break;
            }
        }
        if let Err(reason) = outcome {
            tracing::warn!("rules can't be replayed here, the stock tools write them: {reason}");
            forms.replayable = false;
        }
    }
    expected.forms = Some(Arc::new(forms));
    Ok(())
}

struct Proof<'a> {
    expected: &'a Expected,
    forms: &'a mut Forms,
    known: Option<&'a Forms>,
    /// A rule is left with another form, which is to be proven as well.
    again: bool,
}

impl Proof<'_> {
    /// Whether the rule was proven before in the same form.
    fn is_known(&self, place: Place, written: &str) -> bool {
        let before = self.known.and_then(|known| known.replay(place, written).ok());
        before.is_some() && before == self.forms.replay(place, written).ok()
    }

    /// Whether the rule has to be proven now.
    fn is_open(&self, place: Place, written: &str) -> bool {
        self.forms.replay(place, written).is_ok() && !self.is_known(place, written)
    }

    /// Rules by chain, those that are to be proven.
    fn open_rules(&self, place: Place) -> BTreeMap<&'_ str, Vec<&'_ ExpectedRule>> {
        let Some(table) = self.expected.tables.get(&place) else { return BTreeMap::new() };
        let own = table.chains.iter().map(|(name, (_, rules))| (name.as_str(), rules.iter().collect::<Vec<_>>()));
        let hooked = table
            .hooks
            .iter()
            .map(|(hook, rules)| (hook.as_str(), rules.first.iter().chain(&rules.last).map(|one| &one.rule).collect()));
        let mut open: BTreeMap<&str, Vec<&ExpectedRule>> = own.chain(hooked).collect();
        open.values_mut().for_each(|rules| rules.retain(|rule| self.is_open(place, rule.write())));
        open.retain(|_, rules| !rules.is_empty());
        open
    }

    fn hold(&mut self, scratch: &dyn Port, stage: &Stage) -> Result<(), String> {
        let places: Vec<Place> = self.expected.tables.keys().copied().collect();
        if places.iter().all(|place| self.open_rules(*place).is_empty()) {
            return Ok(());
        }
        if !stage.sets.is_empty() {
            scratch.restore_sets(&stage.sets).map_err(|error| error.to_string())?;
        }
        for (family, stub) in &stage.stubs {
            scratch.restore(*family, stub).map_err(|error| error.to_string())?;
        }
        self.replay(scratch)?;
        for place in places {
            self.compare(scratch, place)?;
        }
        Ok(())
    }

    /// Sends everything, without what the kernel refuses.
    fn replay(&mut self, scratch: &dyn Port) -> Result<(), String> {
        for _ in 0..TRIES {
            let mut observed = Observed { generation: scratch.generation(), ..Observed::default() };
            for (family, table) in self.expected.tables.keys() {
                let raw = scratch.raw(*family, *table, Wanted::Which(&|_| true)).map_err(|error| error.to_string())?;
                let mut known = ObservedTable::default();
                raw.chains.iter().for_each(|chain| known.push_chain(&chain.name, []));
                observed.tables.insert((*family, *table), known);
            }
            let plan = plan(self.expected, &observed);
            let skip = |place: Place, written: &str| !self.is_open(place, written);
            let transaction =
                transaction_without(&plan, &observed, self.forms, &skip).map_err(|error| error.to_string())?;
            let (steps, reason) = match scratch.transact(&transaction) {
                Ok(()) => return Ok(()),
                Err(TransactError::Refused { steps, reason }) => (steps, reason),
                Err(error) => return Err(error.to_string()),
            };
            let mut left_out = false;
            for step in steps.iter().filter_map(|number| transaction.steps.get(*number)) {
                if let Change::AddRule { text, .. } = &step.change {
                    self.forms.doubt(
                        (step.family, step.table),
                        text,
                        &format!("the kernel refuses its form: {reason}"),
                    );
                    left_out = true;
                }
            }
            if !left_out {
                return Err(format!("the kernel refuses the transaction: {reason}"));
            }
        }
        Err("the kernel refuses rule after rule".to_owned())
    }

    fn compare(&mut self, scratch: &dyn Port, place: Place) -> Result<(), String> {
        let wanted = self.open_rules(place);
        if wanted.is_empty() {
            return Ok(());
        }
        let (family, table) = place;
        let save = scratch.save(family, table).map_err(|error| error.to_string())?;
        let save = ObservedTable::parse(table, save).map_err(|error| error.to_string())?;
        let raw = scratch.raw(family, table, Wanted::Which(&|_| true)).map_err(|error| error.to_string())?;
        let held: BTreeMap<&str, &Vec<RawRule>> = raw.chains.iter().map(|chain| (&*chain.name, &chain.rules)).collect();
        // Once for each rule, however often it stands there.
        let mut doubts = BTreeMap::new();
        for (chain, rules) in wanted {
            let shown = save.rules(chain);
            let held = held.get(chain).map_or(&[][..], |rules| rules);
            if (shown.len(), held.len()) != (rules.len(), rules.len()) {
                return Err(format!("{family} {table} {chain}: {} of {} rules came", shown.len(), rules.len()));
            }
            for ((rule, shown), held) in rules.into_iter().zip(shown).zip(held) {
                if rule.show() != Some(shown) {
                    doubts.insert(rule.write().to_owned(), (format!("replayed, it is shown as `{shown}`"), false));
                } else if self.forms.text(place, &held.form) != Some(shown) {
                    let reason = "the kernel holds it in another form each time".to_owned();
                    doubts.insert(rule.write().to_owned(), (reason, true));
                }
            }
        }
        for (written, (reason, unsteady)) in doubts {
            if self.forms.doubt(place, &written, &reason) {
                self.again = true;
            } else if unsteady {
                self.forms.distrust(place, format!("`{written}`: {reason}"));
            }
        }
        Ok(())
    }
}
