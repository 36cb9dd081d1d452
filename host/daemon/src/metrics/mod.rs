//! What Prometheus is told. Counters and histograms ([`Metrics`]) grow with each report on the store; everything else is
//! read from the store at each scrape ([`snapshot`]).
//!
//! Names and units follow Prometheus' conventions: base units (seconds, bytes), `_total` for counters. Label values that come
//! from outside (names of processes) are bounded in number: see [`MOST_ACTORS`].

mod policies;
mod snapshot;
mod traces;

pub use policies::PolicyMetrics;
pub use snapshot::{Counts, counts as place_counts, family as family_label};
pub use traces::{Fate, TraceMetrics};

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use ruleward_core::actor::Actor;

use crate::status_store::StatusStore;
use ruleward_report::plain::plain;
use ruleward_report::{Incident, Outcome, Report};

/// How many names of actors have a series of their own. Whoever comes later counts as [`OTHERS`]: names are chosen by
/// strangers, and each series costs memory here and in Prometheus.
pub const MOST_ACTORS: usize = 32;
/// The actor label of all others. No process can have this name: the kernel keeps 15 bytes of it.
pub const OTHERS: &str = "(too many names)";

/// How fast repairs are: from 50 µs to 10 s.
const REPAIR_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// How long checks and their phases take: from 100 µs to a minute.
const CHECK_SECONDS: [f64; 12] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// In which of its text formats Prometheus wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// By the `Accept` header of a request; text for whoever does not ask for OpenMetrics.
    pub fn accepted(accept: Option<&str>) -> Self {
        let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if open { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Drift {
    kind: &'static str,
    family: &'static str,
    table: &'static str,
    actor: String,
    repaired: &'static str,
}

/// What a check waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The xtables lock, which another program holds.
    Lock,
    /// A tool that takes long.
    Tool,
    /// Policies that are being loaded.
    Policies,
}

impl WaitFor {
    fn label(self) -> Wait {
        let cause = match self {
            Self::Lock => "lock",
            Self::Tool => "tool",
            Self::Policies => "policies",
        };
        Wait { cause }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wait {
    cause: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What grows while the daemon runs.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: Family<Check, Counter>,
    check_seconds: Histograms<Phase>,
    commits: Counter,
    commit_seconds: Histogram,
    drifts: Family<Drift, Counter>,
    repair_latency: Histogram,
    /// How many repairs had a latency, and their sum in milliseconds: for people; Prometheus has the histogram.
    latencies: Mutex<(u64, f64)>,
    repair_seconds: Histogram,
    waits: Family<Wait, Counter>,
    wait_seconds: Family<Wait, Counter<f64, AtomicU64>>,
    waiting: Mutex<Option<(WaitFor, Instant)>>,
    policies: PolicyMetrics,
    traces: TraceMetrics,
    counted: snapshot::Counted,
    actors: Mutex<BTreeSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ruleward");
        let metrics = Self {
            checks: Family::default(),
            check_seconds: Family::new_with_constructor(|| Histogram::new(CHECK_SECONDS)),
            commits: Counter::default(),
            commit_seconds: Histogram::new(CHECK_SECONDS),
            drifts: Family::default(),
            repair_latency: Histogram::new(REPAIR_SECONDS),
            latencies: Mutex::default(),
            repair_seconds: Histogram::new(REPAIR_SECONDS),
            waits: Family::default(),
            wait_seconds: Family::default(),
            waiting: Mutex::new(None),
            policies: PolicyMetrics::new(&mut registry),
            traces: TraceMetrics::new(&mut registry),
            counted: snapshot::Counted::default(),
            actors: Mutex::new(BTreeSet::new()),
            registry: Registry::default(),
        };
        registry.register("checks", "Checks that have ended, by how they ended", metrics.checks.clone());
        registry.register(
            "check_phase_seconds",
            "Time that the phases of checks took; only phases that ran",
            metrics.check_seconds.clone(),
        );
        registry.register("commits", "Writes to the kernel, repairs included", metrics.commits.clone());
        registry.register("commit_seconds", "Time that writing to the kernel took", metrics.commit_seconds.clone());
        registry.register(
            "drifts",
            "What others did to the rules, by kind, place and actor; each time counts, for each actor",
            metrics.drifts.clone(),
        );
        registry.register(
            "repair_latency_seconds",
            "From the kernel's event to the end of the repair",
            metrics.repair_latency.clone(),
        );
        registry.register(
            "repair_seconds",
            "From seeing the drift to the end of the repair, however it was seen",
            metrics.repair_seconds.clone(),
        );
        registry.register("waits", "Times that a check waited, by what it waited for", metrics.waits.clone());
        registry.register("wait_seconds", "Time that checks waited", metrics.wait_seconds.clone());
        for cause in [WaitFor::Lock, WaitFor::Tool, WaitFor::Policies] {
            drop(metrics.waits.get_or_create(&cause.label()));
            drop(metrics.wait_seconds.get_or_create(&cause.label()));
        }
        Self { registry, ..metrics }
    }

    /// Takes note of a check that has ended.
    pub fn checked(&self, report: &Report) {
        self.checks.get_or_create(&Check { outcome: report.counted().as_str() }).inc();
        let times = &report.timings_ms;
        let phases = [
            ("facts", times.facts),
            ("evaluate", times.evaluate),
            ("rehearse", times.rehearse),
            ("observe", times.observe),
            ("plan", times.plan),
            ("commit", times.commit),
            ("verify", times.verify),
            ("total", times.total),
        ];
        for (phase, milliseconds) in phases.into_iter().filter(|(_, milliseconds)| *milliseconds > 0.0) {
            self.check_seconds.get_or_create(&Phase { phase }).observe(milliseconds / 1e3);
        }
        self.reported(report);
    }

    /// Takes note of a check that has ended and found that nothing has happened. It has no phases.
    pub fn checked_again(&self) {
        self.checks.get_or_create(&Check { outcome: Outcome::Unchanged.as_str() }).inc();
    }

    /// Takes note of what a check or a repair between two checks has done.
    pub fn reported(&self, report: &Report) {
        if report.timings_ms.commit > 0.0 {
            self.commits.inc();
            self.commit_seconds.observe(report.timings_ms.commit / 1e3);
        }
        self.policies.reported(&report.policies);
        for incident in &report.incidents {
            for actor in &incident.latest {
                self.drifts.get_or_create(&self.labels(incident, actor)).inc();
            }
            if incident.repaired {
                self.repair_seconds.observe(incident.took_ms / 1e3);
                if let Some(latency) = incident.latency_ms {
                    self.repair_latency.observe(latency / 1e3);
                    let (count, sum) = &mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                    *count += 1;
                    *sum += latency;
                }
            }
        }
    }

    fn labels(&self, incident: &Incident, actor: &Actor) -> Drift {
        Drift {
            kind: incident.kind.as_str(),
            family: incident.family.map_or("", snapshot::family),
            table: incident.table.map_or("", |table| table.as_str()),
            actor: self.actor(&actor.name),
            repaired: if incident.repaired { "true" } else { "false" },
        }
    }

    /// The label of an actor: its name while there are not too many.
    fn actor(&self, name: &str) -> String {
        let name = plain(name);
        let actors = &mut *self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if !actors.contains(&name) {
            if actors.len() >= MOST_ACTORS {
                return OTHERS.to_owned();
            }
            actors.insert(name.clone());
        }
        name
    }

    /// A check waits, or goes on (`None`).
    pub fn waiting(&self, on: Option<WaitFor>) {
        let waiting = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.map(|(on, _)| on) == on {
            return;
        }
        if let Some((before, since)) = waiting.take() {
            self.wait_seconds.get_or_create(&before.label()).inc_by(since.elapsed().as_secs_f64());
        }
        if let Some(on) = on {
            self.waits.get_or_create(&on.label()).inc();
            *waiting = Some((on, Instant::now()));
        }
    }

    /// What comes of policies and of the configuration.
    pub fn policies(&self) -> &PolicyMetrics {
        &self.policies
    }

    /// What becomes of traces.
    pub fn traces(&self) -> &TraceMetrics {
        &self.traces
    }

    /// How many repairs had a latency, and the mean of it in milliseconds.
    pub fn mean_latency_ms(&self) -> Option<(u64, f64)> {
        let (count, sum) = *self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        (count > 0).then(|| (count, sum / count as f64))
    }
}

/// Everything in the text that Prometheus reads.
pub fn render(store: &StatusStore, format: Format) -> String {
    let mut gauges = Registry::default();
    gauges.register_collector(Box::new(snapshot::Snapshot::take(store)));
    let mut text = String::new();
    let registry = &store.metrics().registry;
    // Writing into a string does not fail.
    let _ = match format {
        Format::Text => {
            prometheus_text::encode(&mut text, registry).and_then(|()| prometheus_text::encode(&mut text, &gauges))
        }
        Format::OpenMetrics => text::encode_registry(&mut text, registry)
            .and_then(|()| text::encode_registry(&mut text, &gauges))
            .and_then(|()| text::encode_eof(&mut text)),
    };
    text
}

#[cfg(test)]
mod tests;
