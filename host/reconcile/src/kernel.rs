//! What keeps the kernel as it should be between two evaluations: looking, writing, and what is known without looking.
//!
//! Rules are compared by their byte forms where these are known, else by their text. A picture that is compared is always
//! younger than the mark that later changes are told from, so nothing falls between two looks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::awaited::Awaited;
use ruleward_core::awaiting::{Awaiting, awaiting};
use ruleward_core::base_chain::Structure;
use ruleward_core::encoded_rule::Stamp;
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::fight::Fights;
use ruleward_core::names::{Family, SetName, Table};
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::rule_encodings::{Coverage, RuleEncodings};
use ruleward_core::settle::{Bounds, Settling};

use crate::pass::{OnRevert, Pass, Stop};
use crate::runtime::Runtime;
use crate::traced::Stage;
use fill::Filled;
use noted::Seen;
use ruleward_kernel::activity::Activity;
use ruleward_kernel::commit::{CommitError, commit, commit_at_once, wait_until_unused};
use ruleward_kernel::event_source::EventSource;
use ruleward_kernel::observe::{Scope, UnknownRule, observe};
use ruleward_kernel::port::Port;
use ruleward_kernel::writers::Writers;
use ruleward_report::ErrorClass;
use set_watch::SetWatch;
use sync_state::SyncState;

pub(crate) mod deferred;
mod events;
pub(crate) mod fill;
mod look;
pub(crate) mod noted;
pub(crate) mod set_watch;
pub(crate) mod sync_state;

/// What a plan is about.
fn only(todo: &Plan) -> Scope {
    let tables = todo.tables.iter().map(|table| {
        let chains = table.chains.iter().map(|chain| chain.chain.as_str());
        let chains = chains.chain(table.structure.iter().filter_map(Structure::chain)).map(Box::from).collect();
        ((table.family, table.table), table.remove.is_empty().then_some(chains))
    });
    Scope::Part { tables: tables.collect(), sets: false }
}

/// By which means a repair was made: what iptables wrote is taken for ours whatever its form.
const BY_TOOLS: &str = "iptables-restore";
/// It was right again before anything was written.
const UNWRITTEN: &str = ruleward_report::NOTHING_WRITTEN;
/// What a repair takes of a processor until it is known.
const CHEAP: Duration = Duration::from_micros(500);
/// How often a pass starts over because another program wrote between its reading and its writing.
const TRIES: usize = 6;

/// Chains by table.
pub(crate) type Chains = BTreeMap<(Family, Table), BTreeSet<Box<str>>>;

/// By which means rules are compared and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompareMode {
    /// Their byte forms, in one transaction where the backend has such a thing.
    Encoded,
    /// Their text, with the stock tools.
    Text,
}

/// What was written in a pass before it looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Nothing yet.
    Start,
    /// A commit has just been made.
    Commit,
    /// A commit was made, and the one after it failed.
    Failure,
}

