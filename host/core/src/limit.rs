//! What a policy may use: each limit with its key, unit, default and bounds, and amounts of all of them together. The
//! configuration, the sandbox and the report go by this one list, so that a limit that is configured is also enforced and shown.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{format_duration, format_rough_size};

/// A limit of one call into a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Linear memory of all the policy's core instances together.
    Memory,
    /// Wall time of one call, instantiation included. Reading the answer is bounded by [`Limit::Output`] instead.
    Time,
    /// Wasmtime's fuel, about one unit for an executed WebAssembly instruction.
    Fuel,
    /// Core instances (a component is made of several).
    Instances,
    /// Linear memories of all core instances.
    Memories,
    /// Tables of all core instances.
    Tables,
    /// Elements of all tables together.
    TableElements,
    /// What is passed to it: facts, resources and settings.
    Input,
    /// What the host allocates for its answer, or for one log line. A rule with four matches takes about 400 bytes.
    Output,
    /// Chains in its answer.
    Chains,
    /// Rules in its answer, attachments included.
    Rules,
    /// Address sets in its answer.
    Sets,
    /// Members of all address sets in its answer together.
    Members,
    /// Lines that reach the log; more are counted and dropped.
    LogLines,
    /// One log line; what is over is cut.
    LogLineSize,
}

/// What the numbers of a limit count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
    /// Pieces.
    Count,
}

impl Limit {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 15] = [
        Self::Memory,
        Self::Time,
        Self::Fuel,
        Self::Instances,
        Self::Memories,
        Self::Tables,
        Self::TableElements,
        Self::Input,
        Self::Output,
        Self::Chains,
        Self::Rules,
        Self::Sets,
        Self::Members,
        Self::LogLines,
        Self::LogLineSize,
    ];

    /// Its key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Fuel => "fuel",
            Self::Instances => "instances",
            Self::Memories => "memories",
            Self::Tables => "tables",
            Self::TableElements => "table-elements",
            Self::Input => "input",
            Self::Output => "output",
            Self::Chains => "chains",
            Self::Rules => "rules",
            Self::Sets => "sets",
            Self::Members => "members",
            Self::LogLines => "log-lines",
            Self::LogLineSize => "log-line-size",
        }
    }

    /// What its numbers count.
    pub fn unit(self) -> Unit {
        match self {
            Self::Memory | Self::Input | Self::Output | Self::LogLineSize => Unit::Bytes,
            Self::Time => Unit::Microseconds,
            _ => Unit::Count,
        }
    }

    /// What holds unless the configuration says otherwise: generous for a node, small for a machine.
    pub fn default_amount(self) -> u64 {
        match self {
            Self::Memory | Self::Output => 64 << 20,
            Self::Time => 1_000_000,
            Self::Fuel => 1_000_000_000,
            Self::Instances | Self::Tables => 64,
            Self::Memories => 16,
            Self::TableElements | Self::Members => 1_000_000,
            Self::Input => 32 << 20,
            Self::Chains => 4096,
            Self::Rules => 100_000,
            Self::Sets => 1024,
            Self::LogLines => 100,
            Self::LogLineSize => 1024,
        }
    }

    /// The least and the most that can be configured.
    pub fn bounds(self) -> (u64, u64) {
        match self {
            Self::Memory => (64 << 10, 4 << 30),
            Self::Time => (1_000, 3_600_000_000),
            Self::Fuel => (1, i64::MAX as u64),
            Self::Instances | Self::Memories | Self::Tables => (1, 10_000),
            Self::TableElements => (1, 100_000_000),
            Self::Input | Self::Output => (1 << 10, 4 << 30),
            Self::Chains | Self::Sets => (1, 1_000_000),
            Self::Rules => (1, 10_000_000),
            Self::Members => (1, 100_000_000),
            Self::LogLines => (0, 1_000_000),
            Self::LogLineSize => (64, 64 << 10),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The limits of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

impl Default for Limits {
    fn default() -> Self {
        Self(Limit::ALL.map(Limit::default_amount))
    }
}

impl Limits {
    /// [`Limit::Time`].
    pub fn time(&self) -> Duration {
        Duration::from_micros(self[Limit::Time])
    }

    /// None above this ceiling.
    #[must_use]
    pub fn capped(mut self, ceiling: &BTreeMap<Limit, u64>) -> Self {
        for (limit, most) in ceiling {
            self[*limit] = self[*limit].min(*most);
        }
        self
    }

    /// The same with another amount of one limit.
    #[must_use]
    pub fn with(mut self, limit: Limit, amount: u64) -> Self {
        self[limit] = amount;
        self
    }

    /// As a `usize`, where an amount that does not fit is as good as none.
    pub fn size(&self, limit: Limit) -> usize {
        usize::try_from(self[limit]).unwrap_or(usize::MAX)
    }
}

/// What a policy has used, of each limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage([u64; Limit::ALL.len()]);

impl Usage {
    /// Wall time, conversions included.
    pub fn time(&self) -> Duration {
        Duration::from_micros(self[Limit::Time])
    }

    /// Of each limit the larger amount.
    #[must_use]
    pub fn or_worse(mut self, other: &Self) -> Self {
        for limit in Limit::ALL {
            self[limit] = self[limit].max(other[limit]);
        }
        self
    }

    /// Whether it is within these of the limits.
    ///
    /// # Errors
    /// The first that it is over.
    pub fn within(&self, limits: &Limits, which: &[Limit]) -> Result<(), Exceeded> {
        let over = which.iter().copied().find(|limit| self[*limit] > limits[*limit]);
        over.map_or(Ok(()), |limit| Err(Exceeded { limit, used: self[limit], most: limits[limit] }))
    }
}

/// As a map from keys to numbers; what a reader does not find has its default, and keys that it does not know it leaves out.
impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Limit::ALL.map(|limit| (limit.key(), self[limit])))
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amounts = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let known = |limit: &Limit| Some((*limit, *amounts.get(limit.key())?));
        Ok(Limit::ALL
            .iter()
            .filter_map(known)
            .fold(Self::default(), |limits, (limit, amount)| limits.with(limit, amount)))
    }
}

