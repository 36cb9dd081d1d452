//! From TOML text to a [`Config`]: parses each file, joins their keys, reads the top level.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use super::Config;
use super::keys::KEYS;
use super::policy;
use super::problem::{ConfigError, Problem, Source};
use super::section::{Entry, Section, entries, quote_key};

/// Longest text with syntax errors that is searched for further ones.
const SEARCHED: usize = 1 << 20;

/// Most syntax errors of one file that are looked at.
const SYNTAX_ERRORS: usize = 100;

/// Interprets `sources`, adding to the problems that are already known.
pub(super) fn decode(file: &Path, sources: &[Source], mut problems: ConfigError) -> Result<Config, ConfigError> {
    let mut tables: Vec<(&Source, Spanned<DeTable<'_>>)> = Vec::new();
    for source in sources {
        if let Some(table) = parse(source, &mut problems) {
            tables.push((source, table));
        }
    }
    let joined = join(&tables, &mut problems);
    let first_of_each = joined.iter().filter_map(|(key, found)| Some((*key, *found.first()?)));
    let mut top = Section::open(String::new(), first_of_each, &KEYS.map(|key| key.name), &mut problems);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut config = Config::read(&mut top, folder);
    config.file = file.to_owned();
    config.files = sources.iter().map(|source| source.file.clone()).collect();
    let tables = joined.get("policies").map_or(&[][..], Vec::as_slice);
    config.policies = policy::read_all(tables, folder, &config.policy_directory, &config.limits_ceiling, &mut problems);
    if problems.problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn parse<'a>(source: &'a Source, problems: &mut ConfigError) -> Option<Spanned<DeTable<'a>>> {
    let first = match DeTable::parse(&source.text) {
        Ok(table) => return Some(table),
        Err(error) => error,
    };
    // Each error takes memory: a long file of garbage is not searched to its end.
    let short = source.text.len() <= SEARCHED;
    let errors = if short { DeTable::parse_recoverable(&source.text).1 } else { vec![first] };
    let mut last_line = 0;
    for error in errors.into_iter().take(SYNTAX_ERRORS) {
        let (place, column) = source.position(error.span().map_or(0, |span| span.start));
        // What follows an error on its line follows from it.
        if place.line != last_line {
            last_line = place.line;
            problems.add(|| Problem::Syntax { place, column, message: error.message().to_owned() });
        }
    }
    None
}

/// Every key of the top level with its entries: more than one only under `policies`.
type Joined<'a> = BTreeMap<&'a str, Vec<Entry<'a>>>;

fn join<'a>(tables: &'a [(&'a Source, Spanned<DeTable<'a>>)], problems: &mut ConfigError) -> Joined<'a> {
    let mut joined = Joined::new();
    for (source, table) in tables {
        for (key, entry) in entries(source, table.get_ref()) {
            let found = joined.entry(key).or_default();
            match found.first() {
                Some(first) if key != "policies" => problems.add(|| twice(quote_key(key), first, &entry)),
                _ => found.push(entry),
            }
        }
    }
    joined
}

/// The same key in two files.
pub(super) fn twice(key: String, first: &Entry<'_>, second: &Entry<'_>) -> Problem {
    Problem::Twice { key, first: first.place(), second: second.place() }
}
