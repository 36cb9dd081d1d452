//! What a running daemon shows: metrics that move with their causes, the page, the screen of `status`, their documented
//! form; and that looking at it costs the node nothing.

mod load;
mod metrics;
mod page;
mod screen;

use libtest_mimic::Trial;

/// All of them.
pub fn trials() -> Vec<Trial> {
    let suites: [fn() -> Vec<Trial>; 4] = [metrics::trials, page::trials, screen::trials, load::trials];
    suites.iter().flat_map(|suite| suite()).collect()
}
