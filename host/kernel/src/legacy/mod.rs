//! iptables-legacy without its tools: what the kernel's tables hold, whether they changed, and who writes them.
//!
//! [`LegacyReader`] only reads, and never creates a table by looking. It works in the network namespace of the thread
//! that opened it, from whatever thread. Everything that the kernel gives is checked, so that bytes which are not a
//! table are an error and never a panic. The kernel hides a rule's private state (tokens of a limit, kernel addresses) since
//! Linux 4.11; before that, a table with such rules seems to change all the time.
//!
//! The kernel gives a table away in two answers, its size and its content. What is read between two equal sizes counts;
//! else it is read again, a bounded number of times.

mod entries;
mod error;
mod fanotify;
mod form;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod layout;
mod lock_activity;
mod lock_source;
mod lock_watch;
mod presence;
pub(crate) mod sockopt;
#[cfg(test)]
mod tests;
mod urgency;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use ruleward_core::encoded_rule::{RawTable, Stamp};
use ruleward_core::names::{Family, Table};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use self::entries::{HOOKS, HookPlace, HookPlaces};
pub use self::error::LegacyError;
use self::form::FormError;
pub use self::form::{comments, target};
use self::layout::Malformed;
pub use self::lock_activity::LockActivity;
pub use self::lock_source::{LockWatchError, LockWatchMethod};
pub use self::lock_watch::LockWatch;
use self::presence::Presence;
use self::sockopt::{Question, ask};
use super::set_index::{SetIndexError, SetIndexes};

/// `XT_TABLE_MAXNAMELEN`
const TABLE_NAME: usize = 32;
/// `struct ipt_getinfo`: name, valid hooks, entry points, underflows, number of entries, size.
const INFO: usize = TABLE_NAME + 4 * (1 + 2 * HOOKS.len() + 2);
/// `struct ipt_get_entries` before the entries: name, size.
const ENTRIES: usize = (TABLE_NAME + 4).next_multiple_of(layout::ALIGNMENT);
/// The kernel's own limit for a table, `XT_MAX_TABLE_SIZE`.
const LARGEST: u32 = 512 << 20;
/// A reading that writers interrupt this often is given up.
const ATTEMPTS: usize = 16;

/// The size of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Info {
    /// Number of entries: rules, one for each built-in chain, two for each other one, one at the end.
    pub entries: u32,
    /// Their bytes.
    pub size: u32,
    hooks: HookPlaces,
}

/// A table as it was at one moment, without counters. A table that does not exist is one that never changes.
#[derive(Debug)]
pub struct Snapshot {
    family: Family,
    table: Table,
    stamp: Stamp,
    /// Its size, and its entries after [`ENTRIES`] other bytes.
    held: Option<(Info, Vec<u8>)>,
}

impl Snapshot {
    /// What tells it from others. Policies of built-in chains count.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many entries it has, rules and those that the kernel adds for chains.
    pub fn entries(&self) -> u32 {
        self.held.as_ref().map_or(0, |(info, _)| info.entries)
    }
}

/// Reads the tables of iptables-legacy.
#[derive(Debug)]
pub struct LegacyReader {
    ipv4: Side,
    ipv6: Side,
    sets: SetIndexes,
    namespace: File,
}

/// What is needed for one family.
#[derive(Debug)]
struct Side {
    /// None if the kernel does not know the family.
    socket: Option<OwnedFd>,
    presence: Presence,
}

impl Side {
    fn open(family: Family) -> Result<Self, LegacyError> {
        let kind = match family {
            Family::Ipv4 => AddressFamily::INET,
            Family::Ipv6 => AddressFamily::INET6,
        };
        // Any socket of the family will do; a raw one would need CAP_NET_RAW as well.
        let socket = match rustix::net::socket_with(kind, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
            Ok(socket) => Some(socket),
            Err(Errno::AFNOSUPPORT) => None,
            Err(error) => return Err(LegacyError::open("opening a socket", error.into())),
        };
        let presence =
            Presence::open(family).map_err(|error| LegacyError::open("opening the list of tables", error))?;
        Ok(Self { socket, presence })
    }
}

