//! Reads what the kernel has, by form where forms are known, else by text, and decides whether a rule that is shown as
//! ours but has another form counts as ours.

use std::borrow::Cow;
use std::sync::Arc;

use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Table};
use ruleward_core::observed::Observed;
use ruleward_core::rule_encodings::RuleEncodings;

use super::{CompareMode, Kernel};
use ruleward_kernel::observe::{
    ObserveError, Scope, explain, find_absent_sets, find_set_users, observe_forms, observe_tables,
};
use ruleward_kernel::port::Port;

impl Kernel {
    /// Reads what is in `scope`. Rules in another form than ours that are shown as ours are taken for ours where nothing
    /// better can be known: before our first commit (another program wrote the same rules), after a commit by the tools (they
    /// wrote them), and where iptables-save hides nothing.
    pub fn look(
        &mut self,
        port: &dyn Port,
        expected: &mut Arc<Expected>,
        scope: &Scope,
        by: CompareMode,
        trusting: bool,
    ) -> Result<Observed, ObserveError> {
        let scope = &*with_awaited(scope, expected);
        let mut observed = self.look_at_tables(port, expected, scope, by, trusting)?;
        if !self.unsettled.is_empty() {
            // Text is read of all tables.
            observed.partial = true;
            observed.tables.retain(|place, _| !self.unsettled.contains(place));
        }
        if !matches!(scope, Scope::Part { sets: false, .. }) && !self.filling {
            self.look_at_sets(port, expected, &mut observed)?;
            find_set_users(port, expected, &mut observed);
        }
        self.note_filled_chains(port, expected);
        self.leave_out_given_way(&mut observed);
        find_absent_sets(port, expected, &mut observed);
        self.absent_sets.clone_from(&observed.absent_sets);
        Ok(observed)
    }

    fn look_at_tables(
        &mut self,
        port: &dyn Port,
        expected: &mut Arc<Expected>,
        scope: &Scope,
        by: CompareMode,
        trusting: bool,
    ) -> Result<Observed, ObserveError> {
        self.strange.clear();
        self.steady = true;
        self.stamps.clear();
        let places: Vec<(Family, Table)> = expected.tables.keys().copied().collect();
        self.events.concern(&places);
        let Some(forms) = &expected.forms else {
            self.events.mark(&places);
            return observe_tables(port, expected, self.leave_out_hidden);
        };
        let mut trusting = trusting;
        if by == CompareMode::Text {
            self.events.mark(&places);
            match observe_tables(port, expected, false) {
                // What text can't show is read by bytes, also what the tools have written.
                Err(error) if error.is_hidden() => trusting = true,
                read => return read,
            }
        }
        // These are read by iptables-save, whatever the scope: what they are is asked for apart, and first.
        let by_text: Vec<(Family, Table)> = places.into_iter().filter(|place| !forms.trusts(*place)).collect();
        self.events.mark(&by_text);
        let read = observe_forms(port, expected, scope, &mut |place| self.events.take_reading(place));
        self.events.forget_readings();
        let Some(mut reading) = read? else { return observe_tables(port, expected, false) };
        self.steady = reading.steady;
        reading.stamps.iter().for_each(|(place, stamp)| self.events.note(*place, *stamp));
        self.stamps.extend(reading.stamps.drain(..));
        // Where generations tell, a part is read to repair it at once; what it is shown as is asked for later.
        let untrusted = reading.strange.iter().any(|strange| !forms.trusts(strange.place));
        let quick = *scope != Scope::All && port.generation().is_some() && !untrusted;
        if reading.strange.is_empty() || quick {
            self.strange = reading.strange;
            return Ok(reading.observed);
        }
        let alike = explain(port, expected, &mut reading)?;
        let trusting = trusting || !self.contacted;
        let mut learned: Option<RuleEncodings> = None;
        for (strange, text) in alike {
            let by_text = expected.forms.as_ref().is_some_and(|forms| !forms.trusts(strange.place));
            let believed = port.shows_all(&strange.form) && (trusting || by_text || port.generation().is_none());
            if !believed {
                continue; // its line of marks stays, and differs from what is expected
            }
            if let Some(table) = reading.observed.tables.get_mut(&strange.place) {
                table.set_text(&strange.chain, strange.at, &text);
            }
            if let Some(forms) = expected.forms.as_ref().filter(|_| !by_text) {
                learned.get_or_insert_with(|| RuleEncodings::clone(forms)).add_alias(
                    strange.place,
                    strange.form,
                    &text,
                );
            }
        }
        if let Some(learned) = learned {
            let renewed = Expected { forms: Some(Arc::new(learned)), ..Expected::clone(expected) };
            *expected = Arc::new(renewed);
        }
        Ok(reading.observed)
    }
}

/// Whether a rule that waits for a chain is in force depends on that chain: it is read with the rule's own.
fn with_awaited<'s>(scope: &'s Scope, expected: &Expected) -> Cow<'s, Scope> {
    if !matches!(scope, Scope::Part { .. }) || expected.tables.values().all(|wanted| wanted.awaits.is_empty()) {
        return Cow::Borrowed(scope);
    }
    let mut scope = Cow::Borrowed(scope);
    if let Scope::Part { tables, .. } = scope.to_mut() {
        for (place, chains) in tables {
            let (Some(chains), Some(wanted)) = (chains, expected.tables.get(place)) else { continue };
            let needed = wanted.awaits.iter().filter(|(_, rules_in)| !chains.is_disjoint(rules_in));
            let needed: Vec<Box<str>> = needed.filter_map(|(one, _)| Some(one.chain()?.as_str().into())).collect();
            chains.extend(needed);
        }
    }
    scope
}
