//! Who changed what is ours: a process, as far as the kernel tells.
//!
//! What is not known stays unknown; nothing here is guessed. Names and command lines come from that process and are
//! hostile input: whoever shows them escapes them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word for an author of whom nothing is known.
pub const UNKNOWN: &str = "unknown";

/// A process that changed something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Author {
    /// The kernel's name of it, at most 15 bytes; [`UNKNOWN`] if nothing is known.
    pub name: String,
    /// Its id in the host's pid namespace.
    pub pid: Option<u32>,
    /// Its words, joined by spaces, at most 1,000 characters.
    pub command_line: Option<String>,
    /// Its control group, which names its container or unit: `/system.slice/docker-4f....scope`.
    pub cgroup: Option<String>,
    /// Who started it.
    pub parent: Option<Parent>,
}

/// The process that started another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parent {
    /// The kernel's name of it.
    pub name: String,
    /// Its id.
    pub pid: u32,
}

impl Default for Author {
    fn default() -> Self {
        Self { name: UNKNOWN.to_owned(), pid: None, command_line: None, cgroup: None, parent: None }
    }
}

impl Author {
    /// Nobody that is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.pid.is_some() || self.is_named()
    }

    /// Whether its name is known. Of who ended at once there may be an id alone.
    pub fn is_named(&self) -> bool {
        self.name != UNKNOWN
    }
}

impl fmt::Display for Author {
    /// `iptables (pid 4711: iptables -t nat -D POSTROUTING 1; in /user.slice; started by bash, pid 4242)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let Some(pid) = self.pid else { return Ok(()) };
        write!(f, " (pid {pid}")?;
        if let Some(words) = &self.command_line {
            write!(f, ": {words}")?;
        }
        if let Some(cgroup) = &self.cgroup {
            write!(f, "; in {cgroup}")?;
        }
        if let Some(parent) = &self.parent {
            write!(f, "; started by {}, pid {}", parent.name, parent.pid)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_known_and_no_more() {
        assert_eq!(Author::unknown().to_string(), "unknown");
        assert!(!Author::unknown().is_known());
        let gone = Author { pid: Some(7), ..Author::unknown() };
        assert!(gone.is_known() && !gone.is_named());
        let mut author = Author { name: "iptables".into(), pid: Some(7), ..Author::default() };
        assert_eq!(author.to_string(), "iptables (pid 7)");
        author.command_line = Some("iptables -F".into());
        author.parent = Some(Parent { name: "bash".into(), pid: 5 });
        assert_eq!(author.to_string(), "iptables (pid 7: iptables -F; started by bash, pid 5)");
    }
}
