//! In place of `otlp/` in a build that leaves it out: the configuration names no collector,
//! and no trace is wanted.

use std::time::Duration;

use ruleward_reconcile::trace::Trace;

use super::Endpoint;
use crate::status_store::StatusStore;

/// Takes no traces.
#[derive(Debug, Clone)]
pub struct Traces;

impl Traces {
    /// None are wanted.
    pub fn none() -> Self {
        Self
    }

    /// None are wanted.
    pub fn new(_: StatusStore) -> Self {
        Self
    }

    /// The configuration took no endpoint.
    pub fn configure(&self, _: Option<&Endpoint>, _: Option<&str>) {}

    /// Never.
    pub fn are_wanted(&self) -> bool {
        false
    }

    /// Nobody made one.
    #[cfg_attr(test, expect(dead_code, reason = "the program calls it, and no test makes a trace"))]
    pub fn leave(&self, _: Trace) {}

    /// At once.
    pub fn end(&self) {}

    /// At once.
    pub fn close(&self, _: Duration) {}
}
