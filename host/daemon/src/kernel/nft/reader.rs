//! Reads chains and rules over netlink: those that are asked for, not the whole table.

use std::collections::HashMap;

use ruleward_core::form::{RawChain, RawRule, RawTable};
use ruleward_core::names::{Family, Hook, Table};
use rustix::io::Errno;

use super::super::generation::{self, GenerationError};
use super::super::nfnetlink::{Attributes, Nfnetlink, Request, push_attribute, push_nested, push_text, text};
use super::super::port::Wanted;
use super::super::set_index::SetIndexes;
use super::{rule, wire};

/// A chain's table and name.
type Listed = (Table, Box<str>);

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
        let mut read = RawTable::default();
        match wanted {
            Wanted::Which(which) => {
                for name in self.chains(family, table)? {
                    let rules = if which(&name) { self.rules(family, table, &name, &mut names)? } else { Vec::new() };
                    read.chains.push(RawChain { name, rules });
                }
            }
            Wanted::Only(chains) => {
                for name in chains {
                    if self.has_chain(family, table, name)? {
                        let rules = self.rules(family, table, name, &mut names)?;
                        read.chains.push(RawChain { name: name.clone(), rules });
                    }
                }
            }
        }
        Ok(read)
    }

    /// The names of a table's chains.
    fn chains(&mut self, family: Family, table: Table) -> Result<Vec<Box<str>>, Errno> {
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
                found.extend(table.zip(name.map(Into::into)));
            };
            let found = self.netlink.ask(request, Vec::new, take)?;
            self.listed.insert(family, (generation, found));
        }
        let of_family = self.listed.get(&family).map_or(&[][..], |(_, chains)| chains);
        Ok(of_family.iter().filter(|(of, _)| *of == table).map(|(_, name)| name.clone()).collect())
    }

    fn has_chain(&mut self, family: Family, table: Table, chain: &str) -> Result<bool, Errno> {
        Ok(self.chain_attributes(family, table, chain)?.is_some())
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

    /// How a base chain was made: its hook, type and flags, as they are sent again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hook_definition(&mut self, family: Family, table: Table, hook: Hook) -> Result<Option<Box<[u8]>>, Errno> {
        let Some(attributes) = self.chain_attributes(family, table, hook.as_str())? else { return Ok(None) };
        let mut definition = Vec::new();
        for (kind, content) in Attributes(&attributes) {
            match kind {
                wire::CHAIN_HOOK => push_nested(&mut definition, kind, content),
                wire::CHAIN_TYPE => push_attribute(&mut definition, kind, content),
                _ => {}
            }
        }
        Ok((!definition.is_empty()).then(|| definition.into()))
    }
}
