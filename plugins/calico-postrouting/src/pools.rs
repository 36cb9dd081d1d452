//! IP pools: which networks are Calico's own, and which of them are translated on their way out. Whether a pool is
//! disabled does not matter to nat. Of several pools with the same network the first by name counts.

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::{Facts, Failure, Resource};
use serde::Deserialize;

use crate::release::Release;
use crate::resources::Leaf;

#[derive(Deserialize)]
struct IpPool<'a> {
    #[serde(borrow, default)]
    spec: Spec<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    cidr: Leaf<'a>,
    #[serde(borrow)]
    nat_outgoing: Leaf<'a>,
    #[serde(borrow)]
    ipip_mode: Leaf<'a>,
    #[serde(borrow)]
    vxlan_mode: Leaf<'a>,
    #[serde(borrow)]
    allowed_uses: Leaf<'a>,
}

/// The networks of all pools, sorted.
#[derive(Debug, Default)]
pub struct Pools {
    /// Destinations that are not translated.
    pub network: Vec<IpNet>,
    /// Sources that are translated.
    pub masquerade: Vec<IpNet>,
    /// Some pool wants IPIP.
    pub ipip: bool,
    /// Some IPv4 pool wants VXLAN.
    pub vxlan: bool,
    /// Some IPv6 pool wants VXLAN.
    pub vxlan_v6: bool,
}

impl Pools {
    /// Reads all pools.
    ///
    /// # Errors
    /// [`Failure::Resource`] for the first pool that can't be used.
    pub fn read(facts: &Facts, release: Release) -> Result<Self, Failure> {
        let mut pools = Self::default();
        let mut seen: Vec<IpNet> = Vec::new();
        for resource in facts.resources_of_kind("IPPool") {
            let IpPool { spec } = resource.read()?;
            let network = network(resource, &spec.cidr)?;
            let refuse = |field: &'static str| move |message: String| resource.refuse(field, message);
            let outgoing = spec.nat_outgoing.flag().map_err(refuse("spec.natOutgoing"))?;
            let ipip = wants(&spec.ipip_mode).map_err(refuse("spec.ipipMode"))?;
            let vxlan = wants(&spec.vxlan_mode).map_err(refuse("spec.vxlanMode"))?;
            let uses = spec.allowed_uses.list().map_err(refuse("spec.allowedUses"))?;
            if seen.contains(&network) {
                continue;
            }
            seen.push(network);
            pools.ipip |= ipip;
            pools.vxlan |= vxlan && network.addr().is_ipv4();
            pools.vxlan_v6 |= vxlan && network.addr().is_ipv6();
            if outgoing {
                pools.masquerade.push(network);
            }
            let load_balancers_only = matches!(uses, [Leaf::Text(only)] if only == "LoadBalancer");
            if !(load_balancers_only && release.has_network_pools()) {
                pools.network.push(network);
            }
        }
        pools.network.sort_unstable();
        pools.masquerade.sort_unstable();
        Ok(pools)
    }
}

fn network(resource: &Resource, cidr: &Leaf<'_>) -> Result<IpNet, Failure> {
    let refuse = |message: String| resource.refuse("spec.cidr", message);
    let text = cidr.text().map_err(refuse)?.ok_or_else(|| refuse("is absent; write the pool's network".to_owned()))?;
    let network: IpNet = text
        .parse()
        .map_err(|_| refuse(format!("{text:?} is not a network; write it like 192.168.0.0/16 or fd00:10:244::/64")))?;
    if network.prefix_len() == 0 {
        return Err(refuse(format!("{text} is every address there is, which no set of networks can hold")));
    }
    Ok(network.trunc())
}

/// Whether a mode switches its encapsulation on.
fn wants(mode: &Leaf<'_>) -> Result<bool, String> {
    let word = mode.text()?.unwrap_or("Never");
    match word.to_ascii_lowercase().as_str() {
        "never" => Ok(false),
        "always" | "crosssubnet" | "cross-subnet" => Ok(true),
        _ => Err(format!("is {word:?}; write Always, CrossSubnet or Never")),
    }
}