/// What is kept from one look to the next.
pub(crate) struct Kernel {
    pub events: Box<dyn EventSource>,
    pub runtime: Arc<dyn Runtime>,
    /// What is known without reading.
    pub sync: SyncState,
    /// The generations that our transactions have made and that were not heard of yet (nft).
    own: VecDeque<u32>,
    /// Whether our rules have been in force since this process began.
    pub contacted: bool,
    pub fights: Fights,
    pub started: Instant,
    /// What was heard and not looked at yet.
    pub pending: Activity,
    /// Whether those who did it are done.
    pub settling: Settling,
    /// Tables that are left alone in this pass: those who write there are not done.
    pub unsettled: BTreeSet<(Family, Table)>,
    /// Their processes, as far as they end by themselves.
    pub writers: Writers,
    /// Checks that read nothing, since the last one that did.
    pub skipped: u32,
    /// Why the last write was done by the stock tools, if a transaction was tried.
    pub by_tools: Option<String>,
    /// What is known of the sets.
    pub sets: SetWatch,
    /// Large sets that stand ready.
    pub filled: Filled,
    /// Such are being filled: nobody looks at sets until they are.
    pub filling: bool,
    /// What rules wait for, as it was when all was last in sync.
    pub awaited: Awaited,
    /// Chains of other programs that were emptied and that our jumps have given way to, until the writer is done.
    pub given_way: BTreeSet<(Family, Table, Box<str>)>,
    /// Chains that had rules when they were last looked at, in tables where rules wait for some (legacy).
    pub filled_chains: BTreeSet<(Family, Table, Box<str>)>,
    /// What the tables were when they were last looked at (legacy).
    stamps: BTreeMap<(Family, Table), Stamp>,
    /// Rules of unknown form that the last look found, and that only have a line of marks.
    pub strange: Vec<UnknownRule>,
    /// Whether nobody wrote during the last look.
    pub steady: bool,
    /// What `status` was told of these forms.
    pub coverage: Option<(Arc<RuleEncodings>, Coverage)>,
    /// What tables and built-in chains were when they were looked at last, besides their rules.
    pub seen: Seen,
    /// Tables that text can't show are left out: their bytes can't be had either.
    pub leave_out_hidden: bool,
    /// What the last full look had to say beside changes.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    /// Rules that wait for what another program makes.
    pub awaiting: Vec<Awaiting>,
    /// Sets of other programs that were awaited when the kernel was looked at last, and did not exist.
    pub absent_sets: BTreeSet<SetName>,
    /// When they are looked for again: nothing tells of them.
    pub seek_sets: Option<Instant>,
    /// When everything was read between two checks, because something was not right.
    pub read_all: Option<Instant>,
    /// Until when that is put off.
    pub read_again: Option<Instant>,
}

impl Kernel {
    pub fn new(events: Box<dyn EventSource>, runtime: Arc<dyn Runtime>, refresh: Duration) -> Self {
        let mut fights = Fights::new(refresh);
        fights.took(Duration::ZERO, CHEAP);
        Self {
            events,
            sync: SyncState::default(),
            own: VecDeque::new(),
            contacted: false,
            fights,
            started: runtime.now(),
            runtime,
            pending: Activity::default(),
            settling: Settling::new(Bounds::default()),
            unsettled: BTreeSet::new(),
            writers: Writers::default(),
            skipped: 0,
            by_tools: None,
            sets: SetWatch::default(),
            filled: Filled::new(),
            filling: false,
            awaited: Awaited::default(),
            given_way: BTreeSet::new(),
            filled_chains: BTreeSet::new(),
            stamps: BTreeMap::new(),
            strange: Vec::new(),
            steady: true,
            coverage: None,
            seen: Seen::default(),
            leave_out_hidden: false,
            problems: Vec::new(),
            notes: Vec::new(),
            awaiting: Vec::new(),
            absent_sets: BTreeSet::new(),
            seek_sets: None,
            read_all: None,
            read_again: None,
        }
    }

    /// Which rules wait, by what was just read. Whether that is news.
    pub fn await_foreign(&mut self, expected: &Expected, observed: &Observed) -> bool {
        let now = awaiting(expected, observed, &self.awaiting);
        let news = now != self.awaiting;
        self.awaiting = now;
        news
    }

    /// Since this process began.
    pub fn elapsed(&self) -> Duration {
        self.runtime.now().saturating_duration_since(self.started)
    }

    /// RuleEncodings, if they are known.
    pub fn by(expected: &Expected) -> CompareMode {
        if expected.forms.is_some() { CompareMode::Encoded } else { CompareMode::Text }
    }

