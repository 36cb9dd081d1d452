//! What the measurements of policies share: a clock that counts this thread's work alone, and a node.

use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::names::Backend;

/// Milliseconds of processor time of so many runs, after two to warm up.
pub fn times(repetitions: usize, mut run: impl FnMut()) -> Vec<f64> {
    run();
    run();
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = processor_time();
        run();
        times.push(processor_time() - start);
    }
    times
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
