//! Makes a [`Configured`] of the files. It reads the configuration and the components, has new ones loaded by other
//! threads, and tells each time when more is known: a component that takes a minute to compile holds up no other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::names::PolicyName;

use super::message::Message;
use super::pins::Pins;
use super::slot::{Next, SETTLING, Slot};
use super::stamp::Stamp;
use super::subscription::Configured;
use crate::config::{Config, Mode};
use crate::mailbox::MessageSender;
use crate::memory;
use ruleward_files::places::{Places, TooMany};
use ruleward_reconcile::policies::{PolicySet, Recorded, ShadowSpec, Version};
use ruleward_report::timestamp;
use ruleward_sandbox::last_good::InDirectory;
use ruleward_sandbox::{PolicyEngine, components};
use ruleward_state::StateWriter;

use job::Job;
pub use job::{JobKind, Loaded};
use kept::note_unkept;
pub use kept::prune_components;

mod job;
mod kept;

/// How many components are loaded at a time.
const MOST_AT_ONCE: usize = 4;
/// After this time it is tried again to keep what could not be kept.
const KEEP_AGAIN: Duration = Duration::from_secs(15);
/// The state of all that is configured.
pub struct Loader {
    engine: Arc<PolicyEngine>,
    results: MessageSender<Message>,
    config: Arc<Config>,
    /// Of the configuration's files, when they were read last.
    stamps: Vec<(PathBuf, Stamp)>,
    /// What is wrong with the newest configuration.
    refusal: Option<String>,
    /// Since when and why the configuration is not kept.
    unkept: Option<(SystemTime, String)>,
    /// The same of components, by policy.
    unkept_components: BTreeMap<PolicyName, (SystemTime, String)>,
    /// Since when it is wrong.
    wrong_since: Option<Instant>,
    /// Keys that wait for the next start.
    waits: Vec<&'static str>,
    slots: BTreeMap<PolicyName, Slot>,
    /// Policies that are held at an earlier version.
    pins: Pins,
    /// Names components that must be kept.
    state: StateWriter,
    recorded: Vec<Recorded>,
    recalled: BTreeMap<PolicyName, Arc<Version>>,
    /// Components that are or were in force, the newest last.
    recent: VecDeque<String>,
    queue: VecDeque<Job>,
    running: usize,
    warnings: BTreeMap<PolicyName, Vec<String>>,
    /// What else there is to say, such as why files can't be watched.
    note: Option<String>,
    number: u64,
    changed: bool,
    /// Components are kept for the case that their files break.
    keeps: bool,
}

impl Loader {
    /// Of a configuration that was found right. `results` gets what other threads have loaded; `keeps`: in the state
    /// directory, too.
    pub fn new(
        config: Config,
        engine: Arc<PolicyEngine>,
        results: MessageSender<Message>,
        state: StateWriter,
        keeps: bool,
    ) -> Self {
        let recorded = Recorded::read_all(&InDirectory(config.state_directory.clone()));
        let mut loader = Self {
            engine,
            results,
            stamps: Vec::new(),
            config: Arc::new(config),
            refusal: None,
            unkept: None,
            unkept_components: BTreeMap::new(),
            wrong_since: None,
            waits: Vec::new(),
            slots: BTreeMap::new(),
            pins: Pins::default(),
            state,
            recorded,
            recalled: BTreeMap::new(),
            recent: VecDeque::new(),
            queue: VecDeque::new(),
            running: 0,
            warnings: BTreeMap::new(),
            note: None,
            number: 0,
            changed: true,
            keeps,
        };
        loader.stamps = loader.stamp();
        loader.pins.look(&loader.config, keeps);
        loader.want();
        loader
    }

    /// What the files held when they were looked at was refused, for this reason.
    pub fn refusing(mut self, refusal: Option<String>) -> Self {
        if refusal.is_none() {
            self.keep_configuration();
        }
        self.refusal = refusal;
        self
    }

    /// The configuration that counts.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Says what else an operator should know.
    pub fn note(&mut self, note: Option<String>) {
        self.changed |= self.note != note;
        self.note = note;
    }

