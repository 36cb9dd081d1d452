//! Notices that the configuration, a component or the facts have changed, and has what is new loaded, on a thread of its
//! own: compiling never holds up a repair, a refresh or `status`.
//!
//! Events only say "look again": what is loaded is decided by content. A refresh that reads everything looks again as
//! well, and so does each refresh where not every change is told of. What is wrong is refused with its reason, and looked at again when something changes.
//!
//! Files -> [`loader`] -> [`Configured`] -> [`Subscription`] -> the checks.

mod loader;
mod message;
pub mod pins;
mod slot;
mod stamp;
mod subscription;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::config::{Config, Mode, PolicyConfig};
use crate::mailbox::{MessageSender, mailbox};
use crate::status_store::StatusStore;
use loader::Loader;
use message::Message;
use ruleward_facts::change_counter::ChangeCounter;
use ruleward_reconcile::policies::{PolicySet, PolicySpec, SpecState};
use ruleward_sandbox::PolicyEngine;
use ruleward_state::StateWriter;

pub use subscription::{Configured, OnRequest, ReloadRequest, Subscription};

/// What the thread has to tell the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something changed that a check has to look at.
    Changed {
        /// The number of the newest configuration; 0 if facts changed.
        configured: u64,
        /// As it is configured now.
        refresh: Duration,
    },
    /// The look with this ticket is done: what was found has been loaded, or refused.
    Looked(u64),
}

/// The loop's end.
pub struct ReloadHandle {
    messages: Option<MessageSender<Message>>,
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
        Self { messages: None, news, taken: Arc::default(), tickets: 0, _open: Some(sender) }
    }

    /// Looks never end.
    #[cfg(test)]
    pub fn that_hangs() -> Self {
        // Nobody receives what is sent, which a thread that hangs does not do either.
        let mut reload = Self::none();
        reload.messages = mailbox().ok().map(|(messages, _)| messages);
        reload
    }

    /// Has all files looked at. The ticket comes back as [`News::Looked`]; none if nobody looks.
    pub fn look(&mut self, thorough: bool) -> Option<u64> {
        let messages = self.messages.as_ref()?;
        self.tickets += 1;
        messages.send(Message::Look { ticket: Some(self.tickets), thorough });
        Some(self.tickets)
    }

    /// Whether the checks have taken the configuration with this number already.
    pub fn is_taken(&self, number: u64) -> bool {
        number > 0 && self.taken.load(Ordering::Acquire) >= number
    }
}

impl Drop for ReloadHandle {
    fn drop(&mut self) {
        if let Some(messages) = &self.messages {
            messages.send(Message::Stop);
        }
    }
}

/// For whoever opens the checks.
#[derive(Clone)]
pub struct Source {
    messages: MessageSender<Message>,
    taken: Arc<AtomicU64>,
    changes: Arc<ChangeCounter>,
    /// What the daemon was started with.
    first: Arc<Config>,
    /// The newest since.
    configured: watch::Receiver<Option<Configured>>,
}

impl Source {
    /// The configuration that counts.
    pub fn config(&self) -> Arc<Config> {
        let newest = self.configured.borrow();
        Arc::clone(newest.as_ref().map_or(&self.first, |newest| &newest.config))
    }

    /// The checks' end.
    pub fn subscribe(&self) -> Subscription {
        let messages = self.messages.clone();
        let on_request: OnRequest = Arc::new(move |request| {
            messages.send(match request {
                ReloadRequest::Settled(digests) => Message::Settled(digests),
                ReloadRequest::LookAgain => Message::Look { ticket: None, thorough: false },
                ReloadRequest::FactsChanged => Message::Facts,
            });
        });
        Subscription::new(self.configured.clone(), Arc::clone(&self.taken), Arc::clone(&self.changes), on_request)
    }
}

