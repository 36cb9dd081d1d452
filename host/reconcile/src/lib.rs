//! The loop of Ruleward: what is to be in force, what the kernel has, and what is done about the
//! difference.
//!
//! [`Reconciler`] decides. It has no clock, no threads and no files of its own: it reaches the kernel
//! through [`Port`](ruleward_kernel::port::Port) and
//! [`EventSource`](ruleward_kernel::event_source::EventSource), facts through [`FactsSource`], time and
//! threads through [`Runtime`], and what the rest of the program has to do it hands out as
//! [`Effect`]s. So it is tested on a kernel of plain data, with a clock that only tests move.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod beside;
mod cached_report;
mod clean;
mod deferred;
mod effect;
mod facts;
mod fill;
mod found;
mod give_way;
mod handle_events;
pub mod incidents;
mod kernel;
mod noted;
mod outcome;
pub mod policies;
mod prove;
mod reconciler;
pub mod record;
pub mod runtime;
mod set_watch;
mod settings;
mod show;
#[cfg(test)]
mod sim;
mod straight;
mod sync_state;
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
