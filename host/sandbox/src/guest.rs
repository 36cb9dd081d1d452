//! What the host remembers while a policy runs: its log lines so far, its memory, and which limit it met. Nothing of
//! it outlives the call.

use ruleward_core::limit::{Exceeded, Limit, Limits, Usage};
use thiserror::Error;
use wasmtime::ResourceLimiter;

/// How serious a policy says that a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For the policy's author.
    Debug,
    /// For the record.
    Info,
    /// The operator should look at it.
    Warn,
    /// Something is wrong.
    Error,
}

/// A line that a policy logged: one line, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How serious.
    pub level: LogLevel,
    /// What.
    pub message: String,
}

/// What a policy logged in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The first lines, as many as the limit allows.
    pub lines: Vec<LogLine>,
    /// How many more there were.
    pub dropped: u64,
}

/// The machine could not give what the limits allow. The call ends with it: a policy that went on without would answer
/// otherwise than on a machine that could.
#[derive(Debug, Error)]
#[error("the machine has no memory left for it: {0}")]
pub struct NoMemory(String);

/// The state of one call.
#[derive(Debug)]
pub struct Guest {
    limits: Limits,
    /// Its log.
    pub log: Log,
    memory: u64,
    table_elements: u64,
    /// The most so far, of what is seen from here: memory, table elements, log lines.
    pub usage: Usage,
    /// The first request over a limit. The policy may have gone on without.
    pub denied: Option<Exceeded>,
    /// What the last granted request added, to take it back if the system then can't serve it.
    last_memory_growth: u64,
    last_table_growth: u64,
}

impl Guest {
    /// Before the call.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            log: Log::default(),
            memory: 0,
            table_elements: 0,
            usage: Usage::default(),
            denied: None,
            last_memory_growth: 0,
            last_table_growth: 0,
        }
    }
}

/// `text` as one line of at most `most` bytes; what could move a terminal's cursor becomes `�`.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for character in text.chars() {
        let shown = match character {
            '\t' => ' ',
            // Direction overrides and line separators can forge what a line seems to say.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            other if other.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        };
        if line.len() + shown.len_utf8() > most {
            break;
        }
        line.push(shown);
    }
    line
}

impl Guest {
    /// Takes down a line that the policy logs.
    pub fn log(&mut self, level: LogLevel, message: &str) {
        self.usage[Limit::LogLines] += 1;
        let longest = &mut self.usage[Limit::LogLineSize];
        *longest = (*longest).max(message.len() as u64);
        if self.log.lines.len() as u64 >= self.limits[Limit::LogLines] {
            self.log.dropped += 1;
            return;
        }
        let message = one_line(message, self.limits.size(Limit::LogLineSize));
        self.log.lines.push(LogLine { level, message });
    }

    /// Whether so much of a resource may be in use at the same time; takes it down either way.
    fn grant(&mut self, limit: Limit, total: u64) -> bool {
        let most = self.limits[limit];
        if total > most {
            self.denied.get_or_insert(Exceeded { limit, used: total, most });
            return false;
        }
        self.usage[limit] = self.usage[limit].max(total);
        true
    }
}

/// Wasmtime's errors for a growth over what the memory or table itself declares: the same on every machine. It has no public
/// type for them; a test watches over the texts.
const OWN_MAXIMUM: [&str; 4] = [
    "memory growth exceeds memory type's limits",
    "Memory maximum size exceeded",
    "overflow calculating new table size",
    "Table maximum size exceeded",
];

/// Whether a growth failed by what the component itself declares.
fn own_maximum(error: &wasmtime::Error) -> wasmtime::Result<()> {
    let text = error.to_string();
    if OWN_MAXIMUM.contains(&text.as_str()) { Ok(()) } else { Err(NoMemory(one_line(&text, 200)).into()) }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let total = self.memory.saturating_add(growth);
        let granted = self.grant(Limit::Memory, total);
        if granted {
            self.memory = total;
            self.last_memory_growth = growth;
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.last_memory_growth));
        own_maximum(&error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let total = self.table_elements.saturating_add(growth);
        let granted = self.grant(Limit::TableElements, total);
        if granted {
            self.table_elements = total;
            self.last_table_growth = growth;
        }
        Ok(granted)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements = self.table_elements.saturating_sub(std::mem::take(&mut self.last_table_growth));
        own_maximum(&error)
    }

    fn instances(&self) -> usize {
        self.limits.size(Limit::Instances)
    }

    fn tables(&self) -> usize {
        self.limits.size(Limit::Tables)
    }

    fn memories(&self) -> usize {
        self.limits.size(Limit::Memories)
    }
}
