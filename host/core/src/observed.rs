//! What the kernel has: the text of iptables-save, cut into chains and rules, and the sets as ipset lists them. A rule
//! is text and stays text; comparing needs no understanding of it. Where rules were read byte for byte, their text is
//! what these bytes are known to be shown as, and each has its handle.
//!
//! An observation may cover a part: then nothing is known, and nothing planned, of what it does not cover.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use thiserror::Error;

use crate::base_chain::{ChainState, TableState};
use crate::contribution::Verdict;
use crate::names::{Family, Hook, SetName, Table};
use crate::save_lines::{SaveLine, save_lines};
use crate::set_use::SetUser;
use crate::sets::ObservedSet;

/// Everything that was read at one time.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Tables that were read. One that does not exist in the kernel is present here, and empty.
    pub tables: BTreeMap<(Family, Table), ObservedTable>,
    /// Sets by name; `None` if they were not read.
    pub sets: Option<BTreeMap<String, ObservedSet>>,
    /// Only these tables were read, and of them only what they cover; else a table that is not here does not exist.
    pub partial: bool,
    /// The nft generation that all of it belongs to, where there is one.
    pub generation: Option<u32>,
    /// What uses the sets of ours that have another type than they should.
    pub set_users: BTreeMap<String, Vec<SetUser>>,
    /// Sets of other programs that rules wait for, or that are members of sets of ours, and that do not exist.
    pub absent_sets: BTreeSet<SetName>,
    /// Tables that could not be read, with the reason. They are in `tables` as well, and cover nothing.
    pub unreadable: BTreeMap<(Family, Table), String>,
}

impl Observed {
    /// A set, if sets were read and it exists.
    pub fn set(&self, name: &str) -> Option<&ObservedSet> {
        self.sets.as_ref()?.get(name)
    }
}

/// Why text is not an iptables-save of one table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the {table} table's save is not understood ({reason}): {text:?}")]
pub struct SaveError {
    /// Which table was asked for.
    pub table: Table,
    /// From 1.
    pub line: usize,
    /// What was expected.
    pub reason: &'static str,
    /// The line, cut to its first 120 characters.
    pub text: String,
}

/// One table.
#[derive(Debug, Clone, Default)]
pub struct ObservedTable {
    text: String,
    chains: Vec<ObservedChain>,
    by_name: HashMap<Box<str>, usize>,
    covered: Option<BTreeSet<Box<str>>>,
    /// What it is besides its chains, if that is known.
    state: Option<TableState>,
}

/// One chain of a table.
#[derive(Debug, Clone, Default)]
struct ObservedChain {
    name: Box<str>,
    rules: Vec<Range<u32>>,
    handles: Vec<u64>,
    policy: Option<Verdict>,
    state: Option<ChainState>,
}

impl ObservedTable {
    /// Reads the output of `iptables-save -t TABLE`. Empty text is a table that does not exist.
    ///
    /// # Errors
    /// When a line has no place in such a text: what can't be read must not be taken for absent.
    pub fn parse(table: Table, text: String) -> Result<Self, SaveError> {
        let mut parsed = Self::default();
        let mut inside = false;
        let mut complete = false;
        for SaveLine { number, start, text: line } in save_lines(&text) {
            let error = |reason| SaveError { table, line: number, reason, text: line.chars().take(120).collect() };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.as_bytes()[0] {
                b'*' => {
                    if inside || complete || &line[1..] != table.as_str() {
                        return Err(error("another table"));
                    }
                    inside = true;
                }
                _ if !inside => return Err(error("outside of a table")),
                b':' => {
                    let mut words = line[1..].split(' ');
                    let name = words.next().unwrap_or_default();
                    if name.is_empty() {
                        return Err(error("a chain without a name"));
                    }
                    let index = parsed.chain_index(name);
                    parsed.chains[index].policy = words.next().and_then(Verdict::from_name);
                }
                b'C' if line == "COMMIT" => (inside, complete) = (false, true),
                _ => {
                    let rest = line.strip_prefix("-A ").ok_or_else(|| error("neither a chain nor a rule"))?;
                    let name = rest.split(' ').next().unwrap_or_default();
                    let from = (start + 3 + name.len() + 1).min(start + line.len());
                    let index = *parsed.by_name.get(name).ok_or_else(|| error("a rule of an undeclared chain"))?;
                    let span = |at| u32::try_from(at).map_err(|_| error("more than 4 GiB of text"));
                    parsed.chains[index].rules.push(span(from)?..span(start + line.len())?);
                }
            }
        }
        if inside {
            let reason = "the text ends before COMMIT";
            return Err(SaveError { table, line: text.lines().count(), reason, text: String::new() });
        }
        parsed.text = text;
        Ok(parsed)
    }

