//! Proves that rules may be replayed: their forms are sent, in one transaction, to a second private namespace, whose
//! address sets have other indexes; what iptables-save shows there, and what the kernel holds there, must be the same
//! as where the tools had loaded them. A rule that fails stays with the tools, and no other rule with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use ruleward_core::encoded_rule::RawRule;
use ruleward_core::expected::{Expected, ExpectedRule};
use ruleward_core::grants::HOST_PREFIX;
use ruleward_core::merge::Desired;
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::ownership::Ownership;
use ruleward_core::plan::plan;
use ruleward_core::rule_encodings::RuleEncodings;
use ruleward_core::script;
use ruleward_core::transaction::{Change, transaction_without};

use super::estimators::Estimators;
use super::port::{Port, TransactError, Wanted};

type Place = (Family, Table);

/// How often rules that the kernel refuses are left out and the rest is tried again.
const TRIES: usize = 8;
/// In a table with more chains than this that can't be proven together, no rule is.
const MOST_SINGLE_CHAINS: usize = 64;

/// What has to be there before the rules can come.
pub struct Stage {
    sets: String,
    /// Scripts of one table each: the foreign chains that rules wait for, and estimators.
    stubs: Vec<(Family, String)>,
}

impl Stage {
    /// For this desired state.
    pub fn of(desired: &Desired, estimators: &Estimators) -> Self {
        let sets = if desired.sets.is_empty() && desired.foreign_sets().is_empty() {
            String::new()
        } else {
            // A set before all others: the indexes are not those of the first namespace. Rules need no members.
            format!("create {HOST_PREFIX}padding hash:ip\n{}", script::empty_sets(desired))
        };
        let mut stubs: Vec<_> = estimators.scripts().collect();
        for ((family, table), wanted) in &desired.tables {
            let chains = wanted.awaited_chains();
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
    mut forms: RuleEncodings,
    known: Option<&RuleEncodings>,
) -> Result<(), String> {
    if port.backend() == Backend::Nft {
        forms.replayable = true;
        // A stub stands for a foreign chain, and may have a name that some policy was granted: nothing is ours here, so
        // that nothing is removed.
        let unowned =
            (!stage.stubs.is_empty()).then(|| Expected { ownership: Ownership::default(), ..expected.clone() });
        let mut proof = Proof {
            expected: unowned.as_ref().unwrap_or(expected),
            forms: &mut forms,
            known,
            only: None,
            again: false,
        };
        if let Err(reason) = proof.attempt(port, stage)? {
            proof.isolate(port, stage, &reason)?;
        }
    }
    expected.forms = Some(Arc::new(forms));
    Ok(())
}

struct Proof<'a> {
    expected: &'a Expected,
    forms: &'a mut RuleEncodings,
    known: Option<&'a RuleEncodings>,
    /// What is proven now, if not everything: one table, or one chain of it.
    only: Option<(Place, Option<Box<str>>)>,
    /// A rule is left with another form, which is to be proven as well.
    again: bool,
}

impl Proof<'_> {
    /// Proves what is open, with a rule's other form where the first does not hold. The inner error is a failure that
    /// names no rule.
    fn attempt(&mut self, port: &dyn Port, stage: &Stage) -> Result<Result<(), String>, String> {
        let mut outcome = Ok(());
        for _ in 0..TRIES {
            self.again = false;
            port.in_scratch(&mut |scratch| outcome = self.hold(scratch, stage)).map_err(|error| error.to_string())?;
            if !self.again {
                break;
            }
        }
        Ok(outcome)
    }

    /// Together they can't be proven: table by table, and where that fails chain by chain. What can't be proven turns
    /// off only itself.
    fn isolate(&mut self, port: &dyn Port, stage: &Stage, reason: &str) -> Result<(), String> {
        tracing::debug!("rules could not be proven together: {reason}");
        let places: Vec<Place> = self.expected.tables.keys().copied().collect();
        for place in places {
            let chains: Vec<Box<str>> = self.open_rules(place).into_keys().map(Into::into).collect();
            self.only = Some((place, None));
            let Err(reason) = self.attempt(port, stage)? else { continue };
            for chain in chains.iter().take(MOST_SINGLE_CHAINS) {
                self.only = Some((place, Some(chain.clone())));
                if let Err(reason) = self.attempt(port, stage)? {
                    self.doubt_open(place, &reason);
                }
            }
            self.only = Some((place, None));
            if chains.len() > MOST_SINGLE_CHAINS {
                self.doubt_open(place, &reason);
            }
        }
        self.only = None;
        Ok(())
    }

    /// Rules of which nothing more is known than that their proof failed.
    fn doubt_open(&mut self, place: Place, reason: &str) {
        let open: BTreeSet<String> =
            self.open_rules(place).into_values().flatten().map(|rule| rule.write().to_owned()).collect();
        let (family, table) = place;
        tracing::warn!(
            "{family} {table}: {} rules can't be replayed, the stock tools write them: {reason}",
            open.len()
        );
        for rule in open {
            while self.forms.mark_unproven(place, &rule, reason) {}
        }
    }

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
        if let Some((only, chain)) = &self.only {
            open.retain(|name, _| *only == place && chain.as_ref().is_none_or(|chain| **chain == **name));
        }
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
            let mut plan = plan(self.expected, &observed);
            if let Some((only, _)) = &self.only {
                plan.tables.retain(|table| (table.family, table.table) == *only);
            }
            let in_chain: Option<BTreeSet<&str>> = self.only.as_ref().and_then(|(place, chain)| {
                let rules = self.open_rules(*place).remove(&**chain.as_ref()?)?;
                Some(rules.into_iter().map(ExpectedRule::write).collect())
            });
            let skip = |place: Place, written: &str| {
                !self.is_open(place, written) || in_chain.as_ref().is_some_and(|rules| !rules.contains(written))
            };
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
                    self.forms.mark_unproven(
                        (step.family, step.table),
                        text,
                        &format!("the kernel refuses its encoding: {reason}"),
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
                    let reason = "the kernel encodes it differently each time".to_owned();
                    doubts.insert(rule.write().to_owned(), (reason, true));
                }
            }
        }
        for (written, (reason, unsteady)) in doubts {
            if self.forms.mark_unproven(place, &written, &reason) {
                self.again = true;
            } else if unsteady {
                self.forms.distrust(place, format!("`{written}`: {reason}"));
            }
        }
        Ok(())
    }
}
