//! A record as bytes, on this node's disk or passed on:
//!
//! ```text
//! ruleward-record 1 sha256:DIGEST-OF-THE-NEXT-LINE
//! HEADER, one line of JSON, with the length and digest of each part
//! SETTINGS, FACTS, CONTRIBUTION: each a line of JSON, if there is one
//! the component's bytes, in a file that is passed on
//! ```
//!
//! Nothing in it is believed before its digest was compared: a flipped bit or an edited line is an error that names the
//! part. Somebody who writes all digests anew is found out by a replay, unless the policy really gives that answer.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::record::{Header, Part, Record};
use ruleward_files::digest;

/// Begins the first line.
const MAGIC: &str = "ruleward-record";
/// Of the format.
const VERSION: &str = "1";
/// Longest first line, and longest header, in bytes.
const LONGEST_LINE: u64 = 4 << 20;
/// Longest part that is read, in bytes: more than any limit on answers and components allows by default.
const LONGEST_PART: u64 = 1 << 30;

/// Why bytes are no record, or not the one that was written.
#[derive(Debug, Error)]
pub enum FormatError {
    /// They can't be read.
    #[error("can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Something else altogether.
    #[error("is no record of a policy: its first line is not `{MAGIC} {VERSION} sha256:...`")]
    NoRecord,
    /// Of another version of this program.
    #[error("has the format {0}, and this version reads {VERSION}; use the version that wrote it")]
    OtherVersion(String),
    /// Not what was written.
    #[error("was changed or damaged: {0}")]
    Damaged(String),
    /// What should be in it is not.
    #[error("holds no {0}")]
    Lacks(&'static str),
}

/// A record with its component, if it came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// The record.
    pub record: Record,
    /// The component's bytes.
    pub component: Option<Vec<u8>>,
}

/// The large parts of a record, ready to be written.
#[derive(Debug)]
pub struct Parts<'a> {
    settings: (Part, &'a str),
    facts: Option<(Part, &'a Facts)>,
    contribution: Option<(Part, &'a Contribution)>,
}

impl<'a> Parts<'a> {
    /// Measures them.
    ///
    /// # Errors
    /// When JSON has no words for them, which nothing in them brings about.
    pub fn new(
        settings: &'a str,
        facts: Option<&'a Facts>,
        contribution: Option<&'a Contribution>,
    ) -> serde_json::Result<Self> {
        let facts = facts.map(|facts| Ok((Part::of_json(facts)?, facts))).transpose()?;
        let contribution = contribution.map(|answer| Ok((Part::of_json(answer)?, answer))).transpose()?;
        Ok(Self { settings: (Part::of(settings.as_bytes()), settings), facts, contribution })
    }

    /// Enters their digests into the header.
    pub fn describe(&self, header: &mut Header) {
        header.settings = self.settings.0.clone();
        header.facts = self.facts.as_ref().map(|(part, _)| part.clone());
        header.contribution = self.contribution.as_ref().map(|(part, _)| part.clone());
    }
}

/// Writes a record; the header must describe the parts ([`Parts::describe`]).
///
/// # Errors
/// Those of `file`.
pub fn write(header: &Header, parts: &Parts<'_>, component: Option<&[u8]>, file: &mut dyn Write) -> io::Result<()> {
    let header = json(header)?;
    let mut file = BufWriter::new(file);
    writeln!(file, "{MAGIC} {VERSION} {}", digest::sha256(&header))?;
    file.write_all(&header)?;
    writeln!(file, "\n{}", parts.settings.1)?;
    if let Some((_, facts)) = &parts.facts {
        serde_json::to_writer(&mut file, facts)?;
        file.write_all(b"\n")?;
    }
    if let Some((_, contribution)) = &parts.contribution {
        serde_json::to_writer(&mut file, contribution)?;
        file.write_all(b"\n")?;
    }
    file.write_all(component.unwrap_or_default())?;
    file.flush()
}

/// A record as bytes.
///
/// # Errors
/// As [`write()`].
pub fn encode(header: &Header, parts: &Parts<'_>, component: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(header, parts, component, &mut bytes)?;
    Ok(bytes)
}

fn json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(value)
}

/// Reads the header alone.
///
/// # Errors
/// [`FormatError`]
pub fn decode_header(file: impl Read) -> Result<Header, FormatError> {
    header(&mut BufReader::new(file))
}

/// Reads a whole record.
///
/// # Errors
/// [`FormatError`]
pub fn decode(file: impl Read) -> Result<Portable, FormatError> {
    let mut file = BufReader::new(file);
    let header = header(&mut file)?;
    let settings = part(&mut file, "settings", &header.settings)?;
    let settings = String::from_utf8(settings).map_err(|_| damaged("the settings are not text"))?;
    let facts = optional(&mut file, "facts", header.facts.as_ref())?;
    let contribution = optional(&mut file, "contribution", header.contribution.as_ref())?;
    let component = component(&mut file, &header.component)?;
    Ok(Portable { record: Record { header, settings, facts, contribution }, component })
}

fn damaged(what: impl Into<String>) -> FormatError {
    FormatError::Damaged(what.into())
}

fn line(file: &mut impl BufRead, what: &str) -> Result<Vec<u8>, FormatError> {
    let mut line = Vec::new();
    file.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(damaged(format!("{what} has no end"))),
    }
}

fn header(file: &mut impl BufRead) -> Result<Header, FormatError> {
    let first = line(file, "its first line").map_err(|error| match error {
        FormatError::Damaged(_) => FormatError::NoRecord,
        other => other,
    })?;
    let first = String::from_utf8(first).map_err(|_| FormatError::NoRecord)?;
    let mut words = first.split(' ');
    let (magic, version, stated) = (words.next(), words.next(), words.next());
    match (magic, version, stated, words.next()) {
        (Some(MAGIC), Some(VERSION), Some(_), None) => {}
        (Some(MAGIC), Some(other), ..) if other != VERSION => {
            return Err(FormatError::OtherVersion(other.chars().take(20).collect()));
        }
        _ => return Err(FormatError::NoRecord),
    }
    let header = line(file, "its header")?;
    if stated != Some(digest::sha256(&header).as_str()) {
        return Err(damaged("the digest of its header differs"));
    }
    serde_json::from_slice(&header).map_err(|error| damaged(format!("its header is not understood: {error}")))
}

fn optional<T: DeserializeOwned>(
    file: &mut impl BufRead,
    what: &'static str,
    stated: Option<&Part>,
) -> Result<Option<T>, FormatError> {
    let Some(stated) = stated else { return Ok(None) };
    let bytes = part(file, what, stated)?;
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|error| damaged(format!("the {what} are not understood: {error}")))
}

fn part(file: &mut impl BufRead, what: &str, stated: &Part) -> Result<Vec<u8>, FormatError> {
    if stated.length > LONGEST_PART {
        return Err(damaged(format!("the {what} would be {} bytes long", stated.length)));
    }
    let mut bytes = Vec::new();
    file.take(stated.length + 1).read_to_end(&mut bytes)?;
    if bytes.pop() != Some(b'\n') || bytes.len() as u64 != stated.length {
        return Err(damaged(format!("the {what} are cut off or longer than they were")));
    }
    if Part::of(&bytes) != *stated {
        return Err(damaged(format!("the digest of the {what} differs")));
    }
    Ok(bytes)
}

fn component(file: &mut impl BufRead, stated: &str) -> Result<Option<Vec<u8>>, FormatError> {
    let mut bytes = Vec::new();
    file.take(LONGEST_PART).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if digest::sha256(&bytes) != stated {
        return Err(damaged("the digest of the component differs"));
    }
    Ok(Some(bytes))
}
