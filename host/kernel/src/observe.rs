//! Reads what the kernel has, in one of two ways. By text: each table in scope, both families side by side, through
//! iptables-save. By form: only our chains and the built-in ones, byte for byte, which is exact also where iptables-save
//! hides something, and takes no process. Sets are the caller's.
//!
//! A picture that another program changed while it was taken is taken again.

use std::collections::{BTreeMap, BTreeSet};

use ruleward_core::base_chain::ChainState;
use ruleward_core::encoded_rule::{EncodedRule, RawChain};
use ruleward_core::expected::{Expected, ExpectedTable};
use ruleward_core::judge_chain;
use ruleward_core::names::{Backend, Family, Hook, SetName, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::sets::{ListError, ListReader, ObservedSet};
use thiserror::Error;

use super::port::{Port, RawError, Wanted};
use super::process::ToolError;

pub use by_form::{AlreadyRead, Reading, UnknownRule, observe_forms};
pub use explain::explain;
pub use set_users::find_set_users;

mod by_form;
mod explain;
mod set_users;

/// Why the kernel could not be read. Nothing may be concluded, and nothing is written.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// What it printed is not understood.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// What ipset printed is not understood.
    #[error(transparent)]
    Sets(#[from] ListError),
    /// Rules could not be read byte for byte.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// The text of a table would hide what is in rules of ours.
    #[error("{family} {table}/{chain}: a rule of ours was changed in a way that iptables-save does not show")]
    Hidden {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// Where.
        chain: Box<str>,
    },
}

impl ObserveError {
    /// Whether there is more in the kernel than iptables-save has words for: reading by bytes tells.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::Hidden { .. } | Self::Tool(ToolError::Incompatible { .. }))
    }
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything that can be ours, and the sets.
    All,
    /// A part.
    Part {
        /// Of these tables these chains, or everything that can be ours.
        tables: BTreeMap<(Family, Table), Option<BTreeSet<Box<str>>>>,
        /// The sets as well.
        sets: bool,
    },
}

/// A namespace in which another program writes all the time never holds still: after this many tries the picture is used as
/// it is, without a generation. Plans stay safe with an old picture, they are just less likely to be complete.
const TRIES: usize = 4;

/// Reads everything that `expected` has in scope, by text.
///
/// # Errors
/// [`ObserveError`]
pub fn observe(port: &dyn Port, expected: &Expected) -> Result<Observed, ObserveError> {
    let mut observed = observe_tables(port, expected, false)?;
    if expected.ownership.any_sets() {
        observed.sets = Some(list_sets(port, &|name| expected.ownership.owns_set(name))?);
        find_set_users(port, expected, &mut observed);
    }
    find_absent_sets(port, expected, &mut observed);
    Ok(observed)
}

/// Looks which sets of other programs that rules or sets of ours name do not exist.
pub fn find_absent_sets(port: &dyn Port, expected: &Expected, observed: &mut Observed) {
    let named = expected.foreign_sets();
    if named.is_empty() {
        return;
    }
    let tells = port.sets_digest(&|_| None).is_some();
    let listed = if tells { None } else { list_sets(port, &|_| true).ok() };
    let exists = |name: &&str| match &listed {
        Some(listed) => listed.contains_key(*name),
        None => port.set_references(name).is_some(),
    };
    let absent = named.into_iter().filter(|name| !exists(name)).filter_map(|name| SetName::new(name).ok());
    observed.absent_sets = absent.collect();
}

