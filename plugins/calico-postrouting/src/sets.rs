//! The address sets that the nat rules ask.

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::{AddressSet, Family};

use crate::chains::Inputs;
use crate::release::Release;

const NETWORK: &str = "network-ip-pools";
const ALL: &str = "all-ipam-pools";
const MASQUERADE: &str = "masq-ipam-pools";
const HOSTS: &str = "all-hosts-net";

fn name(family: Family, what: &str) -> String {
    let prefix = match family {
        Family::Ipv4 => "cali40",
        Family::Ipv6 => "cali60",
    };
    format!("{prefix}{what}")
}

/// The set of sources that are translated.
pub fn masquerade(family: Family) -> String {
    name(family, MASQUERADE)
}

/// The set of Calico's own networks.
pub fn pools(family: Family, release: Release) -> String {
    name(family, if release.has_network_pools() { NETWORK } else { ALL })
}

/// The set of the nodes' addresses.
pub fn hosts(family: Family) -> String {
    name(family, HOSTS)
}

/// The names of all sets that any release has.
pub fn all_names() -> Vec<String> {
    let families = [Family::Ipv4, Family::Ipv6];
    families.iter().flat_map(|family| [ALL, HOSTS, MASQUERADE, NETWORK].map(|what| name(*family, what))).collect()
}

/// The sets of one family.
pub fn of_family(family: Family, inputs: &Inputs<'_>) -> Vec<AddressSet> {
    let set = |name: String, networks: &[IpNet]| {
        let members = networks.iter().filter(|network| network.addr().is_ipv4() == (family == Family::Ipv4)).copied();
        AddressSet::networks(name, family, members).max_elements(inputs.felix.max_set_size)
    };
    let [hosts_v4, hosts_v6] = &inputs.nodes.hosts;
    let host_addresses = if family == Family::Ipv4 { hosts_v4 } else { hosts_v6 };
    let mut sets = vec![
        set(pools(family, inputs.release), &inputs.pools.network),
        set(masquerade(family), &inputs.pools.masquerade),
    ];
    sets.extend(host_addresses.as_ref().map(|addresses| set(hosts(family), addresses)));
    sets
}
