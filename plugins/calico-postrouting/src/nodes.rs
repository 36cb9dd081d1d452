//! Nodes: the tunnel addresses of this one, and the addresses of all of them. Both Calico's own Node resource and the
//! Kubernetes one with Calico's annotations are read. A node that is not there has no addresses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::{Facts, Failure, Family, Resource, log};
use serde::Deserialize;

use crate::felix::{Encapsulation, Felix};
use crate::resources::Leaf;

#[derive(Deserialize)]
struct Node<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Spec<'a>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    annotations: Option<BTreeMap<Cow<'a, str>, Leaf<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec<'a> {
    #[serde(borrow)]
    bgp: Option<Bgp<'a>>,
    #[serde(borrow, rename = "ipv4VXLANTunnelAddr")]
    vxlan: Leaf<'a>,
    #[serde(borrow, rename = "ipv6VXLANTunnelAddr")]
    vxlan_v6: Leaf<'a>,
    #[serde(borrow)]
    addresses: Option<Vec<Address<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bgp<'a> {
    #[serde(borrow, rename = "ipv4Address")]
    ipv4: Leaf<'a>,
    #[serde(borrow, rename = "ipv6Address")]
    ipv6: Leaf<'a>,
    #[serde(borrow, rename = "ipv4IPIPTunnelAddr")]
    ipip: Leaf<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status<'a> {
    #[serde(borrow)]
    addresses: Option<Vec<Address<'a>>>,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow, default)]
    address: Leaf<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: Leaf<'a>,
}

impl<'a> Node<'a> {
    /// The value of a field, or on a Kubernetes node of the annotation that stands for it, and where it was.
    fn value(&self, resource: &Resource, field: &'static str, leaf: &Leaf<'a>, annotation: &str) -> (String, Leaf<'a>) {
        if resource.api_version == "v1" && matches!(leaf, Leaf::Absent) {
            let name = format!("projectcalico.org/{annotation}");
            let found = self.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name.as_str()));
            return (format!("metadata.annotations[{name}]"), found.cloned().unwrap_or_default());
        }
        (field.to_owned(), leaf.clone())
    }

    /// The node's own address: the one for BGP, else the first internal, else the first external one.
    fn host_address(&self, resource: &Resource, family: Family) -> Result<Option<IpAddr>, Failure> {
        let absent = Bgp::default();
        let bgp = self.spec.bgp.as_ref().unwrap_or(&absent);
        let (field, leaf) = match family {
            Family::Ipv4 => self.value(resource, "spec.bgp.ipv4Address", &bgp.ipv4, "IPv4Address"),
            Family::Ipv6 => self.value(resource, "spec.bgp.ipv6Address", &bgp.ipv6, "IPv6Address"),
        };
        let address = leaf.address().map_err(|message| resource.refuse(&field, message))?;
        if address.is_some() {
            return Ok(address);
        }
        let (field, addresses) = match &self.spec.addresses {
            Some(addresses) => ("spec.addresses", Some(addresses)),
            None => ("status.addresses", self.status.addresses.as_ref()),
        };
        for wanted in ["InternalIP", "ExternalIP"] {
            for (at, item) in addresses.into_iter().flatten().enumerate() {
                if !matches!(&item.kind, Leaf::Text(kind) if kind == wanted) {
                    continue;
                }
                let found = item.address.address();
                let found = found.map_err(|message| resource.refuse(&format!("{field}[{at}].address"), message))?;
                if let Some(address) = found.filter(|address| address.is_ipv4() == (family == Family::Ipv4)) {
                    return Ok(Some(address));
                }
            }
        }
        Ok(None)
    }
}

/// What nat needs to know of the nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    /// This node has an IPIP tunnel address.
    pub ipip: bool,
    /// This node has a VXLAN tunnel address for IPv4.
    pub vxlan: bool,
    /// This node has a VXLAN tunnel address for IPv6.
    pub vxlan_v6: bool,
    /// Addresses of all nodes, sorted; for each family only if there is a set of them.
    pub hosts: [Option<Vec<IpNet>>; 2],
}

