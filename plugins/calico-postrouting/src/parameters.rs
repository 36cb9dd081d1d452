//! Felix's parameters as they are written. As with Felix, each comes from the first place that has it: the environment
//! (here the setting `felix`), the FelixConfiguration `node.NAME` of this node, the one named `default`. In a
//! FelixConfiguration an annotation `config.projectcalico.org/PARAMETER` goes before the field. Other
//! FelixConfigurations apply to other nodes and are left alone.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::{Facts, Failure, PortRange, Resource};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::resources::Leaf;

const ANNOTATION: &str = "config.projectcalico.org/";

/// Each parameter: its name as a field of a FelixConfiguration, and Felix's own.
const PARAMETERS: [(&str, &str); 24] = [
    ("bpfEnabled", "BPFEnabled"),
    ("chainInsertMode", "ChainInsertMode"),
    ("externalNodesList", "ExternalNodesCIDRList"),
    ("featureDetectOverride", "FeatureDetectOverride"),
    ("floatingIPs", "FloatingIPs"),
    ("ipInIpTunnelAddr", "IpInIpTunnelAddr"),
    ("ipipEnabled", "IpInIpEnabled"),
    ("iptablesBackend", "IptablesBackend"),
    ("iptablesNATOutgoingInterfaceFilter", "IptablesNATOutgoingInterfaceFilter"),
    ("ipv4VXLANTunnelAddr", "IPv4VXLANTunnelAddr"),
    ("ipv6Support", "Ipv6Support"),
    ("ipv6VXLANTunnelAddr", "IPv6VXLANTunnelAddr"),
    ("maxIpsetSize", "MaxIpsetSize"),
    ("natOutgoingAddress", "NATOutgoingAddress"),
    ("natOutgoingExclusions", "NATOutgoingExclusions"),
    ("natPortRange", "NATPortRange"),
    ("nftablesMode", "NFTablesMode"),
    ("useInternalDataplaneDriver", "UseInternalDataplaneDriver"),
    ("vxlanEnabled", "VXLANEnabled"),
    ("vxlanPort", "VXLANPort"),
    ("wireguardEnabled", "WireguardEnabled"),
    ("wireguardEnabledV6", "WireguardEnabledV6"),
    ("wireguardInterfaceName", "WireguardInterfaceName"),
    ("wireguardInterfaceNameV6", "WireguardInterfaceNameV6"),
];

/// The parameters of one place, by the name of the field.
#[derive(Debug, Default)]
pub struct Layer<'a>(Vec<(&'static str, Leaf<'a>)>);

/// Parameters among annotations.
#[derive(Default)]
struct Annotations<'a>(Layer<'a>);

struct LayerVisitor {
    /// What precedes the names, and whether they are Felix's own.
    annotations: bool,
}

impl<'de> Visitor<'de> for LayerVisitor {
    type Value = Layer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Layer<'de>, A::Error> {
        let mut layer = Layer::default();
        while let Some(key) = entries.next_key::<String>()? {
            let known = PARAMETERS.iter().find(|(field, parameter)| {
                if self.annotations { key.strip_prefix(ANNOTATION) == Some(parameter) } else { key == *field }
            });
            match known {
                Some((field, _)) => layer.0.push((field, entries.next_value()?)),
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(layer)
    }

    fn visit_unit<E>(self) -> Result<Layer<'de>, E> {
        Ok(Layer::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Layer<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LayerVisitor { annotations: false })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LayerVisitor { annotations: true }).map(Self)
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    annotations: Annotations<'a>,
}

#[derive(serde::Deserialize)]
struct FelixConfiguration<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Layer<'a>,
}

/// Where a layer comes from, to name it in a refusal.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Settings,
    Field(&'a Resource),
    Annotation(&'a Resource),
}

/// One parameter's value and where it was found.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    origin: Origin<'a>,
    field: &'static str,
    leaf: &'a Leaf<'a>,
}

impl<'a> Found<'a> {
    /// A refusal that names the parameter.
    pub fn refuse(self, message: impl Into<String>) -> Failure {
        let parameter = PARAMETERS.iter().find(|(field, _)| *field == self.field).map_or("", |(_, name)| name);
        match self.origin {
            Origin::Settings => Failure::in_settings(format!("/felix/{}", self.field), message),
            Origin::Field(resource) => resource.refuse(&format!("spec.{}", self.field), message),
            Origin::Annotation(resource) => {
                resource.refuse(&format!("metadata.annotations[{ANNOTATION}{parameter}]"), message)
            }
        }
    }

    /// Felix's word for "off".
    fn is_none(self) -> bool {
        matches!(self.leaf, Leaf::Text(text) if text.eq_ignore_ascii_case("none"))
    }

    /// `true` or `false`, in Felix's spellings.
    ///
    /// # Errors
    /// When it is something else, as for the other readers.
    pub fn flag(self) -> Result<bool, Failure> {
        let word = match self.leaf {
            Leaf::Text(text) => text.to_ascii_lowercase(),
            leaf => return leaf.flag().map_err(|message| self.refuse(message)),
        };
        match word.as_str() {
            "true" | "yes" | "y" | "t" | "1" => Ok(true),
            "false" | "no" | "n" | "f" | "0" | "none" => Ok(false),
            _ => Err(self.refuse(format!("is {word:?}; write true or false"))),
        }
    }

