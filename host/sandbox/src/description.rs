//! What a policy says of itself, checked: text that can be shown in one line, patterns that could be granted.

use std::collections::BTreeSet;

use ruleward_core::grants::{BuiltInChain, Grants, Jumps, Pattern, Uses};
use ruleward_core::names::{PolicyName, Table};
use thiserror::Error;

use super::guest::one_line;

/// Longest version and longest kind of a resource, bytes.
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
    /// It wants to see which tables nf_tables has.
    pub reads_nft_tables: bool,
    /// What it would like to be granted, kinds of resources included.
    pub wants: Grants,
}

impl Description {
    /// Kinds of resources that it sees: those that it asks for and was granted.
    pub fn sees_resources(&self, grants: &Grants) -> BTreeSet<String> {
        let granted = |kind: &&String| grants.resources.contains(kind);
        self.wants.resources.iter().filter(granted).cloned().collect()
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

/// A description as the policy gives it, in any version of the contract.
#[derive(Debug)]
pub struct Words {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub summary: String,
    /// JSON Schema of its settings.
    pub settings_schema: String,
    /// Kinds of resources that it reads.
    pub reads_resources: Vec<String>,
    /// It reads interfaces.
    pub reads_interfaces: bool,
    /// It reads which tables nf_tables has.
    pub reads_nft_tables: bool,
    /// Tables that it wants.
    pub tables: Vec<Table>,
    /// Chains that it wants.
    pub chains: Vec<String>,
    /// Sets that it wants.
    pub sets: Vec<String>,
    /// Beginnings of comments that it wants.
    pub comments: Vec<String>,
    /// Built-in chains whose policy it wants to set.
    pub policies: Vec<String>,
    /// Foreign sets that its rules name.
    pub uses_sets: Vec<String>,
    /// Foreign chains that its rules jump to.
    pub uses_chains: Vec<String>,
    /// It wants every jump to its chains.
    pub exclusive_jumps: bool,
}

impl Words {
    /// Checks them.
    ///
    /// # Errors
    /// [`DescriptionError`] names the field.
    pub fn checked(self) -> Result<Description, DescriptionError> {
        Ok(Description {
            name: PolicyName::new(&self.name).map_err(|e| wrong("name", e))?,
            version: line("version", self.version, LONGEST_WORD)?,
            summary: line("summary", self.summary, LONGEST_SUMMARY)?,
            settings_schema: self.settings_schema,
            reads_interfaces: self.reads_interfaces,
            reads_nft_tables: self.reads_nft_tables,
            wants: Grants {
                tables: few("wants.tables", self.tables)?.into_iter().collect(),
                chains: patterns("wants.chains", self.chains)?,
                sets: patterns("wants.sets", self.sets)?,
                comments: lines("wants.comments", self.comments)?,
                resources: lines("reads-resources", self.reads_resources)?,
                policies: built_in("wants.policies", self.policies)?,
                uses: Uses {
                    sets: patterns("wants.uses-sets", self.uses_sets)?,
                    chains: patterns("wants.uses-chains", self.uses_chains)?,
                },
                jumps: if self.exclusive_jumps { Jumps::Exclusive } else { Jumps::Shared },
            },
        })
    }
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

fn built_in(field: &'static str, list: Vec<String>) -> Result<Vec<BuiltInChain>, DescriptionError> {
    few(field, list)?.into_iter().map(|text| BuiltInChain::try_from(text).map_err(|e| wrong(field, e))).collect()
}

fn patterns(field: &'static str, list: Vec<String>) -> Result<Vec<Pattern>, DescriptionError> {
    few(field, list)?.iter().map(|text| Pattern::new(text).map_err(|e| wrong(field, e))).collect()
}