impl LegacyReader {
    /// For the calling thread's network namespace.
    ///
    /// # Errors
    /// [`LegacyError::Open`], [`LegacyError::Permission`]
    pub fn open() -> Result<Self, LegacyError> {
        let namespace = File::open("/proc/thread-self/ns/net")
            .map_err(|error| LegacyError::open("opening /proc/thread-self/ns/net", error))?;
        let sets = SetIndexes::open()?;
        Ok(Self { ipv4: Side::open(Family::Ipv4)?, ipv6: Side::open(Family::Ipv6)?, sets, namespace })
    }

    /// The size of a table; none if there is no such table. Costs some microseconds. Equal sizes do not mean
    /// that nothing changed: see [`LegacyReader::snapshot`].
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn info(&self, family: Family, table: Table) -> Result<Option<Info>, LegacyError> {
        let Some(socket) = self.socket_of_present(family, table)? else { return Ok(None) };
        match info(socket, family, table) {
            Ok(info) => Ok(Some(info)),
            Err(Errno::NOENT | Errno::NOPROTOOPT) => Ok(None),
            Err(error) => Err(LegacyError::ask(family, table, error)),
        }
    }

    /// All chains of a table with their rules, each as iptables-legacy-save shows it and in that order. A table that
    /// does not exist is empty. Chains have the order in which they lie in the kernel.
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn table(&self, family: Family, table: Table) -> Result<RawTable, LegacyError> {
        for _ in 0..ATTEMPTS {
            if let Some(read) = self.rules_of(&self.snapshot(family, table)?)? {
                return Ok(read);
            }
        }
        Err(LegacyError::Changing { family, table, attempts: ATTEMPTS })
    }

    /// The chains and rules of a table as it was then. None: its rules use a set that is gone, so it is another by now.
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn rules_of(&self, snapshot: &Snapshot) -> Result<Option<RawTable>, LegacyError> {
        let Snapshot { family, table, stamp, .. } = *snapshot;
        let stamp = Some(stamp);
        let Some((info, bytes)) = &snapshot.held else {
            return Ok(Some(RawTable { stamp, ..RawTable::default() }));
        };
        let mut names = HashMap::new();
        let content = bytes.get(ENTRIES..).unwrap_or_default();
        match entries::table(family, &info.hooks, content, &mut |index| self.set_name(&mut names, index)) {
            Ok(read) => Ok(Some(RawTable { stamp, ..read })),
            Err(FormError::NoSuchSet) => Ok(None),
            Err(FormError::Sets(error)) => Err(error.into()),
            Err(FormError::Malformed(error)) => Err(malformed(family, table, error)),
        }
    }

    /// Reads a table as it is at one moment.
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn snapshot(&self, family: Family, table: Table) -> Result<Snapshot, LegacyError> {
        for _ in 0..ATTEMPTS {
            let Some((info, mut bytes)) = self.bytes(family, table)? else {
                return Ok(Snapshot { family, table, stamp: Stamp::default(), held: None });
            };
            // The hooks were asked for separately: they belong to these entries only if they have not moved.
            if self.info(family, table)? != Some(info) {
                continue;
            }
            let content = bytes.get_mut(ENTRIES..).unwrap_or_default();
            layout::mask(family, content).map_err(|error| malformed(family, table, error))?;
            let mut hasher = hasher();
            info.hash(&mut hasher);
            hasher.write(content);
            let stamp = Stamp { outline: outline(&info), content: hasher.finish() };
            return Ok(Snapshot { family, table, stamp, held: Some((info, bytes)) });
        }
        Err(LegacyError::Changing { family, table, attempts: ATTEMPTS })
    }

    /// What [`Stamp::outline`] of a reading would be now, for some microseconds. Equal ones do not mean that nothing
    /// changed.
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn outline(&self, family: Family, table: Table) -> Result<u64, LegacyError> {
        Ok(self.info(family, table)?.as_ref().map_or(0, outline))
    }

