//! One immutable snapshot of what policies may see.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::contribution::Families;
use crate::names::Backend;

/// Everything that policies may see. Lists are sorted, so that equal facts are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The node's name.
    pub node_name: String,
    /// The kernel and the tools.
    pub system: System,
    /// Network interfaces, by name.
    pub interfaces: Vec<Interface>,
    /// Resources, by kind, namespace and name.
    #[serde(rename = "resources")]
    pub resources: Vec<Resource>,
    /// Tables of nf_tables, by family and name.
    pub nft_tables: Vec<NftTable>,
}

impl Facts {
    /// Without what is not shown: interfaces, resources of other kinds than these, tables of nf_tables.
    #[must_use]
    pub fn restricted(&self, interfaces: bool, kinds: &BTreeSet<String>, nft_tables: bool) -> Self {
        Self {
            node_name: self.node_name.clone(),
            system: self.system,
            interfaces: if interfaces { self.interfaces.clone() } else { Vec::new() },
            resources: self.resources.iter().filter(|resource| kinds.contains(&resource.kind)).cloned().collect(),
            nft_tables: if nft_tables { self.nft_tables.clone() } else { Vec::new() },
        }
    }
}

/// A table of nf_tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NftTable {
    /// As nft names it: `ip`, `inet`.
    pub family: String,
    /// Its name.
    pub name: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// Addresses with the prefix length of their subnet, sorted.
    pub addresses: Vec<IpNet>,
}

/// A version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The kernel and the installed tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Of the running kernel.
    pub kernel: Version,
    /// Of the installed iptables.
    pub iptables: Version,
    /// In use.
    pub backend: Backend,
    /// Families that this node can filter.
    pub families: Families,
}

impl System {
    /// Whether MASQUERADE and SNAT know `--random-fully`: kernel 3.14 and iptables 1.6.2 or later.
    pub fn random_fully(&self) -> bool {
        self.kernel >= Version(3, 14, 0) && self.iptables >= Version(1, 6, 2)
    }
}

/// A Kubernetes-shaped resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    /// `IPPool`
    pub kind: String,
    /// Where it lives, if anywhere.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// `projectcalico.org/v3`
    pub api_version: String,
    /// The whole resource as compact JSON with sorted keys.
    pub json: String,
}
