//! What is read from the store at the moment when Prometheus asks: the state of the node, its policies and rules, fights,
//! and the process itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use ruleward_core::expected::Expected;
use ruleward_core::limit::Limit;
use ruleward_core::names::{Family, Table};

use crate::status_store::StatusStore;
use ruleward_report::limits::LimitReport;
use ruleward_report::status::Status;
use ruleward_report::{PolicyReport, PolicyState};

/// Chains and rules of one policy in one table of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chains of its own.
    pub chains: u64,
    /// Rules, those in built-in chains included.
    pub rules: u64,
}

/// By family, table and policy.
pub type CountsByPlace = BTreeMap<(Family, Table, String), Counts>;

/// The word for a family in labels.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// Who wants how much where.
pub fn counts(expected: &Expected) -> CountsByPlace {
    let mut counts = CountsByPlace::new();
    for ((family, table), wanted) in &expected.tables {
        let mut of = |policy: &str, chains: u64, rules: usize| {
            let counts = counts.entry((*family, *table, policy.to_owned())).or_default();
            counts.chains += chains;
            counts.rules += rules as u64;
        };
        for (policy, rules) in wanted.chains.values() {
            of(policy.as_str(), 1, rules.len());
        }
        for attachment in wanted.hooks.values().flat_map(|hook| hook.first.iter().chain(&hook.last)) {
            of(attachment.policy.as_str(), 0, 1);
        }
    }
    counts
}

/// The counts of what was counted last: a walk over all rules is made once for what is in force, not for each scrape.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Option<(Weak<Expected>, Arc<CountsByPlace>)>>);

impl Counted {
    fn of(&self, expected: &Arc<Expected>) -> Arc<CountsByPlace> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as it is known its address is nobody else's.
        if let Some((_, counts)) = known.as_ref().filter(|(of, _)| of.as_ptr() == Arc::as_ptr(expected)) {
            return Arc::clone(counts);
        }
        let counts = Arc::new(counts(expected));
        *known = Some((Arc::downgrade(expected), Arc::clone(&counts)));
        counts
    }
}

/// One moment.
#[derive(Debug)]
pub struct Snapshot {
    status: Status,
    counts: Arc<CountsByPlace>,
    in_sync_for: Option<Duration>,
    unseen: Duration,
    process: Process,
}