    /// Adds a chain with its rules: text and handle of each. For what was read byte for byte.
    pub fn push_chain<'t>(&mut self, name: &str, rules: impl IntoIterator<Item = (&'t str, u64)>) {
        let index = self.chain_index(name);
        for (text, handle) in rules {
            let span = self.push_text(text);
            self.chains[index].rules.push(span);
            self.chains[index].handles.push(handle);
        }
    }

    /// Gives one rule another text.
    pub fn set_text(&mut self, chain: &str, at: usize, text: &str) {
        let Some(index) = self.by_name.get(chain).copied() else { return };
        let span = self.push_text(text);
        if let Some(rule) = self.chains[index].rules.get_mut(at) {
            *rule = span;
        }
    }

    /// Takes note of what the table is besides its chains.
    pub fn set_table_state(&mut self, state: TableState) {
        self.state = Some(state);
    }

    /// Takes note of what a chain is besides its rules.
    pub fn set_state(&mut self, chain: &str, state: ChainState) {
        let index = self.chain_index(chain);
        self.chains[index].policy = state.policy;
        self.chains[index].state = Some(state);
    }

    /// What the table is besides its chains, if that is known.
    pub fn table_state(&self) -> Option<&TableState> {
        self.state.as_ref()
    }

    /// What a chain is besides its rules, if that is known.
    pub fn state(&self, chain: &str) -> Option<&ChainState> {
        self.chains[*self.by_name.get(chain)?].state.as_ref()
    }

    /// The policy of a built-in chain, if it has one and it is known.
    pub fn policy(&self, chain: &str) -> Option<Verdict> {
        self.chains[*self.by_name.get(chain)?].policy
    }

    /// Takes out the rules of a chain for which `gone` says so.
    pub fn leave_out(&mut self, chain: &str, gone: impl Fn(&str) -> bool) {
        let stays: Vec<bool> = self.rules(chain).into_iter().map(|rule| !gone(rule)).collect();
        let Some(index) = self.by_name.get(chain).copied() else { return };
        let ObservedChain { rules, handles, .. } = &mut self.chains[index];
        let mut at = stays.iter();
        rules.retain(|_| *at.next().unwrap_or(&true));
        let mut at = stays.iter();
        handles.retain(|_| *at.next().unwrap_or(&true));
    }

    /// As if there were no such chain.
    pub fn leave_out_chain(&mut self, chain: &str) {
        // Its place among the others stays: they are known by theirs.
        if let Some(index) = self.by_name.remove(chain) {
            self.chains[index] = ObservedChain { name: "".into(), ..ObservedChain::default() };
        }
    }

    /// More than 4 GiB of text can't come from a kernel: its last rules would be empty here.
    fn push_text(&mut self, text: &str) -> Range<u32> {
        let from = self.text.len();
        self.text.push_str(text);
        let span = |at| u32::try_from(at).unwrap_or(u32::MAX);
        span(from)..span(self.text.len())
    }

    /// A table of which nothing is known.
    pub fn unknown() -> Self {
        Self { covered: Some(BTreeSet::new()), ..Self::default() }
    }

    /// Only these chains were read; a chain that is not among them may exist or not.
    pub fn cover_only(&mut self, chains: BTreeSet<Box<str>>) {
        self.covered = Some(chains);
    }

    /// Whether this says anything about the chain.
    pub fn covers(&self, chain: &str) -> bool {
        self.covered.as_ref().is_none_or(|covered| covered.contains(chain))
    }

    /// Whether this says something about every chain.
    pub fn covers_all(&self) -> bool {
        self.covered.is_none()
    }

    fn chain_index(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        self.chains.push(ObservedChain {
            name: name.into(),
            rules: Vec::new(),
            handles: Vec::new(),
            policy: None,
            state: None,
        });
        self.by_name.insert(name.into(), self.chains.len() - 1);
        self.chains.len() - 1
    }

    /// Whether the chain exists.
    pub fn has(&self, chain: &str) -> bool {
        self.by_name.contains_key(chain)
    }

    /// The rules of a chain, without `-A NAME `; none if the chain does not exist.
    pub fn rules(&self, chain: &str) -> Vec<&str> {
        let Some(index) = self.by_name.get(chain) else { return Vec::new() };
        let text = |span: &Range<u32>| self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        self.chains[*index].rules.iter().map(text).collect()
    }

    /// The handles of a chain's rules, in their order; none if they are not known.
    pub fn handles(&self, chain: &str) -> &[u64] {
        self.by_name.get(chain).map_or(&[], |index| &self.chains[*index].handles)
    }

    /// Names of all chains, in the order of the save.
    pub fn chain_names(&self) -> impl Iterator<Item = &str> {
        self.chains.iter().map(|chain| &*chain.name).filter(|name| !name.is_empty())
    }

    /// Names of the chains that are not built in.
    pub fn user_chains(&self) -> impl Iterator<Item = &str> {
        self.chain_names().filter(|name| Hook::from_name(name).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAVE: &str = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:a - [0:0]\n-A PREROUTING -j a\n-A a\n-A a -j RETURN\nCOMMIT\n# Completed\n";

    #[test]
    fn a_save_is_cut_into_chains_and_rules() {
        let table = ObservedTable::parse(Table::Nat, SAVE.into()).unwrap();
        assert_eq!(table.chain_names().collect::<Vec<_>>(), ["PREROUTING", "a"]);
        assert_eq!(table.rules("a"), ["", "-j RETURN"]);
        assert_eq!(table.rules("PREROUTING"), ["-j a"]);
        assert!(!table.has("b"));
    }

    #[test]
    fn a_line_break_in_a_comment_is_part_of_its_rule() {
        let rule = "-m comment --comment \"a\n-A a -j DROP\" -j RETURN";
        let save = SAVE.replace("-A a -j RETURN", &format!("-A a {rule}"));
        assert_eq!(ObservedTable::parse(Table::Nat, save).unwrap().rules("a"), ["", rule]);
    }

    #[test]
    fn no_text_is_no_table() {
        assert_eq!(ObservedTable::parse(Table::Nat, String::new()).unwrap().chain_names().count(), 0);
    }

    #[test]
    fn what_is_not_a_save_is_refused_not_taken_for_empty() {
        for text in [
            "garbage\n",
            "*filter\nCOMMIT\n",
            "*nat\n:a - [0:0]\n",
            "*nat\n-A b -j a\nCOMMIT\n",
            "*nat\n:a - [0:0]\nx\nCOMMIT\n",
        ] {
            assert!(ObservedTable::parse(Table::Nat, text.into()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|\n|-A |:|\\*nat\n|COMMIT\n){0,30}") {
            let _ = ObservedTable::parse(Table::Nat, text);
        }
    }
}
