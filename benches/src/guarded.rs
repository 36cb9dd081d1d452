//! A daemon that guards rules on a node of its own, and beside it a namespace with the same rules and no daemon, in
//! which the stock tools are timed undisturbed.

use std::path::PathBuf;

use ruleward_tests::{Backend, Daemon, Netns, Node};
use serde_json::{Value, json};

use crate::node::{node, start};
use crate::rules::Rules;
use crate::stock;

/// What is guarded, and how.
pub struct Guarded {
    pub backend: Backend,
    /// Rules of ours.
    pub count: usize,
    /// Rules that others have in chains of their own.
    pub foreign: usize,
    /// Keys of the configuration.
    pub options: Value,
}

impl Guarded {
    /// No foreign rules, and a refresh every hour.
    pub fn new(backend: Backend, count: usize) -> Self {
        Self { backend, count, foreign: 0, options: json!({}) }
    }
}

/// Has a daemon guard rules while `work` runs in its namespace. They are committed before it starts: a daemon that has
/// written looks again by itself soon after, which would disturb the measurement.
pub fn guarded(wanted: &Guarded, work: impl FnOnce(&Daemon, &Node) + Send) {
    let Guarded { backend, count, foreign, ref options } = *wanted;
    let node = node(backend, Rules::ours(count), options);
    node.net.run(|| {
        if foreign > 0 {
            let others = Rules { count: foreign, prefix: "other-" };
            stock::restore(backend, &stock::script(&node.path(""), "foreign", &others.script()));
        }
        stock::save_both(backend); // legacy: both families' tables are there from now on
    });
    node.apply();
    let (daemon, _) = start(&node);
    daemon.refresh();
    node.net.run(|| work(&daemon, &node));
}

/// The same rules where no daemon is, and with a lock of their own: who writes there wakes no daemon.
pub struct Twin {
    space: Netns,
    backend: Backend,
    all: PathBuf,
    one_chain: PathBuf,
}

impl Twin {
    /// Loads the rules; the scripts lie with the node's files.
    pub fn create(backend: Backend, rules: Rules, node: &Node) -> Self {
        let space = Netns::new();
        let all = stock::script(&node.path(""), "twin", &rules.script());
        let one_chain = stock::script(&node.path(""), "twin-chain", &rules.one_chain(rules.chains() / 2));
        space.run(|| stock::restore(backend, &all));
        Self { space, backend, all, one_chain }
    }

    /// Restores one chain in the middle; gives milliseconds.
    pub fn restore_one_chain(&self) -> f64 {
        self.space.run(|| stock::restore(self.backend, &self.one_chain))
    }

    /// Restores all rules after they were flushed; gives milliseconds.
    pub fn restore_all(&self) -> f64 {
        self.space.run(|| {
            stock::flush_all(self.backend);
            stock::restore(self.backend, &self.all)
        })
    }
}
