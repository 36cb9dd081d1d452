//! Loads a desired state into a private, empty namespace with the node's own tools. What this kernel and these tools
//! refuse is refused here, before anything live is touched; what they show is what the live kernel must show.

use std::collections::BTreeMap;

use ruleward_core::expected::{Basis, Expected, Mismatch};
use ruleward_core::merge::Desired;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::script::{self, Origin, Rehearsal};
use ruleward_core::sets::{self, ListError};
use thiserror::Error;

use super::port::Port;
use super::process::ToolError;
use super::tools::RestoreError;

/// What came of a rehearsal.
#[derive(Debug)]
pub struct Rehearsed {
    /// The desired state, with its text if the rehearsal could be held.
    pub expected: Expected,
    /// Why it could not be held, if so.
    pub impossible: Option<String>,
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

/// Holds the rehearsal.
///
/// # Errors
/// [`RehearseError`]
pub fn rehearse(port: &dyn Port, desired: Desired) -> Result<Rehearsed, RehearseError> {
    let mut outcome = None;
    let held = port.in_scratch(&mut |scratch| outcome = Some(load(scratch, &desired)));
    match (held, outcome) {
        (Ok(()), Some(loaded)) => {
            let expected = Expected::unproven(desired).prove(Basis::Rehearsed, &loaded?)?;
            Ok(Rehearsed { expected, impossible: None })
        }
        (Err(error), _) => Ok(Rehearsed { expected: Expected::unproven(desired), impossible: Some(error.to_string()) }),
        (Ok(()), None) => {
            let impossible = Some("the private namespace did not run the rehearsal".to_owned());
            Ok(Rehearsed { expected: Expected::unproven(desired), impossible })
        }
    }
}

fn load(scratch: &dyn Port, desired: &Desired) -> Result<Observed, RehearseError> {
    let mut observed = Observed::default();
    if !desired.sets.is_empty() {
        let script = script::rehearsal_sets(desired);
        scratch.restore_sets(&script).map_err(|error| refused_set(desired, error))?;
        observed.sets = sets::parse_list(&scratch.sets()?)?;
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
        tables.insert((family, *table), ObservedTable::parse(*table, scratch.save(family, *table)?)?);
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