    /// A number.
    pub fn number(self, range: RangeInclusive<u32>) -> Result<u32, Failure> {
        let number = match self.leaf {
            Leaf::Number(number) => u32::try_from(*number).ok(),
            Leaf::Text(text) => text.parse().ok(),
            _ => None,
        };
        let wrong = || format!("is {}; write a number from {} to {}", self.leaf, range.start(), range.end());
        number.filter(|number| range.contains(number)).ok_or_else(|| self.refuse(wrong()))
    }

    /// Whether it is the second of two words, in any case.
    pub fn is_second(self, words: [&str; 2]) -> Result<bool, Failure> {
        let text = self.text()?;
        let place = words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let place = place.ok_or_else(|| self.refuse(format!("is {text:?}; write {} or {}", words[0], words[1])))?;
        Ok(place == 1)
    }

    /// The name of an interface.
    pub fn interface(self) -> Result<String, Failure> {
        let text = self.text()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || ":._+-".contains(c);
        if text.len() > 15 || !text.chars().all(fits) {
            return Err(
                self.refuse(format!("{text:?} is not the name of an interface: 1 to 15 letters, digits or :._+-"))
            );
        }
        Ok(text.to_owned())
    }

    /// Ports; nothing when the highest is 0.
    pub fn ports(self) -> Result<Option<PortRange>, Failure> {
        let range = match self.leaf {
            Leaf::Number(port) => u16::try_from(*port).ok().map(|port| (port, port)),
            Leaf::Text(text) => {
                let (first, last) = text.split_once(':').unwrap_or((text, text));
                first.parse().ok().zip(last.parse().ok())
            }
            _ => None,
        };
        match range {
            Some((first, last)) if first <= last => Ok((last > 0).then_some(PortRange { first, last })),
            _ => Err(self.refuse(format!("is {}; write ports like \"32768:65535\"", self.leaf))),
        }
    }

    /// An address.
    pub fn address(self) -> Result<Option<IpAddr>, Failure> {
        self.leaf.address().map_err(|message| self.refuse(message))
    }

    /// Networks, as a list or divided by commas.
    pub fn networks(self) -> Result<Vec<IpNet>, Failure> {
        let words: Vec<&str> = match self.leaf {
            Leaf::Text(text) => text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect(),
            leaf => {
                let items = leaf.list().map_err(|message| self.refuse(message))?;
                let words = items.iter().map(|item| item.text().map(Option::unwrap_or_default));
                words.collect::<Result<_, _>>().map_err(|message| self.refuse(message))?
            }
        };
        let network = |word: &str| word.parse::<IpNet>().ok().or_else(|| word.parse::<IpAddr>().map(IpNet::from).ok());
        let read = words.iter().map(|word| {
            let wrong = || self.refuse(format!("{word:?} is not an address or network"));
            network(word).map(|network| network.trunc()).ok_or_else(wrong)
        });
        read.collect()
    }

    /// Text, as it is written.
    pub fn text(self) -> Result<&'a str, Failure> {
        self.leaf.text().map(Option::unwrap_or_default).map_err(|message| self.refuse(message))
    }
}

/// All places, the one that wins first.
pub struct Parameters<'a>(Vec<(Origin<'a>, Layer<'a>)>);

impl<'a> Parameters<'a> {
    /// Reads the FelixConfigurations of this node; `environment` goes before them.
    ///
    /// # Errors
    /// [`Failure::Resource`] when one is not built like a FelixConfiguration.
    pub fn read(facts: &'a Facts, environment: Layer<'a>) -> Result<Self, Failure> {
        let own = format!("node.{}", facts.node_name);
        let mut layers = vec![(Origin::Settings, environment)];
        for name in [own.as_str(), "default"] {
            for resource in facts.resources_of_kind("FelixConfiguration").filter(|resource| resource.name == name) {
                let FelixConfiguration { metadata, spec } = resource.read()?;
                layers.push((Origin::Annotation(resource), metadata.annotations.0));
                layers.push((Origin::Field(resource), spec));
            }
        }
        Ok(Self(layers))
    }

    /// The value of a parameter, `none` included.
    pub fn find(&'a self, field: &str) -> Option<Found<'a>> {
        self.0.iter().find_map(|(origin, layer)| {
            let set = layer.0.iter().filter(|(name, _)| *name == field);
            let set = set.filter(|(_, leaf)| {
                !matches!(leaf, Leaf::Absent) && !matches!(leaf, Leaf::Text(text) if text.is_empty())
            });
            set.map(|(field, leaf)| Found { origin: *origin, field, leaf }).next()
        })
    }

    /// The value of a parameter, if it is not `none`.
    pub fn find_in_use(&'a self, field: &str) -> Option<Found<'a>> {
        self.find(field).filter(|found| !found.is_none())
    }
}
