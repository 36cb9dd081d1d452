//! Address sets in the words of ipset: what `ipset list` shows, and what a set should hold.
//!
//! Two sets are the same when type, options and members are. Options that the kernel chooses or grows by itself
//! (`hashsize`, `bucketsize`, `initval`) are left out of every comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use thiserror::Error;

use crate::bytes;
use crate::contribution::{AddressSet, SetMember};
use crate::members::{Collected, Members};
use crate::names::Family;
use crate::set_words;

/// A set as ipset lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedSet {
    /// `hash:net`
    pub kind: String,
    /// `family inet maxelem 65536`, without the kernel's own numbers.
    pub options: String,
    /// Rules and other sets that use it.
    pub references: u32,
    /// Sorted.
    pub members: Members,
}

/// Why text is not an `ipset list`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the list of sets is not understood: {text:?}")]
pub struct ListError {
    /// From 1.
    pub line: usize,
    /// The line, cut to its first 120 characters.
    pub text: String,
}

/// A set that is being read.
#[derive(Debug)]
struct Reading {
    name: String,
    set: ObservedSet,
    members: Collected,
}

/// Reads the output of `ipset list` as it comes, of all sets or of several one after the other. It
/// holds no more of a set than what becomes of it.
#[derive(Debug, Default)]
pub struct ListReader {
    sets: BTreeMap<String, ObservedSet>,
    current: Option<Reading>,
    in_members: bool,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// Lines so far.
    lines: usize,
    error: Option<ListError>,
}

impl ListReader {
    /// More of the output.
    pub fn push(&mut self, output: &[u8]) {
        let mut lines = output.split(|byte| *byte == b'\n');
        let Some(last) = lines.next_back() else { return };
        for line in lines {
            if self.rest.is_empty() {
                self.line(line);
            } else {
                self.rest.extend_from_slice(line);
                let line = std::mem::take(&mut self.rest);
                self.line(&line);
            }
        }
        self.rest.extend_from_slice(last);
    }

    /// All sets, when that was all.
    ///
    /// # Errors
    /// When a line has no place in it.
    pub fn finish(mut self) -> Result<BTreeMap<String, ObservedSet>, ListError> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.line(&rest);
        }
        self.end_set();
        self.error.map_or(Ok(self.sets), Err)
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        match std::str::from_utf8(line) {
            Ok(line) if line.is_ascii() => self.text(line),
            _ => self.text(&bytes::decode(line.to_vec())),
        }
    }

    fn text(&mut self, line: &str) {
        if let (true, Some(Reading { members, .. })) = (self.in_members, &mut self.current)
            && members.last().is_some_and(has_open_quote)
        {
            members.extend_last("\n");
            return members.extend_last(line);
        }
        if line.is_empty() {
            return self.end_set();
        }
        if let Some(name) = line.strip_prefix("Name: ") {
            self.end_set();
            let (set, members) = (ObservedSet::default(), Collected::default());
            self.current = Some(Reading { name: name.to_owned(), set, members });
            return;
        }
        let lines = self.lines;
        let error = || ListError { line: lines, text: line.chars().take(120).collect() };
        let Some(Reading { set, members, .. }) = &mut self.current else {
            self.error.get_or_insert_with(error);
            return;
        };
        if self.in_members {
            members.push(&set_words::without_counters(line));
        } else if line == "Members:" {
            self.in_members = true;
        } else {
            // The rest of a name with a line break: it can be no name of ours.
            let Some((key, value)) = line.split_once(':') else { return };
            match (key, value.trim().parse()) {
                ("Type", _) => value.trim().clone_into(&mut set.kind),
                ("Header", _) => set.options = comparable_options(value),
                ("References", Ok(references)) => set.references = references,
                ("References", Err(_)) => _ = self.error.get_or_insert_with(error),
                _ => {}
            }
        }
    }

    fn end_set(&mut self) {
        self.in_members = false;
        if let Some(Reading { name, set, members }) = self.current.take() {
            self.sets.insert(name, ObservedSet { members: members.finish().to_sorted(), ..set });
        }
    }
}

/// Reads the whole output of `ipset list`.
///
/// # Errors
/// When a line has no place in it.
pub fn parse_list(text: &str) -> Result<BTreeMap<String, ObservedSet>, ListError> {
    let mut list = ListReader::default();
    list.push(text.as_bytes());
    list.finish()
}

/// A comment may hold a line break, and no quote.
fn has_open_quote(member: &str) -> bool {
    member.bytes().filter(|byte| *byte == b'"').count() % 2 == 1
}