    /// Looks at all files. `thorough`: at their contents in any case. Gives when to look again, if something was found that
    /// may be in the middle of being written.
    pub fn look(&mut self, thorough: bool) -> Option<Duration> {
        let now = Instant::now();
        let mut again = self.look_at_configuration(thorough, now);
        if self.pins.look(&self.config, self.keeps) {
            self.changed = true;
            self.want();
        }
        for slot in self.slots.values_mut() {
            match slot.look(thorough, now) {
                Next::Nothing => {}
                Next::LookAgain(time) => again = Some(again.map_or(time, |other: Duration| other.min(time))),
                Next::Load(component) => {
                    let (policy, path) = (slot.name.clone(), slot.component().clone());
                    let limits = slot.limits().clone();
                    self.queue.retain(|job| job.policy != policy || matches!(job.kind, JobKind::Recall(_)));
                    self.queue.push_back(Job { kind: JobKind::Wish, policy, path, component, limits });
                }
            }
            self.changed |= slot.take_news();
        }
        self.recall();
        self.start();
        if self.keeps && self.keep_again() {
            again = Some(again.map_or(KEEP_AGAIN, |time| time.min(KEEP_AGAIN)));
        }
        again
    }

    fn look_at_configuration(&mut self, thorough: bool, now: Instant) -> Option<Duration> {
        if !thorough && self.wrong_since.is_none() && self.stamps.iter().all(|(path, stamp)| stamp.holds(path)) {
            return None;
        }
        let stamps = self.stamp();
        let file = self.config.file.clone();
        match Config::load(&file) {
            Ok(config) => {
                self.stamps = stamps;
                self.wrong_since = None;
                self.changed |= self.refusal.take().is_some();
                self.adopt(config);
                None
            }
            Err(error) => {
                let since = *self.wrong_since.get_or_insert(now);
                let left = SETTLING.saturating_sub(now.saturating_duration_since(since));
                let reason = error.to_string();
                // It may be in the middle of being written.
                if !thorough && !left.is_zero() && self.refusal.is_none() {
                    return Some(left);
                }
                if self.refusal.as_ref() != Some(&reason) {
                    self.refusal = Some(reason);
                    self.changed = true;
                }
                self.stamps = stamps;
                None
            }
        }
    }

    fn adopt(&mut self, config: Config) {
        let (config, waits) = config.taken_by(&self.config);
        if config == *self.config && waits == self.waits {
            return;
        }
        self.changed = true;
        self.config = Arc::new(config);
        self.waits = waits;
        if self.keeps {
            self.keep_configuration();
        }
        self.want();
        memory::give_back();
        tracing::info!(
            "the configuration was read again{}",
            self.waiting_keys().map(|keys| format!("; {keys}")).unwrap_or_default()
        );
    }

    fn waiting_keys(&self) -> Option<String> {
        (!self.waits.is_empty()).then(|| format!("changed, and takes effect at a restart: {}", self.waits.join(", ")))
    }

    /// Fits the slots to the configuration.
    fn want(&mut self) {
        let config = Arc::clone(&self.config);
        let wanted = |name: &PolicyName| config.policies.get(name).is_some_and(|policy| policy.mode != Mode::Off);
        self.slots.retain(|name, _| wanted(name));
        self.queue.retain(|job| wanted(&job.policy));
        self.warnings.retain(|name, _| wanted(name));
        self.unkept_components.retain(|name, _| wanted(name));
        let policies = self.pins.effective(&config);
        for (name, policy) in policies.iter().filter(|(_, policy)| policy.mode != Mode::Off) {
            match self.slots.get_mut(name) {
                Some(slot) => slot.want(policy),
                None => drop(self.slots.insert(name.clone(), Slot::new(name, policy))),
            }
        }
    }

    /// The versions that were in force when the last process ended are loaded once, where they are not what the
    /// configuration asks for: they answer if the others can't.
    fn recall(&mut self) {
        for recorded in std::mem::take(&mut self.recorded) {
            let Some(slot) = self.slots.get(&recorded.policy) else { continue };
            let Recorded { digest, settings, grants, limits, .. } = &recorded;
            if slot.id().as_deref() == Some(&ruleward_reconcile::policies::identity(digest, settings, grants, limits)) {
                continue;
            }
            match components::load(&self.config.state_directory, digest) {
                Ok(component) => self.queue.push_back(Job {
                    policy: recorded.policy.clone(),
                    path: self.config.state_directory.join("components"),
                    component,
                    limits: limits.clone().capped(&self.config.limits_ceiling),
                    kind: JobKind::Recall(Box::new(recorded)),
                }),
                Err(error) => {
                    let policy = &recorded.policy;
                    tracing::warn!(
                        "policy {policy}: the saved component can't be loaded, so only the saved answer is used: {error}"
                    );
                }
            }
        }
    }

    fn start(&mut self) {
        while self.running < MOST_AT_ONCE {
            let Some(job) = self.queue.pop_front() else { return };
            let (engine, results) = (Arc::clone(&self.engine), self.results.clone());
            let state_directory = self.keeps.then(|| self.config.state_directory.clone());
            let work = move || {
                let loaded = job.run(&engine, state_directory.as_deref());
                results.send(Message::Loaded(Box::new(loaded)));
            };
            match std::thread::Builder::new().name("load-policy".to_owned()).spawn(work) {
                Ok(_) => self.running += 1,
                // The slot stays as it is, and is looked at again.
                Err(error) => tracing::error!("no thread can be started to load a policy: {error}"),
            }
        }
    }

