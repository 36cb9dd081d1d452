//! The settings as the operator writes them.

use std::borrow::Cow;
use std::fmt;

use ruleward_sdk::{Families, Family, Hook, Placement, Table, Verdict};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("settings.schema.json");

/// All settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings<'a> {
    /// Chains with their rules.
    #[serde(borrow, default)]
    pub chains: Vec<ChainEntry<'a>>,
    /// Rules in built-in chains.
    #[serde(borrow, default)]
    pub attachments: Vec<AttachmentEntry<'a>>,
    /// Address sets.
    #[serde(borrow, default)]
    pub sets: Vec<SetEntry<'a>>,
    /// Policies of built-in chains.
    #[serde(default)]
    pub policies: Vec<PolicyEntry>,
}

/// A chain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChainEntry<'a> {
    /// Where.
    pub table: TableName,
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// For which families.
    #[serde(default)]
    pub families: FamilyList,
    /// Its rules.
    #[serde(borrow, default)]
    pub rules: Vec<Text<'a>>,
}

/// A rule in a built-in chain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AttachmentEntry<'a> {
    /// Which table.
    pub table: TableName,
    /// Which built-in chain.
    pub hook: HookName,
    /// For which families.
    #[serde(default)]
    pub families: FamilyList,
    /// Before or after foreign rules.
    #[serde(default)]
    pub placement: PlacementName,
    /// Among attachments at the same place.
    #[serde(default)]
    pub order: i32,
    /// The rule.
    #[serde(borrow)]
    pub rule: Text<'a>,
}

/// The policy of a built-in chain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicyEntry {
    /// Which table.
    pub table: TableName,
    /// Which built-in chain.
    pub hook: HookName,
    /// For which families.
    #[serde(default)]
    pub families: FamilyList,
    /// What it should be.
    pub policy: VerdictName,
}

/// An address set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetEntry<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// Its type, as ipset names it.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Its family.
    #[serde(default)]
    pub family: FamilyName,
    /// Its members, in ipset's syntax.
    #[serde(borrow, default)]
    pub members: Vec<Text<'a>>,
    /// Most members.
    pub max_elements: Option<u32>,
    /// Rules fill it.
    #[serde(default)]
    pub dynamic: bool,
    /// Seconds after which a member vanishes.
    pub timeout: Option<u32>,
    /// What else `ipset create` takes.
    #[serde(borrow, default)]
    pub options: SetOptions<'a>,
}

/// Further options of a set, each as ipset names it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetOptions<'a> {
    #[serde(borrow)]
    bitmask: Option<Text<'a>>,
    bucketsize: Option<u32>,
    #[serde(default)]
    comment: bool,
    #[serde(default)]
    counters: bool,
    #[serde(default)]
    forceadd: bool,
    hashsize: Option<u32>,
    #[serde(borrow)]
    markmask: Option<Text<'a>>,
    netmask: Option<u8>,
    #[serde(borrow)]
    range: Option<Text<'a>>,
    size: Option<u32>,
    #[serde(default)]
    skbinfo: bool,
}

impl SetOptions<'_> {
    /// The words for `ipset create`, one an item.
    pub fn words(&self) -> Vec<String> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
        let valued = [
            ("bitmask", text(&self.bitmask)),
            ("bucketsize", number(self.bucketsize)),
            ("hashsize", number(self.hashsize)),
            ("markmask", text(&self.markmask)),
            ("netmask", number(self.netmask.map(u32::from))),
            ("range", text(&self.range)),
            ("size", number(self.size)),
        ];
        let alone = [
            ("comment", self.comment),
            ("counters", self.counters),
            ("forceadd", self.forceadd),
            ("skbinfo", self.skbinfo),
        ];
        let valued = valued.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let alone = alone.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned());
        valued.flatten().chain(alone).collect()
    }
}

/// Declares an enum that the settings spell in words, with the contract's case for each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident for $contract:ident { $($(#[$attribute:meta])* $case:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
        pub enum $name {
            $($(#[$attribute])* #[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $case,)+
        }

        impl From<$name> for $contract {
            fn from(name: $name) -> Self {
                match name { $($name::$case => Self::$case,)+ }
            }
        }
    };
}

words!(
    /// A table.
    TableName for Table {
        Raw => "raw",
        Mangle => "mangle",
        Nat => "nat",
        #[default]
        Filter => "filter",
        Security => "security",
    }
);
words!(
    /// A built-in chain.
    HookName for Hook {
        Prerouting => "PREROUTING",
        #[default]
        Input => "INPUT",
        Forward => "FORWARD",
        Output => "OUTPUT",
        Postrouting => "POSTROUTING",
    }
);
words!(
    /// What happens to a packet that no rule decided.
    VerdictName for Verdict {
        #[default]
        Accept => "ACCEPT",
        Drop => "DROP",
    }
);
words!(
    /// A place in a built-in chain.
    PlacementName for Placement {
        #[default]
        First => "first",
        Last => "last",
    }
);
words!(
    /// A family.
    FamilyName for Family {
        #[default]
        Ipv4 => "ipv4",
        Ipv6 => "ipv6",
    }
);

/// Families; both when not given.
#[derive(Debug, Clone, Copy)]
pub struct FamilyList(Families);

impl Default for FamilyList {
    fn default() -> Self {
        Self(Families::all())
    }
}

impl From<FamilyList> for Families {
    fn from(list: FamilyList) -> Self {
        list.0
    }
}

struct FamilyListVisitor;

impl<'de> Visitor<'de> for FamilyListVisitor {
    type Value = FamilyList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of one or two of \"ipv4\" and \"ipv6\"")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<FamilyList, A::Error> {
        let mut families = Families::empty();
        while let Some(family) = items.next_element::<FamilyName>()? {
            families |= Families::from(Family::from(family));
        }
        if families.is_empty() {
            return Err(de::Error::custom("families is empty; leave it out for both families"));
        }
        Ok(FamilyList(families))
    }
}

impl<'de> Deserialize<'de> for FamilyList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FamilyListVisitor)
    }
}

/// Text that is borrowed from the settings wherever it holds no escapes.
#[derive(Debug)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}
