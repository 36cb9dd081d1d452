//! Shows a policy the facts that it may see, in the shape of contract 0.1.0: interfaces only if its description asks
//! for them, resources only of kinds that it asks for and that the operator granted. The order of lists is kept, so
//! equal facts are lowered to equal values.

use std::net::IpAddr;

use ipnet::IpNet;
use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::grants::{Grants, Jumps};
use ruleward_core::names::{Backend, Table};

use super::bindings::ruleward::policy::types as wit;
use crate::description::Description;

/// Calls `with` with the facts for a policy. Text is borrowed, not copied.
pub fn lowered<T>(
    facts: &Facts,
    grants: &Grants,
    description: &Description,
    with: impl FnOnce(wit::Facts<'_>) -> T,
) -> T {
    let shown = if description.reads_interfaces { facts.interfaces.as_slice() } else { &[] };
    let addresses: Vec<Vec<_>> = shown.iter().map(|one| one.addresses.iter().copied().map(network).collect()).collect();
    let interfaces: Vec<_> = shown
        .iter()
        .zip(&addresses)
        .map(|(one, addresses)| wit::NetworkInterface { name: &one.name, index: one.index, up: one.up, addresses })
        .collect();
    let readable = description.sees_resources(grants);
    let resources: Vec<_> = facts
        .resources
        .iter()
        .filter(|resource| readable.contains(&resource.kind))
        .map(|resource| wit::Resource {
            api_version: &resource.api_version,
            kind: &resource.kind,
            namespace: resource.namespace.as_deref(),
            name: &resource.name,
            json: &resource.json,
        })
        .collect();
    let tables: Vec<_> = grants.tables.iter().copied().map(table).collect();
    let chains: Vec<_> = grants.chains.iter().map(ToString::to_string).collect();
    let sets: Vec<_> = grants.sets.iter().map(ToString::to_string).collect();
    let policies: Vec<_> = grants.policies.iter().map(ToString::to_string).collect();
    let uses_sets: Vec<_> = grants.uses.sets.iter().map(ToString::to_string).collect();
    let uses_chains: Vec<_> = grants.uses.chains.iter().map(ToString::to_string).collect();
    let nft_tables = if description.reads_nft_tables { facts.nft_tables.as_slice() } else { &[] };
    let nft_tables: Vec<_> =
        nft_tables.iter().map(|table| wit::NftTable { family: &table.family, name: &table.name }).collect();
    with(wit::Facts {
        node_name: &facts.node_name,
        system: system(&facts.system, &nft_tables),
        interfaces: &interfaces,
        resources: &resources,
        granted: wit::OwnershipParam {
            tables: &tables,
            chains: &texts(&chains),
            sets: &texts(&sets),
            comments: &texts(&grants.comments),
            policies: &texts(&policies),
            uses_sets: &texts(&uses_sets),
            uses_chains: &texts(&uses_chains),
            exclusive_jumps: grants.jumps == Jumps::Exclusive,
        },
    })
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn system<'a>(system: &System, nft_tables: &'a [wit::NftTable<'a>]) -> wit::System<'a> {
    wit::System {
        kernel: version(system.kernel),
        iptables: version(system.iptables),
        backend: match system.backend {
            Backend::Nft => wit::Backend::Nft,
            Backend::Legacy => wit::Backend::Legacy,
        },
        random_fully: system.random_fully(),
        families: families(system.families),
        nft_tables,
    }
}

fn version(Version(major, minor, patch): Version) -> wit::Version {
    wit::Version { major, minor, patch }
}

fn families(families: Families) -> wit::Families {
    let mut flags = wit::Families::empty();
    if families.ipv4 {
        flags |= wit::Families::IPV4;
    }
    if families.ipv6 {
        flags |= wit::Families::IPV6;
    }
    flags
}

fn table(table: Table) -> wit::Table {
    match table {
        Table::Raw => wit::Table::Raw,
        Table::Mangle => wit::Table::Mangle,
        Table::Nat => wit::Table::Nat,
        Table::Filter => wit::Table::Filter,
        Table::Security => wit::Table::Security,
    }
}

fn network(network: IpNet) -> wit::IpNetwork {
    wit::IpNetwork { address: address(network.addr()), prefix_length: network.prefix_len() }
}

fn address(address: IpAddr) -> wit::IpAddress {
    match address {
        IpAddr::V4(address) => wit::IpAddress::Ipv4(address.octets().into()),
        IpAddr::V6(address) => wit::IpAddress::Ipv6(address.segments().into()),
    }
}
