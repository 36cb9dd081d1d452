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

use crate::kernel::deferred::{AFTER_FAILURE, touch};
use crate::kernel::sync_state::SyncState;
use crate::kernel::{Chains, Kernel};
use crate::pass::OnRevert;
use crate::pass::{Before, Pass, Stop};
use crate::reconciler::Reconciler;
use crate::trace::Span;
use crate::traced::{self, Stage};
use ruleward_kernel::activity::Activity;
use ruleward_kernel::describe::describe;
use ruleward_kernel::observe::{Scope, UnknownRule};
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
    pub(crate) fn handle_events_now(&mut self) -> Option<Report> {
        let began = self.runtime.now();
        self.poll_events();
        let listened = self.runtime.now();
        let expected = self.target.in_force()?; // else the next check reads everything anyway
        self.give_way(&expected);
        for place in self.kernel.seen.disowned(&*self.port, began) {
            self.kernel.pending.tables.entry(place).or_default();
        }
        let mut heard = self.kernel.take_settled(&expected)?;
        let due = self.kernel.sync.contended().is_some_and(|contended| contended.due <= began);
        if due {
            heard.extend(self.kernel.sync.take_pending(&self.kernel.unsettled));
        }
        // Rules come first.
        let sets = heard.is_quiet() && !due && !self.kernel.filling;
        let sets = sets && self.kernel.sets_were_changed(&self.port, &expected);
        self.show_fights();
        let again = self.kernel.read_again.is_some_and(|again| again <= began);
        let came = self.kernel.seek_sets(&*self.port, began);
        if heard.is_quiet() && !due && !sets && !again && !came {
            if let Some(generation) = heard.generation {
                self.kernel.sync.advance(generation);
            }
            return None;
        }
        let everything = came || (!self.kernel.filling && self.reads_everything(began));
        if heard.is_quiet() && !due && !sets && !everything {
            return None;
        }
        self.cached = None;
        let scope = if everything { Scope::All } else { self.scope(&expected, &heard, due, sets) };
        let mut pass = self.begin(Intent::Write);
        (pass.started, pass.cause, pass.on_revert) = (began, traced::DRIFT, OnRevert::Backoff);
        pass.recorder.add(|| Span::new(traced::LISTEN, began, listened));
        let processor = self.runtime.processor_time();
        let quiet = match self.undo(&mut pass, expected, &scope, heard) {
            Ok(quiet) => quiet,
            Err(Stop) => {
                self.kernel.sync.fail(self.runtime.now() + AFTER_FAILURE);
                false
            }
        };
        if pass.committed_at.is_some() {
            // Time that tools take is not on this thread's account; there the clock on the wall has to do.
            let own = self.runtime.processor_time().saturating_sub(processor);
            let by_tools = self.kernel.by_tools.is_some() || self.port.generation().is_none();
            let now = self.kernel.elapsed();
            self.kernel
                .fights
                .took(now, if by_tools { self.runtime.now().saturating_duration_since(began) } else { own });
        }
        self.show_fights();
        if quiet { None } else { Some(self.end(pass)) }
    }

    /// Where something is not right what was heard may have put it right: everything is read, so that it is known at once,
    /// though not more often than each second.
    fn reads_everything(&mut self, now: Instant) -> bool {
        if !matches!(self.kernel.sync, SyncState::Unknown { .. }) {
            self.kernel.read_again = None;
            return false;
        }
        if !self.kernel.unsettled.is_empty() {
            return false; // what settles now is looked at soon, and then everything is
        }
        match self.kernel.read_all.map(|last| last + AFTER_FAILURE) {
            Some(next) if next > now => {
                self.kernel.read_again = Some(next);
                false
            }
            _ => {
                (self.kernel.read_all, self.kernel.read_again) = (Some(now), None);
                true
            }
        }
    }

    /// Takes what the watch has heard so far.
    pub(crate) fn poll_events(&mut self) {
        let later = self.take_events();
        self.kernel.pending.extend(later);
    }

    /// Waits until other programs are done with what was heard: what is written now must not come between their steps. The
    /// wait is bounded, and this thread has nothing better to do meanwhile.
    pub(crate) fn let_writers_finish(&mut self) {
        // Tables that begin to settle meanwhile have their own time, but none makes a check wait forever.
        let latest = self.runtime.now() + self.kernel.settling.bounds().mass * 2;
        while let Some(until) = self.kernel.wait_for_writers(latest) {
            let rest = until.saturating_duration_since(self.runtime.now());
            self.runtime.wait(&self.kernel.signals(), Some(rest));
            self.poll_events();
        }
    }

    /// Drift may have been found before the news of it: they are asked for again where nobody is known. What is heard now is
    /// looked at later like any other. Not on legacy: the lock tells who had it, and not what for.
    pub(crate) fn attribute(&mut self, heard: &mut Activity, drifts: &[Drift]) {
        let unknown = |drift: &Drift| drift.table.is_some() && !touch(heard, drift).any_known();
        if self.detection.backend == Backend::Nft && drifts.iter().any(unknown) {
            self.poll_events();
            heard.name_unknown(&self.kernel.pending);
        }
    }

    pub(crate) fn take_events(&mut self) -> Activity {
        let heard = self.hear();
        if heard.other_tables || heard.lost {
            self.notice_tables();
        }
        heard
    }

    fn hear(&mut self) -> Activity {
        let Some(expected) = self.target.expected.clone() else {
            // Nothing is wanted yet: the first check reads everything.
            let heard = self.kernel.events.take(&|_| false, &|_, _, _| false);
            return Activity { other_tables: heard.other_tables || heard.lost, ..Activity::default() };
        };
        self.kernel.poll_events(&expected, &|family, table, chain| {
            let Some(wanted) = expected.tables.get(&(family, table)) else { return false };
            Hook::from_name(chain).is_some()
                || expected.ownership.owns_chain(table, chain)
                || wanted.waiting_for(chain).next().is_some()
        })
    }

    /// Where to look. What waits in a fight is left out until it is due.
    fn scope(&mut self, expected: &Arc<Expected>, heard: &Activity, due: bool, sets: bool) -> Scope {
        let many = heard.chains.len() > MANY;
        if heard.lost || heard.anywhere.is_some() || (many && self.kernel.unsettled.is_empty()) {
            return Scope::All;
        }
        let mut chains = Chains::new();
        if let Some(contended) = self.kernel.sync.contended().filter(|_| due) {
            chains.clone_from(contended.deferred.chains());
            chains.retain(|place, _| !self.kernel.unsettled.contains(place));
        }
        for (family, table, chain) in heard.chains.keys() {
            let place = (*family, *table);
            if !due && self.kernel.sync.defers(place, chain) {
                let heard = Activity {
                    chains: [((*family, *table, chain.clone()), heard.touch(*family, *table, chain))].into(),
                    ..Activity::default()
                };
                self.kernel.sync.hear(heard);
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
        Scope::Part { tables, sets: sets || self.kernel.sets_concern_now(&*self.port, expected) }
    }

    /// True: nothing had to be done.
    fn undo(
        &mut self,
        pass: &mut Pass,
        mut expected: Arc<Expected>,
        scope: &Scope,
        mut heard: Activity,
    ) -> Result<bool, Stop> {
        let by = Kernel::by(&expected);
        let look = pass.timed(Stage::Observe, || self.kernel.look(&*self.port, &mut expected, scope, by, false));
        let mut observed = look.map_err(|error| {
            self.hidden(&error, &expected);
            pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}; nothing is written"))
        })?;
        self.target.expected = Some(Arc::clone(&expected));
        let mut todo = pass.timed(Stage::Plan, || plan(&expected, &observed));
        if !todo.tables.is_empty() && self.leave_unfinished(&mut observed, &mut heard) {
            todo = plan(&expected, &observed);
        }
        if todo.first.is_some() && observed.partial {
            // All rules that use the set have to be known, also where another program is not done.
            self.kernel.unsettled.clear();
            return self.undo(pass, expected, &Scope::All, heard);
        }
        let waits_elsewhere = self.kernel.await_foreign(&expected, &observed);
        let problems = self.take_problems(scope, &todo);
        let noted = self.kernel.seen.look(&expected, &observed, &todo, scope, self.runtime.now());
        let strange = std::mem::take(&mut self.kernel.strange);
        self.kernel.use_filled(&mut todo);
        // Rules do not wait for large sets: these are filled after them.
        let large = Kernel::put_off_large(&mut todo);
        let mut drifts = self.kernel.awaited.drifts(&expected, &observed, &todo);
        let turns = self.kernel.awaited.turns(&expected, &observed);
        self.attribute(&mut heard, &drifts);
        self.attribute(&mut heard, &noted.drifts());
        let wait = self.kernel.defer(&drifts, &heard, scope, &todo);
        self.kernel.without_deferred(&mut todo);
        if *scope == Scope::All {
            let steady = self.kernel.steady && self.kernel.settling.is_empty();
            self.kernel.sync.set_generation(observed.generation.filter(|_| steady));
        } else if let Some(generation) = heard.generation {
            self.kernel.sync.advance(generation);
        }
        if todo.is_empty() && wait.is_empty() && large.is_empty() {
            // Whoever made the chain may have put the jump in as well.
            self.renew_awaited(&expected, &observed);
            self.tell_turns(pass, &turns);
        }
        let nothing_new =
            todo.is_empty() && wait.is_empty() && large.is_empty() && noted.is_empty() && !problems && !waits_elsewhere;
        // Where something was wrong, reading everything may have found that it is right by now.
        if nothing_new && (self.kernel.sync.is_in_sync() || *scope != Scope::All || !self.kernel.problems.is_empty()) {
            return Ok(true);
        }
        let was_in_sync = self.kernel.sync.doubt();
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
            let filling = self.kernel.filling;
            self.kernel.filling |= !large.is_empty();
            let written = self.kernel.write(&*self.port, pass, &mut expected, &mut observed, &mut todo, &of_rules);
            self.kernel.filling = filling;
            if written.is_ok() {
                self.renew_awaited(&expected, &observed);
                self.tell_turns(pass, &turns);
            }
            self.target.expected = Some(Arc::clone(&expected));
            pass.report.changes = changes.into_iter().map(Change::from).collect();
            pass.report.outcome = Outcome::Changed;
            let concluding = self.runtime.now();
            self.render_removed(&mut pass.found.drifts, &strange);
            self.record(pass, &heard, &written, seen);
            pass.done(traced::REPORT, concluding);
            self.take_problems(scope, &todo);
            if written.is_err() {
                self.kernel.fights.refused(&refused);
                self.record_noted(pass, &noted, &heard);
            }
            written?;
        }
        if !large.is_empty() {
            self.swap_large(pass, expected)?;
        }
        self.record_noted(pass, &noted, &heard);
        if let Some(expected) = self.target.expected.clone() {
            self.kernel.await_foreign(&expected, &observed);
        }
        self.judge(pass, scope, &observed, was_in_sync);
        Ok(false)
    }

    /// Leaves out the tables that another program has written to since events were taken, and is not done with: what is
    /// missing there was seen before its event was, and a repair would come between two steps of that program. Whether
    /// there are any. Not on legacy: there the lock tells who had it, and not what for.
    fn leave_unfinished(&mut self, observed: &mut Observed, heard: &mut Activity) -> bool {
        if self.detection.backend != Backend::Nft {
            return false;
        }
        self.poll_events();
        let unfinished = self.kernel.unfinished();
        if !observed.tables.keys().any(|place| unfinished.contains(place)) {
            return false;
        }
        observed.partial = true;
        observed.tables.retain(|place, _| !unfinished.contains(place));
        // What was heard of them before is looked at with what is heard now.
        let generation = heard.generation;
        let settled = Activity { generation, ..heard.take_all_but(&unfinished) };
        let mut pending = std::mem::replace(heard, settled);
        pending.extend(std::mem::take(&mut self.kernel.pending));
        self.kernel.pending = pending;
        self.kernel.unsettled.extend(unfinished);
        true
    }

    /// Keeps what no write of ours can change. What was not looked at stays. Whether that is news.
    fn take_problems(&mut self, scope: &Scope, todo: &Plan) -> bool {
        let before = self.kernel.problems.len();
        if *scope == Scope::All {
            let news = self.kernel.problems != todo.problems;
            self.kernel.problems.clone_from(&todo.problems);
            self.kernel.notes.clone_from(&todo.notes);
            return news;
        }
        for problem in &todo.problems {
            if !self.kernel.problems.contains(problem) {
                self.kernel.problems.push(problem.clone());
            }
        }
        self.kernel.problems.len() > before
    }

    /// Whether all is right now: what was heard of is, and so was all else, or everything was read. Nothing is while there is
    /// a problem of any kind.
    fn judge(&mut self, pass: &mut Pass, scope: &Scope, observed: &Observed, was_in_sync: bool) {
        let all = *scope == Scope::All && !observed.partial;
        let sound = self.kernel.problems.is_empty() && !self.kernel.sets.uncompared;
        let in_sync = sound && (was_in_sync || (all && self.kernel.steady)) && !self.before_kernel.ended;
        self.kernel.sync.judge(in_sync, sound && (all || *scope != Scope::All));
        let Before { class, problems, ended } = &self.before_kernel;
        pass.report.problems.extend(problems.iter().cloned());
        if pass.report.class == ErrorClass::None {
            pass.report.class = *class;
        }
        pass.report.in_sync = self.is_in_sync() && !ended;
    }

    fn renew_awaited(&mut self, expected: &Expected, observed: &Observed) {
        let Kernel { awaited, sync, .. } = &mut self.kernel;
        awaited.renew(expected, observed, |family, table, chain| sync.defers((family, table), chain));
    }

    /// Fills large sets, puts them in their places, and reads them back.
    pub(crate) fn swap_large(&mut self, pass: &mut Pass, mut expected: Arc<Expected>) -> Result<(), Stop> {
        let scope = Scope::Part { tables: BTreeMap::new(), sets: true };
        for _ in 0..SWAPS {
            self.read_sets(pass, &expected)?;
            let by = Kernel::by(&expected);
            let look = self.kernel.look(&*self.port, &mut expected, &scope, by, false);
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
            let written = self.kernel.write(&*self.port, pass, &mut expected, &mut observed, &mut todo, &scope);
            self.kernel.filled.clear();
            let earlier = std::mem::take(&mut pass.report.incidents);
            self.record(pass, &Activity::default(), &written, seen);
            pass.report.incidents.splice(0..0, earlier);
            written?;
        }
        let reason = format!("another program changes the same sets again and again; gave up after {SWAPS} tries");
        Err(pass.stop(ErrorClass::Temporary, reason))
    }

    /// Gives rules that were taken away the text that iptables-save has for them. Not in a fight, where it was done before.
    fn render_removed(&self, drifts: &mut [Drift], strange: &[UnknownRule]) {
        let fighting = !self.kernel.fights.fights(self.kernel.elapsed()).is_empty();
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
        let same = self.kernel.sync.is_in_sync()
            && self.target.committed
            && self.target.expected.as_ref().is_some_and(|own| Arc::ptr_eq(own, expected));
        if !routine || !same || self.reads_everything_next() {
            return false;
        }
        let unchanged = match self.port.generation() {
            Some(generation) => self.kernel.sync.generation() == Some(generation),
            None => self.kernel.events.is_unchanged(),
        };
        unchanged
            && self.kernel.pending.is_quiet()
            && !self.kernel.awaited_sets_came(&*self.port)
            && self.kernel.sets_unchanged(&*self.port, expected)
    }

    /// Whether the next check reads everything in any case.
    pub(crate) fn reads_everything_next(&self) -> bool {
        self.kernel.skipped + 1 >= self.settings.full_comparison_every
    }

    /// Whether a check that only looks again has to wait, as the repair does. The refresh and requests do not.
    pub(crate) fn is_fighting(&self, reason: Reason) -> bool {
        matches!(reason, Reason::Recheck | Reason::Retry)
            && self.kernel.sync.contended().is_some_and(|contended| contended.due > self.runtime.now())
    }

    /// Where a check may go without reading everything, what was heard comes first: it is undone quicker, and after it
    /// there may be nothing left to read.
    pub(crate) fn handle_events_first(&mut self, reason: Reason) -> Option<Report> {
        let routine = matches!(reason, Reason::Refresh | Reason::Recheck);
        if !routine || !self.kernel.sync.is_in_sync() || self.reads_everything_next() {
            return None;
        }
        let report = self.handle_events_now()?;
        self.kernel.skipped += 1;
        Some(report)
    }

    /// How long the watch can be left alone.
    pub(crate) fn rest_now(&self) -> Option<Duration> {
        // An alarm is taken down when its time has come.
        let peace = self.kernel.fights.next_end(self.kernel.elapsed()).map(|end| self.kernel.started + end);
        let now = self.runtime.now();
        let heard = !self.kernel.pending.is_quiet() && self.target.in_force().is_some();
        let heard = heard.then(|| self.kernel.settled_at());
        let sets = self.target.in_force().and_then(|_| self.kernel.sets_due());
        let owners = self.kernel.seen.due().filter(|_| self.target.in_force().is_some());
        let seek = self.target.in_force().and_then(|_| self.kernel.seek_due());
        // While no table is settled nothing else is looked at.
        let settled = heard.filter(|_| !self.kernel.settling.is_empty());
        let later = |due: Option<Instant>| due.map(|due| settled.map_or(due, |settled| due.max(settled)));
        let contended = self.kernel.sync.contended().map(|contended| contended.due);
        let [due, again, sets, seek] = [contended, self.kernel.read_again, sets, seek].map(later);
        let due = [self.kernel.events.due(), due, again, peace, heard, sets, owners, seek];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_duration_since(now))
    }
}
