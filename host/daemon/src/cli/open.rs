//! Opens what the commands need of the reconciler.

use std::sync::Arc;

use crate::config::Config;
use crate::open;
use crate::reload::{self, Source};
use crate::status_store::StatusStore;
use crate::traces::Traces;
use ruleward_report::{Checks, Report};
use ruleward_state::StateWriter;

/// Opens what checks of a running daemon need. What a running check waits for is shown on `store`; what others did and
/// what policies answer is written to `state`, how checks went to `traces`; `source` says what policies are made of.
/// Changes are noticed as they happen.
///
/// # Errors
/// A report that says why no check is possible at all.
pub fn open_running(
    source: &Source,
    store: &StatusStore,
    edges: (&StateWriter, &Traces),
) -> Result<Box<dyn Checks>, Box<Report>> {
    Ok(Box::new(open::open(source.config(), source.subscribe(), store, edges, true)?))
}

/// Opens what one check needs. `keeps`: what it puts in force is kept in the state directory.
///
/// # Errors
/// A report that says why no check is possible at all.
pub fn open_once(
    config: &Config,
    store: &StatusStore,
    state: &StateWriter,
    keeps: bool,
) -> Result<Box<dyn Checks>, Box<Report>> {
    let subscription = open::load_once(config, state, keeps)?;
    Ok(Box::new(open::open(Arc::new(config.clone()), subscription, store, (state, &Traces::none()), false)?))
}

/// Opens what removing everything needs: grants, and no component.
///
/// # Errors
/// A report that says why it is not possible at all.
pub fn open_for_cleanup(config: &Config, store: &StatusStore) -> Result<Box<dyn Checks>, Box<Report>> {
    let edges = (&StateWriter::none(), &Traces::none());
    Ok(Box::new(open::open(Arc::new(config.clone()), reload::grants_only(config), store, edges, false)?))
}

/// Checks configuration and policies without touching the kernel.
pub fn check_configuration(config: &Config) -> Report {
    open::check_configuration(config).unwrap_or_else(|report| *report)
}
