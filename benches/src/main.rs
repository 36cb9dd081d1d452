//! What Ruleward takes, beside what the stock tools take for the same, in one run. `cargo xtask bench` builds and starts it.
//!
//! Everything happens in private namespaces; an ordinary user gets them through a user namespace, where the kernel takes
//! only small nft transactions. Ours and theirs alternate, each value is the median of several. No time is too
//! long to succeed: the table says what was measured, and whether it is within the goal. A smoke runs every part with a
//! few rules and says nothing of time: only whether all of it can still be measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a part that can't be measured panics")]

mod change;
mod commit;
mod cpu;
mod daemon;
mod dev;
mod events;
mod fight;
mod flush;
mod guarded;
mod http;
mod in_process;
mod languages;
mod node;
mod plan;
mod policies;
mod quiet;
mod refresh;
mod reload;
mod rules;
mod sample;
mod stock;
mod table;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use ruleward_tests::{sandbox, trial, warm};
use serde_json::{Value, json};

use plan::Plan;
use table::Row;

/// State lies where it lies on a real node, on the disk: a folder for temporary files may be memory.
const FILES: &str = "/var/tmp";

const PARTS: [Part; 16] = [
    Part { name: "commit", what: "all rules into an empty namespace", measure: commit::measure },
    Part { name: "refresh", what: "a refresh on demand, nothing changed", measure: refresh::measure },
    Part { name: "change", what: "one chain of many changed by its policy", measure: change::measure },
    Part {
        name: "reload",
        what: "from a changed setting or component to its rules in force",
        measure: reload::measure,
    },
    Part { name: "dev", what: "from a finished component to the live rule", measure: dev::measure },
    Part { name: "events", what: "nft: from a deletion to its repair", measure: events::measure_nft },
    Part { name: "events-legacy", what: "legacy: from a deletion to its repair", measure: events::measure_legacy },
    Part { name: "flush", what: "from a flushed table to all of its rules", measure: flush::measure },
    Part { name: "quiet", what: "processor time of a refresh by the clock", measure: quiet::measure_refresh },
    Part { name: "idle", what: "processor time at rest", measure: quiet::measure_idle },
    Part { name: "fight", what: "processor time under a program that keeps deleting rules", measure: fight::measure },
    Part { name: "http", what: "repairs under many scrapes and streams", measure: http::measure },
    Part { name: "memory", what: "resident memory", measure: daemon::measure_memory },
    Part { name: "start", what: "from the start of the process to the node in sync", measure: daemon::measure_start },
    Part { name: "policies", what: "instances, evaluations, and many policies", measure: policies::measure },
    Part { name: "languages", what: "the same policy in each language", measure: languages::measure },
];

/// Something that can be measured alone.
struct Part {
    name: &'static str,
    what: &'static str,
    measure: fn(&Plan) -> Vec<Row>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--list"] {
        for Part { name, what, .. } in &PARTS {
            println!("{name:<14} {what}");
        }
        return ExitCode::SUCCESS;
    }
    let plan = Plan::parse(&words, &PARTS.map(|part| part.name));
    match plan.and_then(|plan| sandbox::enter().map(|()| plan)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("ruleward-benches: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut plan: Plan) -> Result<(), String> {
    tempfile::env::override_temp_dir(Path::new(FILES)).map_err(|old| format!("files lie in {}", old.display()))?;
    trial::quiet_panics();
    plan.explore()?;
    let before = machine();
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for part in PARTS.iter().filter(|part| plan.has(part.name)) {
        eprintln!("==> measuring: {}", part.name);
        let begin = Instant::now();
        match trial::attempt(|| rows.extend((part.measure)(&plan))) {
            Ok(()) => {}
            Err(failed) => failures.push(format!("{}: {}", part.name, failed.message().unwrap_or_default())),
        }
        eprintln!("    done: {} ({:.1} s)", part.name, begin.elapsed().as_secs_f64());
    }
    warm::forget();
    if plan.smoke {
        println!("{} rows of {} can be measured; a smoke says nothing of time", rows.len(), plan.parts.join(", "));
    } else {
        let machine = json!({ "before": before, "after": machine() });
        println!("\nload {} before, {} after\n", machine["before"]["load"], machine["after"]["load"]);
        print!("{}", table::text(&rows));
        if let Some(file) = &plan.json {
            let text = format!("{:#}\n", table::json(&rows, &machine));
            fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// What the numbers depend on.
fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("can't read {path}: {error}"));
    let load = read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse::<f64>().ok());
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "iptables": stock::version(),
        "load": load,
    })
}
