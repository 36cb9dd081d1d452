//! The short path: what was heard -> observe there -> plan -> commit -> observe again -> report. It takes what the policies
//! last asked for; nothing is evaluated, no process is started where forms can be replayed. The straight path still runs
//! at every refresh: this one is an addition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::Expected;
use ruleward_core::fight::Place;
use ruleward_core::names::{Backend, Family, Hook, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::deferred::{AFTER_FAILURE, touch};
use crate::keeper::{Chains, Keeper, Undone};
use crate::reconciler::{Before, Pass, Reconciler, Stop};
use crate::sync_state::SyncState;
use crate::trace::Span;
use crate::traced::{self, Stage};
use ruleward_kernel::activity::Activity;
use ruleward_kernel::describe::describe;
use ruleward_kernel::observe::{Scope, Strange};
use ruleward_report::{Change, ErrorClass, Intent, Outcome, Report};

/// When this many chains of ours were touched, everything is read in one go.
const MANY: usize = 1024;

/// Of more rules than this at once the text is not looked for.
const MOST_DESCRIBED: usize = 256;

/// How often large sets are read and filled anew because another program changes them: a change takes two,
/// and one finds it done.
const SWAPS: usize = 9;

impl Reconciler {
    /// Takes what the watch has heard, and undoes what is drift. No report: nothing that concerns us has changed.
    pub(crate) fn attend_now(&mut self) -> Option<Report> {
        let began = self.runtime.now();
        self.listen();
        let listened = self.runtime.now();
        let expected = self.in_force()?; // else the next check reads everything anyway
        self.give_way(&expected);
        for place in self.keeper.seen.disowned(&*self.port, began) {
            self.keeper.heard.tables.entry(place).or_default();
        }
        let mut heard = self.keeper.take_settled(&expected)?;
        let due = self.keeper.sync.contended().is_some_and(|contended| contended.due <= began);
        if due {
            heard.extend(self.keeper.sync.take_pending(&self.keeper.unsettled));
        }
        // Rules come first.
        let sets = heard.is_quiet() && !due && !self.keeper.filling;
        let sets = sets && self.keeper.sets_were_changed(&self.port, &expected);
        self.show_fights();
        let again = self.keeper.read_again.is_some_and(|again| again <= began);
        let came = self.keeper.seek_sets(&*self.port, began);
        if heard.is_quiet() && !due && !sets && !again && !came {
            if let Some(generation) = heard.generation {
                self.keeper.sync.advance(generation);
            }
            return None;
        }
        let everything = came || (!self.keeper.filling && self.reads_everything(began));
        if heard.is_quiet() && !due && !sets && !everything {
            return None;
        }
        self.calm = None;
        let scope = if everything { Scope::All } else { self.scope(&expected, &heard, due, sets) };
        let mut pass = self.begin(Intent::Write);
        (pass.started, pass.cause, pass.undone) = (began, traced::DRIFT, Undone::CountsAnew);
        pass.recorder.add(|| Span::new(traced::LISTEN, began, listened));
        let processor = self.runtime.processor_time();
        let quiet = match self.undo(&mut pass, expected, &scope, heard) {
            Ok(quiet) => quiet,
            Err(Stop) => {
                self.keeper.sync.fail(self.runtime.now() + AFTER_FAILURE);
                false
            }
        };
        if pass.committed_at.is_some() {
            // Time that tools take is not on this thread's account; there the clock on the wall has to do.
            let own = self.runtime.processor_time().saturating_sub(processor);
            let by_tools = self.keeper.by_tools.is_some() || self.port.generation().is_none();
            let now = self.keeper.elapsed();
            self.keeper
                .fights
                .took(now, if by_tools { self.runtime.now().saturating_duration_since(began) } else { own });
        }
        self.show_fights();
        if quiet { None } else { Some(self.end(pass)) }
    }

    /// Where something is not right what was heard may have put it right: everything is read, so that it is known at once,
    /// though not more often than each second.
    fn reads_everything(&mut self, now: Instant) -> bool {
        if !matches!(self.keeper.sync, SyncState::Unknown { .. }) {
            self.keeper.read_again = None;
            return false;
        }
        if !self.keeper.unsettled.is_empty() {
            return false; // what settles now is looked at soon, and then everything is
        }
        match self.keeper.read_all.map(|last| last + AFTER_FAILURE) {
            Some(next) if next > now => {
                self.keeper.read_again = Some(next);
                false
            }
            _ => {
                (self.keeper.read_all, self.keeper.read_again) = (Some(now), None);
                true
            }
        }
    }

    /// Takes what the watch has heard so far.
    pub(crate) fn listen(&mut self) {
        let later = self.news();
        self.keeper.heard.extend(later);
    }

    /// Waits until other programs are done with what was heard: what is written now must not come between their steps. The
    /// wait is bounded, and this thread has nothing better to do meanwhile.
    pub(crate) fn let_writers_finish(&mut self) {
        // Tables that begin to settle meanwhile have their own time, but none makes a check wait forever.
        let latest = self.runtime.now() + self.keeper.settling.bounds().mass * 2;
        while let Some(until) = self.keeper.wait_for_writers(latest) {
            let rest = until.saturating_duration_since(self.runtime.now());
            self.runtime.wait(&self.keeper.signals(), Some(rest));
            self.listen();
        }
    }

    /// Drift may have been found before the news of it: they are asked for again where nobody is known. What is heard now is
    /// looked at later like any other. Not on legacy: the lock tells who had it, and not what for.
    pub(crate) fn ask_who(&mut self, heard: &mut Activity, drifts: &[Drift]) {
        let unknown = |drift: &Drift| drift.table.is_some() && !touch(heard, drift).any_known();
        if self.detection.backend == Backend::Nft && drifts.iter().any(unknown) {
            let later = self.news();
            heard.name_unknown(&later);
            self.keeper.heard.extend(later);
        }
    }

    pub(crate) fn news(&mut self) -> Activity {
        let heard = self.hear();
        if heard.other_tables || heard.lost {
            self.notice_tables();
        }
        heard
    }

    fn hear(&mut self) -> Activity {
        let Some(expected) = self.expected.clone() else {
            // Nothing is wanted yet: the first check reads everything.
            let heard = self.keeper.events.take(&|_| false, &|_, _, _| false);
            return Activity { other_tables: heard.other_tables || heard.lost, ..Activity::default() };
        };
        self.keeper.listen(&expected, &|family, table, chain| {
            let Some(wanted) = expected.tables.get(&(family, table)) else { return false };
            Hook::from_name(chain).is_some()
                || expected.ownership.owns_chain(table, chain)
                || wanted.waiting_for(chain).next().is_some()
        })
    }

    /// Where to look. What waits in a fight is left out until it is due.
    fn scope(&mut self, expected: &Arc<Expected>, heard: &Activity, due: bool, sets: bool) -> Scope {
        let many = heard.chains.len() > MANY;
        if heard.lost || heard.anywhere.is_some() || (many && self.keeper.unsettled.is_empty()) {
            return Scope::All;
        }
        let mut chains = Chains::new();
        if let Some(contended) = self.keeper.sync.contended().filter(|_| due) {
            chains.clone_from(contended.deferred.chains());
            chains.retain(|place, _| !self.keeper.unsettled.contains(place));
        }
        for (family, table, chain) in heard.chains.keys() {
            let place = (*family, *table);
            if !due && self.keeper.sync.defers(place, chain) {
                let heard = Activity {
                    chains: [((*family, *table, chain.clone()), heard.touch(*family, *table, chain))].into(),
                    ..Activity::default()
                };
                self.keeper.sync.hear(heard);
                continue;
            }
            let Some(wanted) = expected.tables.get(&place) else { continue };
            let touched = chains.entry(place).or_default();
            touched.extend(wanted.waiting_for(chain).map(Box::from));
            touched.insert(chain.clone());
        }
        for place in heard.tables.keys() {
            chains.entry(*place).or_default();
        }
        let whole = |place: (Family, Table), touched: BTreeSet<Box<str>>| {
            let Some(wanted) = expected.tables.get(&place) else { return (place, Some(touched)) };
            // A chain of ours that nobody wants may have been another one, whose jumps lead to it now.
            let renamed = touched.iter().any(|chain| {
                let wanted = wanted.chains.contains_key(&**chain) || Hook::from_name(chain).is_some();
                !wanted && expected.ownership.owns_chain(place.1, chain)
            });
            if many || renamed || heard.tables.contains_key(&place) {
                return (place, None);
            }
            let sites = wanted.chains.len() + wanted.hooks.len();
            // All that is ours there: then it is one thing that happened to the table.
            let all = touched.len() >= sites && sites > 1;
            (place, (!all).then_some(touched))
        };
        let tables = chains.into_iter().map(|(place, touched)| whole(place, touched)).collect();
        Scope::Part { tables, sets: sets || self.keeper.sets_concern_now(&*self.port, expected) }
    }

    /// True: nothing had to be done.
    fn undo(
        &mut self,
        pass: &mut Pass,
        mut expected: Arc<Expected>,
        scope: &Scope,
        mut heard: Activity,
    ) -> Result<bool, Stop> {
        let by = Keeper::by(&expected);
        let look = pass.timed(Stage::Observe, || self.keeper.look(&*self.port, &mut expected, scope, by, false));
        let mut observed = look.map_err(|error| {
            self.hidden(&error, &expected);
            pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}; nothing is written"))
        })?;
        self.expected = Some(Arc::clone(&expected));
        let mut todo = pass.timed(Stage::Plan, || plan(&expected, &observed));
        if todo.first.is_some() && observed.partial {
            // All rules that use the set have to be known, also where another program is not done.
            self.keeper.unsettled.clear();
            return self.undo(pass, expected, &Scope::All, heard);
        }
        let waits_elsewhere = self.keeper.await_foreign(&expected, &observed);
        let problems = self.take_problems(scope, &todo);
        let noted = self.keeper.seen.look(&expected, &observed, &todo, scope, self.runtime.now());
        let strange = std::mem::take(&mut self.keeper.strange);
        self.keeper.use_filled(&mut todo);
        // Rules do not wait for large sets: these are filled after them.
        let large = Keeper::put_off_large(&mut todo);
        let mut drifts = self.keeper.awaited.drifts(&expected, &observed, &todo);
        let turns = self.keeper.awaited.turns(&expected, &observed);
        self.ask_who(&mut heard, &drifts);
        self.ask_who(&mut heard, &noted.drifts());
        let wait = self.keeper.defer(&drifts, &heard, scope, &todo);
        self.keeper.without_deferred(&mut todo);
        if *scope == Scope::All {
            let steady = self.keeper.steady && self.keeper.settling.is_empty();
            self.keeper.sync.set_generation(observed.generation.filter(|_| steady));
        } else if let Some(generation) = heard.generation {
            self.keeper.sync.advance(generation);
        }
        if todo.is_empty() && wait.is_empty() && large.is_empty() {
            // Whoever made the chain may have put the jump in as well.
            self.renew_awaited(&expected, &observed);
            self.tell_turns(pass, &turns);
        }
        let nothing_new =
            todo.is_empty() && wait.is_empty() && large.is_empty() && noted.is_empty() && !problems && !waits_elsewhere;
        // Where something was wrong, reading everything may have found that it is right by now.
        if nothing_new && (self.keeper.sync.is_in_sync() || *scope != Scope::All || !self.keeper.problems.is_empty()) {
            return Ok(true);
        }
        let was_in_sync = self.keeper.sync.doubt();
        pass.report.outcome = Outcome::Unchanged;
        if !todo.is_empty() {
            drifts.retain(|drift| !wait.contains(&Place::from(drift)));
            let refused: Vec<Place> = drifts.iter().map(Place::from).collect();
            pass.found.drifts = drifts;
            pass.found.measure = Some(Arc::clone(&expected));
            let changes = drift::list(&todo, &observed);
            let seen = self.runtime.now();
            // What is put off is not looked at again with the rules.
            let of_rules = match scope {
                Scope::Part { tables, sets: true } if !large.is_empty() => {
                    Scope::Part { tables: tables.clone(), sets: false }
                }
                scope => scope.clone(),
            };
            let filling = self.keeper.filling;
            self.keeper.filling |= !large.is_empty();
            let written = self.keeper.write(&*self.port, pass, &mut expected, &mut observed, &mut todo, &of_rules);
            self.keeper.filling = filling;
            if written.is_ok() {
                self.renew_awaited(&expected, &observed);
                self.tell_turns(pass, &turns);
            }
            self.expected = Some(Arc::clone(&expected));
            pass.report.changes = changes.into_iter().map(Change::from).collect();
            pass.report.outcome = Outcome::Changed;
            let concluding = self.runtime.now();
            self.put_into_words(&mut pass.found.drifts, &strange);
            self.record(pass, &heard, &written, seen);
            pass.done(traced::REPORT, concluding);
            self.take_problems(scope, &todo);
            if written.is_err() {
                self.keeper.fights.refused(&refused);
                self.record_noted(pass, &noted, &heard);
            }
            written?;
        }
        if !large.is_empty() {
            self.swap_large(pass, expected)?;
        }
        self.record_noted(pass, &noted, &heard);
        if let Some(expected) = self.expected.clone() {
            self.keeper.await_foreign(&expected, &observed);
        }
        self.judge(pass, scope, &observed, was_in_sync);
        Ok(false)
    }

    /// Keeps what no write of ours can change. What was not looked at stays. Whether that is news.
    fn take_problems(&mut self, scope: &Scope, todo: &Plan) -> bool {
        let before = self.keeper.problems.len();
        if *scope == Scope::All {
            let news = self.keeper.problems != todo.problems;
            self.keeper.problems.clone_from(&todo.problems);
            self.keeper.notes.clone_from(&todo.notes);
            return news;
        }
        for problem in &todo.problems {
            if !self.keeper.problems.contains(problem) {
                self.keeper.problems.push(problem.clone());
            }
        }
        self.keeper.problems.len() > before
    }

    /// Whether all is right now: what was heard of is, and so was all else, or everything was read. Nothing is while there is
    /// a problem of any kind.
    fn judge(&mut self, pass: &mut Pass, scope: &Scope, observed: &Observed, was_in_sync: bool) {
        let all = *scope == Scope::All && !observed.partial;
        let sound = self.keeper.problems.is_empty() && !self.keeper.sets.uncompared;
        let in_sync = sound && (was_in_sync || (all && self.keeper.steady)) && !self.before_kernel.ended;
        self.keeper.sync.judge(in_sync, sound && (all || *scope != Scope::All));
        let Before { class, problems, ended } = &self.before_kernel;
        pass.report.problems.extend(problems.iter().cloned());
        if pass.report.class == ErrorClass::None {
            pass.report.class = *class;
        }
        pass.report.in_sync = self.is_in_sync() && !ended;
    }

    fn renew_awaited(&mut self, expected: &Expected, observed: &Observed) {
        let Keeper { awaited, sync, .. } = &mut self.keeper;
        awaited.renew(expected, observed, |family, table, chain| sync.defers((family, table), chain));
    }

    /// Fills large sets, puts them in their places, and reads them back.
    pub(crate) fn swap_large(&mut self, pass: &mut Pass, mut expected: Arc<Expected>) -> Result<(), Stop> {
        let scope = Scope::Part { tables: BTreeMap::new(), sets: true };
        for _ in 0..SWAPS {
            self.read_sets(pass, &expected)?;
            let by = Keeper::by(&expected);
            let look = self.keeper.look(&*self.port, &mut expected, &scope, by, false);
            let mut observed = look.map_err(|error| {
                pass.stop(ErrorClass::Temporary, format!("the sets can't be read: {error}; nothing is written"))
            })?;
            let mut todo = plan(&expected, &observed);
            if self.fill(pass, &mut todo, &mut Activity::default())? {
                continue;
            }
            if todo.is_empty() {
                return Ok(());
            }
            pass.found.drifts = drift::name(&todo, &expected, &observed);
            pass.found.measure = Some(Arc::clone(&expected));
            pass.report.changes.extend(drift::list(&todo, &observed).into_iter().map(Change::from));
            pass.report.outcome = Outcome::Changed;
            let seen = self.runtime.now();
            let written = self.keeper.write(&*self.port, pass, &mut expected, &mut observed, &mut todo, &scope);
            self.keeper.filled.clear();
            let earlier = std::mem::take(&mut pass.report.incidents);
            self.record(pass, &Activity::default(), &written, seen);
            pass.report.incidents.splice(0..0, earlier);
            written?;
        }
        let reason = format!("another program changes the same sets again and again; gave up after {SWAPS} tries");
        Err(pass.stop(ErrorClass::Temporary, reason))
    }

    /// Gives rules that were taken away the text that iptables-save has for them. Not in a fight, where it was done before.
    fn put_into_words(&self, drifts: &mut [Drift], strange: &[Strange]) {
        let fighting = !self.keeper.fights.fights(self.keeper.elapsed()).is_empty();
        if strange.is_empty() || strange.len() > MOST_DESCRIBED || fighting {
            return;
        }
        let found = describe(&*self.port, strange);
        for line in drifts.iter_mut().flat_map(|drift| &mut drift.removed) {
            if let Some(text) = found.get(line) {
                line.clone_from(text);
            }
        }
    }

    /// Whether a check may go without reading: nothing has changed since everything was right.
    pub(crate) fn is_settled(&mut self, reason: Reason, expected: &Arc<Expected>) -> bool {
        let routine = matches!(reason, Reason::Refresh | Reason::Recheck | Reason::Change);
        let same = self.keeper.sync.is_in_sync()
            && self.committed
            && self.expected.as_ref().is_some_and(|own| Arc::ptr_eq(own, expected));
        if !routine || !same || self.reads_everything_next() {
            return false;
        }
        let unchanged = match self.port.generation() {
            Some(generation) => self.keeper.sync.generation() == Some(generation),
            None => self.keeper.events.is_unchanged(),
        };
        unchanged
            && self.keeper.heard.is_quiet()
            && !self.keeper.awaited_sets_came(&*self.port)
            && self.keeper.sets_unchanged(&*self.port, expected)
    }

    /// Whether the next check reads everything in any case.
    pub(crate) fn reads_everything_next(&self) -> bool {
        self.keeper.skipped + 1 >= self.settings.full_comparison_every
    }

    /// Whether a check that only looks again has to wait, as the repair does. The refresh and requests do not.
    pub(crate) fn is_fighting(&self, reason: Reason) -> bool {
        matches!(reason, Reason::Recheck | Reason::Retry)
            && self.keeper.sync.contended().is_some_and(|contended| contended.due > self.runtime.now())
    }

    /// Where a check may go without reading everything, what was heard comes first: it is undone quicker, and after it
    /// there may be nothing left to read.
    pub(crate) fn attend_first(&mut self, reason: Reason) -> Option<Report> {
        let routine = matches!(reason, Reason::Refresh | Reason::Recheck);
        if !routine || !self.keeper.sync.is_in_sync() || self.reads_everything_next() {
            return None;
        }
        let report = self.attend_now()?;
        self.keeper.skipped += 1;
        Some(report)
    }

    /// How long the watch can be left alone.
    pub(crate) fn rest_now(&self) -> Option<Duration> {
        // An alarm is taken down when its time has come.
        let peace = self.keeper.fights.next_end(self.keeper.elapsed()).map(|end| self.keeper.started + end);
        let now = self.runtime.now();
        let heard = !self.keeper.heard.is_quiet() && self.in_force().is_some();
        let heard = heard.then(|| self.keeper.settled_at());
        let sets = self.in_force().and_then(|_| self.keeper.sets_due());
        let owners = self.keeper.seen.due().filter(|_| self.in_force().is_some());
        let seek = self.in_force().and_then(|_| self.keeper.seek_due());
        // While no table is settled nothing else is looked at.
        let settled = heard.filter(|_| !self.keeper.settling.is_empty());
        let later = |due: Option<Instant>| due.map(|due| settled.map_or(due, |settled| due.max(settled)));
        let contended = self.keeper.sync.contended().map(|contended| contended.due);
        let [due, again, sets, seek] = [contended, self.keeper.read_again, sets, seek].map(later);
        let due = [self.keeper.events.due(), due, again, peace, heard, sets, owners, seek];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_duration_since(now))
    }
}
