//! How long each step took: as lines for people, and as `target/ci-times.json` for programs. The
//! file is written after every step, so that it is there whatever ends the run.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt;
use std::fs;

use crate::workspace;

/// One step that ran.
pub struct Entry {
    name: &'static str,
    title: &'static str,
    seconds: f64,
    pub passed: bool,
    /// What it could not check.
    pub notices: Vec<String>,
    /// The tools that it installed, with the seconds that this took; part of `seconds`.
    pub installed: Vec<(String, f64)>,
}

impl Entry {
    /// A step that passed, with no notice.
    pub fn passed(name: &'static str, title: &'static str, seconds: f64) -> Self {
        Self { name, title, seconds, passed: true, notices: Vec::new(), installed: Vec::new() }
    }

    fn json(&self) -> Value {
        let installed =
            self.installed.iter().map(|(tool, seconds)| json!({ "tool": tool, "seconds": tenth(*seconds) }));
        json!({
            "step": self.name,
            "title": self.title,
            "seconds": tenth(self.seconds),
            "passed": self.passed,
            "installed": installed.collect::<Vec<_>>(),
            "not_checked": self.notices,
        })
    }
}

/// All steps that ran, in their order.
#[derive(Default)]
pub struct Times(Vec<Entry>);

impl Times {
    /// Adds a step and writes the file.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        self.0.push(entry);
        let file = workspace::target_dir().join("ci-times.json");
        fs::create_dir_all(workspace::target_dir())?;
        fs::write(&file, self.json() + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    fn json(&self) -> String {
        let steps: Vec<Value> = self.0.iter().map(Entry::json).collect();
        let seconds: f64 = self.0.iter().map(|entry| entry.seconds).sum();
        let passed = self.0.iter().all(|entry| entry.passed);
        format!("{:#}", json!({ "seconds": tenth(seconds), "passed": passed, "steps": steps }))
    }
}

fn tenth(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.0 {
            let end = if entry.passed { "" } else { "  FAILED" };
            writeln!(f, "{:5.0} s  {}{end}", entry.seconds, entry.title)?;
            for (tool, seconds) in &entry.installed {
                writeln!(f, "         {seconds:.0} s of it to install {tool}")?;
            }
            for notice in &entry.notices {
                writeln!(f, "         !!! {notice}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let mut book = Entry::passed("book", "mdbook build", 61.24);
        book.installed.push(("mdbook 0.5.2".into(), 60.0));
        let mut deny = Entry::passed("deny", "cargo deny check", 3.0);
        deny.passed = false;
        deny.notices.push("advisories were NOT checked".into());
        Times(vec![book, deny])
    }

    #[test]
    fn people_read_lines() {
        let lines = "   61 s  mdbook build\n         60 s of it to install mdbook 0.5.2\n    \
                     3 s  cargo deny check  FAILED\n         !!! advisories were NOT checked\n";
        assert_eq!(times().to_string(), lines);
    }

    #[test]
    fn programs_read_json() {
        let read: Value = serde_json::from_str(&times().json()).unwrap();
        assert_eq!(read["passed"], false);
        assert_eq!(read["seconds"], 64.2);
        assert_eq!(read["steps"][0]["installed"][0]["tool"], "mdbook 0.5.2");
        assert_eq!(read["steps"][1]["not_checked"][0], "advisories were NOT checked");
    }
}
