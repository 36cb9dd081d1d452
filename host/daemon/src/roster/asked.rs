//! An evaluation that was made, for whoever wants to know how a check went.

use std::sync::Arc;
use std::time::Instant;

use ruleward_core::contribution::Families;
use ruleward_core::facts::Facts;

use super::version::{Answer, NoAnswer, Version};

/// A version that was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which; it knows what it used.
    pub version: Arc<Version>,
    /// When.
    pub began: Instant,
    /// Until when.
    pub ended: Instant,
    /// Why there is no answer that can be merged.
    pub problem: Option<String>,
}

impl Asked {
    /// Asks `version`, and adds to what was asked.
    pub(super) fn ask(
        version: &Arc<Version>,
        facts: &Facts,
        families: Families,
        asked: &mut Vec<Self>,
    ) -> Result<Answer, NoAnswer> {
        let began = Instant::now();
        let answer = version.evaluate(facts, families);
        if let Ok(answer) = &answer {
            answer.digest(); // every report names it, and a large answer takes its time
        }
        let problem = answer.as_ref().err().map(ToString::to_string);
        asked.push(Self { version: Arc::clone(version), began, ended: Instant::now(), problem });
        answer
    }
}