/// Lists the sets whose names `wanted` claims; others may be among them.
///
/// # Errors
/// [`ObserveError`]
pub fn list_sets(
    port: &dyn Port,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, ObservedSet>, ObserveError> {
    let mut list = ListReader::default();
    port.sets(wanted, &mut list)?;
    Ok(list.finish()?)
}

/// Reads the tables alone, by text. `leave_out`: those of which iptables-save does not show all are unreadable.
///
/// # Errors
/// [`ObserveError`]
pub fn observe_tables(port: &dyn Port, expected: &Expected, leave_out: bool) -> Result<Observed, ObserveError> {
    for _ in 1..TRIES {
        let before = port.generation();
        let mut observed = read(port, expected, leave_out)?;
        if port.generation() == before {
            observed.generation = before;
            return Ok(observed);
        }
    }
    read(port, expected, leave_out)
}

type Read = ((Family, Table), Result<ObservedTable, ObserveError>);

fn read(port: &dyn Port, expected: &Expected, leave_out: bool) -> Result<Observed, ObserveError> {
    let places: Vec<(Family, Table)> = expected.tables.keys().copied().collect();
    let read_family = |family: Family| -> Vec<Read> {
        let tables = places.iter().filter(move |(of, _)| *of == family);
        tables.map(|place| (*place, read_text(port, expected, *place))).collect()
    };
    let (ipv4, ipv6) = std::thread::scope(|scope| {
        let other = scope.spawn(|| read_family(Family::Ipv6));
        let own = read_family(Family::Ipv4);
        (own, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut observed = Observed::default();
    for (place, read) in ipv4.into_iter().chain(ipv6) {
        let table = match read {
            Err(error) if leave_out && error.is_hidden() => {
                let (family, table) = place;
                observed.unreadable.insert(place, format!("{family} {table} can't be compared: {error}"));
                ObservedTable::unknown()
            }
            read => read?,
        };
        observed.tables.insert(place, table);
    }
    Ok(observed)
}

/// What iptables-save does not show: what the table and its chains are besides rules. On legacy they are what their names
/// say, and the save has the policies.
///
/// # Errors
/// When the kernel does not answer as it should.
pub fn add_states(
    port: &dyn Port,
    wanted: &ExpectedTable,
    (family, table): (Family, Table),
    parsed: &mut ObservedTable,
) -> Result<(), RawError> {
    if port.backend() == Backend::Legacy {
        return Ok(());
    }
    let raw = match port.raw(family, table, Wanted::Which(&|_| false)) {
        Err(RawError::Unsupported(_)) => return Ok(()),
        other => other?,
    };
    let misplaced = |chain: &&RawChain| judge_chain::is_misplaced(wanted, &chain.name, &chain.state);
    let misplaced: BTreeSet<Box<str>> = raw.chains.iter().filter(misplaced).map(|chain| chain.name.clone()).collect();
    parsed.set_table_state(raw.state);
    raw.chains.into_iter().for_each(|chain| parsed.set_state(&chain.name, chain.state));
    if !misplaced.is_empty() {
        for chain in port.raw(family, table, Wanted::Only(&misplaced))?.chains {
            parsed.set_state(&chain.name, with_rules(port, wanted, &chain));
        }
    }
    Ok(())
}

/// What a chain is, with its rules if it has to be made anew and they can be.
fn with_rules(port: &dyn Port, wanted: &ExpectedTable, chain: &RawChain) -> ChainState {
    let all = || chain.rules.iter().all(|rule| port.stands_alone(&rule.form));
    let needed = judge_chain::is_misplaced(wanted, &chain.name, &chain.state) && all();
    let rules = needed.then(|| chain.rules.iter().map(|rule| rule.form.clone()).collect());
    ChainState { rules, ..chain.state.clone() }
}

fn read_text(port: &dyn Port, expected: &Expected, place: (Family, Table)) -> Result<ObservedTable, ObserveError> {
    let (family, table) = place;
    let mut parsed = ObservedTable::parse(table, port.save(family, table)?)?;
    if let Some(wanted) = expected.tables.get(&place) {
        add_states(port, wanted, place, &mut parsed)?;
    }
    // Rules that were not made by iptables may be shown without a part of them.
    let owned = |chain: &str| expected.ownership.owns_chain(table, chain);
    let wanted = |chain: &str| Hook::from_name(chain).is_some() || owned(chain);
    if port.backend() == Backend::Nft
        && let Ok(raw) = port.raw(family, table, Wanted::Which(&wanted))
    {
        for chain in raw.chains {
            let hides = |form: &EncodedRule| {
                let ours = owned(&chain.name) || expected.ownership.owns_rule(table, &port.marks(family, form));
                !port.shows_all(form) && ours
            };
            if chain.rules.iter().any(|rule| hides(&rule.form)) {
                return Err(ObserveError::Hidden { family, table, chain: chain.name });
            }
        }
    }
    Ok(parsed)
}
