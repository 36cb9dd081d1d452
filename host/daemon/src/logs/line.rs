//! One log line, and the forms in which it is written.

use std::fmt::{self, Write};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use super::Level;
use ruleward_report::plain::plain;
use ruleward_report::timestamp;

/// Bytes of a message that are kept: journald and many others cut longer lines in two.
const LONGEST: usize = 32 << 10;

/// An event as it is logged. The message says everything; fields say parts of it again, for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    time: SystemTime,
    level: Level,
    target: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// What an event says.
    pub fn of(event: &Event<'_>, time: SystemTime) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            time,
            level: Level::of(metadata.level()),
            target: metadata.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        if line.message.len() > LONGEST {
            line.message.truncate(line.message.floor_char_boundary(LONGEST));
            line.message.push_str("...");
        }
        line
    }

    #[cfg(test)]
    pub fn saying(message: &str) -> Self {
        let (time, fields) = (SystemTime::UNIX_EPOCH, Vec::new());
        Self { time, level: Level::Info, target: "ruleward", message: message.to_owned(), fields }
    }

    /// A field that is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name)?.1.as_str()
    }

    /// Adds to the end of the message.
    pub fn add(&mut self, text: String) {
        self.message += &text;
    }

    /// For people.
    pub fn text(&self, with_time: bool, colours: bool) -> String {
        let mut text = String::with_capacity(self.message.len() + 48);
        if with_time {
            text.push_str(&timestamp(self.time));
            text.push(' ');
        }
        let (colour, end) = match self.level {
            _ if !colours => ("", ""),
            Level::Error => ("\u{1b}[31m", "\u{1b}[0m"),
            Level::Warn => ("\u{1b}[33m", "\u{1b}[0m"),
            Level::Info => ("\u{1b}[32m", "\u{1b}[0m"),
            Level::Debug | Level::Trace => ("\u{1b}[2m", "\u{1b}[0m"),
        };
        let level = self.level.as_str().to_uppercase();
        let _ = write!(text, "{colour}{level:>5}{end} "); // a string takes everything
        text.push_str(&plain(&self.message));
        text.push('\n');
        text
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        let mut all = Map::new();
        all.insert("time".to_owned(), timestamp(self.time).into());
        all.insert("level".to_owned(), self.level.as_str().into());
        all.insert("message".to_owned(), self.message.as_str().into());
        all.insert("module".to_owned(), self.target.into());
        for (name, value) in &self.fields {
            all.entry(name.replace('_', "-")).or_insert_with(|| value.clone());
        }
        Value::Object(all).to_string() + "\n"
    }

    /// In journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): each value with its length, so that no text can
    /// forge a field.
    pub fn journal(&self) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.message.len() + 256);
        let mut field = |name: &str, value: &str| {
            entry.extend(name.bytes());
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
            entry.extend(value.bytes());
            entry.push(b'\n');
        };
        let priority = match self.level {
            Level::Error => "3",
            Level::Warn => "4",
            Level::Info => "6",
            Level::Debug | Level::Trace => "7",
        };
        field("MESSAGE", &self.message);
        field("PRIORITY", priority);
        field("SYSLOG_IDENTIFIER", "ruleward");
        field("CODE_MODULE", self.target);
        for (name, value) in &self.fields {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            field(&format!("RULEWARD_{}", name.to_uppercase()), &text);
        }
        entry
    }

    fn keep(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.keep(field, text.into()) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.keep(field, value.into()) }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(message: &str) -> Line {
        let fields = vec![("chain", Value::from("cali-x\nPRIORITY=0")), ("actor_pid", Value::from(7))];
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        Line { time, level: Level::Warn, target: "ruleward::x", message: message.to_owned(), fields }
    }

    #[test]
    fn an_event_can_not_forge_a_line() {
        let line = line("INFO a\nERROR b\r\n");
        assert_eq!(line.text(false, false), " WARN INFO a\\nERROR b\\r\\n\n");
        assert_eq!(line.text(true, false), "1970-01-01T00:00:01.500Z  WARN INFO a\\nERROR b\\r\\n\n");
        assert_eq!(line.json().lines().count(), 1);
    }

    #[test]
    fn json_has_the_fields_beside_the_message() {
        let value: Value = serde_json::from_str(&line("hello").json()).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:01.500Z", "level": "warn", "message": "hello", "module": "ruleward::x",
            "chain": "cali-x\nPRIORITY=0", "actor-pid": 7,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn journal_fields_have_lengths_and_can_not_be_forged() {
        let entry = line("a\nPRIORITY=0\n").journal();
        let mut fields = Vec::new();
        let mut rest = &entry[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let length = u64::from_le_bytes(rest[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = &rest[end + 9..end + 9 + length];
            fields.push((String::from_utf8(rest[..end].to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
            assert_eq!(rest[end + 9 + length], b'\n');
            rest = &rest[end + 10 + length..];
        }
        let expected = [
            ("MESSAGE", "a\nPRIORITY=0\n"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "ruleward"),
            ("CODE_MODULE", "ruleward::x"),
            ("RULEWARD_CHAIN", "cali-x\nPRIORITY=0"),
            ("RULEWARD_ACTOR_PID", "7"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
