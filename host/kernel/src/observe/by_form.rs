//! Reads rules byte for byte, which is exact also where iptables-save hides something, and takes no process.

use ruleward_core::encoded_rule::{EncodedRule, RawTable, Stamp};
use ruleward_core::expected::{Expected, ExpectedTable};
use ruleward_core::names::{Family, Hook, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::rule_encodings::RuleEncodings;

use super::{ObserveError, Scope, TRIES, add_states, with_rules};
use crate::port::{Port, Wanted};
use crate::process::ToolError;

/// What was read by form.
#[derive(Debug)]
pub struct Reading {
    /// The rules by their text. One of unknown form has a line that names its marks.
    pub observed: Observed,
    /// The rules of unknown form that are ours by where they stand or by their marks.
    pub strange: Vec<UnknownRule>,
    /// Whether nobody wrote while it was read.
    pub steady: bool,
    /// What the tables were, as far as the backend tells it so.
    pub stamps: Vec<((Family, Table), Stamp)>,
}

/// A table that was read whole a moment ago, if it was; then it is not read again.
pub type AlreadyRead<'a> = &'a mut dyn FnMut((Family, Table)) -> Option<RawTable>;

/// A rule whose form is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRule {
    /// Where.
    pub place: (Family, Table),
    /// Where.
    pub chain: Box<str>,
    /// Its number, from 0.
    pub at: usize,
    /// Itself.
    pub form: EncodedRule,
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
    forms: &'a RuleEncodings,
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
                    // Of a foreign rule nobody needs to know more.
                    let ours = match Hook::from_name(&chain.name) {
                        Some(hook) => {
                            expected.ownership.owns_rule(table, &marks) || expected.may_be_ours(place, hook, &marks)
                        }
                        None => expected.ownership.owns_chain(table, &chain.name),
                    };
                    if ours {
                        reading.strange.push(UnknownRule { place, chain: chain.name.clone(), at, form: rule.form });
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
