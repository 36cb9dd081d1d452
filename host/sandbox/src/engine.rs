//! The one engine in which all policies run. Its settings make an evaluation repeatable: no threads, one bit pattern
//! for NaN, relaxed SIMD with fixed results. They also bound it: fuel, an epoch that the watchdog advances, a small
//! stack. The same settings compile components in the child process, so that what it makes can be mapped here.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy};

use super::contract::SERVED;
use super::guest::Guest;
use super::watchdog::Watchdog;
use ruleward_files::digest::hex;

/// Bytes of stack that a policy may use; the thread that calls it must have as much, and some for the host.
pub const GUEST_STACK: usize = 512 << 10;

/// The engine, what it serves to policies, and the watchdog.
pub struct Sandbox {
    /// Runs code.
    pub engine: Engine,
    /// What policies may import: `log` of each version of the contract, nothing else.
    pub linker: Linker<Guest>,
    /// Ends calls that take too long.
    pub watchdog: Watchdog,
    /// See [`fingerprint`].
    pub fingerprint: String,
}

/// The engine, as the daemon and the compiling child both use it.
///
/// # Errors
/// When this machine's processor can't run wasmtime's code.
pub fn engine() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// The same for compiling, on several threads or on one. What comes out is the same.
///
/// # Errors
/// As [`engine`].
pub fn compiling(in_parallel: bool) -> wasmtime::Result<Engine> {
    Engine::new(config().parallel_compilation(in_parallel))
}

/// Its settings.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

/// Makes the sandbox.
///
/// # Errors
/// When the engine or the watchdog's thread can't be made.
pub fn sandbox() -> wasmtime::Result<Sandbox> {
    let engine = engine()?;
    let mut linker = Linker::new(&engine);
    SERVED.iter().try_for_each(|version| (version.serve)(&mut linker))?;
    let watchdog = Watchdog::start(&engine)?;
    let fingerprint = fingerprint(&engine);
    Ok(Sandbox { engine, linker, watchdog, fingerprint })
}

/// Names everything that decides whether compiled code fits this engine: wasmtime's version, settings, processor.
pub fn fingerprint(engine: &Engine) -> String {
    struct Feed(Sha256);
    impl Hasher for Feed {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut feed = Feed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut feed);
    hex(&feed.0.finalize())
}
