//! A stranger that speaks nf_tables without iptables: lists and deletes rules of IPv4's table filter, and hears what
//! changes in it. It is how repairs are measured from outside: a deletion is timed by its acknowledgement, a repair by
//! the event of its commit.
//!
//! The kernel sends the events of a transaction when it is committed, and NEWGEN after them. Layouts:
//! `linux/netfilter/nf_tables.h`.

use anyhow::{Context, Result, bail, ensure};
use ruleward_netlink::{
    Attributes, Head, Message, Messages, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR,
};
use rustix::io::Errno;
use std::time::{Duration, Instant};

use super::netlink::{Socket, push};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEWRULE: u16 = SUBSYSTEM << 8 | 6;
const GETRULE: u16 = SUBSYSTEM << 8 | 7;
const DELRULE: u16 = SUBSYSTEM << 8 | 8;
const NEWGEN: u16 = SUBSYSTEM << 8 | 15;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFPROTO_IPV4: u8 = 2;
/// The bit of group 7, NFNLGRP_NFTABLES.
const EVENTS: u32 = 1 << 6;
/// The kernel answers while the request is sent; this only bounds the unthinkable.
const PATIENCE: Duration = Duration::from_secs(10);
/// A listing that writers interrupt this often is given up.
const ATTEMPTS: usize = 64;
const TABLE: &[u8] = b"filter\0";

/// What the kernel calls a rule of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle([u8; 8]);

/// Lists and deletes.
pub struct Stranger {
    socket: Socket,
    sequence: u32,
}

/// How a deletion went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The rule is gone since the acknowledgement came, at this time.
    Done(Instant),
    /// Somebody else was faster: it is gone already, or the transaction has to be tried anew.
    Lost,
}

impl Stranger {
    /// In the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(0)?, sequence: 0 })
    }

    /// The rules of a chain, in order; none if there is no such chain.
    pub fn rules(&mut self, chain: &str) -> Result<Vec<Handle>> {
        for _ in 0..ATTEMPTS {
            if let Some(handles) = self.listed(chain)? {
                return Ok(handles);
            }
        }
        bail!("the rules of {chain} changed in each of {ATTEMPTS} attempts to list them")
    }

    /// `None`: a writer came between the parts of the answer.
    fn listed(&mut self, chain: &str) -> Result<Option<Vec<Handle>>> {
        let sequence = self.next();
        let mut request = Vec::new();
        let head = Head { kind: GETRULE, flags: NLM_F_DUMP, sequence };
        push(&mut request, head, (NFPROTO_IPV4, 0), &[(NFTA_RULE_TABLE, TABLE), (NFTA_RULE_CHAIN, &zero_ended(chain))]);
        self.socket.send(&request)?;
        let (mut handles, mut whole) = (Vec::new(), true);
        loop {
            for message in Messages::new(answer(&mut self.socket)?) {
                if message.sequence != sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => match message.status() {
                        Ok(()) => return Ok(whole.then_some(handles)),
                        Err(Errno::NOENT) => return Ok(Some(Vec::new())),
                        Err(Errno::INTR | Errno::AGAIN) => return Ok(None),
                        Err(error) => return Err(error).with_context(|| format!("cannot list the rules of {chain}")),
                    },
                    _ => handles.extend(handle(&message)),
                }
            }
        }
    }

    /// Deletes a rule in a transaction of its own.
    pub fn delete(&mut self, chain: &str, handle: Handle) -> Result<Deletion> {
        let sequence = self.next();
        let mut batch = Vec::new();
        let edge = Head { kind: BATCH_BEGIN, flags: 0, sequence };
        push(&mut batch, edge, (0, SUBSYSTEM), &[]);
        let head = Head { kind: DELRULE, flags: NLM_F_ACK, sequence };
        let rule = [(NFTA_RULE_TABLE, TABLE), (NFTA_RULE_CHAIN, &zero_ended(chain)), (NFTA_RULE_HANDLE, &handle.0[..])];
        push(&mut batch, head, (NFPROTO_IPV4, 0), &rule);
        push(&mut batch, Head { kind: BATCH_END, ..edge }, (0, SUBSYSTEM), &[]);
        self.socket.send(&batch)?;
        loop {
            let datagram = answer(&mut self.socket)?;
            let came = Instant::now();
            let mut ours = Messages::new(datagram).filter(|message| message.sequence == sequence);
            if let Some(message) = ours.find(|message| message.kind == NLMSG_ERROR) {
                return match message.status() {
                    Ok(()) => Ok(Deletion::Done(came)),
                    Err(Errno::NOENT | Errno::AGAIN | Errno::INTR) => Ok(Deletion::Lost),
                    Err(error) => Err(error).with_context(|| format!("cannot delete a rule of {chain}")),
                };
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

fn answer(socket: &mut Socket) -> Result<&[u8]> {
    socket.receive(Instant::now() + PATIENCE)?.context("nf_tables gave no answer")
}

fn zero_ended(chain: &str) -> Vec<u8> {
    [chain.as_bytes(), &[0]].concat()
}

fn handle(message: &Message<'_>) -> Option<Handle> {
    let (_, content) = Attributes(message.attributes()).find(|(kind, _)| *kind == NFTA_RULE_HANDLE)?;
    content.try_into().ok().map(Handle)
}

/// Hears every transaction.
pub struct Listener {
    socket: Socket,
    /// Datagrams of a transaction that has not ended.
    begun: Vec<Vec<u8>>,
}

/// A committed transaction, as far as it concerns rules of IPv4's table filter.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// When the last of its events came.
    pub at: Instant,
    datagrams: Vec<Vec<u8>>,
}

impl Listener {
    /// In the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(EVENTS)?, begun: Vec::new() })
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) -> Result<()> {
        while self.next(Instant::now())?.is_some() {}
        ensure!(self.begun.is_empty(), "events of a transaction came without its end");
        Ok(())
    }

    /// The next transaction; `None` if none has ended by then. Looks only at each datagram's first message, so that
    /// reading many events delays the time of the last one as little as possible.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Transaction>> {
        while let Some(datagram) = self.socket.receive(deadline)? {
            let last = Messages::new(datagram).next().is_some_and(|message| message.kind == NEWGEN);
            if last {
                let at = Instant::now();
                return Ok(Some(Transaction { at, datagrams: std::mem::take(&mut self.begun) }));
            }
            self.begun.push(datagram.to_vec());
        }
        Ok(None)
    }
}

impl Transaction {
    /// Whether it added a rule to the chain.
    pub fn adds_to(&self, chain: &str) -> bool {
        let chain = zero_ended(chain);
        self.rules(NEWRULE).any(|attributes| {
            Attributes(attributes).any(|(kind, content)| kind == NFTA_RULE_CHAIN && content == chain.as_slice())
        })
    }

    /// How many rules more there are since.
    pub fn growth(&self) -> isize {
        self.rules(NEWRULE).count().cast_signed() - self.rules(DELRULE).count().cast_signed()
    }

    fn rules(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        let messages = self.datagrams.iter().flat_map(|datagram| Messages::new(datagram));
        let ours = messages.filter(move |message| message.kind == kind && message.body.first() == Some(&NFPROTO_IPV4));
        ours.map(|message| message.attributes()).filter(|attributes| {
            Attributes(attributes).any(|(kind, content)| kind == NFTA_RULE_TABLE && content == TABLE)
        })
    }
}