    /// Takes what another thread has loaded.
    pub fn loaded(&mut self, loaded: Loaded) {
        self.running = self.running.saturating_sub(1);
        let Loaded { job, policy, digest, result, unkept } = loaded;
        note_unkept(&mut self.unkept_components, &policy, unkept);
        let warnings: Vec<String> = result.as_ref().map(|loaded| loaded.warnings().to_vec()).unwrap_or_default();
        for warning in &warnings {
            tracing::warn!("policy {policy}: {warning}");
        }
        self.warnings.insert(policy.clone(), warnings);
        match job {
            JobKind::Wish => {
                if let Some(slot) = self.slots.get_mut(&policy) {
                    slot.loaded(&digest, result);
                }
            }
            JobKind::Recall(recorded) => match result {
                Ok(loaded) => {
                    let Recorded { settings, grants, .. } = *recorded;
                    self.recalled.insert(policy.clone(), Arc::new(Version::new(policy, loaded, settings, grants)));
                }
                Err(error) => {
                    tracing::warn!(
                        "policy {policy}: the saved component can't be loaded, so only the saved answer is used: {error}"
                    );
                }
            },
        }
        self.changed = true;
        self.start();
    }

    /// Whether nothing is being loaded.
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.queue.is_empty()
    }

    /// Whether anything is new.
    pub fn is_news(&self) -> bool {
        self.changed
    }

    /// What is configured, if anything of it is new.
    pub fn news(&mut self) -> Option<Configured> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.number += 1;
        Some(self.configured())
    }

    /// What is configured, as far as it is loaded.
    pub fn configured(&self) -> Configured {
        let off = self.config.policies.iter().filter(|(_, policy)| policy.mode == Mode::Off);
        let mut notes: Vec<String> = self.waiting_keys().into_iter().collect();
        notes.extend(self.note.iter().cloned());
        notes.extend(self.unkept.iter().map(|(since, reason)| format!("{reason} (since {})", timestamp(*since))));
        notes.extend(self.unkept_components.iter().map(|(policy, (since, reason))| {
            format!(
                "policy {policy}: its component can't be saved for a start with a broken file: {reason} (since {})",
                timestamp(*since)
            )
        }));
        notes.extend(self.pins.notes.iter().cloned());
        let (mut specs, mut shadows) = (BTreeMap::new(), BTreeMap::new());
        for (name, slot) in &self.slots {
            match self.config.policies.get(name) {
                Some(policy) if policy.mode == Mode::Shadow => {
                    let shadow = ShadowSpec { of: policy.shadow_of.clone(), spec: slot.spec() };
                    drop(shadows.insert(name.clone(), shadow));
                }
                _ => drop(specs.insert(name.clone(), slot.spec())),
            }
        }
        let warnings: BTreeSet<&String> = self.warnings.values().flatten().collect();
        notes.extend(warnings.into_iter().cloned());
        let policies = PolicySet {
            settings: Arc::new(self.config.reconciler_settings()),
            specs,
            shadows,
            pinned: self.pins.report(),
            off: off.map(|(name, _)| name.clone()).collect(),
            recalled: self.recalled.clone(),
            refusal: self.refusal.clone(),
            notes,
            complete: self.is_idle(),
        };
        Configured { number: self.number, config: Arc::clone(&self.config), policies }
    }

    /// What is to be watched.
    ///
    /// # Errors
    /// There is too much of it.
    pub fn places(&self) -> Result<Places, TooMany> {
        let mut places = Places::default();
        places.add(&self.config.file)?;
        places.add_all_below(&conf_d(&self.config.file))?;
        places.add_all_below(&self.config.resources)?;
        for slot in self.slots.values() {
            places.add(slot.component())?;
        }
        for policy in self.pins.policies().filter_map(|name| self.config.policies.get(name)) {
            places.add(&policy.component)?;
        }
        Ok(places)
    }

    fn stamp(&self) -> Vec<(PathBuf, Stamp)> {
        let mut paths = vec![self.config.file.clone(), conf_d(&self.config.file)];
        let entries = std::fs::read_dir(conf_d(&self.config.file)).into_iter().flatten().flatten();
        let toml = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
        paths.extend(entries.map(|entry| entry.path()).filter(toml));
        paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect()
    }
}

fn conf_d(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join("conf.d")
}
