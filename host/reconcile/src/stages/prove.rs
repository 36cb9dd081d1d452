//! Merges what is chosen and proves it. A policy whose answer this kernel refuses is named, and what was in force takes
//! the place; the others are not touched by it.

use std::sync::Arc;

use ruleward_core::check::Checked;
use ruleward_core::merge::{Desired, merge};
use ruleward_core::names::PolicyName;
use ruleward_core::schedule::Reason;
use ruleward_core::unmatchable;

use crate::found::Found;
use crate::pass::{Pass, Stop};
use crate::policies::Whom;
use crate::reconciler::Reconciler;
use crate::target::{Proven, are_same};
use crate::traced::Stage;
use ruleward_kernel::rehearse::{Learn, Refused, RehearseError, Rehearsed, rehearse};
use ruleward_report::ErrorClass;

impl Reconciler {
    fn merge(&self, contributions: &[Arc<Checked>]) -> Desired {
        merge(contributions, self.roster.ownership(), self.detection.families.iter().collect())
    }

    /// What is chosen, rehearsed. What was rehearsed before is not rehearsed again.
    pub(crate) fn rehearse_merged(&mut self, pass: &mut Pass) -> Result<Proven, Stop> {
        loop {
            let contributions = self.roster.contributions();
            if let Some(known) = self.known(&contributions) {
                return Ok(known);
            }
            self.progress("rehearsing");
            let mut desired = pass.timed(Stage::Merge, || self.merge(&contributions));
            if let Some(expected) = &self.target.expected {
                desired.known_sets = expected.known_sets(&desired);
            }
            let known = self.target.expected.as_ref().and_then(|expected| expected.forms.clone());
            let (port, replay, began) = (Arc::clone(&self.port), self.replay(), self.runtime.now());
            let rehearsed = self.beside(pass, move || {
                let learn = if replay { Learn::Encodings(known.as_deref()) } else { Learn::Nothing };
                rehearse(&*port, desired, learn)
            });
            pass.took(Stage::Rehearse, began);
            let error = match rehearsed {
                Ok(rehearsed) => return Ok(self.proven(contributions, rehearsed)),
                Err(error) => error,
            };
            pass.recorder.failed(&error);
            let Some((name, reason, lasting)) = self.blame(&error) else {
                return Err(pass.stop(ErrorClass::Temporary, error.to_string()));
            };
            self.roster.refuse(&name, reason, lasting);
            self.stop_if_silent(pass)?;
        }
    }

    /// The same was rehearsed before, if maybe for others to own.
    pub(crate) fn known(&self, contributions: &[Arc<Checked>]) -> Option<Proven> {
        let replay = self.replay();
        let in_force =
            self.target.expected.as_ref().map(|expected| (&self.target.merged, expected, self.target.replayed));
        let prepared = self.target.prepared.as_ref().map(|known| (&known.merged, &known.expected, known.replay));
        let mut all = [in_force, prepared].into_iter().flatten();
        let (merged, expected, _) =
            all.find(|(merged, _, replayed)| *replayed == replay && are_same(merged, contributions))?;
        let ownership = self.roster.ownership();
        let expected = if expected.ownership == ownership {
            Arc::clone(expected)
        } else {
            let families: Vec<_> = self.detection.families.iter().collect();
            Arc::new(expected.with_ownership(ownership, &families))
        };
        Some(Proven { merged: merged.clone(), expected, replay })
    }

    fn proven(&mut self, merged: Vec<Arc<Checked>>, rehearsed: Rehearsed) -> Proven {
        if rehearsed.impossible != self.target.no_rehearsal {
            if let Some(why) = &rehearsed.impossible {
                tracing::warn!("no rehearsal is possible ({why}); the rules are read back after the commit instead");
            }
            self.target.no_rehearsal = rehearsed.impossible;
        }
        if let Some(why) = rehearsed.no_forms.as_ref().filter(|why| self.target.no_encodings.as_ref() != Some(why)) {
            tracing::info!("rules are compared by their text: {why}");
        }
        self.target.no_encodings = rehearsed.no_forms;
        let unmatchable = unmatchable::warnings(&rehearsed.expected);
        unmatchable
            .iter()
            .filter(|line| !self.target.unmatchable.contains(line))
            .for_each(|line| tracing::warn!("{line}"));
        self.target.unmatchable = unmatchable;
        Proven { merged, expected: Arc::new(rehearsed.expected), replay: self.replay() }
    }