    /// What [`Snapshot::entries`] of a reading would be now, for some microseconds.
    ///
    /// # Errors
    /// [`LegacyError`]
    pub fn entries(&self, family: Family, table: Table) -> Result<u32, LegacyError> {
        Ok(self.info(family, table)?.map_or(0, |info| info.entries))
    }

    /// The sets of the same namespace.
    pub fn sets(&self) -> &SetIndexes {
        &self.sets
    }

    fn set_name(
        &self,
        names: &mut HashMap<u16, Option<Box<str>>>,
        index: u16,
    ) -> Result<Option<Box<str>>, SetIndexError> {
        if let Some(name) = names.get(&index) {
            return Ok(name.clone());
        }
        let name = self.sets.name(index)?;
        names.insert(index, name.clone());
        Ok(name)
    }

    /// The socket to ask for `table` with, if asking would not create it.
    fn socket_of_present(&self, family: Family, table: Table) -> Result<Option<BorrowedFd<'_>>, LegacyError> {
        let side = match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        };
        let Some(socket) = &side.socket else { return Ok(None) };
        let present = side.presence.has(table, socket.as_fd(), &self.namespace);
        let present = present.map_err(|error| LegacyError::open("reading the list of tables", error))?;
        Ok(present.then(|| socket.as_fd()))
    }

    /// A table's size, and its entries after [`ENTRIES`] other bytes. The buffer is a new one each time: the kernel
    /// leaves out the rest of a name after its zero byte, where an old buffer would show something of old.
    fn bytes(&self, family: Family, table: Table) -> Result<Option<(Info, Vec<u8>)>, LegacyError> {
        for _ in 0..ATTEMPTS {
            let Some(socket) = self.socket_of_present(family, table)? else { return Ok(None) };
            let Some(info) = self.info(family, table)? else { return Ok(None) };
            if info.size > LARGEST {
                let error = Malformed { offset: 0, reason: "it is larger than the kernel allows" };
                return Err(malformed(family, table, error));
            }
            let mut bytes = vec![0; ENTRIES + info.size as usize];
            put(&mut bytes, 0, table.as_str().as_bytes());
            put(&mut bytes, TABLE_NAME, &info.size.to_ne_bytes());
            match ask(socket, Question::Entries(family), &mut bytes) {
                Ok(_) => return Ok(Some((info, bytes))),
                // Someone replaced it after its size was told.
                Err(Errno::AGAIN | Errno::NOENT) => std::thread::yield_now(),
                Err(error) => return Err(LegacyError::ask(family, table, error)),
            }
        }
        Err(LegacyError::Changing { family, table, attempts: ATTEMPTS })
    }
}

/// Nobody can make up a table with a wanted stamp without knowing the key.
fn hasher() -> impl Hasher {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).build_hasher()
}

fn outline(info: &Info) -> u64 {
    let mut hasher = hasher();
    info.hash(&mut hasher);
    hasher.finish()
}

fn malformed(family: Family, table: Table, error: Malformed) -> LegacyError {
    LegacyError::Malformed { family, table, offset: error.offset, reason: error.reason }
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn info(socket: BorrowedFd<'_>, family: Family, table: Table) -> Result<Info, Errno> {
    let mut answer = [0; INFO];
    put(&mut answer, 0, table.as_str().as_bytes());
    ask(socket, Question::Info(family), &mut answer)?;
    let word = |place: usize| {
        let bytes = answer.get(TABLE_NAME + 4 * place..).and_then(|rest| rest.first_chunk());
        u32::from_ne_bytes(bytes.copied().unwrap_or_default())
    };
    let hooks = std::array::from_fn(|hook| {
        let place = HookPlace { entry: word(1 + hook), underflow: word(1 + HOOKS.len() + hook) };
        (word(0) >> hook & 1 == 1).then_some(place)
    });
    Ok(Info { entries: word(1 + 2 * HOOKS.len()), size: word(2 + 2 * HOOKS.len()), hooks })
}