    /// Writes what `todo` says, and reads back until nothing is left to write or the tries are used up. Gives by which
    /// means it was done.
    pub fn write(
        &mut self,
        port: &dyn Port,
        pass: &mut Pass,
        expected: &mut Arc<Expected>,
        observed: &mut Observed,
        todo: &mut Plan,
        scope: &Scope,
    ) -> Result<&'static str, Stop> {
        let held = pass.timed(Stage::Lock, || port.exclusive());
        let port = held.map_err(|error| pass.stop(ErrorClass::Temporary, error.to_string()))?;
        let port = &*port;
        pass.committing = true;
        let replayable = expected.forms.as_ref().is_some_and(|forms| forms.replayable);
        let mut by = if replayable { Self::by(expected) } else { CompareMode::Text };
        let mut how = UNWRITTEN;
        let mut since = Since::Start;
        let mut between = false;
        let mut sets_written = false;
        let mut lost = 0;
        let (asked, mut scope) = (scope, Cow::Borrowed(scope));
        // On legacy the picture is older than the lock: unless the tables are the same still, it is taken again.
        let mut fresh = port.generation().is_some()
            || (todo.first.is_none() && pass.timed(Stage::Verify, || self.are_as_seen(port, todo)));
        let mut looked;
        let patience = self.runtime.now() + self.settling.bounds().single;
        let mut tried = 0;
        self.sets.at_once = false;
        loop {
            if !fresh {
                looked = if by == CompareMode::Text && port.generation().is_some() {
                    CompareMode::Text
                } else {
                    Self::by(expected)
                };
                let read = if looked == CompareMode::Text { &Scope::All } else { &*scope };
                *observed = pass
                    .timed(Stage::Verify, || self.look(port, expected, read, looked, how == BY_TOOLS))
                    .map_err(|error| pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}")))?;
                *todo = plan(expected, observed);
                self.without_deferred(todo);
                // After the first step of a change of ours the rest is no drift.
                if !std::mem::take(&mut between) {
                    self.note_found(pass, (since, sets_written), expected, observed, todo);
                }
                if since == Since::Commit {
                    since = Since::Failure;
                }
                if todo.is_empty() && matches!(scope, Cow::Owned(_)) {
                    // What else was to be looked at may have been changed by whoever was faster.
                    scope = Cow::Borrowed(asked);
                    continue;
                }
                if todo.is_empty() || tried == TRIES {
                    break;
                }
            }
            fresh = false;
            // The last moment to see that another program is about to commit to what it has read.
            let tables = !todo.tables.is_empty() || todo.first.is_some();
            if tables && pass.timed(Stage::Lock, || port.wait_for_clients(patience)) {
                continue;
            }
            tried += 1;
            if tried > TRIES / 2 && by == CompareMode::Text {
                todo.generation = None; // another program writes all the time: what we delete, we name by its text
                todo.first.iter_mut().for_each(|first| first.generation = None);
            }
            self.use_filled(todo);
            let step = todo.first.as_deref().unwrap_or(todo);
            let forms = expected.forms.clone().filter(|_| by == CompareMode::Encoded);
            let done = pass.timed(Stage::Commit, || match &forms {
                Some(forms) => commit_at_once(port, step, observed, forms),
                None => commit(port, step),
            });
            if let Err(error) = &done {
                pass.recorder.failed(error);
            }
            if !step.sets.is_empty() || !step.remove_sets.is_empty() {
                sets_written = true; // they come first, whatever became of the rules
                self.sets.forget();
            }
            // A set that gets another type has to be known at each step.
            self.sets.at_once = todo.first.is_some();
            match done {
                Ok(committed) => {
                    let unfinished = committed.unfinished;
                    pass.report.notes.extend(committed.notes);
                    pass.committed_at = Some(self.runtime.now());
                    since = Since::Commit;
                    how = match by {
                        _ if step.tables.is_empty() => "ipset",
                        CompareMode::Encoded => "netlink",
                        CompareMode::Text => BY_TOOLS,
                    };
                    pass.recorder.tell("ruleward.commit.how", how);
                    if by == CompareMode::Encoded {
                        self.by_tools = None;
                        self.count_own_commit(observed, step);
                    }
                    between = unfinished || !step.stand_ins.is_empty();
                    step.stand_ins.sets().for_each(|set| wait_until_unused(port, set));
                    if expected.basis == Basis::Unproven && !restructures(todo) {
                        *expected = learn(Arc::clone(expected), port);
                    }
                }
                // Another program was faster. What is to be changed is read again, and no more, so that the next try is quicker than
                // a reading of everything; against somebody who writes all the time the tools try until they win.
                Err(CommitError::Stale) => {
                    lost += 1;
                    if lost > TRIES / 2 {
                        by = CompareMode::Text;
                    } else if by == CompareMode::Encoded && todo.sets.is_empty() && todo.remove_sets.is_empty() {
                        scope = Cow::Owned(only(todo));
                    }
                }
                Err(CommitError::NotAtOnce(reason)) => {
                    tracing::debug!("by the stock tools: {reason}");
                    self.by_tools = Some(reason);
                    by = CompareMode::Text;
                }
                Err(error @ CommitError::Partial(_)) => return Err(pass.stop(ErrorClass::Temporary, error.to_string())),
            }
        }
        if todo.is_empty() {
            if looked == CompareMode::Text && expected.forms.is_some() {
                self.resume_forms(port, expected, observed);
            }
            return Ok(how);
        }
        let reason = format!("another program keeps changing the same rules; gave up after {TRIES} tries");
        Err(pass.stop(ErrorClass::Temporary, reason))
    }

    /// Takes note of what another program has changed between two looks of one pass.
    fn note_found(
        &mut self,
        pass: &mut Pass,
        (since, sets_written): (Since, bool),
        expected: &Arc<Expected>,
        observed: &Observed,
        todo: &mut Plan,
    ) {
        if since != Since::Start {
            if pass.on_revert == OnRevert::Backoff {
                self.defer_again(&self.awaited.drifts(expected, observed, todo), todo);
            }
            pass.found.after_writing(self.awaited.drifts(expected, observed, todo), since == Since::Commit);
            return;
        }
        let Some(measure) = pass.found.measure.clone() else { return };
        let found = if Arc::ptr_eq(&measure, expected) {
            self.awaited.drifts(expected, observed, todo)
        } else {
            let mut todo = plan(&measure, observed);
            self.without_deferred(&mut todo);
            let mut found = self.awaited.drifts(&measure, observed, &todo);
            found.retain(|drift| drift.table.is_some() || !sets_written); // the rest is ours
            found
        };
        pass.found.before_writing(found, || self.events.take_finished());
    }

    /// Whether the tables that `todo` changes are as they were when they were looked at last.
    fn are_as_seen(&self, port: &dyn Port, todo: &Plan) -> bool {
        todo.tables.iter().all(|table| {
            let place = (table.family, table.table);
            self.stamps.get(&place).is_some_and(|stamp| port.stamp(table.family, table.table) == Some(*stamp))
        })
    }

    /// The tools have written what is compared by form from now on.
    fn resume_forms(&mut self, port: &dyn Port, expected: &mut Arc<Expected>, observed: &mut Observed) {
        match self.look(port, expected, &Scope::All, CompareMode::Encoded, true) {
            Ok(again) if self.is_done(plan(expected, &again)) => *observed = again,
            Ok(_) => observed.generation = None, // somebody was here: the next look finds it
            Err(error) => tracing::warn!("the rules could not be read back in their netlink encoding: {error}"),
        }
    }

    fn is_done(&self, mut todo: Plan) -> bool {
        self.without_deferred(&mut todo);
        todo.is_empty()
    }
}

/// Whether the stock tools have written nothing of `todo` yet, but what they can't do was done.
fn restructures(todo: &Plan) -> bool {
    todo.tables.iter().flat_map(|table| &table.structure).any(Structure::needs_transaction)
}

/// What the kernel shows right after a commit is what it must show from now on, if it can be read at all.
pub(crate) fn learn(expected: Arc<Expected>, port: &dyn Port) -> Arc<Expected> {
    let Ok(observed) = observe(port, &expected) else { return expected };
    match Expected::clone(&expected).prove(Basis::Learned, &observed) {
        Ok(learned) => Arc::new(learned),
        Err(mismatch) => {
            tracing::warn!("the rules that were read back after the commit do not match it: {mismatch}");
            expected
        }
    }
}

#[cfg(test)]
mod tests;
