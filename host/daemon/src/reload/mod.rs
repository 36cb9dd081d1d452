//! Notices that the configuration, a component or the facts have changed, and has what is new loaded, on a thread of its
//! own: compiling never holds up a repair, a refresh or `status`.
//!
//! Events only say "look again": what is loaded is decided by content. A refresh that reads everything looks again as
//! well, and so does each refresh where not every change is told of. What is wrong is refused with its reason, and looked at again when something changes.
//!
//! Files -> [`loader`] -> [`Configured`] -> [`Intake`] -> the checks.

mod intake;
mod loader;
pub mod pins;
mod post;
mod slot;
mod stamp;
mod thread;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::{Config, Mode, PolicyConfig};
use crate::status_store::StatusStore;
use loader::Loader;
use post::{Message, Post, post};
use ruleward_facts::change_counter::ChangeCounter;
use ruleward_reconcile::policies::{PolicySet, PolicySpec, SpecState};
use ruleward_sandbox::PolicyEngine;
use ruleward_state::StateWriter;

pub use intake::{Configured, Intake, NoMore, OnTold, ReloadRequest};

/// What the thread has to tell the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something changed that a check has to look at.
    Changed {
        /// Of the offer that says it; 0 if it is about facts.
        offer: u64,
        /// As it is configured now.
        refresh: Duration,
    },
    /// The look with this ticket is done: what was found has been loaded, or refused.
    Looked(u64),
}

/// The loop's end.
pub struct ReloadHandle {
    post: Option<Post>,
    /// What there is to tell.
    pub news: UnboundedReceiver<News>,
    taken: Arc<AtomicU64>,
    tickets: u64,
    /// Keeps `news` open where there is no thread.
    _open: Option<UnboundedSender<News>>,
}

impl ReloadHandle {
    /// Nothing ever changes.
    pub fn none() -> Self {
        let (sender, news) = unbounded_channel();
        Self { post: None, news, taken: Arc::default(), tickets: 0, _open: Some(sender) }
    }

    /// Looks never end.
    #[cfg(test)]
    pub fn that_hangs() -> Self {
        // Nobody receives what is sent, which a thread that hangs does not do either.
        let mut lookout = Self::none();
        lookout.post = post().ok().map(|(post, _)| post);
        lookout
    }

    /// Has all files looked at. The ticket comes back as [`News::Looked`]; none if nobody looks.
    pub fn look(&mut self, thorough: bool) -> Option<u64> {
        let post = self.post.as_ref()?;
        self.tickets += 1;
        post.send(Message::Look { ticket: Some(self.tickets), thorough });
        Some(self.tickets)
    }

    /// Whether the checks have taken this offer already.
    pub fn is_taken(&self, offer: u64) -> bool {
        offer > 0 && self.taken.load(Ordering::Acquire) >= offer
    }
}

impl Drop for ReloadHandle {
    fn drop(&mut self) {
        if let Some(post) = &self.post {
            post.send(Message::Stop);
        }
    }
}

/// For whoever opens the checks.
#[derive(Clone)]
pub struct Source {
    post: Post,
    taken: Arc<AtomicU64>,
    signs: Arc<ChangeCounter>,
    config: Arc<Mutex<Arc<Config>>>,
}

impl Source {
    /// The configuration that counts.
    pub fn config(&self) -> Arc<Config> {
        // It is replaced in one statement.
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The checks' end; an earlier one gets nothing any more.
    pub fn intake(&self) -> Intake {
        let (sender, offers) = channel();
        self.post.send(Message::Subscribe(sender));
        let post = self.post.clone();
        let on_told: OnTold = Arc::new(move |told| {
            post.send(match told {
                ReloadRequest::Settled(digests) => Message::Settled(digests),
                ReloadRequest::LookAgain => Message::Look { ticket: None, thorough: false },
                ReloadRequest::FactsChanged => Message::Facts,
            });
        });
        Intake::new(offers, Arc::clone(&self.taken), Arc::clone(&self.signs), on_told)
    }
}

/// Starts the thread, in the calling thread's network namespace, with a configuration that was found right; the files
/// may hold another one, which was refused for the reason given. Whether a look goes on is shown by `board`. Unless the
/// configuration says `watch = "off"` it hears of changes when they happen.
///
/// # Errors
/// If the system has no thread or descriptor to give.
pub fn start(
    (config, refusal): (Config, Option<String>),
    engine: Arc<PolicyEngine>,
    state: StateWriter,
    board: StatusStore,
) -> io::Result<(ReloadHandle, Source)> {
    let (post, inbox) = post()?;
    let (told, news) = unbounded_channel();
    let source = Source {
        post: post.clone(),
        taken: Arc::default(),
        signs: Arc::default(),
        config: Arc::new(Mutex::new(Arc::new(config.clone()))),
    };
    let taken = Arc::clone(&source.taken);
    let looking =
        thread::Looking::new((config, refusal), (engine, state), (post.clone(), inbox), told, source.clone(), board);
    std::thread::Builder::new().name("reload".to_owned()).spawn(move || looking.run())?;
    Ok((ReloadHandle { post: Some(post), news, taken, tickets: 0, _open: None }, source))
}

/// What the configuration asks for, with nothing loaded: enough to know what may be ours.
pub fn grants_only(config: &Config) -> Intake {
    let enforced = config.policies.iter().filter(|(_, policy)| policy.mode == Mode::Enforce);
    let wish = |policy: &PolicyConfig| PolicySpec {
        grants: policy.grants.clone(),
        settings: Arc::clone(&policy.settings),
        limits: policy.limits.clone(),
        state: SpecState::Loading { digest: None },
    };
    let policies = PolicySet {
        settings: Arc::new(config.reconciler_settings()),
        specs: enforced.map(|(name, policy)| (name.clone(), wish(policy))).collect(),
        complete: true,
        ..PolicySet::default()
    };
    let configured = Configured { number: 1, config: Arc::new(config.clone()), policies };
    Intake::of_one(configured, Arc::new(|_| {}))
}

/// Loads everything that the configuration asks for, once. `keeps`: components are kept in the state directory, and
/// those that are not needed any more go.
///
/// # Errors
/// If the system has no descriptor to give.
pub fn load_once(config: &Config, engine: Arc<PolicyEngine>, state: StateWriter, keeps: bool) -> io::Result<Intake> {
    let (post, inbox) = post()?;
    let mut loader = Loader::new(config.clone(), engine, post, state.clone(), keeps);
    if keeps {
        loader.keep_configuration();
    }
    loader.look(true);
    while !loader.is_idle() {
        match inbox.messages.recv() {
            Ok(Message::Loaded(loaded)) => loader.loaded(*loaded),
            Ok(_) => {}
            Err(_) => break, // the loader holds a sender
        }
    }
    let state_directory = config.state_directory.clone();
    let on_told: OnTold = Arc::new(move |told| {
        if let (ReloadRequest::Settled(digests), true) = (told, keeps) {
            loader::prune_components(&state_directory, &state, &digests);
        }
    });
    let mut configured = Configured { number: 1, ..loader.configured() };
    configured.policies.complete = true;
    Ok(Intake::of_one(configured, on_told))
}
