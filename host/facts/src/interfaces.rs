//! Joins the kernel's links and addresses to the interfaces that policies see.

use std::collections::BTreeMap;

use ipnet::IpNet;
use ruleward_core::facts::Interface;

use super::FactsError;
use super::rtnetlink::{addresses, links};

/// All interfaces of the calling thread's network namespace by name, also those that are down or have no address.
/// Scope ids of IPv6 addresses are left out.
///
/// # Errors
/// [`FactsError::Interfaces`] when the kernel doesn't list them.
pub fn read_interfaces() -> Result<Vec<Interface>, FactsError> {
    let mut found: BTreeMap<u32, Interface> = BTreeMap::new();
    for link in links().map_err(FactsError::Interfaces)? {
        let interface = Interface { name: link.name, index: link.index, up: link.up, addresses: Vec::new() };
        found.insert(link.index, interface);
    }
    for address in addresses().map_err(FactsError::Interfaces)? {
        // An interface that came up between the two lists is seen at the next reading.
        let Some(interface) = found.get_mut(&address.link) else { continue };
        interface.addresses.extend(IpNet::new(address.ip, address.prefix));
    }
    let mut interfaces: Vec<Interface> = found.into_values().collect();
    for interface in &mut interfaces {
        interface.addresses.sort_unstable();
        interface.addresses.dedup();
    }
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_namespace_has_a_loopback_interface() {
        let interfaces = read_interfaces().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert_ne!(loopback.index, 0);
        assert!(interfaces.is_sorted_by(|a, b| a.name < b.name));
        if loopback.up {
            assert!(loopback.addresses.contains(&"127.0.0.1/8".parse().unwrap()), "{loopback:?}");
        }
    }
}
