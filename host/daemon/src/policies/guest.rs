//! What the host remembers while a policy runs: its log lines so far, its memory, and which limit it met. Nothing of
//! it outlives the call.

use wasmtime::ResourceLimiter;

use super::contract_v0_1::ruleward::policy::{log, types};
use super::limits::Limits;

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

/// Which resource a policy asked for and did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Linear memory; so many bytes would have been in use.
    Memory(u64),
    /// Table elements; so many would have been in use.
    TableElements(u64),
}

/// The state of one call.
#[derive(Debug)]
pub struct Guest {
    limits: Limits,
    /// Its log.
    pub log: Log,
    memory: u64,
    /// Most bytes of linear memory at a time.
    pub peak_memory: u64,
    table_elements: u64,
    /// The first request over a limit. The policy may have gone on without.
    pub denied: Option<Denied>,
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
            peak_memory: 0,
            table_elements: 0,
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

impl log::Host for Guest {
    fn emit(&mut self, level: log::Level, message: String) {
        if self.log.lines.len() as u64 >= self.limits.log_lines {
            self.log.dropped += 1;
            return;
        }
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        let message = one_line(&message, self.limits.log_line_bytes);
        self.log.lines.push(LogLine { level, message });
    }
}

impl types::Host for Guest {}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let total = self.memory.saturating_add(growth);
        if total > self.limits.memory {
            self.denied.get_or_insert(Denied::Memory(total));
            return Ok(false);
        }
        self.memory = total;
        self.last_memory_growth = growth;
        self.peak_memory = self.peak_memory.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.last_memory_growth));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let total = self.table_elements.saturating_add(growth);
        if total > self.limits.table_elements {
            self.denied.get_or_insert(Denied::TableElements(total));
            return Ok(false);
        }
        self.table_elements = total;
        self.last_table_growth = growth;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements = self.table_elements.saturating_sub(std::mem::take(&mut self.last_table_growth));
        Ok(())
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}
