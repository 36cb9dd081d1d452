//! A trace as plain data: what was done in one check, and when. It is filled in while the check runs, which costs a check that
//! is not traced nothing but a look at whether it is.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

/// Most spans of a trace below its root. A check has a dozen, and one for each policy that it asks.
pub const MOST_SPANS: usize = 512;
/// Most events of a trace: as many as the SDKs of OpenTelemetry keep.
pub const MOST_EVENTS: usize = 128;
/// Characters of a text that are kept.
const LONGEST_TEXT: usize = 1024;

/// What an attribute has.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A number.
    Real(f64),
    /// Yes or no.
    Truth(bool),
}

impl From<&str> for Value {
    /// Bounded.
    fn from(text: &str) -> Self {
        match text.char_indices().nth(LONGEST_TEXT) {
            Some((end, _)) => Self::Text(format!("{}...", &text[..end])),
            None => Self::Text(text.to_owned()),
        }
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

/// Names with values.
pub type Attributes = Vec<(&'static str, Value)>;

/// Something that was done, from one moment to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What.
    pub name: Cow<'static, str>,
    /// From.
    pub began: Instant,
    /// To.
    pub ended: Instant,
    /// Below which other span; none: below the root.
    pub parent: Option<usize>,
    /// What there is to say of it.
    pub attributes: Attributes,
    /// What went wrong with it.
    pub problem: Option<String>,
}

impl Span {
    /// Of which nothing else is known.
    pub fn new(name: impl Into<Cow<'static, str>>, began: Instant, ended: Instant) -> Self {
        Self { name: name.into(), began, ended, parent: None, attributes: Vec::new(), problem: None }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What.
    pub name: &'static str,
    /// When.
    pub at: Instant,
    /// What there is to say of it.
    pub attributes: Attributes,
}

/// One check, or one repair between two checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// All of it.
    pub root: Span,
    /// The clock on the wall when it ended. All other times are told from it, so that a clock that is set meanwhile tears nothing apart.
    pub ended: SystemTime,
    /// What happened to the rules.
    pub events: Vec<Event>,
    /// Events that were too many.
    pub events_left_out: u32,
    /// Its stages, in the order in which they began.
    pub spans: Vec<Span>,
}

impl Trace {
    /// How many spans it has.
    pub fn count(&self) -> usize {
        1 + self.spans.len()
    }

    /// How much room it takes, in spans and events.
    pub fn weight(&self) -> usize {
        self.count() + self.events.len()
    }
}

/// Notes the stages of a running check.
#[derive(Debug, Default)]
pub struct Recorder {
    /// None: nobody wants to know.
    spans: Option<Vec<Span>>,
    left_out: usize,
}

impl Recorder {
    /// Notes what is done from now on, if somebody wants to know.
    pub fn new(wanted: bool) -> Self {
        Self { spans: wanted.then(Vec::new), left_out: 0 }
    }

    /// Whether somebody wants to know.
    pub fn is_on(&self) -> bool {
        self.spans.is_some()
    }

    /// This was done.
    pub fn add(&mut self, span: impl FnOnce() -> Span) {
        match &mut self.spans {
            Some(spans) if spans.len() < MOST_SPANS => spans.push(span()),
            Some(_) => self.left_out += 1,
            None => {}
        }
    }

    /// The number of what was added last, to be a parent.
    pub fn last(&self) -> Option<usize> {
        self.spans.as_ref()?.len().checked_sub(1)
    }

    /// There is this to say of what was added last.
    pub fn tell(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = self.spans.as_mut().and_then(|spans| spans.last_mut()) {
            span.attributes.push((name, value.into()));
        }
    }

    /// What was added last went wrong.
    pub fn failed(&mut self, problem: &dyn ToString) {
        if let Some(span) = self.spans.as_mut().and_then(|spans| spans.last_mut()) {
            span.problem = Some(problem.to_string());
        }
    }

    /// What was noted, and how much more there was; none if nobody wants to know.
    pub fn take(&mut self) -> Option<(Vec<Span>, usize)> {
        Some((self.spans.take()?, self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_asked_notes_nothing() {
        let mut recorder = Recorder::new(false);
        recorder.add(|| panic!("nobody wants to know"));
        recorder.tell("x", true);
        recorder.failed(&"y");
        assert!(recorder.take().is_none() && recorder.last().is_none());
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let (mut recorder, began) = (Recorder::new(true), Instant::now());
        for _ in 0..MOST_SPANS + 3 {
            recorder.add(|| Span::new("observe", began, began));
        }
        let (spans, left_out) = recorder.take().unwrap();
        assert_eq!((spans.len(), left_out), (MOST_SPANS, 3));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let Value::Text(cut) = Value::from("ü".repeat(LONGEST_TEXT + 1).as_str()) else { panic!("no text") };
        assert_eq!(cut, format!("{}...", "ü".repeat(LONGEST_TEXT)));
        assert_eq!(Value::from("ü"), Value::Text("ü".to_owned()));
    }
}
