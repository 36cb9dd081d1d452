//! An incident for people, as `ruleward incidents` shows it: one block with what, when, where, who, how fast, and the
//! rules as the lines of a diff: `+` was put back, `-` was removed.

use std::fmt::Write;

use super::plain::plain;
use super::text::{Style, repair};
use super::{Incident, actors};

/// The block of one incident, without anything that could leave it.
pub fn block(incident: &Incident, style: Style) -> String {
    let mut text = String::new();
    let Incident { id, kind, times, events, .. } = incident;
    let heading = format!("#{id} {} in {}", kind.as_str(), plain(&incident.place()));
    let _ = writeln!(text, "{} {}", plain(&incident.at), style.head(&heading));
    let _ = writeln!(text, "  what: {}", plain(&incident.detail));
    if *times > 1 {
        let _ = writeln!(text, "  times: {times}, the last at {}", plain(&incident.last_at));
    }
    for (number, line) in actors::lines(&incident.actors, incident.more_actors).iter().enumerate() {
        let _ = writeln!(text, "  {} {line}", if number == 0 { "who:" } else { "    " });
    }
    let detected = match events {
        0 => "by comparison".to_owned(),
        1 => "by 1 event".to_owned(),
        many => format!("by {many} events"),
    };
    let _ = writeln!(text, "  detected: {detected}");
    let _ = writeln!(text, "  result: {}", repair(incident, style));
    for line in &incident.removed {
        let _ = writeln!(text, "    {}", style.paint("31", &format!("- {}", plain(line))));
    }
    for line in &incident.added {
        let _ = writeln!(text, "    {}", style.paint("32", &format!("+ {}", plain(line))));
    }
    text
}