    /// Which policy a failure comes from: by the line that was refused, else by trying each new answer alone. The kernel's
    /// refusal lasts; a tool that failed may do better the next time.
    fn blame(&self, error: &RehearseError) -> Option<(PolicyName, String, bool)> {
        let told = |name: &PolicyName, error: &RehearseError| {
            let lasting = !matches!(error, RehearseError::Tool(_));
            let reason = match error {
                RehearseError::Refused(refused) => self.told_of(name, refused),
                _ => error.to_string(),
            };
            (name.clone(), reason, lasting)
        };
        let news = self.roster.news();
        if let RehearseError::Refused(refused) = error
            && let Some(origin) = {
                let origins = || refused.iter().filter_map(|one| one.origin.as_ref());
                // What was taken before may be refused later: a module or an object of another program is gone.
                origins().find(|one| news.contains(&one.policy)).or_else(|| origins().next())
            }
        {
            return Some(told(&origin.policy, error));
        }
        let has_fallback = |name: &&PolicyName| self.roster.has_fallback(name);
        let refused = matches!(error, RehearseError::Refused(_));
        let alone = |name: &PolicyName| {
            let desired = self.merge(&self.roster.contributions_with_only(name));
            Some(told(name, &rehearse(&*self.port, desired, Learn::Nothing).err()?))
        };
        // What is no refusal may be nobody's fault, and costs as much again to find out: only where that helps.
        news.iter().filter(|name| refused || has_fallback(name)).find_map(alone)
    }

    /// What is refused of one policy's answer, each where it stands in the configuration if it does.
    fn told_of(&self, name: &PolicyName, refused: &[Refused]) -> String {
        let locate = self.settings.locate.as_ref();
        let of_others = |one: &&Refused| one.origin.as_ref().is_some_and(|origin| origin.policy != *name);
        let told = |one: &Refused| match one.origin.as_ref().and_then(|origin| locate?.rule(name, &origin.text)) {
            Some(place) => format!("{one} ({place})"),
            None => one.to_string(),
        };
        let all: Vec<String> = refused.iter().filter(|one| !of_others(one)).map(told).collect();
        format!("this kernel refuses its answer: {}", all.join("; "))
    }

    /// What was chosen could not be written. All that is new is taken back, so that what was in force is whole again, and
    /// then put in force one policy at a time: only what can't be written is left out. `Err`: not even what was in force
    /// can be written now, or nothing was new.
    pub(crate) fn pass_apart(&mut self, pass: &mut Pass) -> Result<(), Stop> {
        if !std::mem::take(&mut pass.committing) {
            return Err(Stop);
        }
        let failure = (pass.report.class, pass.report.outcome, pass.report.problems.clone());
        let reason = format!("it could not be put in force: {}", failure.2.join("; "));
        let news = self.roster.retract(&reason);
        if news.is_empty() {
            return Err(Stop);
        }
        self.pass_without_news(pass)?;
        for name in news.iter().filter(|_| news.len() > 1) {
            if self.pass_with(pass, Whom::Only(name.clone())).is_err() {
                let reason = format!("it could not be put in force: {}", pass.report.problems.join("; "));
                self.roster.refuse(name, reason, false);
                self.pass_without_news(pass)?;
            }
        }
        if self.roster.is_silent() {
            (pass.report.class, pass.report.outcome, pass.report.problems) = failure; // whose fault it is can't be told
            return Err(Stop);
        }
        if failure.0 == ErrorClass::Temporary {
            pass.report.class = failure.0; // the next check may do better
        }
        Ok(())
    }

    fn pass_without_news(&mut self, pass: &mut Pass) -> Result<(), Stop> {
        if self.roster.is_silent() { Ok(()) } else { self.pass_with(pass, Whom::None) }
    }

    /// Another pass of the same check, in which only these policies are asked.
    fn pass_with(&mut self, pass: &mut Pass, whom: Whom) -> Result<(), Stop> {
        let (mut changes, mut incidents) =
            (std::mem::take(&mut pass.report.changes), std::mem::take(&mut pass.report.incidents));
        pass.report.problems.clear();
        (pass.report.class, pass.committing, pass.found) = (ErrorClass::None, false, Found::default());
        self.whom = whom;
        let done = self.pass(pass, Reason::Retry);
        self.whom = Whom::All;
        changes.append(&mut pass.report.changes);
        incidents.append(&mut pass.report.incidents);
        (pass.report.changes, pass.report.incidents) = (changes, incidents);
        done
    }
}
