//! Addresses and networks in sets, with iptables' spellings of masks.

use std::net::{IpAddr, Ipv4Addr};

use ruleward_sdk::IpNetwork;
use ruleward_sdk::ipnet::IpNet;

/// Reads one address or network.
///
/// # Errors
/// What is wrong with it.
pub fn one(text: &str) -> Result<IpNetwork, String> {
    let Some((address, mask)) = text.split_once('/') else {
        let address: IpAddr = text.parse().map_err(|_| wrong(text))?;
        return Ok(address.into());
    };
    let prefix = mask.parse::<u8>().ok().filter(|_| !mask.starts_with('+')).or_else(|| dotted_mask(mask));
    let Some(prefix) = prefix else {
        return Err(format!(
            "{text}: the mask {mask:?} is not a number of leading bits; write the networks one by one"
        ));
    };
    let address = address.parse().ok().or_else(|| shortened(address).map(IpAddr::V4)).ok_or_else(|| wrong(text))?;
    let network = IpNet::new(address, prefix)
        .map_err(|_| format!("{text}: a mask of {prefix} bits is too long for {address}"))?;
    Ok(network.trunc().into())
}

/// `255.255.0.0` is 16.
fn dotted_mask(mask: &str) -> Option<u8> {
    let bits = mask.parse::<Ipv4Addr>().ok()?.to_bits();
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(ones as u8)
}

/// Before a mask iptables lets one leave out the last numbers of an IPv4 address: `10/8`.
fn shortened(address: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut numbers = address.split('.');
    for octet in &mut octets {
        match numbers.next() {
            Some(number) => *octet = number.parse().ok()?,
            None => break,
        }
    }
    numbers.next().is_none().then(|| octets.into())
}

fn wrong(text: &str) -> String {
    format!("{text:?} is not an address or network; host names are not looked up, write 192.0.2.1 or 2001:db8::/32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_networks() {
        for (text, same) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10/8", "10.0.0.0/8"),
            ("192.168/16", "192.168.0.0/16"),
            ("0/0", "0.0.0.0/0"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(one(text).unwrap(), same.parse::<IpNetwork>().unwrap(), "{text}");
        }
        for bad in [
            "",
            "localhost",
            "10",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/33",
            "1.2.3.4.5/8",
            "::/129",
            "192.0.2.1,",
            "10.0.0.0/+8",
        ] {
            assert!(one(bad).is_err(), "{bad:?} was taken for a network");
        }
    }
}
