//! One evaluation, from a case to rules as text or to the reason why there are none.

use ruleward_core::check::{self, OutputLimits, Refusal};
use ruleward_core::contribution::Contribution;
use ruleward_core::listing::listing;
use ruleward_sandbox::{LoadedPolicy, Log, Usage};

use crate::case::Case;

/// What came of an evaluation.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the policy asks for.
    pub contribution: Contribution,
    /// The same as the host would hand it to the tools.
    pub rules: String,
    /// What it took.
    pub usage: Usage,
    /// What the policy logged.
    pub log: Log,
}

/// Why there is no answer, one reason a line.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The reasons.
    pub reasons: String,
    /// What the policy logged.
    pub log: Log,
}

impl Refused {
    fn early(reasons: impl ToString) -> Self {
        Self { reasons: reasons.to_string(), log: Log::default() }
    }
}

/// Asks the policy, and judges its answer as the host would.
///
/// # Errors
/// [`Refused`]: by the schema of the settings, by the policy, or by the host.
pub fn answer(policy: &LoadedPolicy, case: &Case) -> Result<Answer, Refused> {
    policy.check_settings(&case.settings).map_err(Refused::early)?;
    let settings = case.settings.to_string();
    let evaluation = policy
        .evaluate(&case.facts, &case.grants, &settings)
        .map_err(|error| Refused { reasons: error.to_string(), log: error.log.clone() })?;
    let families = case.facts.system.families;
    let checked = check::check(
        &policy.description().name,
        &case.grants,
        |family| families.contains(family),
        OutputLimits::default(),
        &evaluation.contribution,
    );
    let list = |refusals: Vec<Refusal>| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    match checked {
        Ok(checked) => Ok(Answer {
            rules: listing(&checked),
            contribution: evaluation.contribution,
            usage: evaluation.usage,
            log: evaluation.log,
        }),
        Err(refusals) => Err(Refused { reasons: list(refusals), log: evaluation.log }),
    }
}

/// The same as text that a test can expect: the rules, or the reasons after `refused:`.
pub fn as_text(answer: &Result<Answer, Refused>) -> String {
    match answer {
        Ok(answer) => answer.rules.clone(),
        Err(refused) => refused.reasons.lines().map(|reason| format!("refused: {reason}\n")).collect(),
    }
}
