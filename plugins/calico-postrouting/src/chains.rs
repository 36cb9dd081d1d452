//! Felix's six chains in nat.

use ruleward_sdk::{Chain, Family, PortRange, Rule, Table};

use crate::features::Features;
use crate::felix::{Encapsulation, Felix};
use crate::floating::FloatingIps;
use crate::identifier::Identifiers;
use crate::nodes::Nodes;
use crate::phrase::{self, Action, Condition};
use crate::pools::Pools;
use crate::release::Release;
use crate::sets;

/// Reached from the built-in chain of that name.
pub const PREROUTING: &str = "cali-PREROUTING";
/// Reached from the built-in chain of that name.
pub const OUTPUT: &str = "cali-OUTPUT";
/// Reached from the built-in chain of that name.
pub const POSTROUTING: &str = "cali-POSTROUTING";
const FLOATING_INBOUND: &str = "cali-fip-dnat";
const FLOATING_OUTBOUND: &str = "cali-fip-snat";
const OUTGOING: &str = "cali-nat-outgoing";

/// All six.
pub const NAMES: [&str; 6] = [PREROUTING, OUTPUT, POSTROUTING, FLOATING_INBOUND, FLOATING_OUTBOUND, OUTGOING];

/// All that the chains depend on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Which Calico to equal.
    pub release: Release,
    /// What Felix takes iptables to know.
    pub features: Features,
    /// Felix's parameters.
    pub felix: &'a Felix,
    /// Tunnels in use.
    pub encapsulation: Encapsulation,
    /// IP pools.
    pub pools: &'a Pools,
    /// Nodes.
    pub nodes: &'a Nodes,
    /// Floating IPs.
    pub floating: &'a FloatingIps,
}

/// The chains of one family; they exist even when they are empty.
pub fn of_family(family: Family, inputs: &Inputs<'_>) -> Vec<Chain> {
    NAMES
        .map(|name| {
            let phrases = match name {
                PREROUTING | OUTPUT => vec![(Vec::new(), Action::Jump(FLOATING_INBOUND))],
                POSTROUTING => postrouting(family, inputs),
                FLOATING_INBOUND => floating_inbound(family, inputs),
                FLOATING_OUTBOUND => floating_outbound(family, inputs),
                _ => outgoing(family, inputs),
            };
            let mut identifiers = Identifiers::of_chain(name);
            let rules = phrases.into_iter().map(|(conditions, action)| -> Rule {
                phrase::rule(&mut identifiers, conditions, action, inputs.features)
            });
            Chain::new(Table::Nat, name).families(family).rules(rules)
        })
        .into()
}

type Phrase = (Vec<Condition>, Action);

/// Floating IPs, outgoing traffic, then the tunnels: what leaves by a tunnel with another local address gets the
/// tunnel's own.
fn postrouting(family: Family, inputs: &Inputs<'_>) -> Vec<Phrase> {
    let mut phrases = vec![(Vec::new(), Action::Jump(FLOATING_OUTBOUND)), (Vec::new(), Action::Jump(OUTGOING))];
    let Inputs { encapsulation, nodes, felix, .. } = inputs;
    let calico = match family {
        Family::Ipv4 => {
            [(encapsulation.ipip && nodes.ipip, "tunl0"), (encapsulation.vxlan && nodes.vxlan, "vxlan.calico")]
        }
        Family::Ipv6 => [(false, ""), (encapsulation.vxlan_v6 && nodes.vxlan_v6, "vxlan-v6.calico")],
    };
    let calico = calico.into_iter().filter_map(|(in_use, device)| in_use.then_some(device));
    for device in calico.chain(felix.wireguard(family)) {
        let leaves = [Condition::OutInterface(device.to_owned()), Condition::OtherLocalSource];
        if let Some(ports) = ports_beside_vxlan(family, inputs) {
            let udp = std::iter::once(Condition::UdpByNumber).chain(leaves.clone()).collect();
            phrases.push((udp, Action::Masquerade(Some(ports))));
        }
        phrases.push((leaves.into(), Action::Masquerade(None)));
    }
    phrases
}

/// The larger part of the unprivileged ports that VXLAN's port divides, where VXLAN is in use and the release minds.
fn ports_beside_vxlan(family: Family, inputs: &Inputs<'_>) -> Option<PortRange> {
    let Encapsulation { vxlan, vxlan_v6, .. } = inputs.encapsulation;
    let in_use = if family == Family::Ipv4 { vxlan } else { vxlan_v6 };
    let port = inputs.felix.vxlan_port;
    if !in_use || port == 0 || !inputs.release.spares_vxlan_port() {
        return None;
    }
    let (lowest, highest) = (1024, u16::MAX);
    if port.saturating_sub(lowest) >= highest - port {
        Some(PortRange { first: lowest, last: port - 1 })
    } else {
        Some(PortRange { first: port + 1, last: highest })
    }
}

fn floating_inbound(family: Family, inputs: &Inputs<'_>) -> Vec<Phrase> {
    let pairs = inputs.floating.inbound(family);
    pairs
        .map(|(external, internal)| (vec![Condition::Destination(external)], Action::DestinationNat(internal)))
        .collect()
}

/// A workload that reaches itself by its floating IP must see another source than itself.
fn floating_outbound(family: Family, inputs: &Inputs<'_>) -> Vec<Phrase> {
    let pairs = inputs.floating.outbound(family);
    pairs
        .map(|(internal, external)| {
            (vec![Condition::Destination(internal), Condition::Source(internal)], Action::SourceNat(external, None))
        })
        .collect()
}

/// What a pool's addresses send to the world outside gets the node's address.
fn outgoing(family: Family, inputs: &Inputs<'_>) -> Vec<Phrase> {
    let is_ours = |ipv4: bool| ipv4 == (family == Family::Ipv4);
    if !inputs.pools.masquerade.iter().any(|network| is_ours(network.addr().is_ipv4())) {
        return Vec::new();
    }
    let felix = inputs.felix;
    let conditions = |protocol: Option<Condition>| {
        let mut conditions = vec![
            Condition::SourceIn(sets::masquerade(family)),
            Condition::DestinationNotIn(sets::pools(family, inputs.release)),
        ];
        if felix.spares_hosts {
            conditions.push(Condition::DestinationNotIn(sets::hosts(family)));
        }
        conditions.extend(protocol);
        conditions.extend(felix.interface_filter.clone().map(Condition::OutInterface));
        conditions
    };
    let translate = |ports| match felix.nat_outgoing_address.filter(|address| is_ours(address.is_ipv4())) {
        Some(address) => Action::SourceNat(address, ports),
        None => Action::Masquerade(ports),
    };
    let mut phrases = Vec::new();
    if let Some(ports) = felix.nat_ports {
        for protocol in [Condition::Tcp, Condition::Udp] {
            phrases.push((conditions(Some(protocol.clone())), translate(Some(ports))));
            phrases.push((conditions(Some(protocol)), Action::Return));
        }
    }
    phrases.push((conditions(None), translate(None)));
    phrases
}
