//! Reads what the kernel has, in one of two ways. By text: each table in scope, both families side by side, through
//! iptables-save. By form: only our chains and the built-in ones, byte for byte, which is exact also where iptables-save
//! hides something, and takes no process. Sets are the caller's.
//!
//! A picture that somebody changed while it was taken is taken again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use ruleward_core::base_chain::{self, ChainState};
use ruleward_core::expected::{Expected, ExpectedTable};
use ruleward_core::form::{Form, RawChain, RawTable, Stamp};
use ruleward_core::forms::Forms;
use ruleward_core::grants::HOST_PREFIX;
use ruleward_core::names::{Backend, Family, Hook, SetName, Table};
use ruleward_core::observed::{Observed, ObservedTable, SaveError};
use ruleward_core::set_type::{self, SetUser};
use ruleward_core::sets::{self, ListError, ObservedSet};
use thiserror::Error;

use super::describe::describe;

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
    let mut observed = observe_tables(port, expected, false)?;
    if expected.ownership.any_sets() {
        observed.sets = Some(sets::parse_list(&port.sets(&|name| expected.ownership.owns_set(name))?)?);
        find_set_users(port, expected, &mut observed);
    }
    Ok(observed)
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
            let hides = |form: &Form| {
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

/// Reads the tables in `scope` by form; `None` if the forms of `expected` are not known.
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
    let Source { expected, .. } = *source;
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
        }
        Scope::Part { tables, .. } => {
            reading.observed.partial = true;
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
        match port.save(family, table) {
            // Of bytes that say nothing the text is asked for later.
            Err(ToolError::Incompatible { .. }) => {}
            save => {
                let mut parsed = ObservedTable::parse(table, save?)?;
                if let Some(wanted) = expected.tables.get(&place) {
                    add_states(port, wanted, place, &mut parsed)?;
                }
                reading.observed.tables.insert(place, parsed);
                return Ok(());
            }
        }
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
                        Some(hook) => {
                            expected.ownership.owns_rule(table, &marks) || expected.may_be_ours(place, hook, &marks)
                        }
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
        let of_place = || reading.strange.iter().filter(|strange| strange.place == place);
        let texts = match port.save(place.0, place.1) {
            Err(ToolError::Incompatible { .. }) => {
                // Where the table can't be shown, rules that iptables has words for can, each by itself.
                let known = of_place().filter(|strange| port.shows_all(&strange.form)).take(MOST_DESCRIBED);
                Texts::Single(describe(port, &known.cloned().collect::<Vec<_>>()))
            }
            save => Texts::Table(ObservedTable::parse(place.1, save?)?),
        };
        let Some(table) = reading.observed.tables.get_mut(&place) else { continue };
        for strange in reading.strange.iter().filter(|strange| strange.place == place) {
            let text = match &texts {
                // Another number of rules: somebody wrote in between, and the texts belong to other rules.
                Texts::Table(save) => {
                    let shown = save.rules(&strange.chain);
                    let same = shown.len() == table.rules(&strange.chain).len();
                    shown.get(strange.at).filter(|_| same).copied()
                }
                Texts::Single(found) => found.get(&port.marks(place.0, &strange.form)).map(String::as_str),
            };
            let Some(text) = text else { continue };
            if is_expected(expected, place, &strange.chain, text) {
                alike.push((strange.clone(), text.to_owned()));
            } else {
                table.set_text(&strange.chain, strange.at, text);
            }
        }
    }
    Ok(alike)
}

/// Of more rules than this at once the text is not looked for one by one.
const MOST_DESCRIBED: usize = 4_096;

/// What iptables-save shows.
enum Texts {
    /// Of a whole table.
    Table(ObservedTable),
    /// Of rules, by their line of marks.
    Single(HashMap<String, String>),
}

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
    let all = port.sets(&|_| true).ok().and_then(|text| sets::parse_list(&text).ok()).unwrap_or_default();
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
