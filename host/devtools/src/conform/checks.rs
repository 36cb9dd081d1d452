//! The checks. Each asks a policy one thing, on every case, and collects all reasons why not.

use ruleward_core::check::{self, OutputLimits};
use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::limit::{Limit, Usage};
use ruleward_sandbox::{Cause, LoadedPolicy, contribution_digest};
use serde_json::{Map, Value, json};

use super::situations::{Situation, one_family, with};
use super::{Check, Subject, Verdict, schema, situations};
use crate::case::Case;

/// The first check.
pub const LOADS: &str = "loads: imports and exports are the contract's";
const DESCRIPTION: &str = "describes itself the same way every time";
const SETTINGS: &str = "answers to a node's facts";
const DETERMINISTIC: &str = "gives the same answer to the same inputs, in every instance";
const NAMES: &str = "asks only for names that it said it wants";
const FAMILIES: &str = "asks for nothing of a family that the node can't filter";
const UNKNOWN: &str = "refuses a setting that it does not know";
const DEFAULTS: &str = "its schema accepts its own defaults";
const TYPES: &str = "refuses settings of the wrong type";
const LIMITS: &str = "stays within the default limits";

/// What can't be checked of a component that can't be loaded. The situations come in between.
pub const AFTER_LOADING: [&str; 9] =
    [DESCRIPTION, SETTINGS, DETERMINISTIC, NAMES, FAMILIES, UNKNOWN, DEFAULTS, TYPES, LIMITS];

/// How often the same is asked of each of two loaded policies.
const TIMES: usize = 3;

/// Makes all checks; the most of each limit is taken down in `used`.
pub fn all(subject: &Subject, used: &mut Usage) -> Vec<Check> {
    let mut asker = Asker { policy: &subject.policies[0], used };
    let mut checks = vec![
        Check { check: LOADS, verdict: Verdict::pass(subject.policies[0].digest()) },
        Check { check: DESCRIPTION, verdict: description(subject) },
    ];
    let plain: Vec<Asked> = subject.bases.iter().map(|(_, case)| asker.ask(case)).collect();
    checks.push(Check { check: SETTINGS, verdict: plainly(subject, &plain) });
    if plain.iter().any(|asked| matches!(asked, Asked::Broken(_))) {
        let not = Verdict::not_applicable("it fails on plain facts");
        checks.extend(AFTER_LOADING.into_iter().skip(2).map(|check| Check { check, verdict: not.clone() }));
        return checks;
    }
    checks.push(Check { check: DETERMINISTIC, verdict: deterministic(subject, &plain, &mut asker) });
    checks.push(Check { check: NAMES, verdict: names(subject, &plain) });
    for situation in situations::all(subject.policies[0].description()) {
        let verdict = in_situation(subject, &situation, &mut asker);
        checks.push(Check { check: situation.check, verdict });
    }
    checks.push(Check { check: FAMILIES, verdict: families(subject, &mut asker) });
    let schema: Value = serde_json::from_str(&subject.policies[0].description().settings_schema).unwrap_or_default();
    checks.push(Check { check: UNKNOWN, verdict: unknown(subject) });
    checks.push(Check { check: DEFAULTS, verdict: defaults(subject, &schema) });
    checks.push(Check { check: TYPES, verdict: types(subject, &schema, &mut asker) });
    checks.push(Check { check: LIMITS, verdict: limits(used) });
    checks
}

/// What came of asking.
enum Asked {
    /// An answer that the host takes.
    Answer(Contribution),
    /// The policy says why it has none.
    Refused(String),
    /// The host says why it does not take it.
    NotTaken(String),
    /// A fault: what happened.
    Broken(String),
}

struct Asker<'a> {
    policy: &'a LoadedPolicy,
    used: &'a mut Usage,
}

impl Asker<'_> {
    fn ask(&mut self, case: &Case) -> Asked {
        if let Err(error) = self.policy.check_settings(&case.settings) {
            return Asked::Refused(error.to_string());
        }
        let answer = self.policy.evaluate(&case.facts, &case.grants, &case.settings.to_string());
        let usage = answer.as_ref().map_or_else(|error| &error.usage, |answer| &answer.usage);
        *self.used = std::mem::take(self.used).or_worse(usage);
        if let Some((_, worst)) = self.policy.usage() {
            *self.used = std::mem::take(self.used).or_worse(&worst);
        }
        match answer {
            Ok(answer) => taken(self.policy, case, answer.contribution),
            Err(error) => match &error.cause {
                Cause::Refused(refusal) => Asked::Refused(refusal.to_string()),
                Cause::Malformed(_) | Cause::Unrepeatable(_) => Asked::NotTaken(error.to_string()),
                Cause::Fault(fault) => {
                    let last = error.log.lines.last().map(|line| format!("; its last log line: {}", line.message));
                    Asked::Broken(format!("it {fault}{}", last.unwrap_or_default()))
                }
            },
        }
    }
}

