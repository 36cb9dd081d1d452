//! Somebody else with root. Tampers through the `iptables` crate, which knows only programs called `iptables` and
//! `ip6tables`: a directory of links decides which backend they are.

use crate::{Family, Node, program};

/// Tampers with one family of a node.
pub struct Stranger<'n> {
    node: &'n Node,
    family: Family,
}

impl<'n> Stranger<'n> {
    pub(crate) fn new(node: &'n Node, family: Family) -> Self {
        Self { node, family }
    }

    /// Appends a rule.
    #[track_caller]
    pub fn append(&self, table: &str, chain: &str, rule: &str) {
        self.call(&["append", table, chain, rule]);
    }

    /// Inserts a rule at a position that counts from 1.
    #[track_caller]
    pub fn insert(&self, table: &str, chain: &str, position: usize, rule: &str) {
        self.call(&["insert", table, chain, rule, &position.to_string()]);
    }

    /// Puts a rule in the place of another.
    #[track_caller]
    pub fn replace(&self, table: &str, chain: &str, position: usize, rule: &str) {
        self.call(&["replace", table, chain, rule, &position.to_string()]);
    }

    /// Deletes a rule.
    #[track_caller]
    pub fn delete(&self, table: &str, chain: &str, rule: &str) {
        self.call(&["delete", table, chain, rule]);
    }

    /// Makes a chain.
    #[track_caller]
    pub fn new_chain(&self, table: &str, chain: &str) {
        self.call(&["new-chain", table, chain]);
    }

    /// Empties a chain.
    #[track_caller]
    pub fn flush_chain(&self, table: &str, chain: &str) {
        self.call(&["flush-chain", table, chain]);
    }

    /// Deletes a chain, which must be empty and unused.
    #[track_caller]
    pub fn delete_chain(&self, table: &str, chain: &str) {
        self.call(&["delete-chain", table, chain]);
    }

    /// Gives a chain another name.
    #[track_caller]
    pub fn rename_chain(&self, table: &str, chain: &str, name: &str) {
        self.call(&["rename-chain", table, chain, name]);
    }

    /// Empties all chains of a table.
    #[track_caller]
    pub fn flush_table(&self, table: &str) {
        self.call(&["flush-table", table]);
    }

    /// Deletes a whole table as far as its backend can: with `nft`, or by emptying it and deleting its chains.
    #[track_caller]
    pub fn delete_table(&self, table: &str) {
        match self.node.backend {
            crate::Backend::Nft => {
                self.node.command("nft").args(&["delete", "table", self.family.ip(), table]).must();
            }
            crate::Backend::Legacy => {
                let tool = self.family.tool(self.node.backend, "");
                self.node.command(&tool).args(&["-w", "-t", table, "-F"]).must();
                self.node.command(&tool).args(&["-w", "-t", table, "-X"]).must();
            }
        }
    }

    #[track_caller]
    fn call(&self, words: &[&str]) {
        let path = std::env::var("PATH").unwrap_or_default();
        self.node
            .command(program::own("stranger"))
            .args(&[&[self.family.program()], words].concat())
            .env("PATH", format!("{}:{path}", self.node.path("tools").display()))
            .must();
    }
}
