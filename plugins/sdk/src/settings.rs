//! Types for settings: values that operators write as text, with a JSON Schema that says how.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

use crate::{Family, IpNetwork, PortRange};

/// An address or a network: `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`. Bits behind the prefix are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Its family.
    pub fn family(&self) -> Family {
        if self.0.addr().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// As ipnet's type.
    pub fn net(&self) -> IpNet {
        self.0
    }
}

impl From<Network> for IpNetwork {
    fn from(network: Network) -> Self {
        network.0.into()
    }
}

impl core::str::FromStr for Network {
    type Err = crate::NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNetwork>()?;
        // An address and a prefix length that were just read fit together.
        let net = IpNet::new(IpAddr::from(network.address), network.prefix_length);
        net.map(|net| Self(net.trunc())).map_err(|_| crate::NetworkError::of(text))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 2, "description": "An address or a network: 192.0.2.1, 2001:db8::/32." })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// A port, or a range of ports: `443`, `"443"`, `"8000-8099"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl From<Ports> for PortRange {
    fn from(Ports { first, last }: Ports) -> Self {
        Self { first, last }
    }
}

impl core::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is no port or range of ports from 0 to 65535; write 443 or \"8000-8099\"")),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a port such as 443, or a range such as \"8000-8099\"")]
enum NumberOrText<'a> {
    Number(u16),
    Text(Cow<'a, str>),
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(port) => Ok(Self { first: port, last: port }),
            NumberOrText::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port or a range of ports: 443 or \"8000-8099\".",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 65535 },
                { "type": "string", "pattern": "^[0-9]{1,5}([-:][0-9]{1,5})?$" }
            ]
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_or_ranges() {
        let read = |json: &str| serde_json::from_str::<Ports>(json);
        assert_eq!(read("443").unwrap(), Ports { first: 443, last: 443 });
        assert_eq!(read("\"443\"").unwrap(), Ports { first: 443, last: 443 });
        assert_eq!(read("\"8000-8099\"").unwrap(), Ports { first: 8000, last: 8099 });
        for bad in ["70000", "\"2-1\"", "\"ssh\"", "true"] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains("8000-8099"), "{bad}: {message}");
        }
    }

    #[test]
    fn networks_are_cut_to_their_prefix() {
        let read = |json: &str| serde_json::from_str::<Network>(json);
        assert_eq!(read("\"10.1.2.3/8\"").unwrap().net(), "10.0.0.0/8".parse().unwrap());
        assert_eq!(read("\"2001:db8::1\"").unwrap().family(), Family::Ipv6);
        assert!(read("\"ten\"").unwrap_err().to_string().contains("2001:db8::/32"));
    }
}
