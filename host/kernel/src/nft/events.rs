//! Hears of every change of nf_tables in a network namespace, and who made it.
//!
//! The kernel sends the changes of a transaction, then its generation with the process that sent it. What the socket's
//! buffer could not hold is lost; the kernel says so once, and so does [`Events::take`]. Numbers that do not follow each
//! other are a loss as well.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ruleward_core::actor::Actor;
use ruleward_core::names::{Family, Table};
use ruleward_core::settle::Extent;
use ruleward_netlink::{Attributes, Message, Messages, number, text};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::super::activity::{Activity, Deeds, Touch, Write};
use super::super::identify::identify;
use super::super::nfnetlink::{Nfnetlink, Request};
use super::super::own_processes;
use super::wire;

/// `NFNLGRP_NFTABLES` is group 7.
const GROUP: u32 = 1 << 6;
/// `NFNL_SUBSYS_NFTABLES`
pub(in super::super) const SUBSYSTEM: u16 = 10;
/// Longest time to listen to what never ends, looked at after so many datagrams.
const LONGEST: Duration = Duration::from_millis(100);
pub(in super::super) const AT_ONCE: usize = 1024;

/// A table, or a chain of it.
type Part = (Family, Table, Option<Box<str>>);

/// A socket that hears.
#[derive(Debug)]
pub struct Events {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    /// Of the transaction whose end has not come yet: by table, and chain if it is one.
    pending: BTreeMap<Part, (u64, Deeds)>,
    /// Rules that it adds, rules that it deletes, and chains and tables that it deletes, whomever they concern.
    counted: [u32; 3],
    /// Handles of chains that concern the caller; not known yet, or not any more, if none.
    handles: Option<HashSet<(Family, Table, u64)>>,
    lister: Nfnetlink,
    last: Option<u32>,
    /// How much the kernel buffers, in bytes, as it counts them.
    pub capacity: usize,
}

