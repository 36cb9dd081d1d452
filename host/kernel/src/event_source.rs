//! What tells that another program changed the packet filter: where to look, and who was there.
//!
//! A source is an addition. Whatever it misses, the full comparison finds; what is drift is found by
//! comparing. [`Watch`](super::watch::Watch) is the node's; a script stands in its place in tests.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use ruleward_core::actor::Actor;
use ruleward_core::encoded_rule::{RawTable, Stamp};
use ruleward_core::names::{Family, Table};

use super::activity::Activity;

type Place = (Family, Table);

/// Tells of changes that other programs make.
pub trait EventSource: Send {
    /// Readable when there is something to take.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// When to take without a sign.
    fn due(&self) -> Option<Instant>;

    /// What happened since the last time. nft: in generations that are not `known`, and chains that
    /// concern us.
    fn take(&mut self, known: &dyn Fn(u32) -> bool, concerns: &dyn Fn(Family, Table, &str) -> bool) -> Activity;

    /// On legacy, while we hold the lock: the one who wrote since the last time, if it was one.
    fn take_finished(&mut self) -> Vec<Actor>;

    /// These tables concern us, and no others.
    fn concern(&mut self, places: &[Place]);

    /// Tables are about to be compared otherwise than by reading them here: what they are now is what
    /// a later change is told from. nft needs no such thing, its generations are.
    fn mark(&mut self, places: &[Place]);

    /// A table was read to be compared, and was this then.
    fn note(&mut self, place: Place, stamp: Stamp);

    /// A table as the last poll found it changed: what was read then need not be read again. Once.
    fn take_reading(&mut self, place: Place) -> Option<RawTable>;

    /// Nothing is to be compared with what was read before.
    fn forget_readings(&mut self);

    /// Other chains concern us from now on.
    fn forget_chains(&mut self);

    /// Whether the tables are surely as they were at the last mark. No where that is not known.
    fn is_unchanged(&self) -> bool;

    /// How drift is noticed, in a few words, and what there is to say about it.
    fn method(&self) -> (String, String);
}