/// Starts the thread, in the calling thread's network namespace, with a configuration that was found right; the files
/// may hold another one, which was refused for the reason given. Whether a look goes on is shown by `store`. Unless the
/// configuration says `watch = "off"` it hears of changes when they happen.
///
/// # Errors
/// If the system has no thread or descriptor to give.
pub fn start(
    (config, refusal): (Config, Option<String>),
    engine: Arc<PolicyEngine>,
    state: StateWriter,
    store: StatusStore,
) -> io::Result<(ReloadHandle, Source)> {
    let (messages, mailbox) = mailbox()?;
    let (told, news) = unbounded_channel();
    // It ends with the thread: checks that wait for it then wait no longer.
    let (newest, configured) = watch::channel(None);
    let source = Source {
        messages: messages.clone(),
        taken: Arc::default(),
        changes: Arc::default(),
        first: Arc::new(config.clone()),
        configured,
    };
    let taken = Arc::clone(&source.taken);
    let thread = thread::ReloadThread::new(
        (config, refusal),
        (engine, state),
        (messages.clone(), mailbox),
        (told, newest),
        source.clone(),
        store,
    );
    std::thread::Builder::new().name("reload".to_owned()).spawn(move || thread.run())?;
    Ok((ReloadHandle { messages: Some(messages), news, taken, tickets: 0, _open: None }, source))
}

/// What the configuration asks for, with nothing loaded: enough to know what may be ours.
pub fn grants_only(config: &Config) -> Subscription {
    let enforced = config.policies.iter().filter(|(_, policy)| policy.mode == Mode::Enforce);
    let spec = |policy: &PolicyConfig| PolicySpec {
        grants: policy.grants.clone(),
        settings: Arc::clone(&policy.settings),
        limits: policy.limits.clone(),
        state: SpecState::Loading { digest: None },
    };
    let policies = PolicySet {
        settings: Arc::new(config.reconciler_settings()),
        specs: enforced.map(|(name, policy)| (name.clone(), spec(policy))).collect(),
        complete: true,
        ..PolicySet::default()
    };
    let configured = Configured { number: 1, config: Arc::new(config.clone()), policies };
    Subscription::of_one(configured, Arc::new(|_| {}))
}

/// Loads everything that the configuration asks for, once. `keeps`: components are kept in the state directory, and
/// those that are not needed any more go.
///
/// # Errors
/// If the system has no descriptor to give.
pub fn load_once(
    config: &Config,
    engine: Arc<PolicyEngine>,
    state: StateWriter,
    keeps: bool,
) -> io::Result<Subscription> {
    let (messages, mailbox) = mailbox()?;
    let mut loader = Loader::new(config.clone(), engine, messages, state.clone(), keeps);
    if keeps {
        loader.keep_configuration();
    }
    loader.look(true);
    while !loader.is_idle() {
        match mailbox.receive() {
            Ok(Message::Loaded(loaded)) => loader.loaded(*loaded),
            Ok(_) => {}
            Err(_) => break, // the loader holds a sender
        }
    }
    let state_directory = config.state_directory.clone();
    let on_request: OnRequest = Arc::new(move |request| {
        if let (ReloadRequest::Settled(digests), true) = (request, keeps) {
            loader::prune_components(&state_directory, &state, &digests);
        }
    });
    let mut configured = Configured { number: 1, ..loader.configured() };
    configured.policies.complete = true;
    Ok(Subscription::of_one(configured, on_request))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config;
    use ruleward_sandbox::PolicyEngineOptions;

    /// A thread that is gone, for whatever reason, must not keep a check waiting.
    #[test]
    fn checks_wait_no_longer_for_a_thread_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ruleward.toml");
        let text = "state-directory = \"state\"\nresources = \"resources\"\nwatch = \"off\"\n".to_owned();
        let config = Config::parse(&file, &[config::Source { file: file.clone(), text }]).unwrap();
        let engine = PolicyEngine::new(PolicyEngineOptions::new(&config.state_directory)).unwrap();
        let store = StatusStore::new("node", Duration::from_secs(90));
        let (handle, source) = start((config, None), Arc::new(engine), StateWriter::none(), store).unwrap();
        let mut subscription = source.subscribe();
        assert_eq!(subscription.wait(Duration::from_secs(60)).unwrap().map(|newest| newest.number), Some(1));
        drop(handle);
        let began = Instant::now();
        while let Ok(newest) = subscription.wait(Duration::from_secs(60)) {
            assert!(newest.is_some() && began.elapsed() < Duration::from_secs(60), "it goes on");
        }
    }
}
