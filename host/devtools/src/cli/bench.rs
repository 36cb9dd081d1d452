//! `policy bench`: what a policy costs on this machine, on a case.

use std::path::Path;
use std::time::{Duration, Instant};

use ruleward_core::quantity::format_rough_size;
use ruleward_report::output::Output;
use ruleward_sandbox::Limit;
use serde::Serialize;

use super::component_of;
use crate::answer::answer;
use crate::case::{Case, CaseFiles};
use crate::component::load;
use crate::error::AuthorError;

#[derive(Serialize)]
struct Measured {
    component_bytes: u64,
    compiled_now: bool,
    load_microseconds: u128,
    evaluate_median_microseconds: u128,
    evaluate_longest_microseconds: u128,
    runs: u32,
    rules: u64,
    fuel: u64,
    memory_bytes: u64,
}

/// Evaluates so many times and prints the times, conversions and fresh instances included.
pub fn measure(policy: &Path, runs: u32, files: &CaseFiles, output: Output) -> Result<u8, AuthorError> {
    let component = component_of(policy)?;
    let start = Instant::now();
    let first = load(&component)?;
    let compiled_now = first.was_compiled();
    let mut load_time = start.elapsed();
    let mut loaded = first;
    if compiled_now {
        let start = Instant::now();
        loaded = load(&component)?;
        load_time = start.elapsed();
    }
    let case = Case::read(files, loaded.description())?;
    let mut times = Vec::new();
    let mut usage = None;
    for _ in 0..runs.max(1) {
        let answer =
            answer(&loaded, &case).map_err(|refused| AuthorError::Other(format!("refused: {}", refused.reasons)))?;
        times.push(answer.usage.time());
        usage = Some(answer.usage);
    }
    times.sort_unstable();
    let usage = usage.unwrap_or_default();
    let longest: Duration = times.last().copied().unwrap_or_default();
    let measured = Measured {
        component_bytes: std::fs::metadata(&component).map_or(0, |file| file.len()),
        compiled_now,
        load_microseconds: load_time.as_micros(),
        evaluate_median_microseconds: times.get(times.len() / 2).copied().unwrap_or_default().as_micros(),
        evaluate_longest_microseconds: longest.as_micros(),
        runs: runs.max(1),
        rules: usage[Limit::Rules],
        fuel: usage[Limit::Fuel],
        memory_bytes: usage[Limit::Memory],
    };
    output.print(&measured, |_| {
        format!(
            "component {} KB; loaded from the cache in {:.2} ms\n\
             evaluated {} times: median {:.3} ms, longest {:.3} ms\n\
             {} rules, {} units of fuel, {} of memory\n",
            measured.component_bytes.div_ceil(1000),
            load_time.as_secs_f64() * 1e3,
            measured.runs,
            measured.evaluate_median_microseconds as f64 / 1e3,
            longest.as_secs_f64() * 1e3,
            measured.rules,
            measured.fuel,
            format_rough_size(measured.memory_bytes)
        )
    });
    Ok(0)
}