/// Whether the host takes the answer.
fn taken(policy: &LoadedPolicy, case: &Case, contribution: Contribution) -> Asked {
    let families = case.facts.system.families;
    let limits = OutputLimits::default();
    let name = &policy.description().name;
    match check::check(name, &case.grants, |family| families.contains(family), limits, &contribution) {
        Ok(_) => Asked::Answer(contribution),
        Err(refusals) => Asked::NotTaken(refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

fn description(subject: &Subject) -> Verdict {
    let [one, other] = &subject.policies;
    if one.description() == other.description() {
        let description = one.description();
        Verdict::pass(format!("{} {}: {}", description.name, description.version, description.summary))
    } else {
        let reason = "two instances describe themselves in two ways: make `describe` depend on nothing";
        Verdict::Fail { reasons: vec![reason.to_owned()] }
    }
}

/// Without an answer on a plain case there is little to check: with the author's cases that is a failure.
fn plainly(subject: &Subject, plain: &[Asked]) -> Verdict {
    let mut reasons = Vec::new();
    let (mut answers, mut refusals) = (0, Vec::new());
    for ((name, _), asked) in subject.bases.iter().zip(plain) {
        match asked {
            Asked::Answer(_) => answers += 1,
            Asked::Refused(reason) => refusals.push(format!("{name}: {reason}")),
            Asked::NotTaken(reason) | Asked::Broken(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    if reasons.is_empty() && answers == 0 {
        let reason = format!("no case has an answer ({})", refusals.join("; "));
        return if subject.given {
            Verdict::Fail { reasons: vec![reason] }
        } else {
            Verdict::not_applicable(format!("{reason}; give cases with --case or --cases"))
        };
    }
    Verdict::of(reasons, format!("{answers} of {} cases have an answer, {} are refused", plain.len(), refusals.len()))
}

fn deterministic(subject: &Subject, plain: &[Asked], asker: &mut Asker<'_>) -> Verdict {
    let (mut reasons, mut digests) = (Vec::new(), Vec::new());
    for ((name, case), first) in subject.bases.iter().zip(plain) {
        let Asked::Answer(first) = first else { continue };
        let first = contribution_digest(first);
        for policy in &subject.policies {
            for _ in 0..TIMES {
                let again = Asker { policy, used: asker.used }.ask(case);
                if !matches!(&again, Asked::Answer(again) if contribution_digest(again) == first) {
                    reasons.push(format!("{name}: asked again, it has another answer"));
                }
            }
        }
        digests.push(format!("{name}: {first}"));
    }
    reasons.dedup();
    if digests.is_empty() {
        return Verdict::not_applicable("no case has an answer");
    }
    Verdict::of(reasons, digests.join(", "))
}

/// Chains and sets were judged with the answer; comments that are not granted get the host's own in front.
fn names(subject: &Subject, plain: &[Asked]) -> Verdict {
    let (mut reasons, mut count) = (Vec::new(), 0);
    for ((name, case), asked) in subject.bases.iter().zip(plain) {
        let Asked::Answer(answer) = asked else { continue };
        count += answer.chains.len() + answer.sets.len() + answer.attachments.len();
        for (number, attachment) in (1..).zip(&answer.attachments) {
            let comment = attachment.rule.comment.as_ref();
            if !comment.is_some_and(|comment| case.grants.owns_comment(comment.as_str())) {
                reasons.push(format!(
                    "{name}: attachment {number} to {}/{} has no comment that begins with one of its prefixes ({}): the host \
                     puts one of its own in front; give it one to find the rule by",
                    attachment.table,
                    attachment.hook,
                    case.grants.comments.join(", ")
                ));
            }
        }
    }
    match count {
        0 => Verdict::not_applicable("no answer has a chain, a set or an attachment"),
        _ => Verdict::of(reasons, format!("{count} chains, sets and attachments")),
    }
}

fn in_situation(subject: &Subject, situation: &Situation, asker: &mut Asker<'_>) -> Verdict {
    if let Some(reason) = situation.not_applicable {
        return Verdict::not_applicable(reason);
    }
    let (mut reasons, mut seen) = (Vec::new(), Vec::new());
    for (base, case) in &subject.bases {
        for (name, change) in &situation.changes {
            let changed = change(case, subject.policies[0].description());
            match asker.ask(&changed) {
                Asked::Answer(answer) => {
                    let rules: usize = answer.chains.iter().map(|chain| chain.rules.len()).sum();
                    seen.push(format!("{name}: {} rules", rules + answer.attachments.len()));
                }
                Asked::Refused(reason) => seen.push(format!("{name}: {reason}")),
                Asked::NotTaken(_) if situation.may_be_refused => {
                    seen.push(format!("{name}: asks for it all the same, and the host refuses it"));
                }
                Asked::NotTaken(reason) | Asked::Broken(reason) => reasons.push(format!("{base}, {name}: {reason}")),
            }
        }
    }
    seen.sort();
    seen.dedup();
    Verdict::of(reasons, seen.join("; "))
}

fn families(subject: &Subject, asker: &mut Asker<'_>) -> Verdict {
    let (mut reasons, mut answers) = (Vec::new(), 0);
    for (base, case) in &subject.bases {
        for (name, families) in one_family() {
            let changed = with(case, |facts| facts.system.families = families);
            match asker.ask(&changed) {
                Asked::Answer(answer) => {
                    answers += 1;
                    reasons.extend(foreign(&answer, families).map(|what| {
                        format!(
                            "{base}, a node with {name} alone: asks for {what}; look at `facts.system.families` first"
                        )
                    }));
                }
                Asked::Refused(_) => {}
                Asked::NotTaken(reason) | Asked::Broken(reason) => {
                    reasons.push(format!("{base}, a node with {name} alone: {reason}"));
                }
            }
        }
    }
    match answers {
        0 if reasons.is_empty() => Verdict::not_applicable("no case has an answer"),
        _ => Verdict::of(reasons, "on nodes with IPv4 alone and with IPv6 alone"),
    }
}

/// What is for none of these families.
fn foreign(answer: &Contribution, node: Families) -> impl Iterator<Item = String> {
    let absent = move |families: Families| !families.iter().any(|family| node.contains(family));
    let chains = answer.chains.iter().filter(move |chain| absent(chain.families));
    let attachments = answer.attachments.iter().filter(move |one| absent(one.families));
    let sets = answer.sets.iter().filter(move |set| !node.contains(set.family));
    chains
        .map(|chain| format!("the chain {} in {}", chain.name, chain.table))
        .chain(attachments.map(|one| format!("an attachment to {}/{}", one.table, one.hook)))
        .chain(sets.map(|set| format!("the set {}", set.name)))
}

/// The base settings with another value at one place.
fn changed(settings: &Value, name: &str, value: Value) -> Value {
    let mut settings = settings.clone();
    match settings.as_object_mut() {
        Some(object) => drop(object.insert(name.to_owned(), value)),
        None => settings = Value::Object(Map::from_iter([(name.to_owned(), value)])),
    }
    settings
}

fn unknown(subject: &Subject) -> Verdict {
    let settings = changed(&subject.bases[0].1.settings, "no-policy-has-this-setting", json!(1));
    match subject.policies[0].check_settings(&settings) {
        Err(error) => Verdict::pass(error.to_string()),
        Ok(()) => {
            let reason = "its schema accepts any name, so that a misspelt setting goes unnoticed; say \
                          \"additionalProperties\": false (in Rust `deny_unknown_fields`)";
            Verdict::Fail { reasons: vec![reason.to_owned()] }
        }
    }
}

fn defaults(subject: &Subject, schema: &Value) -> Verdict {
    let (mut reasons, mut names) = (Vec::new(), Vec::new());
    for (name, property) in schema::properties(schema) {
        let default = [property, schema::resolved(schema, property)].map(|one| &one["default"]);
        let Some(default) = default.into_iter().find(|default| !default.is_null()) else { continue };
        let settings = changed(&subject.bases[0].1.settings, name, default.clone());
        match subject.policies[0].check_settings(&settings) {
            Ok(()) => names.push(name.as_str()),
            Err(error) => reasons.push(format!("the default of `{name}` does not fit: {error}")),
        }
    }
    if names.is_empty() && reasons.is_empty() {
        return Verdict::not_applicable("no setting has a default in the schema");
    }
    Verdict::of(reasons, names.join(", "))
}

fn types(subject: &Subject, schema: &Value, asker: &mut Asker<'_>) -> Verdict {
    let properties = schema::properties(schema);
    if properties.is_empty() {
        return Verdict::not_applicable("it has no settings");
    }
    let (base, case) = &subject.bases[0];
    let mut reasons = Vec::new();
    for (name, _) in &properties {
        let mut accepted = 0;
        let values = schema::one_of_each();
        let count = values.len();
        for value in values {
            let shown = value.to_string();
            let case = Case { settings: changed(&case.settings, name, value), ..case.clone() };
            match asker.ask(&case) {
                Asked::Answer(_) => accepted += 1,
                Asked::Refused(_) => {}
                Asked::NotTaken(reason) | Asked::Broken(reason) => {
                    reasons.push(format!("{base} with `{name}` = {shown}: {reason}"));
                }
            }
        }
        if accepted == count {
            reasons.push(format!("`{name}` takes a value of every type; say in the schema what it can be"));
        }
    }
    Verdict::of(reasons, format!("{} settings, each with a value of each type of JSON", properties.len()))
}

/// Time depends on the machine, and is not judged.
fn limits(used: &Usage) -> Verdict {
    let judged = Limit::ALL.into_iter().filter(|limit| *limit != Limit::Time);
    let over = judged.clone().filter(|limit| used[*limit] > limit.default_amount());
    let reasons = over.map(|limit| {
        format!(
            "used {} of `{limit}`, and the default is {}; say so where you publish it",
            used[limit],
            limit.default_amount()
        )
    });
    let share = |limit: Limit| used[limit] as f64 * 100.0 / limit.default_amount() as f64;
    let largest = judged.clone().max_by(|a, b| share(*a).total_cmp(&share(*b)));
    let detail =
        largest.map_or_else(String::new, |limit| format!("at most {:.1} % of a limit: `{limit}`", share(limit)));
    Verdict::of(reasons.collect(), detail)
}