macro_rules! by_limit {
    ($($name:ident)*) => {$(
        impl Index<Limit> for $name {
            type Output = u64;
            fn index(&self, limit: Limit) -> &u64 {
                &self.0[limit as usize]
            }
        }
        impl IndexMut<Limit> for $name {
            fn index_mut(&mut self, limit: Limit) -> &mut u64 {
                &mut self.0[limit as usize]
            }
        }
    )*};
}
by_limit!(Limits Usage);

/// A policy wanted more than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Of what.
    pub limit: Limit,
    /// How much it used or wanted.
    pub used: u64,
    /// How much it may have.
    pub most: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, used, most } = self;
        let most = amount(*limit, *most);
        match limit {
            Limit::Fuel => write!(
                f,
                "ran out of fuel after {used} units; raise its limit `fuel` ({most}) if it is not an endless loop"
            ),
            Limit::Time => write!(
                f,
                "ran out of time after {}; raise its limit `time` ({most}) if it is not an endless loop",
                amount(*limit, *used)
            ),
            _ => {
                let (verb, what) = match limit {
                    Limit::Memory => ("wants", "of memory"),
                    Limit::Instances => ("is made of", "core instances"),
                    Limit::Memories => ("has", "memories"),
                    Limit::Tables => ("has", "tables"),
                    Limit::TableElements => ("wants", "elements in its tables"),
                    Limit::Input => ("would be given", "of facts and settings"),
                    Limit::Output => ("answers with at least", "of data"),
                    Limit::LogLines => ("logs", "lines"),
                    Limit::LogLineSize => ("logs", "in one line"),
                    Limit::Rules => ("asks for", "rules (attachments included)"),
                    Limit::Members => ("asks for", "set members"),
                    other => ("asks for", other.key()),
                };
                let used = amount(*limit, *used);
                write!(f, "{verb} {used} {what}, and its limit `{limit}` is {most}; raise that if it is meant")
            }
        }
    }
}

/// An amount with its unit, for people: `1.5 MiB`, `250ms`, `12`.
pub fn amount(limit: Limit, amount: u64) -> String {
    match limit.unit() {
        Unit::Count => amount.to_string(),
        Unit::Bytes => format_rough_size(amount),
        Unit::Microseconds => format_duration(Duration::from_micros(amount)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_place_and_a_default_within_its_bounds() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index, "{limit}");
            let (least, most) = limit.bounds();
            assert!((least..=most).contains(&limit.default_amount()), "{limit}");
            assert_eq!(Limits::default()[limit], limit.default_amount());
        }
    }

    #[test]
    fn the_worst_is_kept_of_each() {
        let (mut one, mut other) = (Usage::default(), Usage::default());
        (one[Limit::Memory], one[Limit::Rules]) = (1, 9);
        (other[Limit::Memory], other[Limit::Rules]) = (5, 2);
        let worst = one.or_worse(&other);
        assert_eq!((worst[Limit::Memory], worst[Limit::Rules]), (5, 9));
    }

    #[test]
    fn an_excess_names_the_limit_what_was_used_and_what_to_raise() {
        for limit in Limit::ALL {
            let text = Exceeded { limit, used: 70_000, most: 5000 }.to_string();
            assert!(text.contains(&format!("its limit `{limit}`")) && text.contains("raise"), "{text}");
            assert!(text.contains(&amount(limit, 70_000)) && text.contains(&amount(limit, 5000)), "{text}");
        }
    }

    #[test]
    fn amounts_are_short() {
        let texts = [(Limit::Memory, 1023), (Limit::Memory, 64 << 20), (Limit::Memory, 1_700_000)];
        assert_eq!(texts.map(|(limit, number)| amount(limit, number)), ["1023 B", "64 MiB", "1.6 MiB"]);
        let texts = [(Limit::Time, 999), (Limit::Time, 250_000), (Limit::Time, 3_600_000_000)];
        assert_eq!(texts.map(|(limit, number)| amount(limit, number)), ["999us", "250ms", "1h"]);
        assert_eq!(amount(Limit::Rules, 100_000), "100000");
    }
}
