//! What iptables-save shows for rules of unknown form.

use std::collections::{BTreeSet, HashMap};

use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Hook, Table};
use ruleward_core::observed::ObservedTable;

use super::{ObserveError, Reading, UnknownRule};
use crate::describe::describe;
use crate::port::Port;
use crate::process::ToolError;

/// Of more rules than this at once the text is not looked for one by one.
const MOST_DESCRIBED: usize = 4_096;

/// What iptables-save shows.
enum Texts {
    /// Of a whole table.
    Table(ObservedTable),
    /// Of rules, by their line of marks.
    Single(HashMap<String, String>),
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
) -> Result<Vec<(UnknownRule, String)>, ObserveError> {
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
                // Another number of rules: another program wrote in between, and the texts belong to other rules.
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
