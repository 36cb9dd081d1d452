//! Messages to a thread that waits in `poll` for descriptors as well: each of them wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};

use rustix::event::{EventfdFlags, eventfd};

/// Sends messages.
#[derive(Debug)]
pub struct MessageSender<T> {
    sender: Sender<T>,
    wakeup: Arc<OwnedFd>,
}

impl<T> Clone for MessageSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wakeup: Arc::clone(&self.wakeup) }
    }
}

/// Where they arrive.
#[derive(Debug)]
pub struct Mailbox<T> {
    messages: Receiver<T>,
    wakeup: Arc<OwnedFd>,
}

/// The two ends.
///
/// # Errors
/// If the system has no descriptor to give.
pub fn mailbox<T>() -> io::Result<(MessageSender<T>, Mailbox<T>)> {
    let (sender, messages) = channel();
    let wakeup = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((MessageSender { sender, wakeup: Arc::clone(&wakeup) }, Mailbox { messages, wakeup }))
}

impl<T> MessageSender<T> {
    /// Sends. False if the thread has ended: the message is dropped.
    pub fn send(&self, message: T) -> bool {
        let sent = self.sender.send(message).is_ok();
        // A full counter wakes as well.
        let _ = rustix::io::write(&*self.wakeup, &1_u64.to_ne_bytes());
        sent
    }
}

impl<T> Mailbox<T> {
    /// A message that has arrived.
    ///
    /// # Errors
    /// There is none, or none will ever come.
    pub fn try_receive(&self) -> Result<T, TryRecvError> {
        self.messages.try_recv()
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// None will ever come.
    pub fn receive(&self) -> Result<T, RecvError> {
        self.messages.recv()
    }

    /// Readable once a message was sent, until [`Mailbox::clear`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// To be called before messages are received: one that is sent later wakes again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.wakeup, &mut [0; 8][..]);
    }
}
