//! Floating IPs: addresses under which a workload of this node can be reached besides its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ruleward_sdk::{Facts, Failure, Family, Resource};
use serde::Deserialize;

use crate::resources::Leaf;

#[derive(Deserialize)]
struct WorkloadEndpoint<'a> {
    #[serde(borrow, default)]
    spec: Spec<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec<'a> {
    #[serde(borrow)]
    node: Leaf<'a>,
    #[serde(borrow)]
    orchestrator: Leaf<'a>,
    #[serde(borrow, rename = "ipNetworks")]
    networks: Leaf<'a>,
    #[serde(borrow, rename = "ipNATs")]
    nats: Option<Vec<Nat<'a>>>,
}

#[derive(Deserialize)]
struct Nat<'a> {
    #[serde(borrow, default, rename = "internalIP")]
    internal: Leaf<'a>,
    #[serde(borrow, default, rename = "externalIP")]
    external: Leaf<'a>,
}

/// The pairs in force. Where several workloads claim an external address, or a workload has several, the lowest wins,
/// compared as text: that is how Felix decides.
#[derive(Debug, Default)]
pub struct FloatingIps {
    /// Internal address by external one.
    by_external: BTreeMap<String, IpAddr>,
}

impl FloatingIps {
    /// Reads the workloads of this node. Those of OpenStack have floating IPs whether or not they are `enabled`.
    ///
    /// # Errors
    /// [`Failure::Resource`] for the first workload that can't be used.
    pub fn read(facts: &Facts, enabled: bool) -> Result<Self, Failure> {
        let mut pairs = Self::default();
        for resource in facts.resources_of_kind("WorkloadEndpoint") {
            let WorkloadEndpoint { spec } = resource.read()?;
            let is = |leaf: &Leaf<'_>, word: &str| matches!(leaf, Leaf::Text(text) if text == word);
            if !is(&spec.node, &facts.node_name) || !(enabled || is(&spec.orchestrator, "openstack")) {
                continue;
            }
            // A workload without an address is not programmed yet.
            let refuse = |message: String| resource.refuse("spec.ipNetworks", message);
            if spec.networks.list().map_err(refuse)?.is_empty() {
                continue;
            }
            for (at, nat) in spec.nats.iter().flatten().enumerate() {
                pairs.add(resource, at, nat)?;
            }
        }
        Ok(pairs)
    }

    fn add(&mut self, resource: &Resource, at: usize, nat: &Nat<'_>) -> Result<(), Failure> {
        let refuse = |name: &str, message: String| resource.refuse(&format!("spec.ipNATs[{at}].{name}"), message);
        let read = |name: &str, leaf: &Leaf<'_>| {
            let address = leaf.address().map_err(|message| refuse(name, message))?;
            address.ok_or_else(|| refuse(name, "is absent; write an address".to_owned()))
        };
        let internal = read("internalIP", &nat.internal)?;
        let external = read("externalIP", &nat.external)?;
        if internal.is_ipv4() != external.is_ipv4() {
            return Err(refuse("externalIP", format!("{external} is not of the family of {internal}")));
        }
        let winner = self.by_external.entry(external.to_string()).or_insert(internal);
        if internal.to_string() < winner.to_string() {
            *winner = internal;
        }
        Ok(())
    }

    /// External and internal addresses, in the order of the external ones as text.
    pub fn inbound(&self, family: Family) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let pairs = self.by_external.iter().filter(move |(_, internal)| internal.is_ipv4() == (family == Family::Ipv4));
        pairs.filter_map(|(external, internal)| Some((external.parse().ok()?, *internal)))
    }

    /// Internal addresses and the first external one of each, in the order of the internal ones as text.
    pub fn outbound(&self, family: Family) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let mut first: BTreeMap<String, (IpAddr, IpAddr)> = BTreeMap::new();
        for (external, internal) in self.inbound(family) {
            first.entry(internal.to_string()).or_insert((internal, external));
        }
        first.into_values()
    }
}
