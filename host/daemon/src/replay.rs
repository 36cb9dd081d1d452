//! Gives an answer again from what a record says it was an answer to, and compares. Nothing of this machine has a part in
//! it: the same record gives the same outcome wherever this version of the program runs.

use std::path::Path;

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use serde::Serialize;
use serde_json::Value;

use ruleward_reconcile::policies::Version;
use ruleward_sandbox::{ComponentBytes, Limit, Limits, PolicyEngine, contribution_digest};
use ruleward_state::history::record::{CONTRACT, Header, Record};

/// A slow machine must not be taken for another answer: so long, in microseconds, a
/// call may take that had an answer when it was recorded.
const PATIENCE: u64 = 600_000_000;

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replay {
    /// Which record.
    pub record: String,
    /// Byte for byte the same answer, or the same refusal.
    pub identical: bool,
    /// What was recorded.
    pub recorded: Side,
    /// What came now.
    pub replayed: Side,
    /// Where the answers differ first: a JSON pointer, and what is there.
    pub first_difference: Option<FirstDifference>,
}

/// An answer in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The digest of its bytes.
    Contribution(String),
    /// Why there is none.
    Refused(String),
}

/// The first place at which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirstDifference {
    /// JSON pointer.
    pub at: String,
    /// JSON; none if there is nothing.
    pub recorded: Option<String>,
    /// JSON; none if there is nothing.
    pub replayed: Option<String>,
}

/// Replays `record` with its component.
///
/// # Errors
/// Why that can't be done.
pub fn replay(engine: &PolicyEngine, record: &Record, component: &ComponentBytes) -> Result<Replay, String> {
    let header = &record.header;
    if header.contract != CONTRACT {
        return Err(format!("the policy speaks {}, and this version knows {CONTRACT}", header.contract));
    }
    if component.digest != header.component {
        return Err(format!("the component is {}, and {} is needed", component.digest, header.component));
    }
    let time = header.limits[Limit::Time].max(PATIENCE);
    let patient = header.limits.clone().with(Limit::Time, time);
    let recorded = match (&record.contribution, header.outcome.reason()) {
        (Some(contribution), _) => Ok(contribution.clone()),
        (None, Some(reason)) => Err(reason.to_owned()),
        (None, None) => return Err("it holds neither an answer nor a refusal".to_owned()),
    };
    // By which limits it is described and asked. A component that was at hand already when its limits were lowered was
    // described by others; and who ran out of time shall do so again, but no slow machine shall make others run out of it.
    let own = &header.limits;
    let generous = Limits::default().with(Limit::Time, time);
    let attempts: &[(&Limits, &Limits)] = match &recorded {
        Ok(_) => &[(&generous, &patient)],
        Err(_) => &[(own, own), (&generous, own), (&generous, &patient)],
    };
    let mut replayed = Err(String::new());
    for (described, asked) in attempts {
        replayed = answer(engine, record, component, described, asked);
        if replayed == recorded {
            break;
        }
    }
    compare(header, &recorded, &replayed).map_err(|error| format!("an answer can't be written as JSON: {error}"))
}

fn answer(
    engine: &PolicyEngine,
    record: &Record,
    component: &ComponentBytes,
    described: &Limits,
    asked: &Limits,
) -> Result<Contribution, String> {
    let (policy, settings) = (&record.header.policy, &record.settings);
    let loaded = engine.load_bytes(policy, Path::new(""), component, described);
    let loaded = loaded.map_err(|error| error.problem.to_string())?.with_limits(asked);
    let value = serde_json::from_str(settings).map_err(|error| format!("its settings are no JSON: {error}"))?;
    loaded.check_settings(&value).map_err(|error| error.to_string())?;
    let facts: &Facts = record.facts.as_ref().ok_or("it holds no facts, and would be asked about them")?;
    let version = Version::new(policy.clone(), loaded, settings.clone(), record.header.grants.clone());
    let answer = version.evaluate(facts, facts.system.families).map_err(|error| error.reason)?;
    Ok((*answer.contribution).clone())
}

type Answer = Result<Contribution, String>;

fn compare(header: &Header, recorded: &Answer, replayed: &Answer) -> serde_json::Result<Replay> {
    let side = |answer: &Answer| {
        Ok(match answer {
            Ok(contribution) => Side::Contribution(contribution_digest(contribution)),
            Err(reason) => Side::Refused(reason.clone()),
        })
    };
    let first_difference = match (recorded, replayed) {
        (Ok(one), Ok(other)) => {
            first_difference(&serde_json::to_value(one)?, &serde_json::to_value(other)?, &mut String::new())
        }
        _ => None,
    };
    let (recorded, replayed): (Side, Side) = (side(recorded)?, side(replayed)?);
    let identical = recorded == replayed;
    Ok(Replay { record: header.name().to_string(), identical, recorded, replayed, first_difference })
}

