//! Loads a desired state into a private, empty namespace with the node's own tools. What this kernel and these tools
//! refuse is refused here, before anything live is touched; what they show is what the live kernel must show, and what
//! the kernel holds there, byte for byte, is what the live one must hold ([`super::prove`] makes sure of that).

use std::collections::BTreeMap;
use std::fmt;

use ruleward_core::expected::{Basis, Expected, Mismatch};
use ruleward_core::foreign::{self, Trespass};
use ruleward_core::merge::Desired;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::{Observed, SaveError};
use ruleward_core::rule_encodings::RuleEncodings;
use ruleward_core::script::Origin;
use ruleward_core::sets::ListError;
use ruleward_core::unmatchable;
use thiserror::Error;

use super::estimators::Estimators;
use super::load::load;
use super::port::{Port, RawError, Wanted};
use super::process::ToolError;
use super::prove::{Stage, prove};
use super::scratch::ScratchError;

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

/// A rule or set that this kernel or these tools refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which, if it could be found out.
    pub origin: Option<Origin>,
    /// In the tool's words.
    pub reason: String,
}

impl Refused {
    /// Of nothing in particular.
    pub fn somewhere(reason: impl Into<String>) -> Self {
        Self { origin: None, reason: reason.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin { place, text, .. }) if text.is_empty() => write!(f, "{place}: {}", self.reason),
            Some(Origin { place, text, .. }) => write!(f, "{place} `{text}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Why a desired state can't be put in force.
#[derive(Debug, Error)]
pub enum RehearseError {
    /// This kernel or these tools refuse it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(
        /// At least one; not all, where there are very many.
        Vec<Refused>,
    ),
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
    Encodings(Option<&'a RuleEncodings>),
}

/// Holds the rehearsal.
///
/// # Errors
/// [`RehearseError`]
pub fn rehearse(port: &dyn Port, mut desired: Desired, learn: Learn<'_>) -> Result<Rehearsed, RehearseError> {
    let mut outcome = None;
    let estimators = Estimators::of(port, &desired);
    let held = port.in_scratch(&mut |scratch| {
        outcome = Some(load(scratch, &desired, &estimators).map(|loaded| {
            loaded.expand(&mut desired);
            let shown = loaded.shown;
            let forms = match learn {
                Learn::Nothing => Err("the configuration says replay = \"off\"".to_owned()),
                Learn::Encodings(known) => learn_forms(scratch, &desired, &shown).map(|forms| (forms, known)),
            };
            (shown, forms)
        }));
    });
    let impossible = match (held, outcome) {
        (Ok(()), Some(loaded)) => {
            let (shown, forms) = loaded?;
            judge_names(&desired, Some(&shown))?;
            let stage = Stage::of(&desired, &estimators);
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
    judge_names(&desired, None)?;
    let no_forms = Some("no rehearsal is possible".to_owned());
    Ok(Rehearsed { expected: Expected::unproven(desired), impossible: Some(impossible), no_forms })
}

/// Refuses a rule that names what its policy was not granted.
fn judge_names(desired: &Desired, shown: Option<&Observed>) -> Result<(), RehearseError> {
    match foreign::trespass(desired, shown) {
        None => Ok(()),
        Some(Trespass { origin, reason }) => {
            Err(RehearseError::Refused(vec![Refused { origin: Some(origin), reason }]))
        }
    }
}

/// What a kernel makes of a desired state.
#[derive(Debug, Default)]
pub struct TriedOut {
    /// What `iptables-save` prints of its tables.
    pub text: String,
    /// Rules that can never match.
    pub warnings: Vec<String>,
}

/// Loads a desired state as a rehearsal does.
///
/// # Errors
/// [`RehearseError`]; inside is a [`ScratchError`] when no namespace can be made.
pub fn try_out(port: &dyn Port, desired: &Desired) -> Result<Result<TriedOut, RehearseError>, ScratchError> {
    let mut outcome = Ok(TriedOut::default());
    let estimators = Estimators::of(port, desired);
    port.in_scratch(&mut |scratch| {
        outcome = load(scratch, desired, &estimators).and_then(|loaded| {
            let text = saved(scratch, desired)?;
            let mut desired = desired.clone();
            loaded.expand(&mut desired);
            judge_names(&desired, Some(&loaded.shown))?;
            let expected = Expected::unproven(desired).prove(Basis::Rehearsed, &loaded.shown)?;
            Ok(TriedOut { text, warnings: unmatchable::warnings(&expected) })
        });
    })?;
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
fn learn_forms(scratch: &dyn Port, desired: &Desired, shown: &Observed) -> Result<RuleEncodings, String> {
    let mut forms = RuleEncodings::default();
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
