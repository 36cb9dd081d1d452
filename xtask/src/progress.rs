//! What the person at the terminal sees of a long command: a headline for each step, and how long it took.

use anyhow::Result;
use std::time::Instant;

/// Runs one step under a headline and says how long it took, also when it failed.
pub fn step<T>(headline: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {headline}");
    let start = Instant::now();
    let result = work();
    let end = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("    {end}: {headline} ({:.1} s)", start.elapsed().as_secs_f64());
    result
}
