//! What Felix's parameters come to, with Felix's own defaults. A value of `none` switches a parameter off.

use std::net::IpAddr;

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::{Backend, Facts, Failure, Families, Family, Placement, PortRange, log};

use crate::dataplane::NftablesMode;
use crate::features::Features;
use crate::parameters::{Found, Layer, Parameters};
use crate::pools::Pools;
use crate::release::Release;

/// The parameters that nat depends on.
#[derive(Debug)]
pub struct Felix {
    ipv6: bool,
    /// Where the jumps of PREROUTING and OUTPUT stand.
    pub placement: Placement,
    /// Outgoing traffic gets this source address, in its family.
    pub nat_outgoing_address: Option<IpAddr>,
    /// Outgoing TCP and UDP get these source ports.
    pub nat_ports: Option<PortRange>,
    /// Traffic to nodes is not translated.
    pub spares_hosts: bool,
    /// Only traffic that leaves here is translated.
    pub interface_filter: Option<String>,
    /// Floating IPs of all orchestrators are translated.
    pub floating_ips: bool,
    /// Nodes outside the cluster.
    pub external_nodes: Vec<IpNet>,
    /// Whether Felix programs nftables.
    pub nftables: NftablesMode,
    /// What Felix takes iptables to know.
    pub features: Features,
    /// The tunnel addresses of this node that a parameter gives: IPIP, VXLAN, VXLAN over IPv6.
    pub tunnel_addresses: [bool; 3],
    /// Most members of a set.
    pub max_set_size: u32,
    /// VXLAN's UDP port; 0: unknown.
    pub vxlan_port: u16,
    ipip: Option<bool>,
    vxlan: Option<bool>,
    wireguard: [Option<String>; 2],
}

/// Which tunnels are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    /// IPIP, which is IPv4 only.
    pub ipip: bool,
    /// VXLAN over IPv4.
    pub vxlan: bool,
    /// VXLAN over IPv6.
    pub vxlan_v6: bool,
}

impl Felix {
    /// Reads the parameters.
    ///
    /// # Errors
    /// When a value can't be used, or Felix runs its eBPF dataplane, whose nat rules are others.
    pub fn read<'a>(facts: &'a Facts, environment: Layer<'a>, release: Release) -> Result<Self, Failure> {
        let parameters = Parameters::read(facts, environment)?;
        let in_use = |field| parameters.find_in_use(field);
        let flag = |field| parameters.find(field).map(Found::flag).transpose();
        let address = |field| in_use(field).map_or(Ok(None), Found::address).map(|address| address.is_some());
        let switch = |field| in_use(field).map(Found::flag).transpose();
        let is_second = |field, words| in_use(field).map_or(Ok(false), |found| found.is_second(words));
        if let (Some(true), Some(found)) = (flag("bpfEnabled")?, parameters.find("bpfEnabled")) {
            let message =
                "Felix's eBPF dataplane has other nat rules; this policy knows those of its iptables dataplane";
            return Err(found.refuse(message));
        }
        if let (Some(false), Some(found)) =
            (flag("useInternalDataplaneDriver")?, parameters.find("useInternalDataplaneDriver"))
        {
            return Err(
                found.refuse("an external dataplane driver programs its own rules; this policy knows Felix's own")
            );
        }
        warn_of_other_backend(facts, in_use("iptablesBackend"))?;
        let wireguard = |enabled, name, default: &str| -> Result<Option<String>, Failure> {
            let device = in_use(name).map_or(Ok(default.to_owned()), Found::interface)?;
            Ok(flag(enabled)?.unwrap_or(false).then_some(device))
        };
        let appends =
            parameters.find("chainInsertMode").map_or(Ok(false), |found| found.is_second(["Insert", "Append"]))?;
        let vxlan_port = match parameters.find("vxlanPort") {
            Some(_) => in_use("vxlanPort").map_or(Ok(0), |found| found.number(0..=65_535))?,
            None => 4789,
        };
        Ok(Self {
            ipv6: flag("ipv6Support")?.unwrap_or(true),
            placement: if appends { Placement::Last } else { Placement::First },
            nat_outgoing_address: in_use("natOutgoingAddress").map_or(Ok(None), Found::address)?,
            nat_ports: in_use("natPortRange").map_or(Ok(None), Found::ports)?,
            spares_hosts: release.has_exclusions()
                && is_second("natOutgoingExclusions", ["IPPoolsOnly", "IPPoolsAndHostIPs"])?,
            interface_filter: in_use("iptablesNATOutgoingInterfaceFilter").map(Found::interface).transpose()?,
            floating_ips: is_second("floatingIPs", ["Disabled", "Enabled"])?,
            external_nodes: in_use("externalNodesList").map_or(Ok(Vec::new()), Found::networks)?,
            nftables: NftablesMode::read(in_use("nftablesMode"))?,
            features: Features::read(facts.system.random_fully, in_use("featureDetectOverride"))?,
            tunnel_addresses: [
                address("ipInIpTunnelAddr")?,
                address("ipv4VXLANTunnelAddr")?,
                address("ipv6VXLANTunnelAddr")?,
            ],
            max_set_size: parameters.find("maxIpsetSize").map_or(Ok(1_048_576), |found| found.number(1..=u32::MAX))?,
            vxlan_port: u16::try_from(vxlan_port).unwrap_or_default(),
            ipip: switch("ipipEnabled")?,
            vxlan: switch("vxlanEnabled")?,
            wireguard: [
                wireguard("wireguardEnabled", "wireguardInterfaceName", "wireguard.cali")?,
                wireguard("wireguardEnabledV6", "wireguardInterfaceNameV6", "wg-v6.cali")?,
            ],
        })
    }

    /// The families that Felix programs, of those that the node can filter.
    pub fn families(&self, possible: Families) -> impl Iterator<Item = Family> {
        let ipv6 = self.ipv6;
        [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .filter(move |family| possible.contains(Families::from(*family)) && (ipv6 || *family == Family::Ipv4))
    }

    /// Which tunnels are in use: those that a pool wants, or that a parameter switches on whatever the pools want.
    pub fn encapsulation(&self, pools: &Pools) -> Encapsulation {
        Encapsulation {
            ipip: self.ipip.unwrap_or(pools.ipip),
            vxlan: self.vxlan.unwrap_or(pools.vxlan),
            vxlan_v6: pools.vxlan_v6,
        }
    }

    /// WireGuard's interface, where it is enabled.
    pub fn wireguard(&self, family: Family) -> Option<&str> {
        match family {
            Family::Ipv4 => self.wireguard[0].as_deref(),
            Family::Ipv6 => self.wireguard[1].as_deref(),
        }
    }
}

/// Two programs with two backends do not see each other's rules.
fn warn_of_other_backend(facts: &Facts, parameter: Option<Found<'_>>) -> Result<(), Failure> {
    let Some(found) = parameter else { return Ok(()) };
    let named = match found.text()?.to_ascii_lowercase().as_str() {
        "auto" => return Ok(()),
        "nft" => Backend::Nft,
        "legacy" => Backend::Legacy,
        other => return Err(found.refuse(format!("is {other:?}; write Auto, Legacy or NFT"))),
    };
    if named != facts.system.backend {
        log::warn(format!(
            "iptablesBackend says that Felix programs iptables-{}, and Ruleward programs iptables-{}; set \
             backend in ruleward.toml to the same one",
            word(named),
            word(facts.system.backend)
        ));
    }
    Ok(())
}

fn word(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    }
}
