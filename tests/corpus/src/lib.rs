//! Components that crash, loop, grow, flood, forge and lie, and files that are no components at all, each built from source
//! here, with the words with which the host has to refuse it. The engine's own tests load and ask each; the real-kernel suite
//! puts each beside a good policy.
//!
//! The operator of all of them grants the chains and sets `bad-*` of table filter, and [`FUEL`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a corpus that can't be built fails the tests"
)]

mod answers;
mod bombs;
mod calls;
mod compile_bombs;
mod descriptions;
mod files;
mod guest;
mod layout;
mod shapes;

use std::io;
use std::path::Path;

pub use compile_bombs::{CompileBomb, compile_bombs};
pub use files::flipped;
pub use guest::{Guest, WIT, encode, settings_offset};
pub use layout::chain_named;

/// Fuel that the operator of the corpus gives: enough for every honest guest here, and soon gone in a loop.
pub const FUEL: u64 = 20_000_000;

/// One of the corpus.
pub struct Case {
    /// Unique; letters and underscores.
    pub name: &'static str,
    /// What is put where the component should be.
    pub content: Content,
    /// What becomes of it.
    pub fate: Fate,
}

/// What is put where the component should be.
pub enum Content {
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// Something else, which this makes at the path.
    Made(fn(&Path) -> io::Result<()>),
}

/// What becomes of a policy of the corpus. The words are those that the refusal has to hold.
pub enum Fate {
    /// It is not loaded.
    NotLoaded(&'static [&'static str]),
    /// It is loaded, and has no answer.
    NoAnswer(&'static [&'static str]),
    /// Its answer is refused for what the operator grants.
    NotGranted(&'static [&'static str]),
    /// It answers, and does no harm. The words are those that its log has to hold.
    Harmless(&'static [&'static str]),
}

impl Case {
    fn bytes(name: &'static str, bytes: Vec<u8>, fate: Fate) -> Self {
        Self { name, content: Content::Bytes(bytes), fate }
    }

    fn guest(name: &'static str, guest: &Guest<'_>, fate: Fate) -> Self {
        Self::bytes(name, guest.component(), fate)
    }

    /// Puts it at `path`, where nothing may be.
    ///
    /// # Errors
    /// When the system can't.
    pub fn place(&self, path: &Path) -> io::Result<()> {
        match &self.content {
            Content::Bytes(bytes) => std::fs::write(path, bytes),
            Content::Made(make) => make(path),
        }
    }
}

/// All of the corpus.
pub fn all() -> Vec<Case> {
    let parts = [files::cases, shapes::cases, calls::cases, bombs::cases, answers::cases, descriptions::cases];
    parts.iter().flat_map(|part| part()).collect()
}

/// A policy that asks for one empty chain `bad-ok`: what a policy of the corpus was before it went bad.
pub fn good() -> Vec<u8> {
    let data = layout::chains(&[layout::Chain::named(b"bad-ok")]);
    Guest { evaluate: layout::ANSWER, more: &data, ..Guest::default() }.component()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_corpus_is_large() {
        let names: Vec<_> = all().iter().map(|case| case.name).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(names.len() >= 80, "{}", names.len());
    }
}
