//! Where the commands meet the pipeline.

use crate::config::Config;
use crate::journal::Journal;
use crate::open;
use crate::report::board::Board;
use crate::report::{Checks, Report};

/// Opens what checks need. What a running check waits for is shown on `board`; what others did is
/// written to `journal`. `watching`: changes are noticed as they happen.
///
/// # Errors
/// A report that says why no check is possible at all.
pub fn open_checks(
    config: &Config,
    board: &Board,
    journal: &Journal,
    watching: bool,
) -> Result<Box<dyn Checks>, Box<Report>> {
    Ok(Box::new(open::open(config.clone(), board, journal, watching)?))
}

/// Checks configuration and policies without touching the kernel.
pub fn check_configuration(config: &Config) -> Report {
    open::check_configuration(config).unwrap_or_else(|report| *report)
}
