//! Loads a desired state into a private, empty namespace with the node's own tools. What this kernel and these tools
//! refuse is refused here, before anything live is touched; what they show is what the live kernel must show, and what
//! the kernel holds there, byte for byte, is what the live one must hold ([`super::prove`] makes sure of that).

use std::collections::BTreeMap;

use ruleward_core::expected::{Basis, Expected, ExpectedTable, Mismatch};
use ruleward_core::forms::Forms;
use ruleward_core::merge::Desired;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::script::{self, Origin, Rehearsal};
use ruleward_core::sets::{self, ListError};
use thiserror::Error;

use super::observe;
use super::port::{Port, RawError, Wanted};
use super::process::ToolError;
use super::prove::{Stage, prove};
use super::scratch::ScratchError;
use super::tools::RestoreError;

/// What came of a rehearsal.
#[derive(Debug)]
pub struct Rehearsed {
    /// The desired state, with its text if the rehearsal could be held.
    pub expected: Expected,
    /// Why it could not be held, if so.
    pub impossible: Option<String>,
    /// Why the byte forms of its rules are not known, if so.
    pub no_forms: Option<String>,
}

/// Why a desired state can't be put in force.
#[derive(Debug, Error)]
pub enum RehearseError {
    /// This kernel or these tools refuse it.
    #[error("{}{reason}", .origin.as_ref().map(|origin| format!("{}: ", origin.place)).unwrap_or_default())]
    Refused {
        /// The rule or set that is refused, if it could be found out.
        origin: Option<Origin>,
        /// In the tool's words.
        reason: String,
    },
    /// More than the tools can send to the kernel at once; no policy's fault.
    #[error(
        "{family} {table}: the tools can't send so many rules to the kernel in one transaction ({reason}); in a user \
         namespace that limit is net.core.wmem_max"
    )]
    TooMuch {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// In the tool's words.
        reason: String,
    },
    /// The tools themselves failed: this says nothing about the desired state.
    #[error("the rehearsal failed: {0}")]
    Tool(#[from] ToolError),
    /// The kernel did not tell what its chains are.
    #[error("the rehearsal failed: {0}")]
    Raw(#[from] RawError),
    /// What the tools printed is not understood.
    #[error("the rehearsal failed: {0}")]
    Save(#[from] SaveError),
    /// What ipset printed is not understood.
    #[error("the rehearsal failed: {0}")]
    Sets(#[from] ListError),
    /// The tools took the rules and show another number of them.
    #[error("the rehearsal failed: {0}")]
    Mismatch(#[from] Mismatch),
}

/// What a rehearsal is to find out about the byte forms of rules.
#[derive(Debug, Clone, Copy)]
pub enum Learn<'a> {
    /// Nothing.
    Nothing,
    /// All forms, and a proof for those that can be replayed; not again for those in here.
    Forms(Option<&'a Forms>),
}

/// Holds the rehearsal.
///
/// # Errors
/// [`RehearseError`]
pub fn rehearse(port: &dyn Port, desired: Desired, learn: Learn<'_>) -> Result<Rehearsed, RehearseError> {
    let mut outcome = None;
    let held = port.in_scratch(&mut |scratch| {
        outcome = Some(load(scratch, &desired).map(|shown| {
            let forms = match learn {
                Learn::Nothing => Err("the configuration says replay = \"off\"".to_owned()),
                Learn::Forms(known) => learn_forms(scratch, &desired, &shown).map(|forms| (forms, known)),
            };
            (shown, forms)
        }));
    });
    let impossible = match (held, outcome) {
        (Ok(()), Some(loaded)) => {
            let (shown, forms) = loaded?;
            let stage = Stage::of(&desired);
            let mut expected = Expected::unproven(desired).prove(Basis::Rehearsed, &shown)?;
            let proven = forms.and_then(|(mut forms, known)| {
                known.into_iter().for_each(|known| forms.inherit(known));
                prove(port, &stage, &mut expected, forms, known)
            });
            return Ok(Rehearsed { expected, impossible: None, no_forms: proven.err() });
        }
        (Err(error), _) => error.to_string(),
        (Ok(()), None) => "the private namespace did not run the rehearsal".to_owned(),
    };
    let no_forms = Some("no rehearsal is possible".to_owned());
    Ok(Rehearsed { expected: Expected::unproven(desired), impossible: Some(impossible), no_forms })
}

/// Loads a desired state as a rehearsal does, and gives what `iptables-save` then prints of its tables.
///
/// # Errors
/// [`RehearseError`]; inside is a [`ScratchError`] when no namespace can be made.
pub fn try_out(port: &dyn Port, desired: &Desired) -> Result<Result<String, RehearseError>, ScratchError> {
    let mut outcome = Ok(String::new());
    port.in_scratch(&mut |scratch| outcome = load(scratch, desired).and_then(|_| saved(scratch, desired)))?;
    Ok(outcome)
}

fn saved(scratch: &dyn Port, desired: &Desired) -> Result<String, RehearseError> {
    let mut text = String::new();
    for (family, table) in desired.tables.keys() {
        text.push_str(&format!("# {family}\n"));
        let save = scratch.save(*family, *table)?;
        save.lines().filter(|line| !line.starts_with('#')).for_each(|line| text.extend([line, "\n"]));
    }
    Ok(text)
}

/// Pairs each rule with the form that the kernel holds.
fn learn_forms(scratch: &dyn Port, desired: &Desired, shown: &Observed) -> Result<Forms, String> {
    let mut forms = Forms::default();
    for (place, wanted) in &desired.tables {
        let (family, table) = *place;
        let raw = scratch.raw(family, table, Wanted::Which(&|_| true)).map_err(|error| error.to_string())?;
        let mut held: BTreeMap<Box<str>, _> = raw.chains.into_iter().map(|chain| (chain.name, chain.rules)).collect();
        let hooked = wanted.hooks.iter().map(|(hook, rules)| {
            let written = rules.first.iter().chain(&rules.last).map(|one| &one.rule.text);
            (hook.as_str(), written.collect::<Vec<_>>())
        });
        let own = wanted
            .chains
            .iter()
            .map(|(name, (_, rules))| (name.as_str(), rules.iter().map(|rule| &rule.text).collect()));
        for (chain, written) in own.chain(hooked) {
            let shown = shown.tables.get(place).map(|table| table.rules(chain)).unwrap_or_default();
            let held = held.remove(chain).unwrap_or_default();
            if (written.len(), written.len()) != (shown.len(), held.len()) {
                return Err(format!(
                    "{family} {table} {chain}: the kernel holds {} rules where {} were written",
                    held.len(),
                    written.len()
                ));
            }
            for ((written, shown), rule) in written.into_iter().zip(shown).zip(held) {
                let lighter = scratch.lighter(&rule.form);
                forms.learn(*place, written, shown, rule.form, lighter);
            }
        }
    }
    Ok(forms)
}

fn load(scratch: &dyn Port, desired: &Desired) -> Result<Observed, RehearseError> {
    let mut observed = Observed::default();
    if !desired.sets.is_empty() {
        let script = script::rehearsal_sets(desired);
        scratch.restore_sets(&script).map_err(|error| refused_set(desired, error))?;
        observed.sets = Some(sets::parse_list(&scratch.sets()?)?);
    }
    let families = desired.families.clone();
    let loaded = std::thread::scope(|scope| {
        let start = |family: Family| scope.spawn(move || load_family(scratch, desired, family));
        let threads: Vec<_> = families.into_iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>, RehearseError>>()
    })?;
    observed.tables = loaded.into_iter().flatten().collect();
    Ok(observed)
}

type Tables = BTreeMap<(Family, Table), ObservedTable>;

fn load_family(scratch: &dyn Port, desired: &Desired, family: Family) -> Result<Tables, RehearseError> {
    let mut tables = Tables::new();
    for ((_, table), wanted) in desired.tables.iter().filter(|((of, _), _)| *of == family) {
        let rehearsal = Rehearsal::new(family, *table, wanted);
        match scratch.restore(family, &rehearsal.script(usize::MAX)) {
            Ok(()) => {}
            Err(RestoreError::Refused { message, .. }) if message.contains("Message too long") => {
                return Err(RehearseError::TooMuch { family, table: *table, reason: message });
            }
            Err(RestoreError::Refused { line, message, .. }) => {
                let origin = line.and_then(|line| rehearsal.origin_of_line(line));
                let origin = origin.or_else(|| first_refused(scratch, family, &rehearsal));
                return Err(RehearseError::Refused { origin, reason: message });
            }
            Err(RestoreError::Tool(error)) => return Err(error.into()),
            Err(error @ RestoreError::LockBusy { .. }) => {
                return Err(RehearseError::Refused { origin: None, reason: error.to_string() });
            }
        }
        let mut parsed = ObservedTable::parse(*table, scratch.save(family, *table)?)?;
        observe::add_states(scratch, &ExpectedTable::default(), (family, *table), &mut parsed)?;
        tables.insert((family, *table), parsed);
    }
    Ok(tables)
}

/// Legacy names only the COMMIT: the shortest refused beginning of the script ends with the rule that is to blame.
fn first_refused(scratch: &dyn Port, family: Family, rehearsal: &Rehearsal<'_>) -> Option<Origin> {
    let (mut taken, mut refused) = (0, rehearsal.rules());
    while taken + 1 < refused {
        let middle = taken.midpoint(refused);
        // A script of this table replaces our chains; what an earlier try left in built-in chains does no harm here.
        match scratch.restore(family, &rehearsal.script(middle)) {
            Ok(()) => taken = middle,
            Err(RestoreError::Refused { .. }) => refused = middle,
            Err(_) => return None,
        }
    }
    rehearsal.origin_of_rule(refused.checked_sub(1)?)
}

fn refused_set(desired: &Desired, error: RestoreError) -> RehearseError {
    match error {
        RestoreError::Refused { line, message, .. } => {
            let found = line.and_then(|line| script::set_of_line(desired, line));
            let origin = found.and_then(|(name, member)| {
                let place = if member == 0 { format!("set {name}") } else { format!("set {name}, member {member}") };
                Some(Origin { policy: desired.ownership.set_owner(name.as_str())?.clone(), place })
            });
            RehearseError::Refused { origin, reason: message }
        }
        RestoreError::Tool(error) => error.into(),
        RestoreError::LockBusy { .. } => RehearseError::Refused { origin: None, reason: error.to_string() },
    }
}
