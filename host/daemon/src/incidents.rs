//! Incidents: what others did to rules that had been committed, numbered, and told to the operator in one log line each.
//!
//! The log can't be flooded: in each minute at most [`LINES_A_MINUTE`] incidents get a line of their own, the others
//! are counted in one. All of them are in the reports, with at most [`KEPT_LINES`] rules each.

use std::time::{Duration, SystemTime};

use ruleward_core::drift::{Drift, Kind};

use crate::report::{Incident, lines, milliseconds, timestamp};

/// How many incidents a minute are logged one by one.
pub const LINES_A_MINUTE: u32 = 60;
/// How many added and how many removed rules an incident keeps.
pub const KEPT_LINES: usize = 100;

const MINUTE: Duration = Duration::from_secs(60);

/// What became of the drift that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Whether all is right again.
    pub repaired: bool,
    /// By which means (`iptables-restore`), or why not.
    pub how: String,
    /// From seeing the drift to the end of the repair.
    pub took: Duration,
}

/// Numbers and logs incidents.
#[derive(Debug, Default)]
pub struct Incidents {
    last_id: u64,
    minute: Option<SystemTime>,
    logged: u32,
    unlogged: u64,
}

impl Incidents {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an incident of each drift, all with the same repair, and logs them.
    pub fn record(&mut self, drifts: &[Drift], repair: &Repair, at: SystemTime) -> Vec<Incident> {
        drifts
            .iter()
            .map(|drift| {
                let incident = self.number(drift, repair, at);
                if self.may_log(at) {
                    log(&incident);
                }
                incident
            })
            .collect()
    }

    fn number(&mut self, drift: &Drift, repair: &Repair, at: SystemTime) -> Incident {
        self.last_id += 1;
        let kept = |all: &[String]| lines(drift, &all[..all.len().min(KEPT_LINES)]);
        Incident {
            id: self.last_id,
            at: timestamp(at),
            family: drift.family,
            table: drift.table,
            chain: drift.chain.clone(),
            kind: drift.kind,
            detail: detail(drift),
            added: kept(&drift.added),
            removed: kept(&drift.removed),
            repaired: repair.repaired,
            how: repair.how.clone(),
            took_ms: milliseconds(repair.took),
            author: "unknown".to_owned(),
        }
    }

    /// Whether one more line fits into this minute.
    fn may_log(&mut self, at: SystemTime) -> bool {
        // A clock that was set back begins a new minute as well.
        let same_minute =
            self.minute.is_some_and(|begin| at.duration_since(begin).is_ok_and(|elapsed| elapsed < MINUTE));
        if !same_minute {
            if self.unlogged > 0 {
                tracing::warn!("{} more incidents had no log line of their own; see `ruleward status`", self.unlogged);
            }
            (self.minute, self.logged, self.unlogged) = (Some(at), 0, 0);
        }
        if self.logged == LINES_A_MINUTE {
            if self.unlogged == 0 {
                tracing::warn!("{LINES_A_MINUTE} incidents in a minute: the next ones are only counted");
            }
            self.unlogged += 1;
            return false;
        }
        self.logged += 1;
        true
    }
}

fn log(incident: &Incident) {
    let Incident { id, kind, detail, how, took_ms, .. } = incident;
    let (kind, place) = (kind.as_str(), place(incident));
    if incident.repaired {
        tracing::warn!("incident {id}: {kind} in {place}: {detail}; repaired by {how} in {took_ms:.1} ms");
    } else {
        tracing::error!("incident {id}: {kind} in {place}: {detail}; NOT repaired: {how}");
    }
}

/// `IPv4 nat POSTROUTING`, or `set NAME`.
pub fn place(incident: &Incident) -> String {
    match (incident.family, incident.table) {
        (Some(family), Some(table)) => format!("{family} {table} {}", incident.chain).trim_end().to_owned(),
        _ => format!("set {}", incident.chain),
    }
}

/// What happened, in words; the rule itself if it is one.
fn detail(drift: &Drift) -> String {
    let what = match drift.family {
        Some(_) => "rule",
        None => "member",
    };
    let count = |lines: &[String]| match lines {
        [one] => format!("`{one}`"), // logs and screens escape control characters
        many if many.len() > KEPT_LINES => format!("{} {what}s (the first {KEPT_LINES} are kept)", many.len()),
        many => format!("{} {what}s", many.len()),
    };
    match (drift.added.as_slice(), drift.removed.as_slice(), drift.kind) {
        ([], [], Kind::ChainFlushed | Kind::ChainDeleted) => "it has no rules".to_owned(),
        ([], [], Kind::ChainAdded) => "an empty chain that no policy wants".to_owned(),
        ([], [], _) => "nothing but its place or options".to_owned(),
        (added, [], _) => format!("{} missing", count(added)),
        ([], removed, _) => format!("{} too many", count(removed)),
        ([added], [removed], Kind::RuleMoved) if added == removed => {
            format!("{} in the wrong place", count(std::slice::from_ref(added)))
        }
        (added, removed, _) => format!("{} missing, {} too many", count(added), count(removed)),
    }
}

#[cfg(test)]
mod tests {
    use ruleward_core::names::{Family, Table};

    use super::*;

    fn drift(kind: Kind, added: &[&str], removed: &[&str]) -> Drift {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Drift {
            family: Some(Family::Ipv4),
            table: Some(Table::Nat),
            chain: "POSTROUTING".to_owned(),
            kind,
            added: strings(added),
            removed: strings(removed),
        }
    }

    fn repair() -> Repair {
        Repair { repaired: true, how: "iptables-restore".to_owned(), took: Duration::from_micros(12_345) }
    }

    #[test]
    fn an_incident_says_what_where_how_and_how_long() {
        let mut incidents = Incidents::new();
        let jump = drift(Kind::RuleDeleted, &["-m comment --comment \"cali:a\" -j cali-POSTROUTING"], &[]);
        let recorded = incidents.record(&[jump.clone(), jump], &repair(), SystemTime::UNIX_EPOCH);
        assert_eq!(recorded.iter().map(|incident| incident.id).collect::<Vec<_>>(), [1, 2]);
        let first = &recorded[0];
        assert_eq!(first.at, "1970-01-01T00:00:00.000Z");
        assert_eq!(place(first), "IPv4 nat POSTROUTING");
        assert_eq!(first.added, ["-A POSTROUTING -m comment --comment \"cali:a\" -j cali-POSTROUTING"]);
        assert_eq!(first.took_ms, 12.345);
        assert!(first.detail.ends_with(" missing"), "{}", first.detail);
    }

    #[test]
    fn a_flood_is_counted_not_logged_and_a_long_chain_is_shortened() {
        let mut incidents = Incidents::new();
        let start = SystemTime::UNIX_EPOCH + MINUTE;
        let logged = (0..200).filter(|_| incidents.may_log(start)).count();
        assert_eq!(logged, LINES_A_MINUTE as usize);
        assert_eq!(incidents.unlogged, 200 - u64::from(LINES_A_MINUTE));
        assert!(incidents.may_log(start + MINUTE));
        assert!(incidents.may_log(start), "a clock that was set back begins a new minute");

        let many: Vec<&str> = vec!["-j ACCEPT"; 500];
        let recorded = incidents.record(&[drift(Kind::ChainFlushed, &many, &[])], &repair(), start);
        assert_eq!(recorded[0].added.len(), KEPT_LINES);
        assert_eq!(recorded[0].detail, "500 rules (the first 100 are kept) missing");
    }
}
