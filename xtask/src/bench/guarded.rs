//! A daemon that guards rules in a namespace of its own, and beside it a namespace with the same rules and no daemon, in
//! which the stock tools are timed undisturbed.

use anyhow::Result;
use std::fs;
use std::path::PathBuf;

use super::namespace::Namespace;
use super::node::{Daemon, HOURLY, Node, Wanted};
use super::rules::Rules;
use super::stock::{self, Backend};

/// What is guarded, and how.
pub struct Guarded {
    pub backend: Backend,
    /// Rules of ours.
    pub count: usize,
    /// Rules that others have in chains of their own.
    pub strangers: usize,
    /// See [`Wanted`].
    pub options: &'static str,
}

impl Guarded {
    /// No strangers, and a refresh every hour.
    pub fn new(backend: Backend, count: usize) -> Self {
        Self { backend, count, strangers: 0, options: HOURLY }
    }
}

/// Has a daemon guard rules while `work` runs. They are committed before it starts: a daemon that has written looks
/// again by itself soon after, which would disturb the measurement.
pub fn guarded(wanted: &Guarded, work: impl FnOnce(&Daemon<'_>, &Node) -> Result<()> + Send) -> Result<()> {
    let Guarded { backend, count, strangers, options } = *wanted;
    let rules = Rules::ours(count);
    let node = Node::create(&Wanted { backend, both_families: true, beside: &[], options, rules })?;
    let space = Namespace::create()?;
    space.run(|| {
        if strangers > 0 {
            let others = Rules { count: strangers, prefix: "other-" };
            backend.restore(&stock::script(node.folder(), "strangers", &others.script())?)?;
        }
        backend.save_both()?; // legacy: both families' tables are there from now on
        node.apply()?;
        let daemon = node.start()?;
        daemon.refresh()?;
        work(&daemon, &node)
    })
}

/// The same rules where no daemon is.
pub struct Twin {
    space: Namespace,
    backend: Backend,
    all: PathBuf,
    one_chain: PathBuf,
}

impl Twin {
    /// Loads the rules.
    pub fn create(backend: Backend, rules: Rules, node: &Node) -> Result<Self> {
        let space = Namespace::create()?;
        let all = stock::script(node.folder(), "twin", &rules.script())?;
        let one_chain = stock::script(node.folder(), "twin-chain", &rules.one_chain(rules.chains() / 2))?;
        space.run(|| backend.restore_unseen(&all))?;
        Ok(Self { space, backend, all, one_chain })
    }

    /// Restores one chain in the middle; gives milliseconds.
    pub fn restore_one_chain(&self) -> Result<f64> {
        self.space.run(|| self.backend.restore_unseen(&self.one_chain))
    }

    /// Restores all rules after they were flushed; gives milliseconds.
    pub fn restore_all(&self) -> Result<f64> {
        self.space.run(|| {
            self.backend.flush_all_unseen()?;
            self.backend.restore_unseen(&self.all)
        })
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // They lie in the node's folder, which goes as well.
        let _ = fs::remove_file(&self.all);
        let _ = fs::remove_file(&self.one_chain);
    }
}
