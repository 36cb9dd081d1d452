//! The part of fanotify that tells who opened and closed one file, which `rustix` does not know.
//!
//! Needs `CAP_SYS_ADMIN` in the first user namespace. Each event comes with an open descriptor of the file, which is
//! closed here at once. Source: `linux/fanotify.h`.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// `struct fanotify_event_metadata`: `u32` length, `u8` version, `u8`, `u16` its own length, `u64` mask, `i32`
/// descriptor, `i32` process.
const METADATA: usize = 24;

/// What happened to the file. The kernel joins what one process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Happened {
    /// Another program opened it.
    pub opened: bool,
    /// Another program closed it.
    pub closed: bool,
    /// The kernel dropped events before this one.
    pub lost: bool,
    /// Who; 0 if the process is not in our pid namespace.
    pub pid: u32,
}

/// A queue of events; reading it never blocks.
#[allow(unsafe_code)]
pub(super) fn open() -> Result<OwnedFd, Errno> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    // SAFETY: two numbers go in, no memory is touched.
    let queue = unsafe { libc::fanotify_init(flags, (libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned()) };
    if queue < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(queue) })
}

/// Adds opens and closes of the file at `path`, which may be a link in `/proc`, to the queue.
#[allow(unsafe_code)]
pub(super) fn mark(queue: impl AsFd, path: &CStr) -> Result<(), Errno> {
    let events = libc::FAN_OPEN | libc::FAN_CLOSE;
    let queue = queue.as_fd();
    // SAFETY: `path` ends with a zero byte and outlives the call, as does the descriptor; the kernel writes to neither.
    let status =
        unsafe { libc::fanotify_mark(queue.as_raw_fd(), libc::FAN_MARK_ADD, events, libc::AT_FDCWD, path.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(last_error()) }
}

/// Reads once and hands on what happened; no more is there if the error is [`Errno::AGAIN`].
pub(super) fn read(queue: impl AsFd, buffer: &mut [u8], take: &mut dyn FnMut(Happened)) -> Result<(), Errno> {
    let length = rustix::io::read(queue, &mut *buffer)?;
    for (happened, descriptor) in events(buffer.get(..length).unwrap_or_default()) {
        close(descriptor);
        take(happened);
    }
    Ok(())
}

#[allow(unsafe_code)]
fn close(descriptor: i32) {
    if descriptor >= 0 {
        // SAFETY: the kernel opened it for this event alone, and only this function, called once for each event that
        // was read, ever sees it.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}

/// The events in what was read, each with its descriptor; ends where a length is wrong.
fn events(mut bytes: &[u8]) -> impl Iterator<Item = (Happened, i32)> {
    std::iter::from_fn(move || {
        let head = bytes.first_chunk::<METADATA>()?;
        let word = |at: usize| head.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        let length = usize::try_from(u32::from_ne_bytes(word(0))).ok().filter(|length| *length >= METADATA)?;
        if head.get(4) != Some(&libc::FANOTIFY_METADATA_VERSION) {
            return None;
        }
        let mask = u64::from_ne_bytes(*head.get(8..)?.first_chunk()?);
        let (descriptor, pid) = (i32::from_ne_bytes(word(16)), i32::from_ne_bytes(word(20)));
        bytes = bytes.get(length..)?;
        let happened = Happened {
            opened: mask & libc::FAN_OPEN != 0,
            closed: mask & libc::FAN_CLOSE != 0,
            lost: mask & libc::FAN_Q_OVERFLOW != 0,
            pid: u32::try_from(pid).unwrap_or(0),
        };
        Some((happened, descriptor))
    })
}

fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(mask: u64, descriptor: i32, pid: i32) -> Vec<u8> {
        let mut bytes = vec![24, 0, 0, 0, 3, 0, 24, 0];
        bytes[..4].copy_from_slice(&24_u32.to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend(descriptor.to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes
    }

    #[test]
    fn what_happened_is_told_apart() {
        let mut bytes = event(libc::FAN_OPEN | libc::FAN_CLOSE_WRITE, 5, 77);
        bytes.extend(event(libc::FAN_CLOSE_NOWRITE, 6, 0));
        bytes.extend(event(libc::FAN_Q_OVERFLOW, -1, 0));
        bytes.extend([24, 0, 0, 0, 3]);
        let (opened, closed, lost) = (false, false, false);
        let expected = [
            (Happened { opened: true, closed: true, lost, pid: 77 }, 5),
            (Happened { opened, closed: true, lost, pid: 0 }, 6),
            (Happened { opened, closed, lost: true, pid: 0 }, -1),
        ];
        assert_eq!(events(&bytes).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(events(&bytes).count() <= bytes.len() / METADATA);
        }
    }
}
