//! Policies in this process: an engine with a cache of its own, a clock that counts this thread's work alone, and what a
//! policy sees.

use std::path::Path;
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::names::{Backend, PolicyName};
use ruleward_sandbox::{Compiler, Limit, Limits, LoadedPolicy, PolicyEngine, PolicyEngineOptions};
use ruleward_tests::binary;
use tempfile::TempDir;

use crate::sample::Sample;

/// Python's interpreter takes long to compile.
const TIMEOUT: Duration = Duration::from_secs(600);

/// An engine whose cache goes with it.
pub struct Engine {
    engine: PolicyEngine,
    _state: TempDir,
}

impl Engine {
    /// With an empty cache.
    pub fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let compiler = Compiler { program: binary(), timeout: TIMEOUT, ..Compiler::default() };
        let options = PolicyEngineOptions { compiler, ..PolicyEngineOptions::new(state.path()) };
        Self { engine: PolicyEngine::new(options).unwrap(), _state: state }
    }

    /// A component, compiled if it is not in the cache.
    pub fn load(&self, component: &Path, limits: &Limits) -> LoadedPolicy {
        self.engine.load(&PolicyName::new("policy").unwrap(), component, limits).unwrap()
    }
}

/// None that a measurement meets.
pub fn limits() -> Limits {
    Limits::default().with(Limit::Time, 60_000_000).with(Limit::Fuel, u64::MAX >> 1)
}

/// Milliseconds of processor time of so many runs, after two to warm up.
pub fn times(repetitions: usize, mut run: impl FnMut()) -> Sample {
    run();
    run();
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = processor_time();
        run();
        times.push(processor_time() - start);
    }
    Sample::new(times)
}

/// What this thread has used, milliseconds.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// A node without interfaces and resources.
pub fn facts(families: Families) -> Facts {
    let system = System { kernel: Version(6, 12, 0), iptables: Version(1, 8, 9), backend: Backend::Nft, families };
    Facts {
        node_name: "node".to_owned(),
        system,
        interfaces: Vec::new(),
        resources: Vec::new(),
        nft_tables: Vec::new(),
    }
}

/// The same, as a policy sees it.
pub fn native_facts(families: ruleward_sdk::Families) -> ruleward_sdk::Facts {
    let version = |major, minor, patch| ruleward_sdk::Version { major, minor, patch };
    ruleward_sdk::Facts {
        node_name: "node".into(),
        system: ruleward_sdk::System {
            kernel: version(6, 12, 0),
            iptables: version(1, 8, 9),
            backend: ruleward_sdk::Backend::Nft,
            random_fully: true,
            families,
            nft_tables: Vec::new(),
        },
        interfaces: Vec::new(),
        resources: Vec::new(),
        granted: ruleward_sdk::Ownership::default(),
    }
}
