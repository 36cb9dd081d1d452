//! Which tables iptables-legacy has, without loading one by looking.
//!
//! The kernel creates a table that it is asked for, so its own list is read first: `ip_tables_names`. Once open, that
//! file belongs to the network namespace in which it was opened, whatever thread reads it. While `ip_tables` is not
//! loaded there is no such file and no table; that this is still so can be asked without a file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Mutex, PoisonError};

use ruleward_core::names::{Family, Table};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sockopt::{Question, ask};

/// `struct xt_get_revision`
const REVISION: usize = 30;
/// Five names; more would be tables that iptables does not know.
const LIST: usize = 1024;

/// Knows the tables of one family in the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Presence {
    family: Family,
    /// None while `ip_tables` is not loaded.
    list: Mutex<Option<File>>,
}

impl Presence {
    /// For the calling thread's network namespace.
    pub(super) fn open(family: Family) -> io::Result<Self> {
        Ok(Self { family, list: Mutex::new(open_list(family)?) })
    }

    /// Whether `table` is there. `socket` and `namespace` belong to the same namespace as this.
    pub(super) fn has(&self, table: Table, socket: BorrowedFd<'_>, namespace: &File) -> io::Result<bool> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*list {
            match names(file, table) {
                // `ip_tables` was unloaded; it may be there again.
                Err(error) if is(&error, Errno::IO) => *list = None,
                answer => return answer,
            }
        }
        if !is_loaded(self.family, socket)? {
            return Ok(false);
        }
        *list = open_list_in(namespace, self.family)?;
        list.as_ref().map_or(Ok(false), |file| names(file, table))
    }
}

fn is(error: &io::Error, number: Errno) -> bool {
    error.raw_os_error() == Some(number.raw_os_error())
}

fn names(list: &File, table: Table) -> io::Result<bool> {
    let mut buffer = [0; LIST];
    let length = list.read_at(&mut buffer, 0)?;
    let names = buffer.get(..length).unwrap_or_default();
    Ok(names.split(|byte| *byte == b'\n').any(|name| name == table.as_str().as_bytes()))
}

/// Whether the kernel answers questions about tables at all. Asks for the target that it always has.
fn is_loaded(family: Family, socket: BorrowedFd<'_>) -> io::Result<bool> {
    match ask(socket, Question::TargetRevision(family), &mut [0; REVISION]) {
        Ok(_) => Ok(true),
        Err(Errno::NOPROTOOPT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_list(family: Family) -> io::Result<Option<File>> {
    // "self" would be the namespace of the main thread.
    let path = match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the list from inside `namespace`, for which a thread may have to go there.
fn open_list_in(namespace: &File, family: Family) -> io::Result<Option<File>> {
    let (here, there) = (File::open("/proc/thread-self/ns/net")?.metadata()?, namespace.metadata()?);
    if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
        return open_list(family);
    }
    std::thread::scope(|scope| {
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            open_list(family)
        };
        let thread = std::thread::Builder::new().name("ruleward-legacy".to_owned()).spawn_scoped(scope, inside)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