fn comparable_options(header: &str) -> String {
    let mut kept = Vec::new();
    let mut words = header.split_whitespace();
    while let Some(word) = words.next() {
        if matches!(word, "hashsize" | "bucketsize" | "initval") {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Members of a set as another one takes them that is made with other options: without what that one does not hold.
pub fn kept_members<'a>(members: impl Iterator<Item = &'a str>, create: &str) -> Vec<String> {
    let holds = |option: &str| create.split(' ').any(|word| word == option);
    let (timeout, comment, skbinfo) = (holds("timeout"), holds("comment"), holds("skbinfo"));
    members
        .map(|member| {
            let mut words = crate::quote::words(member);
            let mut kept = words.next().unwrap_or_default().into_owned();
            while let Some(word) = words.next() {
                match word.as_ref() {
                    "nomatch" | "wildcard" => kept = format!("{kept} {word}"),
                    _ => {
                        let Some(value) = words.next() else { break };
                        match word.as_ref() {
                            "timeout" if timeout => kept = format!("{kept} timeout {value}"),
                            "comment" if comment => kept = format!("{kept} comment \"{value}\""),
                            "skbmark" | "skbprio" | "skbqueue" if skbinfo => kept = format!("{kept} {word} {value}"),
                            _ => {}
                        }
                    }
                }
            }
            kept
        })
        .collect()
}

/// The type and options of a set as `ipset create` takes them after the name.
pub fn create_words(set: &AddressSet) -> String {
    let mut words = set.kind.to_string();
    let family = match set.family {
        Family::Ipv4 => "inet",
        Family::Ipv6 => "inet6",
    };
    // Only hash types have a family; a bitmap or a list of sets refuses the word.
    if words.starts_with("hash:") && words != "hash:mac" {
        let _ = write!(words, " family {family}");
    }
    if let Some(most) = set.max_elements {
        let _ = write!(words, " maxelem {most}");
    }
    if let Some(seconds) = set.timeout {
        let _ = write!(words, " timeout {seconds}");
    }
    for option in &set.options {
        let _ = write!(words, " {option}");
    }
    words
}

/// A member as `ipset add` takes it after the name.
pub fn member_words(member: &SetMember) -> String {
    match member {
        SetMember::Network(network) => network.trunc().to_string(),
        SetMember::NetworkPort { network, protocol, port } => format!("{},{protocol}:{port}", network.trunc()),
        SetMember::Nomatch(network) => format!("{} nomatch", network.trunc()),
        SetMember::Extension(text) => set_words::member(text).unwrap_or_else(|_| text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Name: a\nType: hash:net\nRevision: 7\nHeader: family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1\nSize in memory: 504\nReferences: 2\nNumber of entries: 2\nMembers:\n10.2.0.0/16\n10.1.0.0/16\n\nName: b\nType: hash:ip\nRevision: 5\nHeader: family inet6 hashsize 64 maxelem 10\nSize in memory: 216\nReferences: 0\nNumber of entries: 0\nMembers:\n";

    #[test]
    fn members_are_kept_as_far_as_the_new_set_holds_what_they_have() {
        let members = ["10.0.0.1 timeout 55", "10.0.0.2 timeout 3 comment \"a b\"", "10.0.0.0/8 nomatch timeout 1"];
        assert_eq!(
            kept_members(members.into_iter(), "hash:ip family inet timeout 600"),
            ["10.0.0.1 timeout 55", "10.0.0.2 timeout 3", "10.0.0.0/8 nomatch timeout 1"]
        );
        assert_eq!(
            kept_members(members.into_iter(), "hash:ip family inet"),
            ["10.0.0.1", "10.0.0.2", "10.0.0.0/8 nomatch"]
        );
    }

    #[test]
    fn a_list_is_cut_into_sets() {
        let sets = parse_list(LIST).unwrap();
        assert_eq!(sets["a"].options, "family inet maxelem 65536");
        assert_eq!(sets["a"].members.iter().collect::<Vec<_>>(), ["10.1.0.0/16", "10.2.0.0/16"]);
        assert_eq!((sets["a"].references, sets["b"].references), (2, 0));
        let broken = LIST.replace("10.2.0.0/16", "10.2.0.0/16 comment \"a\n\nName: c\nb\"");
        let shown = "10.2.0.0/16 comment \"a\n\nName: c\nb\"";
        assert_eq!(parse_list(&broken).unwrap()["a"].members.iter().nth(1), Some(shown));
        assert_eq!(parse_list(&LIST.replace("Name: a", "Name: a\nx")).unwrap().len(), 2);
        assert_eq!(
            parse_list(&LIST.replace("\n\n", "\n")).unwrap(),
            sets,
            "as `ipset restore` lists one after the other"
        );
        for size in [1, 7, 64] {
            let mut list = ListReader::default();
            broken.as_bytes().chunks(size).for_each(|chunk| list.push(chunk));
            assert_eq!(list.finish().unwrap(), parse_list(&broken).unwrap(), "in pieces of {size}");
        }
        assert!(parse_list("").unwrap().is_empty());
        assert!(parse_list("garbage").is_err());
    }
}
