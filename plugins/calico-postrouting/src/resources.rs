//! Reads Calico's resources. Only the fields that matter are looked at; each of them is a [`Leaf`] first, so that a
//! value of the wrong type is refused by the name of its field rather than by its position in the text.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ruleward_sdk::ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON value as far as any field wants to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Leaf<'a> {
    /// `null`, or the field is absent.
    #[default]
    Absent,
    /// `true` or `false`.
    Flag(bool),
    /// An integer.
    Number(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Leaf<'a>>),
    /// A number with a fraction, or an object.
    Other,
}

impl Leaf<'_> {
    /// The text; nothing when absent or empty.
    ///
    /// # Errors
    /// What is wrong, when it is something else.
    pub fn text(&self) -> Result<Option<&str>, String> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text.as_ref()).filter(|text| !text.is_empty())),
            other => Err(format!("is {other}; write a string")),
        }
    }

    /// The address, with or without a prefix length.
    ///
    /// # Errors
    /// What is wrong, when it is something else.
    pub fn address(&self) -> Result<Option<IpAddr>, String> {
        let Some(text) = self.text()? else { return Ok(None) };
        let address = text.parse().or_else(|_| text.parse::<IpNet>().map(|network| network.addr()));
        match address {
            Ok(address) => Ok(Some(address.to_canonical())),
            Err(_) => Err(format!("{text:?} is not an IP address")),
        }
    }

    /// The items; none when absent.
    ///
    /// # Errors
    /// What is wrong, when it is something else.
    pub fn list(&self) -> Result<&[Self], String> {
        match self {
            Self::Absent => Ok(&[]),
            Self::List(items) => Ok(items),
            other => Err(format!("is {other}; write a list")),
        }
    }

    /// Whether it is true; not when absent.
    ///
    /// # Errors
    /// What is wrong, when it is something else.
    pub fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Absent => Ok(false),
            Self::Flag(flag) => Ok(*flag),
            other => Err(format!("is {other}; write true or false")),
        }
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(_) => f.write_str("a list"),
            Self::Other => f.write_str("an object or a fraction"),
        }
    }
}

struct LeafVisitor;

impl<'de> Visitor<'de> for LeafVisitor {
    type Value = Leaf<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Leaf<'de>, E> {
        Ok(i64::try_from(number).map_or(Leaf::Other, Leaf::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Other)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Leaf<'de>, E> {
        Ok(Leaf::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Leaf<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Leaf::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Leaf<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Leaf<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor)
    }
}
