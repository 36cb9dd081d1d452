//! What one call into a policy may use. Every limit has a default that is generous for a node and small for a
//! machine; whoever goes over one is told its name, its value and its configuration key.

use std::time::Duration;

/// Limits of one policy. They hold for each call, because each call has an instance of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of all the policy's core instances together, bytes.
    pub memory: u64,
    /// Wall time of one call, instantiation included. Reading the answer is bounded by [`Limits::output`] instead.
    pub time: Duration,
    /// Wasmtime's fuel, about one unit for an executed WebAssembly instruction.
    pub fuel: u64,
    /// Core instances (a component is made of several).
    pub instances: usize,
    /// Tables of all core instances.
    pub tables: usize,
    /// Linear memories of all core instances.
    pub memories: usize,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Chains in a contribution.
    pub chains: u64,
    /// Rules in a contribution, attachments included.
    pub rules: u64,
    /// Address sets in a contribution.
    pub sets: u64,
    /// Members of all address sets together.
    pub members: u64,
    /// Lines that reach the log; what is over is counted.
    pub log_lines: u64,
    /// Bytes of one log line; what is over is cut.
    pub log_line_bytes: usize,
    /// Bytes that the host allocates for one answer (or one log line). A rule with four matches needs about 400.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            time: Duration::from_secs(1),
            fuel: 1_000_000_000,
            instances: 64,
            tables: 64,
            memories: 16,
            table_elements: 1_000_000,
            chains: 4096,
            rules: 100_000,
            sets: 1024,
            members: 1_000_000,
            log_lines: 100,
            log_line_bytes: 1024,
            output: 64 << 20,
        }
    }
}
