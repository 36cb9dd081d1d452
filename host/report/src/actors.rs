//! Who did something, each with how often and when: as plain data, and in words.

use std::time::SystemTime;

use ruleward_core::actor::{Actor, Actors, Noted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plain::plain;
use super::timestamp;

/// One of those who did it.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActorReport {
    /// Who, as it was the last time.
    #[serde(flatten)]
    pub actor: Actor,
    /// How often.
    pub times: u64,
    /// The first time: RFC 3339, UTC.
    pub at: String,
    /// The last time: RFC 3339, UTC.
    pub last_at: String,
}

impl ActorReport {
    /// One that did it once.
    pub fn once(actor: Actor, at: &str) -> Self {
        Self { actor, times: 1, at: at.to_owned(), last_at: at.to_owned() }
    }
}

/// The actors as they are reported; `clock` says when a time was.
pub fn report<At: Copy + Ord>(actors: &Actors<At>, clock: impl Fn(At) -> SystemTime) -> Vec<ActorReport> {
    let one = |noted: &Noted<At>| ActorReport {
        actor: noted.actor.clone(),
        times: noted.times,
        at: timestamp(clock(noted.first)),
        last_at: timestamp(clock(noted.last)),
    };
    actors.iter().map(one).collect()
}

/// One line for each, with how often if there are several, and one for those who are not named.
pub fn lines(actors: &[ActorReport], more: u64) -> Vec<String> {
    let several = actors.len() > 1 || more > 0;
    let line = |one: &ActorReport| {
        let who = plain(&one.actor.to_string());
        if several { format!("{}: {who}", times(one.times)) } else { who }
    };
    let more = (more > 0).then(|| format!("and {} by others", times(more)));
    actors.iter().map(line).chain(more).collect()
}

/// Who did something the last time, in one line.
pub fn latest(actors: &[Actor]) -> String {
    actors.iter().map(|actor| plain(&actor.to_string())).collect::<Vec<_>>().join(" and ")
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
