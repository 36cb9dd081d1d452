//! Messages to the thread that looks for changes, with a bell that wakes it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::intake::Configured;
use super::loader::Loaded;

/// What the thread is told.
pub enum Message {
    /// Look at all files. `thorough`: at their contents in any case, and try again what was refused. When everything that
    /// was found is loaded, or refused, the ticket is answered.
    Look { ticket: Option<u64>, thorough: bool },
    /// Another thread has loaded something.
    Loaded(Box<Loaded>),
    /// These components are in force or on their way.
    Settled(BTreeSet<String>),
    /// What policies see has changed.
    Facts,
    /// Offers go there from now on.
    Subscribe(Sender<Configured>),
    /// The end.
    Stop,
}

/// Sends messages.
#[derive(Clone)]
pub struct Post {
    sender: Sender<Message>,
    bell: Arc<OwnedFd>,
}

/// Where they arrive.
pub struct Inbox {
    pub messages: Receiver<Message>,
    pub bell: Arc<OwnedFd>,
}

/// The two ends.
///
/// # Errors
/// If the system has no descriptor to give.
pub fn post() -> io::Result<(Post, Inbox)> {
    let (sender, messages) = channel();
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((Post { sender, bell: Arc::clone(&bell) }, Inbox { messages, bell }))
}

impl Post {
    /// Sends. What nobody receives any more is dropped.
    pub fn send(&self, message: Message) {
        let _ = self.sender.send(message);
        // A full counter rings as well.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}
