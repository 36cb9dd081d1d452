//! From YAML text to JSON values, one for each document, as `kubectl` reads it ([`super::scalar`]).
//!
//! The text may be anything: nesting is limited, and what aliases expand to counts against the same budget as what
//! is written out, so that a short file can't become a large one. Duplicate keys, tags that ask for a type of their
//! own, and keys that are no words are refused, each with its line.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// Deepest nesting; no Kubernetes resource comes near it.
const MAX_DEPTH: usize = 100;

/// Most values (scalars, lists and mappings) of one file, those that aliases repeat included.
const MAX_VALUES: usize = 1_000_000;

/// Most bytes of keys and strings of one file, those that aliases repeat included.
const MAX_TEXT: usize = 32 << 20;

/// A document of a YAML file.
#[derive(Debug, PartialEq)]
pub(super) struct YamlDocument {
    /// Counted from 1 among all documents of the file, also the empty ones.
    pub number: usize,
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// Why text is not YAML that we read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    /// The document, counted from 1.
    pub document: usize,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads all documents that are not empty.
pub(super) fn read(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { parser, document: 1, line: 1, used: Cost::default(), anchors: HashMap::new() };
    let mut documents = Vec::new();
    let mut number = 0;
    while let Some((event, line)) = reader.next()? {
        match event {
            Event::DocumentStart(..) => {
                number += 1;
                reader.document = number;
                reader.anchors.clear();
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                let (value, _) = reader.node(event, 0)?;
                if value != Value::Null {
                    documents.push(YamlDocument { number, line, value });
                }
            }
            _ => {}
        }
    }
    Ok(documents)
}

/// What a value takes.
#[derive(Clone, Copy, Default)]
struct Cost {
    values: usize,
    text: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.values = self.values.saturating_add(other.values);
        self.text = self.text.saturating_add(other.text);
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    document: usize,
    line: usize,
    used: Cost,
    anchors: HashMap<usize, (Value, Cost)>,
}

impl<'t> Reader<'t> {
    /// The next event and its line.
    fn next(&mut self) -> Result<Option<(Event<'t>, usize)>, YamlError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, Span { start, .. }))) => {
                self.line = start.line();
                Ok(Some((event, self.line)))
            }
            Some(Err(error)) => {
                self.line = error.marker().line();
                Err(self.error(format!("not valid YAML: {}", error.info())))
            }
        }
    }

    fn error(&self, reason: impl Into<String>) -> YamlError {
        YamlError { document: self.document, line: self.line.max(1), reason: reason.into() }
    }

    /// Pays for a value; this is where a file that is too large ends.
    fn pay(&mut self, cost: Cost) -> Result<Cost, YamlError> {
        self.used.add(cost);
        if self.used.values > MAX_VALUES || self.used.text > MAX_TEXT {
            let reason = "holds more than a million values or 32 MiB of text, aliases counted in full; split the file";
            return Err(self.error(reason));
        }
        Ok(cost)
    }

    /// The value that `event` begins, and what it took.
    fn node(&mut self, event: Event<'t>, depth: usize) -> Result<(Value, Cost), YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        let (anchor, (value, cost)) = match event {
            Event::Alias(anchor) => {
                // Inside the value that it names, an alias would never end.
                let Some((_, cost)) = self.anchors.get(&anchor) else {
                    return Err(self.error("has an alias to a value that is not complete yet"));
                };
                let cost = self.pay(*cost)?;
                let value = self.anchors.get(&anchor).map_or(Value::Null, |(value, _)| value.clone());
                return Ok((value, cost));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let cost = self.pay(Cost { values: 1, text: text.len() })?;
                (anchor, (self.scalar(&text, style, tag.as_deref())?, cost))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq")?;
                (anchor, self.sequence(depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "map")?;
                (anchor, self.mapping(depth)?)
            }
            _ => return Err(self.error("not valid YAML: a value is missing")),
        };
        if anchor != 0 {
            // The copy is kept besides the value itself.
            self.pay(cost)?;
            self.anchors.insert(anchor, (value.clone(), cost));
        }
        Ok((value, cost))
    }

    fn following(&mut self) -> Result<Event<'t>, YamlError> {
        match self.next()? {
            Some((event, _)) => Ok(event),
            None => Err(self.error("not valid YAML: ends too early")),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<(Value, Cost), YamlError> {
        let mut total = self.pay(Cost { values: 1, text: 0 })?;
        let mut items = Vec::new();
        loop {
            match self.following()? {
                Event::SequenceEnd => return Ok((Value::Array(items), total)),
                event => {
                    let (value, cost) = self.node(event, depth + 1)?;
                    total.add(cost);
                    items.push(value);
                }
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Value, Cost), YamlError> {
        let mut total = self.pay(Cost { values: 1, text: 0 })?;
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (key, style, tag) = match self.following()? {
                Event::MappingEnd => break,
                Event::Scalar(key, style, 0, tag) => (key, style, tag),
                _ => return Err(self.error("has a key that is not a plain word; keys are strings")),
            };
            self.check_tag(tag.as_deref(), "str")?;
            if map.contains_key(key.as_ref()) {
                return Err(self.error(format!("has the key {:?} twice in one mapping; remove one", shorten(&key))));
            }
            total.add(self.pay(Cost { values: 0, text: key.len() })?);
            let event = self.following()?;
            let (value, cost) = self.node(event, depth + 1)?;
            total.add(cost);
            if key == "<<" && style == ScalarStyle::Plain {
                merged.push(value);
            } else {
                map.insert(key.into_owned(), value);
            }
        }
        for value in merged {
            self.merge(&mut map, value)?;
        }
        Ok((Value::Object(map), total))
    }

    /// `<<: *base`: takes over what the mapping doesn't say itself.
    fn merge(&self, map: &mut Map<String, Value>, value: Value) -> Result<(), YamlError> {
        let bases = match value {
            Value::Array(bases) => bases,
            base => vec![base],
        };
        for base in bases {
            let Value::Object(base) = base else {
                return Err(self.error("has a merge key `<<` whose value is not a mapping"));
            };
            for (key, value) in base {
                map.entry(key).or_insert(value);
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, YamlError> {
        let wanted = match tag {
            None if style == ScalarStyle::Plain => None,
            None => return Ok(Value::String(text.to_owned())),
            Some(tag) => match tag.core_suffix() {
                Some("str") => return Ok(Value::String(text.to_owned())),
                None if tag.handle().is_empty() && tag.suffix() == "!" => return Ok(Value::String(text.to_owned())),
                Some(suffix @ ("bool" | "int" | "float" | "null")) => Some(suffix),
                _ => return Err(self.unknown_tag(tag)),
            },
        };
        let Some(value) = scalar::resolve(text) else {
            return Err(self.error(format!("{text:?} is not a number that JSON has; put it in quotes")));
        };
        let fits = match (wanted, &value) {
            (None, _) | (Some("bool"), Value::Bool(_)) | (Some("null"), Value::Null) => true,
            (Some("int"), Value::Number(number)) => !number.is_f64(),
            (Some("float"), Value::Number(_)) => true,
            _ => false,
        };
        if fits { Ok(value) } else { Err(self.error(format!("{:?} is not what its tag says", shorten(text)))) }
    }

    fn check_tag(&self, tag: Option<&Tag>, expected: &str) -> Result<(), YamlError> {
        match tag {
            Some(tag) if tag.core_suffix() != Some(expected) => Err(self.unknown_tag(tag)),
            _ => Ok(()),
        }
    }

    fn unknown_tag(&self, tag: &Tag) -> YamlError {
        self.error(format!("has the tag {:?}, which no resource needs; remove it", shorten(&tag.to_string())))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
