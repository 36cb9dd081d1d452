//! Transactions of nf_tables as they are committed: what a repair looks like from outside, and when.
//!
//! The kernel sends the events of a transaction when it is committed, and NEWGEN after them. Layouts:
//! `linux/netfilter/nf_tables.h`.

use std::time::Instant;

use ruleward_netlink::{Attributes, Messages};

use super::Result;
use super::netlink::{NFTABLES, Socket};

const NEWRULE: u16 = NFTABLES << 8 | 6;
const DELRULE: u16 = NFTABLES << 8 | 8;
const NEWGEN: u16 = NFTABLES << 8 | 15;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFPROTO_IPV4: u8 = 2;
/// The bit of group 7, NFNLGRP_NFTABLES.
const EVENTS: u32 = 1 << 6;
const TABLE: &str = "filter";

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
    ///
    /// # Errors
    /// When the kernel forbids it.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::listening(EVENTS)?, begun: Vec::new() })
    }

    /// Forgets what was heard so far.
    ///
    /// # Errors
    /// When events were lost, or a transaction has not ended.
    pub fn forget(&mut self) -> Result<()> {
        while self.next(Instant::now())?.is_some() {}
        if self.begun.is_empty() { Ok(()) } else { Err("events of a transaction came without its end".into()) }
    }

    /// The next transaction; `None` if none has ended by then. Looks only at each datagram's first message, so that
    /// reading many events delays the time of the last one as little as possible.
    ///
    /// # Errors
    /// When events were lost.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Transaction>> {
        while let Some(datagram) = self.socket.receive_by(deadline)? {
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
        self.rules(NEWRULE).any(|attributes| has_text(attributes, NFTA_RULE_CHAIN, chain))
    }

    /// How many rules more there are since.
    pub fn growth(&self) -> isize {
        self.rules(NEWRULE).count().cast_signed() - self.rules(DELRULE).count().cast_signed()
    }

    fn rules(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        let messages = self.datagrams.iter().flat_map(|datagram| Messages::new(datagram));
        let ours = messages.filter(move |message| message.kind == kind && message.body.first() == Some(&NFPROTO_IPV4));
        ours.map(|message| message.attributes()).filter(|attributes| has_text(attributes, NFTA_RULE_TABLE, TABLE))
    }
}

fn has_text(attributes: &[u8], kind: u16, text: &str) -> bool {
    Attributes(attributes)
        .any(|(of, content)| of == kind && content.strip_suffix(&[0]).unwrap_or(content) == text.as_bytes())
}