/// Two labels.
type Labels = Vec<(&'static str, String)>;

impl Snapshot {
    /// Reads the store and `/proc/self`.
    pub fn take(store: &StatusStore) -> Self {
        let counts = store.expected().map(|expected| store.metrics().counted.of(&expected)).unwrap_or_default();
        let unseen = store.unseen().map(|stuck| stuck.silent).unwrap_or_default();
        Self { status: store.brief(), counts, in_sync_for: store.since_in_sync(), unseen, process: Process::read() }
    }

    fn policies(&self, value: impl Fn(&PolicyReport) -> u64) -> Vec<(Labels, u64)> {
        let policies = self.status.report.policies.iter();
        policies.map(|policy| (vec![("policy", policy.name.clone())], value(policy))).collect()
    }

    fn places(&self, value: impl Fn(&Counts) -> u64) -> Vec<(Labels, u64)> {
        let labels = |(place, table, policy): &(Family, Table, String)| {
            vec![
                ("family", family(*place).to_owned()),
                ("table", table.as_str().to_owned()),
                ("policy", policy.clone()),
            ]
        };
        self.counts.iter().map(|(place, counts)| (labels(place), value(counts))).collect()
    }

    fn policy_states(&self) -> Vec<(Labels, u64)> {
        let states = [
            (PolicyState::Current, "current"),
            (PolicyState::LastGood, "last-good"),
            (PolicyState::Waiting, "waiting"),
            (PolicyState::NeverAnswered, "never-answered"),
            (PolicyState::Shadow, "shadow"),
            (PolicyState::Off, "off"),
        ];
        let of = |policy: &PolicyReport| {
            let name = policy.name.clone();
            let now = policy.state;
            states.map(|(state, word)| {
                (vec![("policy", name.clone()), ("state", word.to_owned())], u64::from(state == now))
            })
        };
        self.status.report.policies.iter().flat_map(of).collect()
    }

    /// What was used of each limit, as a share of it. `used`: by the last evaluation, or by the worst.
    fn limit_shares(&self, used: impl Fn(&LimitReport) -> Option<u64>) -> Vec<(Labels, f64)> {
        let of = |policy: &PolicyReport| -> Vec<(Labels, f64)> {
            let share = |limit: &LimitReport| {
                let labels = vec![("policy", policy.name.clone()), ("limit", limit.limit.to_string())];
                Some((labels, used(limit)? as f64 / limit.most.max(1) as f64))
            };
            policy.limits.iter().filter_map(share).collect()
        };
        self.status.report.policies.iter().flat_map(of).collect()
    }

    fn of_limit(&self, which: Limit, value: impl Fn(&LimitReport) -> Option<f64>) -> Vec<(Labels, f64)> {
        let of = |policy: &PolicyReport| {
            let limit = policy.limits.iter().find(|limit| limit.limit == which)?;
            Some((vec![("policy", policy.name.clone())], value(limit)?))
        };
        self.status.report.policies.iter().filter_map(of).collect()
    }

    fn encode_limits(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let most = |limit: &LimitReport| Some(limit.most as f64);
        let seconds = |limit: &LimitReport| Some(Duration::from_micros(limit.most).as_secs_f64());
        let help = "Share of each limit that the last evaluation used";
        out.each("ruleward_policy_limit_used_ratio", help, &self.limit_shares(|limit| limit.last))?;
        let help = "The largest share of each limit that an evaluation used since the policy was loaded";
        out.each("ruleward_policy_limit_worst_ratio", help, &self.limit_shares(|limit| limit.worst))?;
        let memory = self.of_limit(Limit::Memory, |limit| Some(limit.last? as f64));
        out.each("ruleward_policy_memory_bytes", "Linear memory that the last evaluation used", &memory)?;
        let memory = self.of_limit(Limit::Memory, most);
        out.each("ruleward_policy_memory_limit_bytes", "Linear memory that an evaluation may use", &memory)?;
        let time = self.of_limit(Limit::Time, seconds);
        out.each("ruleward_policy_time_limit_seconds", "Time that an evaluation may take", &time)?;
        let fuel = self.of_limit(Limit::Fuel, most);
        out.each("ruleward_policy_fuel_limit", "Fuel that an evaluation may use", &fuel)
    }

    fn awaiting(&self) -> Vec<(Labels, u64)> {
        let of = |policy: &PolicyReport| {
            let own = self.status.report.awaiting.iter().filter(|one| one.policy == policy.name);
            own.count() as u64
        };
        self.policies(of)
    }

    fn policy_info(&self) -> Vec<(Labels, u64)> {
        let of = |policy: &PolicyReport| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let labels = vec![
                ("policy", policy.name.clone()),
                ("version", text(&policy.version)),
                ("digest", text(&policy.digest)),
            ];
            (labels, 1)
        };
        self.status.report.policies.iter().map(of).collect()
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.status;
        let mut out = Out(&mut encoder);
        let build = vec![("version", status.version.clone()), ("node", status.node_name.clone())];
        out.each("ruleward_build_info", "Version of the program", &[(build, 1)])?;
        out.one(
            "ruleward_in_sync",
            "Whether the kernel shows what the policies ask for",
            f64::from(status.report.in_sync),
        )?;
        if let Some(age) = self.in_sync_for {
            let help = "Time since the kernel was last found as the policies ask for; 0 while it is and nothing says otherwise";
            out.one("ruleward_sync_age_seconds", help, age.as_secs_f64())?;
        }
        if let Some(at) = status.last_check.as_deref().and_then(|at| humantime::parse_rfc3339(at).ok()) {
            out.one("ruleward_last_check_timestamp_seconds", "When the last check ended", unix(at))?;
        }
        out.one("ruleward_problems", "Problems that `ruleward status` shows", status.report.problems.len() as f64)?;
        out.one("ruleward_fights", "Places where another program keeps undoing repairs", status.fights.len() as f64)?;
        let missing = status.fights.iter().filter(|fight| fight.missing_since.is_some()).count();
        out.one("ruleward_fights_missing", "Those of them that are out of sync now", missing as f64)?;
        let help = "Whether no packet meets any rule of a policy: none is enabled, or all attachments wait";
        out.one("ruleward_nothing_enforced", help, f64::from(status.report.nothing_enforced.is_some()))?;
        out.each(
            "ruleward_attachments_waiting",
            "Attachments that wait for a chain that does not exist",
            &self.awaiting(),
        )?;
        let help = "Time for which reading configuration, components and resources has hung; 0 while none hangs";
        out.one("ruleward_files_unseen_seconds", help, self.unseen.as_secs_f64())?;
        let help = "Whether the running check waits, such as for the xtables lock";
        out.one("ruleward_waiting", help, f64::from(status.waiting.is_some()))?;
        out.each(
            "ruleward_rules",
            "Rules in force, by the policy that declares them",
            &self.places(|counts| counts.rules),
        )?;
        out.each(
            "ruleward_chains",
            "Chains in force, by the policy that declares them",
            &self.places(|counts| counts.chains),
        )?;
        out.each("ruleward_policy_info", "Version and digest of each policy", &self.policy_info())?;
        out.each("ruleward_policy_state", "Which answer of the policy counts", &self.policy_states())?;
        let help = "Whether the policy's present answer is not the one in force; `ruleward status` has the reason";
        out.each("ruleward_policy_refused", help, &self.policies(is_refused))?;
        out.each(
            "ruleward_policy_sets",
            "Address sets that the policy asks for",
            &self.policies(|policy| policy.sets as u64),
        )?;
        out.each(
            "ruleward_policy_warnings",
            "What the policy warned of when it gave the answer that counts; `ruleward status` has the lines",
            &self.policies(|policy| policy.warnings.len() as u64),
        )?;
        self.encode_limits(&mut out)?;
        self.process.encode(&mut out)
    }
}

