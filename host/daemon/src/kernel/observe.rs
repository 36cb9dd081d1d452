//! Reads what the kernel has, in one of two ways. By text: each table in scope, both families side by side, through
//! iptables-save. By form: only our chains and the built-in ones, byte for byte, which is exact also where iptables-save
//! hides something, and takes no process. Sets come from ipset in both.
//!
//! A picture that somebody changed while it was taken is taken again.

use std::collections::{BTreeMap, BTreeSet};

use ruleward_core::base_chain::{self, ChainState};
use ruleward_core::expected::{Expected, ExpectedTable};
use ruleward_core::form::{Form, RawChain, RawTable, Stamp};
use ruleward_core::forms::Forms;
use ruleward_core::names::{Backend, Family, Hook, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::sets::{self, ListError};
use thiserror::Error;

use super::port::{Port, RawError, Wanted};
use super::process::ToolError;

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

/// What was read by form.
#[derive(Debug)]
pub struct Reading {
    /// The rules by their text. One of unknown form has a line that names its marks.
    pub observed: Observed,
    /// The rules of unknown form that are ours by where they stand or by their marks.
    pub strange: Vec<Strange>,
    /// Whether nobody wrote while it was read.
    pub steady: bool,
    /// What the tables were, as far as the backend tells it so.
    pub stamps: Vec<((Family, Table), Stamp)>,
}

/// A table that was read whole a moment ago, if it was; then it is not read again.
pub type AlreadyRead<'a> = &'a mut dyn FnMut((Family, Table)) -> Option<RawTable>;

/// A rule whose form is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// Where.
    pub place: (Family, Table),
    /// Where.
    pub chain: Box<str>,
    /// Its number, from 0.
    pub at: usize,
    /// Itself.
    pub form: Form,
}

/// A namespace in which somebody writes all the time never holds still: after this many tries the picture is used as
/// it is, without a generation. Plans stay safe with an old picture, they are just less likely to be complete.
const TRIES: usize = 4;

/// Reads everything that `expected` has in scope, by text.
///
/// # Errors
/// [`ObserveError`]
pub fn observe(port: &dyn Port, expected: &Expected) -> Result<Observed, ObserveError> {
    for _ in 1..TRIES {
        let before = port.generation();
        let mut observed = read(port, expected)?;
        if port.generation() == before {
            observed.generation = before;
            return Ok(observed);
        }
    }
    read(port, expected)
}

