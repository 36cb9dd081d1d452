//! Reads chains and rules over netlink: those that are asked for, not the whole table.

use std::collections::HashMap;

use ruleward_core::base_chain::{ChainState, TableState};
use ruleward_core::encoded_rule::{RawChain, RawRule, RawTable};
use ruleward_core::names::{Family, Table};
use ruleward_netlink::{Attributes, push_text, text};
use rustix::io::Errno;

use super::super::generation::{self, GenerationError};
use super::super::nfnetlink::{Nfnetlink, Request};
use super::super::port::Wanted;
use super::super::set_index::SetIndexes;
use super::{rule, state, wire};

/// A chain: its table, its name and what it is besides its rules.
type Listed = (Table, Box<str>, ChainState);

/// A socket for nf_tables, with what it needs to tell sets by name. Works in the network namespace of the thread that
/// opened it, from whatever thread.
#[derive(Debug)]
pub struct Nft {
    pub(super) netlink: Nfnetlink,
    pub(super) sets: Option<SetIndexes>,
    /// The chains of a family at a generation.
    listed: HashMap<Family, (u32, Vec<Listed>)>,
}

impl Nft {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// If the kernel has no netfilter netlink.
    pub fn open() -> Result<Self, Errno> {
        Ok(Self { netlink: Nfnetlink::open()?, sets: SetIndexes::open().ok(), listed: HashMap::new() })
    }

    /// The number that rises with every committed change.
    ///
    /// # Errors
    /// [`GenerationError`]
    pub fn generation(&mut self) -> Result<u32, GenerationError> {
        generation::read(&mut self.netlink)
    }

    /// Reads a table. Chains whose rules are not wanted come without them.
    ///
    /// # Errors
    /// The kernel's; a dump that is interrupted again and again is one.
    pub fn table(&mut self, family: Family, table: Table, wanted: Wanted<'_>) -> Result<RawTable, Errno> {
        let mut names: HashMap<u16, Option<Box<str>>> = HashMap::new();
        // A table that goes with its owner goes without a new generation: what is kept of its chains is not asked.
        let Some(state) = self.table_state(family, table)? else { return Ok(RawTable::default()) };
        let mut read = RawTable { state, ..RawTable::default() };
        match wanted {
            Wanted::Which(which) => {
                for (name, state) in self.chains(family, table)? {
                    let rules = if which(&name) { self.rules(family, table, &name, &mut names)? } else { Vec::new() };
                    read.chains.push(chain(name, rules, state));
                }
            }
            Wanted::Only(chains) => {
                for name in chains {
                    if let Some(attributes) = self.chain_attributes(family, table, name)? {
                        let rules = self.rules(family, table, name, &mut names)?;
                        read.chains.push(chain(name.clone(), rules, state::of_chain(&attributes)));
                    }
                }
            }
        }
        Ok(read)
    }

    /// What a table is besides its chains; `None`: it does not exist.
    fn table_state(&mut self, family: Family, table: Table) -> Result<Option<TableState>, Errno> {
        let mut attributes = Vec::with_capacity(32);
        push_text(&mut attributes, wire::TABLE_NAME, table.as_str());
        let protocol = wire::protocol(family);
        let request =
            Request { message: wire::GET_TABLE, family: protocol, attributes: &attributes, ..Request::default() };
        let take = |found: &mut Option<TableState>, attributes: &[u8]| *found = Some(state::of_table(attributes));
        match self.netlink.ask(request, || None, take) {
            Err(Errno::NOENT) => Ok(None),
            other => other,
        }
    }

    /// A table's chains.
    fn chains(&mut self, family: Family, table: Table) -> Result<Vec<(Box<str>, ChainState)>, Errno> {
        let generation = self.generation().map_err(|_| Errno::PROTO)?;
        if self.listed.get(&family).is_none_or(|(of, _)| *of != generation) {
            let protocol = wire::protocol(family);
            let request = Request { message: wire::GET_CHAIN, family: protocol, dump: true, ..Request::default() };
            let take = |found: &mut Vec<Listed>, attributes: &[u8]| {
                let (mut table, mut name) = (None, None);
                for (kind, content) in Attributes(attributes) {
                    match kind {
                        wire::CHAIN_TABLE => table = Table::from_name(&text(content)),
                        wire::CHAIN_NAME => name = Some(text(content)),
                        _ => {}
                    }
                }
                let named = table.zip(name.map(Into::into));
                found.extend(named.map(|(table, name)| (table, name, state::of_chain(attributes))));
            };
            let found = self.netlink.ask(request, Vec::new, take)?;
            self.listed.insert(family, (generation, found));
        }
        let of_family = self.listed.get(&family).map_or(&[][..], |(_, chains)| chains);
        let of_table = of_family.iter().filter(|(of, ..)| *of == table);
        Ok(of_table.map(|(_, name, state)| (name.clone(), state.clone())).collect())
    }

    fn chain_attributes(&mut self, family: Family, table: Table, chain: &str) -> Result<Option<Vec<u8>>, Errno> {
        let mut attributes = Vec::with_capacity(64);
        push_text(&mut attributes, wire::CHAIN_TABLE, table.as_str());
        push_text(&mut attributes, wire::CHAIN_NAME, chain);
        let protocol = wire::protocol(family);
        let request =
            Request { message: wire::GET_CHAIN, family: protocol, attributes: &attributes, ..Request::default() };
        match self.netlink.ask(request, || None, |found, attributes| *found = Some(attributes.to_vec())) {
            Err(Errno::NOENT) => Ok(None),
            other => other,
        }
    }

    fn rules(
        &mut self,
        family: Family,
        table: Table,
        chain: &str,
        names: &mut HashMap<u16, Option<Box<str>>>,
    ) -> Result<Vec<RawRule>, Errno> {
        let mut attributes = Vec::with_capacity(64);
        push_text(&mut attributes, wire::RULE_TABLE, table.as_str());
        push_text(&mut attributes, wire::RULE_CHAIN, chain);
        let protocol = wire::protocol(family);
        let request = Request {
            message: wire::GET_RULE,
            family: protocol,
            dump: true,
            attributes: &attributes,
            ..Request::default()
        };
        let sets = &self.sets;
        let mut set_name = |index: u16| {
            let name = || sets.as_ref()?.name(index).ok().flatten();
            names.entry(index).or_insert_with(name).clone()
        };
        let take = |found: &mut Vec<RawRule>, attributes: &[u8]| {
            let rule = rule::read(attributes, &mut set_name);
            found.extend(rule.filter(|(of, _)| of == chain).map(|(_, rule)| rule));
        };
        self.netlink.ask(request, Vec::new, take)
    }
}

/// The kernel counts its rules with the jumps to it.
fn chain(name: Box<str>, rules: Vec<RawRule>, state: ChainState) -> RawChain {
    let own = u32::try_from(rules.len()).unwrap_or(u32::MAX);
    let jumps = state.jumps.saturating_sub(own);
    RawChain { name, rules, state: ChainState { jumps, ..state } }
}