impl Nodes {
    /// Reads this node, and the others if a set wants their addresses.
    ///
    /// # Errors
    /// [`Failure::Resource`] for the first node that can't be used.
    pub fn read(facts: &Facts, felix: &Felix, encapsulation: Encapsulation) -> Result<Self, Failure> {
        let wants_hosts = [encapsulation.ipip || felix.spares_hosts, felix.spares_hosts];
        let mut nodes = Self { hosts: wants_hosts.map(|wanted| wanted.then(Vec::new)), ..Self::default() };
        let mut found = false;
        for resource in facts.resources_of_kind("Node") {
            let own = resource.name == facts.node_name;
            if !own && wants_hosts == [false; 2] {
                continue;
            }
            let node: Node<'_> = resource.read()?;
            if own {
                found = true;
                nodes.read_tunnels(resource, &node)?;
            }
            for (family, hosts) in [Family::Ipv4, Family::Ipv6].into_iter().zip(&mut nodes.hosts) {
                if let Some(hosts) = hosts {
                    hosts.extend(node.host_address(resource, family)?.map(IpNet::from));
                }
            }
        }
        if let [Some(hosts), _] = &mut nodes.hosts {
            hosts.extend(felix.external_nodes.iter().filter(|network| network.addr().is_ipv4()));
        }
        for hosts in nodes.hosts.iter_mut().flatten() {
            hosts.sort_unstable();
            hosts.dedup();
        }
        let [ipip, vxlan, vxlan_v6] = felix.tunnel_addresses;
        nodes.ipip |= ipip;
        nodes.vxlan |= vxlan;
        nodes.vxlan_v6 |= vxlan_v6;
        let Encapsulation { ipip: on_ipip, vxlan: on_vxlan, vxlan_v6: on_vxlan_v6 } = encapsulation;
        if !found && ((on_ipip && !ipip) || (on_vxlan && !vxlan) || (on_vxlan_v6 && !vxlan_v6)) {
            log::warn(unknown_node(facts));
        }
        Ok(nodes)
    }

    fn read_tunnels(&mut self, resource: &Resource, node: &Node<'_>) -> Result<(), Failure> {
        let absent = Bgp::default();
        let bgp = node.spec.bgp.as_ref().unwrap_or(&absent);
        let is_set = |field, leaf, annotation, ipv4: bool| {
            let (field, leaf) = node.value(resource, field, leaf, annotation);
            let refuse = |message: String| resource.refuse(&field, message);
            match leaf.address().map_err(refuse)? {
                Some(address) if address.is_ipv4() != ipv4 => {
                    Err(refuse(format!("{address} is not an {} address", if ipv4 { "IPv4" } else { "IPv6" })))
                }
                found => Ok(found.is_some()),
            }
        };
        self.ipip = is_set("spec.bgp.ipv4IPIPTunnelAddr", &bgp.ipip, "IPv4IPIPTunnelAddr", true)?;
        self.vxlan = is_set("spec.ipv4VXLANTunnelAddr", &node.spec.vxlan, "IPv4VXLANTunnelAddr", true)?;
        self.vxlan_v6 = is_set("spec.ipv6VXLANTunnelAddr", &node.spec.vxlan_v6, "IPv6VXLANTunnelAddr", false)?;
        Ok(())
    }
}

/// Says which Node is missing, and names one that differs in upper and lower case only.
fn unknown_node(facts: &Facts) -> String {
    let node = &facts.node_name;
    let alike = facts.resources_of_kind("Node").find(|resource| resource.name.eq_ignore_ascii_case(node));
    let hint = alike.map_or_else(String::new, |resource| {
        format!(" There is one named {:?}: set node-name = {:?}.", resource.name, resource.name)
    });
    format!("no Node named {node:?}: its tunnel addresses are unknown, so the tunnels' rules are left out.{hint}")
}