/// Goes through both in order.
fn first_difference(one: &Value, other: &Value, at: &mut String) -> Option<FirstDifference> {
    let length = at.len();
    let mut inside = |step: &str, one: Option<&Value>, other: Option<&Value>| {
        at.truncate(length);
        at.push('/');
        at.push_str(step);
        match (one, other) {
            (Some(one), Some(other)) => first_difference(one, other, at),
            (one, other) => Some(FirstDifference {
                at: at.clone(),
                recorded: one.map(ToString::to_string),
                replayed: other.map(ToString::to_string),
            }),
        }
    };
    match (one, other) {
        (one, other) if one == other => None,
        (Value::Array(some), Value::Array(others)) => (0..some.len().max(others.len()))
            .find_map(|index| inside(&index.to_string(), some.get(index), others.get(index))),
        (Value::Object(some), Value::Object(others)) => {
            let keys = some.keys().chain(others.keys().filter(|key| !some.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                if some.get(key) == others.get(key) { None } else { inside(key, some.get(key), others.get(key)) }
            })
        }
        _ => {
            Some(FirstDifference { at: at.clone(), recorded: Some(one.to_string()), replayed: Some(other.to_string()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use ruleward_core::grants::Grants;
    use ruleward_core::names::PolicyName;
    use serde_json::json;

    use super::*;
    use ruleward_sandbox::testkit::{Guest, Kit, facts};
    use ruleward_state::history::record::{Mode, Outcome, Part};

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        let find = |one: Value, other: Value| {
            let found = first_difference(&one, &other, &mut String::new())?;
            Some((found.at, found.recorded, found.replayed))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(find(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 2}]})), None);
        assert_eq!(
            find(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": "2"}]})),
            Some(("/a/1/b".to_owned(), text("2"), text("\"2\"")))
        );
        assert_eq!(find(json!([1]), json!([1, 2])), Some(("/1".to_owned(), None, text("2"))));
        assert_eq!(find(json!({"a": 1}), json!({"b": 1})), Some(("/a".to_owned(), text("1"), None)));
    }

    fn record(kit: &Kit, component: &ComponentBytes, settings: &str, outcome: Outcome) -> Record {
        let header = Header {
            policy: PolicyName::new("web").unwrap(),
            number: 1,
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            host: "0.1.0".to_owned(),
            contract: CONTRACT.to_owned(),
            component_name: None,
            component_version: None,
            component: component.digest.clone(),
            grants: Grants::default(),
            limits: kit.limits.clone().with(Limit::Fuel, 1_000_000),
            settings: Part::of(settings.as_bytes()),
            facts: None,
            contribution: None,
            mode: Mode::Enforce,
            shadow_of: None,
            outcome,
            chains: 0,
            rules: 0,
            sets: 0,
        };
        Record { header, settings: settings.to_owned(), facts: Some(facts()), contribution: None }
    }

    fn component(guest: Guest<'_>) -> ComponentBytes {
        ComponentBytes::from(guest.component())
    }

    fn refused(reason: &str) -> Outcome {
        Outcome::Refused { reason: reason.to_owned() }
    }

    #[test]
    fn an_answer_is_given_again_and_another_one_is_found() {
        let kit = Kit::new();
        let guest = component(Guest::default());
        let mut record = record(&kit, &guest, "{}", Outcome::InForce);
        record.contribution = Some(Contribution::default());
        let again = replay(&kit.engine, &record, &guest).unwrap();
        assert!(again.identical && again == replay(&kit.engine, &record, &guest).unwrap(), "{again:?}");
        // Whoever edits an answer has the replay against them.
        let chain = serde_json::from_value(json!({
            "table": "nat", "families": { "ipv4": true, "ipv6": true }, "name": "web", "rules": []
        }));
        record.contribution.as_mut().unwrap().chains.push(chain.unwrap());
        let forged = replay(&kit.engine, &record, &guest).unwrap();
        assert_eq!((forged.identical, forged.first_difference.unwrap().at.as_str()), (false, "/chains/0"));
    }

    #[test]
    fn every_refusal_is_given_again_with_its_words() {
        let kit = Kit::new();
        let endless = component(Guest { evaluate: "(loop (br 0)) i32.const 0", ..Guest::default() });
        let trap = component(Guest { evaluate: "unreachable", ..Guest::default() });
        let strict = component(Guest { schema: "{\"type\":\"object\",\"required\":[\"a\"]}", ..Guest::default() });
        let broken = ComponentBytes::from(b"\0asm\x0d\0\x01\0\x01\x04abcd".to_vec());
        for (guest, word) in
            [(endless, "ran out of fuel"), (trap, "panicked"), (strict, "settings don't fit"), (broken, "")]
        {
            let first = replay(&kit.engine, &record(&kit, &guest, "{}", refused("another reason")), &guest).unwrap();
            assert!(!first.identical, "{first:?}");
            let Side::Refused(reason) = first.replayed else { panic!("{first:?}") };
            assert!(reason.contains(word), "{reason}");
            let again = replay(&kit.engine, &record(&kit, &guest, "{}", refused(&reason)), &guest).unwrap();
            assert!(again.identical, "{again:?}");
        }
    }

    #[test]
    fn what_can_not_be_replayed_is_refused() {
        let kit = Kit::new();
        let guest = component(Guest::default());
        let other = component(Guest { evaluate: "unreachable", ..Guest::default() });
        let record = record(&kit, &guest, "{}", Outcome::InForce);
        assert!(replay(&kit.engine, &record, &guest).unwrap_err().contains("neither an answer nor a refusal"));
        assert!(replay(&kit.engine, &record, &other).unwrap_err().contains("is needed"));
        let mut newer = record;
        newer.header.contract = "ruleward:policy@9.0.0".to_owned();
        assert!(replay(&kit.engine, &newer, &guest).unwrap_err().contains("policy@9.0.0"));
    }
}
