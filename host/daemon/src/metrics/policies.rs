//! What comes of policies and of the configuration: evaluations with what they used, versions taken and refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use ruleward_core::limit::{Limit, Usage};

use super::Histograms;
use ruleward_report::{CandidateState, PolicyReport};

/// How long evaluations take: from 100 µs to 10 s.
const EVALUATION_SECONDS: [f64; 11] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    policy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    policy: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Read {
    outcome: &'static str,
}

/// What makes a refusal another one: digest and reason.
type Refusal = (Option<String>, Option<String>);

/// The counters. Names of policies come from the configuration, so there are as many as the operator wants.
#[derive(Debug)]
pub struct PolicyMetrics {
    evaluations: Family<Ended, Counter>,
    seconds: Histograms<Policy>,
    fuel: Family<Policy, Counter>,
    versions: Family<Ended, Counter>,
    configurations: Family<Read, Counter>,
    configuration_refused: Gauge,
    /// What is refused at this moment, which reports say again and again.
    refused: Mutex<BTreeMap<String, Refusal>>,
}

impl PolicyMetrics {
    /// All at zero, in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self {
            evaluations: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(EVALUATION_SECONDS)),
            fuel: Family::default(),
            versions: Family::default(),
            configurations: Family::default(),
            configuration_refused: Gauge::default(),
            refused: Mutex::default(),
        };
        registry.register(
            "evaluations",
            "Times that a policy was asked, by whether there was an answer; shadows too",
            new.evaluations.clone(),
        );
        registry.register(
            "evaluation_seconds",
            "Time that evaluations took, conversions included",
            new.seconds.clone(),
        );
        registry.register(
            "evaluation_fuel",
            "Work that evaluations took: about one unit an instruction of WebAssembly",
            new.fuel.clone(),
        );
        let help =
            "Versions of a policy (component, settings, grants, limits) that took their place, and that were refused";
        registry.register("policy_versions", help, new.versions.clone());
        let help = "Changed configurations that were read, by what became of them";
        registry.register("configurations", help, new.configurations.clone());
        let help = "Whether the configuration on disk is refused, and an earlier one counts";
        registry.register("configuration_refused", help, new.configuration_refused.clone());
        // What can be said beforehand is there from the start: a series that appears at 1 has not risen for Prometheus.
        for outcome in ["taken", "refused"] {
            drop(new.configurations.get_or_create(&Read { outcome }));
        }
        new
    }

    /// A policy was asked, and this was used.
    pub fn evaluated(&self, policy: &str, usage: &Usage, answered: bool) {
        let of = Policy { policy: policy.to_owned() };
        let outcome = if answered { "answered" } else { "failed" };
        self.evaluations.get_or_create(&Ended { policy: policy.to_owned(), outcome }).inc();
        self.seconds.get_or_create(&of).observe(usage.time().as_secs_f64());
        self.fuel.get_or_create(&of).inc_by(usage[Limit::Fuel]);
    }

    /// A version of this policy is in force that was not before.
    pub fn version_taken(&self, policy: &str) {
        self.versions.get_or_create(&Ended { policy: policy.to_owned(), outcome: "taken" }).inc();
    }

    /// The configuration was read and is another one; `false`: what was read is refused.
    pub fn configuration(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.configurations.get_or_create(&Read { outcome }).inc();
    }

    /// Whether what is on the disk is refused now.
    pub fn configuration_refused(&self, refused: bool) {
        self.configuration_refused.set(refused.into());
    }

    /// Counts the refusals that `policies` tell of for the first time. A check that ended before it knew of any tells nothing.
    pub fn reported(&self, policies: &[PolicyReport]) {
        if policies.is_empty() {
            return;
        }
        let known = &mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let now: BTreeMap<String, Refusal> = policies
            .iter()
            .filter_map(|policy| {
                let candidate = policy.candidate.as_ref().filter(|one| one.state == CandidateState::Refused)?;
                Some((policy.name.clone(), (candidate.digest.clone(), candidate.reason.clone())))
            })
            .collect();
        for (policy, _) in now.iter().filter(|(policy, refusal)| known.get(*policy) != Some(refusal)) {
            self.versions.get_or_create(&Ended { policy: policy.clone(), outcome: "refused" }).inc();
        }
        *known = now;
    }
}
