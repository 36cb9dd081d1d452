//! A kernel of plain data behind [`Port`] and [`EventSource`](super::event_source::EventSource), for
//! tests of what stands on it. It passes the same contract tests as the real one
//! (`tests/port_contract.rs`), and follows a script: other programs write, commits are refused, races
//! are lost, events too, and time passes only when it is told to.

mod clock;
mod events;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruleward_core::actor::Actor;
use ruleward_core::encoded_rule::{EncodedRule, RawTable, Stamp};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::sets::ListReader;
use ruleward_core::simulate::{Simulated, form_of};
use ruleward_core::transaction::{self, Transaction};

pub use clock::Clock;
pub use events::FakeEvents;

use super::lock::LockError;
use super::port::{Depth, Port, RawError, SetsDigest, TransactError, Wanted};
use super::process::ToolError;
use super::scratch::ScratchError;
use super::tools::RestoreError;

/// What happens at the next call of `restore` or `transact`.
pub enum Fault {
    /// The tool reports a failure and has done nothing.
    Refuse,
    /// Another program writes first.
    Stranger(Change),
    /// Another program writes as soon as it is done.
    Undo(Change),
}

/// What another program does.
pub type Change = Box<dyn FnOnce(&mut Simulated) + Send>;

/// A namespace of plain data. Clones are the same namespace.
#[derive(Clone)]
pub struct Fake {
    backend: Backend,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    kernel: Simulated,
    generation: u32,
    faults: VecDeque<Fault>,
    /// What another program does just before rules are read.
    before_reading: Option<Change>,
    /// What becomes of a rule that is replayed, here and in scratch namespaces.
    distortion: Option<fn(&str) -> String>,
    restores: usize,
    transactions: usize,
    /// What a source of events has not taken yet, if there is one.
    written: Option<Vec<events::Written>>,
    lost: bool,
}

impl State {
    fn change(&mut self, actor: Actor, change: impl FnOnce(&mut Simulated)) {
        let before = self.written.is_some().then(|| self.kernel.clone());
        change(&mut self.kernel);
        self.close(actor, before);
    }

    /// A generation ends: what was done since `before` is told of.
    fn close(&mut self, actor: Actor, before: Option<Simulated>) {
        self.generation += 1;
        if let (Some(written), Some(before)) = (&mut self.written, before) {
            written.push(events::Written::new(self.generation, actor, &before, &self.kernel));
        }
    }

    /// The next fault, as far as it comes before the call does its work; gives what comes after that.
    fn meet_fault(&mut self) -> Result<Option<Change>, String> {
        match self.faults.pop_front() {
            Some(Fault::Refuse) => return Err("told to fail".to_owned()),
            Some(Fault::Stranger(change)) => self.change(events::foreign(), change),
            Some(Fault::Undo(undo)) => return Ok(Some(undo)),
            None => {}
        }
        Ok(None)
    }
}

impl Fake {
    /// An empty one.
    pub fn new(backend: Backend) -> Self {
        Self { backend, state: Arc::default() }
    }

    /// Changes it as another program would.
    pub fn stranger(&self, change: impl FnOnce(&mut Simulated)) {
        self.state().change(events::foreign(), change);
    }

    /// The same by a program that goes around the lock (legacy), or whose events are lost (nft, where that is told).
    pub fn unheard(&self, change: impl FnOnce(&mut Simulated)) {
        let state = &mut *self.state();
        change(&mut state.kernel);
        state.generation += 1;
        state.lost = true;
    }

    /// Another program changes sets, of which nothing tells.
    pub fn foreign_sets(&self, change: impl FnOnce(&mut Simulated)) {
        change(&mut self.state().kernel);
    }

    /// Looks at it.
    pub fn look<T>(&self, look: impl FnOnce(&mut Simulated) -> T) -> T {
        look(&mut self.state().kernel)
    }

    /// Whether a source of events has something to take that tells so by itself.
    pub fn has_news(&self) -> bool {
        let state = self.state();
        let written = state.written.as_ref().is_some_and(|written| !written.is_empty());
        written || (state.lost && self.backend == Backend::Nft)
    }

    /// No faults are left over from now on.
    pub fn forget_faults(&self) {
        let state = &mut *self.state();
        state.faults.clear();
        state.before_reading = None;
    }

    /// What happens at the next calls of `restore`, one each.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Another program writes just before rules are read the next time: they show it before it was told of.
    pub fn before_reading(&self, change: Change) {
        self.state().before_reading = Some(change);
    }

    /// From now on a kernel that makes something else of rules in their byte form than it made of their text.
    pub fn distort(&self, distortion: fn(&str) -> String) {
        self.state().distortion = Some(distortion);
    }

    /// How often `restore` was called.
    pub fn restores(&self) -> usize {
        self.state().restores
    }

    /// How often `transact` was called.
    pub fn transactions(&self) -> usize {
        self.state().transactions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(script: &str, (line, message): (usize, String)) -> RestoreError {
        let text = script.lines().nth(line.saturating_sub(1)).map(str::to_owned);
        RestoreError::Refused {
            program: "fake-restore".to_owned(),
            status: 1,
            line: Some(line),
            text,
            message,
            vague: false,
        }
    }
}

impl Port for Fake {
    fn backend(&self) -> Backend {
        self.backend
    }

