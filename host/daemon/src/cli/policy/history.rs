//! `policy history`: the versions of a policy, newest first, from the files.

use std::fmt::Write;
use std::path::Path;

use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::{Problem, failed};
use crate::cli::commands::state_directory;
use crate::cli::output::Output;
use crate::history::record::Header;
use crate::history::store::{Listing, Store};
use crate::report::plain::plain;
use crate::report::text::{Style, counts};

/// A record as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry<'a> {
    /// `web@17`
    record: String,
    /// Inputs that differ from those of the record before.
    changed: Vec<&'static str>,
    #[serde(flatten)]
    header: &'a Header,
}

/// Prints them; gives the exit code.
pub fn show(config: &Path, policy: &PolicyName, last: Option<usize>, output: Output) -> u8 {
    let listing = match Store::new(&state_directory(config, output)).list(policy) {
        Ok(listing) => listing,
        Err(error) => return failed(&error.into(), output),
    };
    let Listing { headers, damaged } = &listing;
    for damaged in damaged {
        failed(&Problem::Damaged(damaged.clone()), output);
    }
    if headers.is_empty() {
        return failed(&Problem::NoHistory(policy.clone()), output);
    }
    let entries: Vec<Entry<'_>> = entries(headers).take(last.unwrap_or(usize::MAX)).collect();
    output.print(&entries, |style| entries.iter().map(|entry| text(entry, style)).collect());
    0
}

fn entries(headers: &[Header]) -> impl Iterator<Item = Entry<'_>> {
    headers.iter().enumerate().map(|(at, header)| {
        let earlier = headers[at + 1..].iter().find(|earlier| earlier.mode == header.mode);
        let changed = earlier.map(|earlier| header.changes_since(earlier)).unwrap_or_default();
        Entry { record: header.name().to_string(), changed, header }
    })
}

fn text(entry: &Entry<'_>, style: Style) -> String {
    let header = entry.header;
    let outcome = match header.outcome.reason() {
        Some(_) => style.bad(header.outcome.as_str()),
        None => header.outcome.as_str().to_owned(),
    };
    let version = header.component_version.as_deref().unwrap_or("version unknown");
    let digest: String = header.component.chars().take(19).collect();
    let changed =
        if entry.changed.is_empty() { String::new() } else { format!("; changed: {}", entry.changed.join(", ")) };
    let size = counts(header.chains, header.rules, header.sets);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} {outcome}: {} ({}), {size}{changed}",
        style.head(&entry.record),
        plain(&header.at),
        plain(version),
        plain(&digest)
    );
    if let Some(reason) = header.outcome.reason() {
        let _ = writeln!(text, "  {}", plain(reason));
    }
    text
}