/// One that waits is not.
fn is_refused(policy: &PolicyReport) -> u64 {
    u64::from(policy.reason.is_some() && policy.state != PolicyState::Waiting)
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Writes gauges.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn one(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn each<L, V>(&mut self, name: &str, help: &str, values: &[(L, V)]) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: Copy + EncodeGaugeValue,
    {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(*value).encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }
}

/// The process, under the names that Prometheus' own clients use.
#[derive(Debug, Default)]
struct Process {
    resident: Option<u64>,
    descriptors: Option<u64>,
    cpu: f64,
}

impl Process {
    fn read() -> Self {
        let page = rustix::param::page_size() as u64;
        let statm = std::fs::read_to_string("/proc/self/statm").ok();
        let resident = statm.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        // The folder that is being read is one of them.
        let descriptors =
            std::fs::read_dir("/proc/self/fd").ok().map(|folder| (folder.count() as u64).saturating_sub(1));
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(time).unwrap_or_default().as_secs_f64();
        Self { resident: resident.map(|pages| pages * page), descriptors, cpu }
    }

    fn encode(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        out.counter("process_cpu_seconds", "Processor time that this process has used", self.cpu)?;
        if let Some(bytes) = self.resident {
            out.one("process_resident_memory_bytes", "Memory that this process holds", bytes as f64)?;
        }
        if let Some(open) = self.descriptors {
            out.one("process_open_fds", "File descriptors that this process has open", open as f64)?;
        }
        Ok(())
    }
}
