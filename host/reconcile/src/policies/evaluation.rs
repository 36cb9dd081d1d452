//! An evaluation that was made, for whoever wants to know how a check went.

use std::sync::Arc;
use std::time::Instant;

use ruleward_core::contribution::Families;
use ruleward_core::facts::Facts;

use crate::runtime::Runtime;

use super::version::{Answer, NoAnswer, Version};

/// A version that was asked.
#[derive(Debug, Clone)]
pub struct EvaluationRecord {
    /// Which; it knows what it used.
    pub version: Arc<Version>,
    /// When.
    pub began: Instant,
    /// Until when.
    pub ended: Instant,
    /// Why there is no answer that can be merged.
    pub problem: Option<String>,
}

/// The evaluations of one step.
pub(super) struct Evaluations<'a> {
    pub families: Families,
    pub runtime: &'a dyn Runtime,
    pub done: Vec<EvaluationRecord>,
}

impl Evaluations<'_> {
    /// Asks `version`, and notes it.
    pub fn ask(&mut self, version: &Arc<Version>, facts: &Facts) -> Result<Answer, NoAnswer> {
        let began = self.runtime.now();
        let answer = version.evaluate(facts, self.families);
        if let Ok(answer) = &answer {
            answer.digest(); // every report names it, and a large answer takes its time
        }
        let problem = answer.as_ref().err().map(ToString::to_string);
        let (version, ended) = (Arc::clone(version), self.runtime.now());
        self.done.push(EvaluationRecord { version, began, ended, problem });
        answer
    }
}