fn read(port: &dyn Port, expected: &Expected) -> Result<Observed, ObserveError> {
    let places: Vec<(Family, Table)> = expected.tables.keys().copied().collect();
    let read_family = |family: Family| {
        let tables = places.iter().filter(move |(of, _)| *of == family);
        let read_table = |(_, table): &(Family, Table)| {
            let mut parsed = ObservedTable::parse(*table, port.save(family, *table)?)?;
            if let Some(wanted) = expected.tables.get(&(family, *table)) {
                add_states(port, wanted, (family, *table), &mut parsed)?;
            }
            Ok::<_, ObserveError>(((family, *table), parsed))
        };
        tables.map(read_table).collect::<Result<Vec<_>, _>>()
    };
    let (ipv4, ipv6) = std::thread::scope(|scope| {
        let other = scope.spawn(|| read_family(Family::Ipv6));
        let own = read_family(Family::Ipv4);
        (own, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut observed = Observed { sets: read_sets(port, expected)?, ..Observed::default() };
    observed.tables.extend(ipv4?.into_iter().chain(ipv6?));
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
    let misplaced = |chain: &&RawChain| base_chain::is_misplaced(wanted, &chain.name, &chain.state);
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
    let needed = base_chain::is_misplaced(wanted, &chain.name, &chain.state) && all();
    let rules = needed.then(|| chain.rules.iter().map(|rule| rule.form.clone()).collect());
    ChainState { rules, ..chain.state.clone() }
}

fn read_sets(
    port: &dyn Port,
    expected: &Expected,
) -> Result<Option<BTreeMap<String, sets::ObservedSet>>, ObserveError> {
    let any = expected.ownership.any_sets();
    Ok(if any { Some(sets::parse_list(&port.sets()?)?) } else { None })
}

/// Reads what is in `scope` by form; `None` if the forms of `expected` are not known.
///
/// # Errors
/// [`ObserveError`]
pub fn observe_forms(
    port: &dyn Port,
    expected: &Expected,
    scope: &Scope,
    already: AlreadyRead<'_>,
) -> Result<Option<Reading>, ObserveError> {
    let Some(forms) = &expected.forms else { return Ok(None) };
    let mut last = None;
    for _ in 0..TRIES {
        let before = port.generation();
        let mut reading = read_forms(&Source { port, expected, forms }, scope, already)?;
        // A transaction is tied to what was before: if that is gone it does nothing.
        reading.observed.generation = before;
        reading.steady = port.generation() == before;
        if reading.steady {
            return Ok(Some(reading));
        }
        last = Some(reading);
    }
    Ok(last)
}

/// What readings are made of.
struct Source<'a> {
    port: &'a dyn Port,
    expected: &'a Expected,
    forms: &'a Forms,
}

fn read_forms(source: &Source<'_>, scope: &Scope, already: AlreadyRead<'_>) -> Result<Reading, ObserveError> {
    let Source { port, expected, .. } = *source;
    let observed = Observed::default();
    let mut reading = Reading { observed, strange: Vec::new(), steady: true, stamps: Vec::new() };
    let mut whole = |place: (Family, Table), reading: &mut Reading| {
        let owns = |chain: &str| Hook::from_name(chain).is_some() || expected.ownership.owns_chain(place.1, chain);
        read_table(source, place, Wanted::Which(&owns), already(place), reading)
    };
    match scope {
        Scope::All => {
            for place in expected.tables.keys() {
                whole(*place, &mut reading)?;
            }
            reading.observed.sets = read_sets(port, expected)?;
        }
        Scope::Part { tables, sets } => {
            reading.observed.partial = true;
            if *sets {
                reading.observed.sets = read_sets(port, expected)?;
            }
            for (place, chains) in tables {
                match chains {
                    Some(chains) => read_table(source, *place, Wanted::Only(chains), None, &mut reading)?,
                    None => whole(*place, &mut reading)?,
                }
            }
        }
    }
    Ok(reading)
}

fn read_table(
    source: &Source<'_>,
    place: (Family, Table),
    wanted: Wanted<'_>,
    already: Option<RawTable>,
    reading: &mut Reading,
) -> Result<(), ObserveError> {
    let Source { port, expected, forms } = *source;
    let (family, table) = place;
    if !forms.trusts(place) {
        let mut parsed = ObservedTable::parse(table, port.save(family, table)?)?;
        if let Some(wanted) = expected.tables.get(&place) {
            add_states(port, wanted, place, &mut parsed)?;
        }
        reading.observed.tables.insert(place, parsed);
        return Ok(());
    }
    let mut raw = match already {
        Some(whole) => wanted.narrow(whole),
        None => port.raw(family, table, wanted)?,
    };
    if let Wanted::Which(_) = wanted
        && raw.chains.iter().any(|chain| is_obsolete(expected, place, &chain.name))
    {
        // Whether it can go depends on who else refers to it.
        raw = port.raw(family, table, Wanted::Which(&|_| true))?;
    }
    let RawTable { chains, state, stamp } = raw;
    reading.stamps.extend(stamp.map(|stamp| (place, stamp)));
    let mut observed = ObservedTable::default();
    observed.set_table_state(state);
    let nothing = ExpectedTable::default();
    let table_wanted = expected.tables.get(&place).unwrap_or(&nothing);
    for chain in chains {
        let state = with_rules(port, table_wanted, &chain);
        let mut texts: Vec<(std::borrow::Cow<'_, str>, u64)> = Vec::with_capacity(chain.rules.len());
        for (at, rule) in chain.rules.into_iter().enumerate() {
            let text = match forms.text(place, &rule.form) {
                Some(text) => text.into(),
                None => {
                    let marks = port.marks(family, &rule.form);
                    // Of a stranger's rule nobody needs to know more.
                    let ours = match Hook::from_name(&chain.name) {
                        Some(_) => expected.ownership.owns_rule(table, &marks),
                        None => expected.ownership.owns_chain(table, &chain.name),
                    };
                    if ours {
                        reading.strange.push(Strange { place, chain: chain.name.clone(), at, form: rule.form });
                    }
                    marks.into()
                }
            };
            texts.push((text, rule.handle));
        }
        observed.push_chain(&chain.name, texts.iter().map(|(text, handle)| (&**text, *handle)));
        observed.set_state(&chain.name, state);
    }
    if let Wanted::Only(chains) = wanted {
        observed.cover_only(chains.clone());
    }
    reading.observed.tables.insert(place, observed);
    Ok(())
}

/// Whether a chain is ours and nobody wants it.
fn is_obsolete(expected: &Expected, place: (Family, Table), chain: &str) -> bool {
    let wanted = expected.tables.get(&place).is_some_and(|table| table.chains.contains_key(chain));
    !wanted && Hook::from_name(chain).is_none() && expected.ownership.owns_chain(place.1, chain)
}

/// Gives the rules of unknown form in `reading` the text that iptables-save shows for them. A rule that is shown exactly
/// as one of ours, though its form is another, keeps its line of marks, and is among those that are returned: it is
/// for the caller to say whether it counts as ours.
///
/// # Errors
/// [`ObserveError`]
pub fn explain(
    port: &dyn Port,
    expected: &Expected,
    reading: &mut Reading,
) -> Result<Vec<(Strange, String)>, ObserveError> {
    let mut alike = Vec::new();
    let places: BTreeSet<(Family, Table)> = reading.strange.iter().map(|strange| strange.place).collect();
    for place in places {
        let save = ObservedTable::parse(place.1, port.save(place.0, place.1)?)?;
        let Some(table) = reading.observed.tables.get_mut(&place) else { continue };
        for strange in reading.strange.iter().filter(|strange| strange.place == place) {
            let shown = save.rules(&strange.chain);
            // Another number of rules: somebody wrote in between, and the texts belong to other rules.
            if shown.len() != table.rules(&strange.chain).len() {
                continue;
            }
            let Some(text) = shown.get(strange.at) else { continue };
            if is_expected(expected, place, &strange.chain, text) {
                alike.push((strange.clone(), (*text).to_owned()));
            } else {
                table.set_text(&strange.chain, strange.at, text);
            }
        }
    }
    Ok(alike)
}

/// Whether a rule with this text is wanted in this chain.
fn is_expected(expected: &Expected, place: (Family, Table), chain: &str, text: &str) -> bool {
    let Some(table) = expected.tables.get(&place) else { return false };
    match Hook::from_name(chain) {
        Some(hook) => table
            .hooks
            .get(&hook)
            .is_some_and(|hook| hook.first.iter().chain(&hook.last).any(|one| one.rule.show() == Some(text))),
        None => table.chains.get(chain).is_some_and(|(_, rules)| rules.iter().any(|rule| rule.show() == Some(text))),
    }
}
