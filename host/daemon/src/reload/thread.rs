//! The thread that looks for changes: it waits for events and orders, lets a burst of events come to rest, looks, and
//! passes on what is new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::loader::Loader;
use super::message::Message;
use super::subscription::Configured;
use super::{News, Source};
use crate::config::Config;
use crate::mailbox::{Mailbox, MessageSender};
use crate::status_store::StatusStore;
use ruleward_facts::changes::Changes;
use ruleward_files::watch::Files;
use ruleward_sandbox::PolicyEngine;
use ruleward_state::StateWriter;

/// A burst of events is over when nothing has come for so long, ...
const QUIET: Duration = Duration::from_millis(50);
/// ... or after this time.
const LONGEST: Duration = Duration::from_secs(1);

/// What a look is made of, for whoever hears that it does not end.
const LOOKING: &str = "looking at the configuration and the components";
const LISTENING: &str = "looking for the folders of the configuration, the components and the resources";

/// A burst of events.
#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Burst {
    fn over_at(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

/// The thread with what it keeps.
pub struct ReloadThread {
    loader: Loader,
    mailbox: Mailbox<Message>,
    told: UnboundedSender<News>,
    newest: watch::Sender<Option<Configured>>,
    source: Source,
    store: StatusStore,
    watching: bool,
    files: Option<Files>,
    changes: Option<Changes>,
    burst: Option<Burst>,
    look_again: Option<Instant>,
    /// Facts may have changed, and nobody was told yet.
    facts: bool,
    tickets: Vec<u64>,
    stopped: bool,
}

impl ReloadThread {
    /// Nothing was looked at yet.
    pub fn new(
        (config, refusal): (Config, Option<String>),
        (engine, state): (Arc<PolicyEngine>, StateWriter),
        (messages, mailbox): (MessageSender<Message>, Mailbox<Message>),
        (told, newest): (UnboundedSender<News>, watch::Sender<Option<Configured>>),
        source: Source,
        store: StatusStore,
    ) -> Self {
        let watching = config.watch;
        Self {
            loader: Loader::new(config, engine, messages, state, true).refusing(refusal),
            mailbox,
            told,
            newest,
            source,
            store,
            watching,
            files: None,
            changes: None,
            burst: None,
            look_again: None,
            facts: false,
            tickets: Vec::new(),
            stopped: false,
        }
    }

    /// Until told to stop.
    pub fn run(mut self) {
        self.look(false);
        loop {
            while let Ok(message) = self.mailbox.try_receive() {
                self.take(message);
            }
            if self.stopped {
                return;
            }
            let now = Instant::now();
            if self.burst.is_some_and(|burst| burst.over_at() <= now) || self.look_again.is_some_and(|at| at <= now) {
                self.look(false);
            }
            self.tell();
            self.wait();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Look { ticket, thorough } => {
                self.look(thorough);
                self.tickets.extend(ticket);
            }
            Message::Loaded(loaded) => self.loader.loaded(*loaded),
            Message::Settled(digests) => self.loader.prune(digests),
            Message::Facts => self.heard(),
            Message::Stop => self.stopped = true,
        }
    }

    /// Looks at everything, and sees to it that whatever was found is watched.
    fn look(&mut self, thorough: bool) {
        self.store.watcher_heartbeat().begins(Instant::now(), LOOKING, false);
        self.look_and_listen(thorough);
        self.store.watcher_heartbeat().rests(Instant::now());
    }

    fn look_at_files(&mut self, thorough: bool) -> Option<Duration> {
        self.store.watcher_heartbeat().step(Instant::now(), LOOKING, Duration::ZERO);
        self.loader.look(thorough)
    }

    fn look_and_listen(&mut self, thorough: bool) {
        let heard = self.burst.take().is_some();
        self.look_again = None;
        // Where nothing was heard, and nothing is found, what is watched is what it was.
        let listens = self.files.is_some() && self.changes.is_some();
        if heard || thorough || !listens {
            self.listen();
        }
        let mut again = self.look_at_files(thorough);
        if (heard || thorough || !listens || self.loader.is_news()) && self.listen() {
            again = self.look_at_files(false).or(again); // what is watched only now was not heard of before
        }
        self.look_again = again.map(|time| Instant::now() + time);
    }

    /// Whether a folder is watched that was not before.
    fn listen(&mut self) -> bool {
        if !self.watching {
            return false;
        }
        self.store.watcher_heartbeat().step(Instant::now(), LISTENING, Duration::ZERO);
        let watched = match self.files.take().map_or_else(Files::open, Ok) {
            Err(error) => Err(error.to_string()),
            Ok(mut files) => match self.loader.places() {
                Err(_) => Err("there are too many of them".to_owned()),
                Ok(places) => match files.watch(&places) {
                    Ok(new) => {
                        self.files = Some(files);
                        Ok(new)
                    }
                    Err(error) => Err(error.to_string()),
                },
            },
        };
        if self.changes.is_none() {
            match Changes::open() {
                Ok(changes) => self.changes = Some(changes),
                Err(error) => tracing::debug!("links and addresses can't be watched: {error}"),
            }
        }
        let deaf = self.files.as_ref().and_then(Files::deaf);
        self.source.changes.listening(watched.is_ok() && self.changes.is_some() && deaf.is_none());
        let links = if self.changes.is_some() { "" } else { " and of links and addresses" };
        let note = match &watched {
            Err(reason) => Some(format!(
                "changes of files{links} are found at the refresh only, because files can't be watched: {reason}"
            )),
            Ok(_) if !links.is_empty() => Some(
                "changes of links and addresses are found at the refresh only: they can't be listened to".to_owned(),
            ),
            Ok(_) => deaf.map(|folder| {
                format!(
                    "changes in {} that are made elsewhere are found at the refresh only: its file system is not of this \
                     machine alone",
                    folder.display()
                )
            }),
        };
        self.loader.note(note);
        watched.unwrap_or(false)
    }

    /// Passes on what is new.
    fn tell(&mut self) {
        let refresh = self.loader.config().refresh_interval;
        let newest = self.loader.news();
        let number = newest.as_ref().map(|newest| newest.number);
        if newest.is_some() {
            self.newest.send_replace(newest);
        }
        // Who asked comes first: the check that answers takes what is new.
        if self.loader.is_idle() {
            for ticket in self.tickets.drain(..) {
                let _ = self.told.send(News::Looked(ticket)); // the loop has ended
            }
        }
        if let Some(configured) = number {
            let _ = self.told.send(News::Changed { configured, refresh });
        }
        if self.burst.is_none() && std::mem::take(&mut self.facts) {
            let _ = self.told.send(News::Changed { configured: 0, refresh });
        }
    }

    fn wait(&mut self) {
        let until = [self.burst.map(|burst| burst.over_at()), self.look_again].into_iter().flatten().min();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.mailbox.fd(), PollFlags::IN)];
        fds.extend(self.files.as_ref().map(|files| PollFd::from_borrowed_fd(files.fd(), PollFlags::IN)));
        fds.extend(self.changes.as_ref().map(|changes| PollFd::from_borrowed_fd(changes.fd(), PollFlags::IN)));
        let _ = poll(&mut fds, timeout.as_ref()); // whatever it says, everything is looked at
        drop(fds);
        self.mailbox.clear();
        let mut heard = false;
        if let Some(files) = &mut self.files {
            files.take(&mut |path| {
                tracing::trace!("{}: something happened", path.display());
                heard = true;
            });
        }
        heard |= self.changes.as_mut().is_some_and(Changes::take);
        if heard {
            self.heard();
        }
    }

    /// Something happened, and more may follow.
    fn heard(&mut self) {
        self.source.changes.heard();
        self.facts = true;
        let now = Instant::now();
        let first = self.burst.map_or(now, |burst| burst.first);
        self.burst = Some(Burst { first, last: now });
    }
}