    fn save(&self, family: Family, table: Table) -> Result<String, ToolError> {
        Ok(self.state().kernel.save(family, table))
    }

    fn restore(&self, family: Family, script: &str) -> Result<(), RestoreError> {
        let state = &mut *self.state();
        state.restores += 1;
        let undo = state.meet_fault().map_err(|reason| Self::refused(script, (1, reason)))?;
        let before = state.written.is_some().then(|| state.kernel.clone());
        state.kernel.restore(family, script).map_err(|error| Self::refused(script, error))?;
        state.close(events::ourselves(), before);
        undo.into_iter().for_each(|undo| state.change(events::foreign(), undo));
        Ok(())
    }

    fn sets(&self, _: &dyn Fn(&str) -> bool, list: &mut ListReader) -> Result<(), ToolError> {
        let mut text = String::new();
        for (name, set) in self.state().kernel.sets().iter() {
            let members: String = set.members.iter().map(|member| format!("{member}\n")).collect();
            let header = &set.options;
            text.push_str(&format!(
                "Name: {name}\nType: {}\nHeader: {header}\nReferences: {}\nMembers:\n{members}\n",
                set.kind, set.references
            ));
        }
        list.push(text.as_bytes());
        Ok(())
    }

    fn sets_digest(&self, depth: &dyn Fn(&str) -> Option<Depth>) -> Option<SetsDigest> {
        let (mut hasher, mut members) = (DefaultHasher::new(), 0);
        for (name, set) in self.state().kernel.sets().iter() {
            let Some(depth) = depth(name) else { continue };
            (name, &set.kind, &set.options).hash(&mut hasher);
            members += set.members.len() as u64;
            match depth {
                Depth::Outline => {}
                Depth::Count => set.members.len().hash(&mut hasher),
                Depth::Members => set.members.iter().for_each(|member| member.hash(&mut hasher)),
            }
        }
        Some(SetsDigest { hash: hasher.finish(), members })
    }

    fn set_references(&self, set: &str) -> Option<u32> {
        self.state().kernel.sets().get(set).map(|set| set.references)
    }

    fn restore_sets(&self, script: &str) -> Result<(), RestoreError> {
        self.state().kernel.restore_sets(script).map_err(|error| Self::refused(script, error))
    }

    fn generation(&self) -> Option<u32> {
        (self.backend == Backend::Nft).then(|| self.state().generation)
    }

    fn stamp(&self, family: Family, table: Table) -> Option<Stamp> {
        if self.backend == Backend::Nft {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        self.state().kernel.save(family, table).hash(&mut hasher);
        let stamp = hasher.finish();
        Some(Stamp { outline: stamp, content: stamp })
    }

    fn raw(&self, family: Family, table: Table, wanted: Wanted<'_>) -> Result<RawTable, RawError> {
        let raw = {
            let state = &mut *self.state();
            if let Some(change) = state.before_reading.take() {
                state.change(events::foreign(), change);
            }
            state.kernel.raw(family, table)
        };
        Ok(wanted.narrow(RawTable { stamp: self.stamp(family, table), ..raw }))
    }

    fn stands_alone(&self, form: &EncodedRule) -> bool {
        !String::from_utf8_lossy(&form.bytes).contains("anonymous")
    }

    fn marks(&self, _: Family, form: &EncodedRule) -> String {
        String::from_utf8_lossy(&form.bytes).into_owned()
    }

    fn lighter(&self, _: &EncodedRule) -> Option<EncodedRule> {
        None
    }

    fn shows_all(&self, _: &EncodedRule) -> bool {
        true
    }

    fn transact(&self, transaction: &Transaction) -> Result<(), TransactError> {
        let state = &mut *self.state();
        if self.backend == Backend::Legacy {
            return Err(TransactError::Impossible("legacy has no transactions".to_owned()));
        }
        state.transactions += 1;
        let refusal = |reason| TransactError::Refused { steps: Vec::new(), reason };
        let undo = state.meet_fault().map_err(refusal)?;
        if state.generation != transaction.generation {
            return Err(TransactError::Stale);
        }
        let mut transaction = transaction.clone();
        if let Some(distort) = state.distortion {
            for step in &mut transaction.steps {
                if let transaction::Change::AddRule { form, .. } = &mut step.change {
                    *form = Arc::new(form_of(&distort(&String::from_utf8_lossy(&form.bytes))));
                }
            }
        }
        let refused = |(step, reason)| TransactError::Refused { steps: vec![step], reason };
        let before = state.written.is_some().then(|| state.kernel.clone());
        state.kernel.transact(&transaction).map_err(refused)?;
        state.close(events::ourselves(), before);
        undo.into_iter().for_each(|undo| state.change(events::foreign(), undo));
        Ok(())
    }

    fn exclusive(&self) -> Result<Box<dyn Port + '_>, LockError> {
        Ok(Box::new(self.clone()))
    }

    fn in_scratch(&self, work: &mut (dyn FnMut(&dyn Port) + Send)) -> Result<(), ScratchError> {
        let scratch = Self::new(self.backend);
        scratch.state().distortion = self.state().distortion;
        work(&scratch);
        Ok(())
    }
}