impl Events {
    /// Listens in the calling thread's network namespace, with room for `capacity` bytes where that is permitted.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN in the namespace.
    pub fn open(capacity: usize) -> Result<Self, Errno> {
        let socket = socket()?;
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, capacity).is_err() {
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, capacity);
        }
        let capacity = rustix::net::sockopt::socket_recv_buffer_size(&socket)?;
        Ok(Self {
            socket,
            buffer: vec![0; 64 << 10].into(),
            pending: BTreeMap::new(),
            counted: [0; 3],
            handles: None,
            lister: Nfnetlink::open()?,
            last: None,
            capacity,
        })
    }

    /// Readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what has come. Generations that are `known` are left out, and changes of chains that do not concern the
    /// caller.
    pub fn take(&mut self, known: &dyn Fn(u32) -> bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity {
        let mut activity = Activity::default();
        if self.handles.is_none() {
            self.list(concerns);
        }
        let began = Instant::now();
        let mut buffer = std::mem::take(&mut self.buffer);
        // What belongs together is taken together; a program that never pauses must not keep us listening.
        for number in 1.. {
            if number % AT_ONCE == 0 && began.elapsed() > LONGEST {
                break;
            }
            let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, length)) => length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    // ENOBUFS, or anything else: what else came is not known.
                    activity.lost = true;
                    self.pending.clear();
                    self.counted = [0; 3];
                    self.handles = None;
                    self.last = None;
                    continue;
                }
            };
            match buffer.get(..length) {
                Some(datagram) => {
                    Messages::new(datagram).for_each(|message| self.hear(&message, known, concerns, &mut activity));
                }
                None => activity.lost = true,
            }
        }
        self.buffer = buffer;
        activity
    }

    fn hear(
        &mut self,
        message: &Message<'_>,
        known: &dyn Fn(u32) -> bool,
        concerns: &dyn Fn(Family, Table, &str) -> bool,
        activity: &mut Activity,
    ) {
        let [subsystem, kind] = message.kind.to_be_bytes();
        let Some((header, attributes)) = message.body.split_at_checked(4) else { return };
        if u16::from(subsystem) != SUBSYSTEM {
            return;
        }
        let (table_attribute, chain_attribute) = match kind {
            wire::NEW_GENERATION => return self.close(attributes, known, activity),
            wire::NEW_TABLE..=wire::DELETE_TABLE => (wire::TABLE_NAME, None),
            wire::NEW_CHAIN..=wire::DELETE_CHAIN => (wire::CHAIN_TABLE, Some(wire::CHAIN_NAME)),
            wire::NEW_RULE..=wire::DELETE_RULE => (wire::RULE_TABLE, Some(wire::RULE_CHAIN)),
            _ => return,
        };
        match kind {
            wire::NEW_RULE => self.counted[0] += 1,
            wire::DELETE_RULE => self.counted[1] += 1,
            wire::DELETE_CHAIN | wire::DELETE_TABLE => self.counted[2] += 1,
            _ => {}
        }
        let is_table = matches!(kind, wire::NEW_TABLE..=wire::DELETE_TABLE);
        let Some(family) = wire::family(header[0]) else {
            activity.other_tables |= is_table;
            return;
        };
        let (mut table, mut chain, mut handle) = (None, None, None);
        for (attribute, content) in Attributes(attributes) {
            if attribute == table_attribute {
                table = Table::from_name(&text(content));
            } else if Some(attribute) == chain_attribute {
                chain = Some(text(content));
            } else if matches!(kind, wire::NEW_CHAIN | wire::DELETE_CHAIN) && attribute == wire::CHAIN_HANDLE {
                handle = content.try_into().ok().map(u64::from_be_bytes);
            }
        }
        let Some(table) = table else {
            activity.other_tables |= is_table;
            return;
        };
        let ours = chain.as_ref().is_none_or(|chain| concerns(family, table, chain));
        let removed = matches!(kind, wire::DELETE_TABLE | wire::DELETE_CHAIN | wire::DELETE_RULE);
        let mut note = |place| {
            let (events, deeds) = self.pending.entry(place).or_default();
            *events += 1;
            deeds.removed |= removed;
            deeds.changed |= !removed;
        };
        if let (Some(handle), Some(handles)) = (handle, &mut self.handles) {
            let place = (family, table, handle);
            if kind == wire::DELETE_CHAIN {
                handles.remove(&place);
            } else if ours {
                handles.insert(place);
            } else if handles.remove(&place) {
                // One of ours has a name now that is not ours.
                note((family, table, None));
            }
        }
        if ours {
            note((family, table, chain.map(Into::into)));
        }
    }

    /// Takes note of the chains that there are.
    fn list(&mut self, concerns: &dyn Fn(Family, Table, &str) -> bool) {
        let mut handles = HashSet::new();
        for family in Family::ALL {
            let request =
                Request { message: wire::GET_CHAIN, family: wire::protocol(family), dump: true, ..Request::default() };
            let take = |found: &mut Vec<(Table, String, u64)>, attributes: &[u8]| {
                let (mut table, mut name, mut handle) = (None, None, None);
                for (kind, content) in Attributes(attributes) {
                    match kind {
                        wire::CHAIN_TABLE => table = Table::from_name(&text(content)),
                        wire::CHAIN_NAME => name = Some(text(content)),
                        wire::CHAIN_HANDLE => handle = content.try_into().ok().map(u64::from_be_bytes),
                        _ => {}
                    }
                }
                found.extend(table.zip(name).zip(handle).map(|((table, name), handle)| (table, name, handle)));
            };
            let Ok(found) = self.lister.ask(request, Vec::new, take) else { return };
            let ours = found.into_iter().filter(|(table, name, _)| concerns(family, *table, name));
            handles.extend(ours.map(|(table, _, handle)| (family, table, handle)));
        }
        self.handles = Some(handles);
    }

    /// The caller's concerns have changed.
    pub fn forget_chains(&mut self) {
        self.handles = None;
    }

    /// The transaction is complete: now its actor is known.
    fn close(&mut self, attributes: &[u8], known: &dyn Fn(u32) -> bool, activity: &mut Activity) {
        let (mut generation, mut pid, mut name) = (None, None, None);
        for (kind, content) in Attributes(attributes) {
            match kind {
                wire::GENERATION_ID => generation = number(content),
                wire::GENERATION_PID => pid = number(content),
                wire::GENERATION_NAME => name = Some(text(content)),
                _ => {}
            }
        }
        let pending = std::mem::take(&mut self.pending);
        // A rule that is replaced is added and deleted.
        let single = matches!(std::mem::take(&mut self.counted), [0 | 1, 0 | 1, 0]);
        let Some(generation) = generation else {
            activity.lost = true;
            return;
        };
        activity.lost |= self.last.is_some_and(|last| last.wrapping_add(1) != generation);
        self.last = Some(generation);
        activity.generation = Some(generation);
        if known(generation) {
            return;
        }
        if pending.is_empty() {
            activity.elsewhere = true;
            return;
        }
        let since = Instant::now();
        let ours = pid.is_some_and(own_processes::is_own);
        let actor = pid.map_or_else(Actor::unknown, |pid| identify(pid, name.as_deref()));
        if !ours {
            let extent = if single { Extent::Single } else { Extent::Mass };
            let places: BTreeSet<_> = pending.keys().map(|(family, table, _)| (*family, *table)).collect();
            activity.writes.extend(places.into_iter().map(|place| Write::new(place, actor.clone(), extent)));
        }
        let mut heard = Activity::default();
        for ((family, table, chain), (events, deeds)) in pending {
            let touch = match ours {
                true => Touch::of_our_own(events, since),
                false => Touch::by(actor.clone(), deeds, events, since),
            };
            match chain {
                Some(chain) => drop(heard.chains.insert((family, table, chain), touch)),
                None => drop(heard.tables.insert((family, table), touch)),
            }
        }
        activity.extend(heard);
    }
}

/// Hears of every change of nf_tables in the calling thread's network namespace.
pub(in super::super) fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    Ok(socket)
}
