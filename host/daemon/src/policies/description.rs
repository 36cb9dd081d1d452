//! What a policy says of itself, checked: text that can be shown in one line, patterns that could be granted.

use std::collections::BTreeSet;

use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::names::PolicyName;
use thiserror::Error;

use super::contract_v0_1::ruleward::policy::types as wit;
use super::guest::one_line;
use super::lift;

/// Longest version and longest kind of a document, bytes.
const LONGEST_WORD: usize = 64;
/// Longest summary, bytes.
const LONGEST_SUMMARY: usize = 256;
/// Most entries of each list.
const MOST_ENTRIES: usize = 256;

/// What a policy is, before it sees anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its own name; the operator may call it otherwise.
    pub name: PolicyName,
    /// Its version, in whatever scheme.
    pub version: String,
    /// One line for the operator.
    pub summary: String,
    /// JSON Schema of its settings, as text.
    pub settings_schema: String,
    /// It wants to see network interfaces.
    pub reads_interfaces: bool,
    /// What it would like to be granted, kinds of documents included.
    pub wants: Grants,
}

impl Description {
    /// Kinds of documents that it sees: those that it asks for and was granted.
    pub fn sees_documents(&self, grants: &Grants) -> BTreeSet<String> {
        let granted = |kind: &&String| grants.documents.contains(kind);
        self.wants.documents.iter().filter(granted).cloned().collect()
    }
}

/// Why a description can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("its description is wrong in `{field}`: {problem}")]
pub struct DescriptionError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Checks a description.
///
/// # Errors
/// [`DescriptionError`] names the field.
pub fn lift(description: wit::Description) -> Result<Description, DescriptionError> {
    let wants = description.wants;
    Ok(Description {
        name: PolicyName::new(&description.name).map_err(|e| wrong("name", e))?,
        version: line("version", description.version, LONGEST_WORD)?,
        summary: line("summary", description.summary, LONGEST_SUMMARY)?,
        settings_schema: description.settings_schema,
        reads_interfaces: description.reads_interfaces,
        wants: Grants {
            tables: few("wants.tables", wants.tables)?.into_iter().map(lift::table).collect(),
            chains: patterns("wants.chains", wants.chains)?,
            sets: patterns("wants.sets", wants.sets)?,
            comments: lines("wants.comments", wants.comments)?,
            documents: lines("reads-documents", description.reads_documents)?,
        },
    })
}

fn wrong(field: &'static str, problem: impl ToString) -> DescriptionError {
    DescriptionError { field, problem: problem.to_string() }
}

fn line(field: &'static str, text: String, longest: usize) -> Result<String, DescriptionError> {
    if text.is_empty() || text.len() > longest {
        return Err(wrong(field, format!("{} bytes long; use 1 to {longest}", text.len())));
    }
    if one_line(&text, longest) != text {
        return Err(wrong(field, "contains control characters; use one line of plain text"));
    }
    Ok(text)
}

fn few<T>(field: &'static str, list: Vec<T>) -> Result<Vec<T>, DescriptionError> {
    if list.len() > MOST_ENTRIES {
        return Err(wrong(field, format!("has {} entries; at most {MOST_ENTRIES} are possible", list.len())));
    }
    Ok(list)
}

fn lines(field: &'static str, list: Vec<String>) -> Result<Vec<String>, DescriptionError> {
    few(field, list)?.into_iter().map(|text| line(field, text, LONGEST_WORD)).collect()
}

fn patterns(field: &'static str, list: Vec<String>) -> Result<Vec<Pattern>, DescriptionError> {
    few(field, list)?.iter().map(|text| Pattern::new(text).map_err(|e| wrong(field, e))).collect()
}
