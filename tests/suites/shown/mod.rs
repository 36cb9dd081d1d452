//! What a running daemon shows: metrics that move with their causes, the page, the screen of `status`, traces, their
//! documented form; and that looking at it costs the node nothing.

mod documented;
mod load;
mod metrics;
mod page;
mod screen;
mod traces;

use libtest_mimic::Trial;

/// All of them.
pub fn trials() -> Vec<Trial> {
    let suites: [fn() -> Vec<Trial>; 6] =
        [metrics::trials, page::trials, screen::trials, documented::trials, load::trials, traces::trials];
    suites.iter().flat_map(|suite| suite()).collect()
}
