//! The loop of Ruleward: what is to be in force, what the kernel has, and what is done about the
//! difference.
//!
//! [`Reconciler`] decides. It has no clock, no threads and no files of its own: it reaches the kernel
//! through [`Port`](ruleward_kernel::port::Port) and
//! [`EventSource`](ruleward_kernel::event_source::EventSource), facts through [`FactsSource`], time and
//! threads through [`Runtime`], and what the rest of the program has to do it hands out as
//! [`Effect`]s. So it is tested on a kernel of plain data, with a clock that only tests move.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cached_report;
mod effect;
mod facts;
mod found;
pub mod incidents;
mod kernel;
mod pass;
pub mod policies;
mod reconciler;
pub mod record;
pub mod runtime;
mod settings;
#[cfg(test)]
mod sim;
mod stages;
mod target;
pub mod trace;
mod traced;

pub use effect::{Effect, Effects, ShadowOrder};
pub use facts::{FactsReading, FactsRefusal, FactsSource};
pub use reconciler::{Reconciler, Surroundings};
pub use runtime::{Job, Runtime};
pub use settings::{Locate, Settings};

#[cfg(test)]
#[test]
fn compiling_child_entry_point() {
    ruleward_sandbox::testkit::compiling_child();
}
