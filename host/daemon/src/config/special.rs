//! Reads keys that are like no other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ruleward_core::contribution::Families;
use ruleward_core::names::{Family, PolicyName};

use super::PolicyConfig;
use super::section::Section;
use crate::traces::{Endpoint, supported};

/// They need the other keys, and are read when those are known.
pub(super) fn policies(_: &mut Section<'_, '_>, _: &str) -> BTreeMap<PolicyName, PolicyConfig> {
    BTreeMap::new()
}

pub(super) fn node_name(top: &mut Section<'_, '_>, key: &str) -> Option<String> {
    let (name, entry) = top.text(key, "a name such as \"worker-7\"")?;
    let fits = |c: char| !c.is_whitespace() && !c.is_control();
    if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
        top.bad_value(key.to_owned(), entry, "must be 1 to 253 bytes without spaces and control characters");
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn http(top: &mut Section<'_, '_>, key: &str) -> Vec<SocketAddr> {
    const EXAMPLE: &str = "127.0.0.1:9746";
    if top.get(key).is_none() {
        return EXAMPLE.parse().into_iter().collect();
    }
    let mut addresses = Vec::new();
    for (member, text, element) in top.texts(key, "a list of addresses such as [\"127.0.0.1:9746\"]") {
        match text.parse::<SocketAddr>() {
            Ok(address) if addresses.contains(&address) => {
                top.bad_value(member, element, format!("{text:?} is there twice; remove one of them"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let problem =
                    format!("{text:?} is no address with a port; use one such as {EXAMPLE:?} or \"[::1]:9746\"");
                top.bad_value(member, element, problem);
            }
        }
    }
    addresses
}

pub(super) fn traces(top: &mut Section<'_, '_>, key: &str) -> Option<Endpoint> {
    let expected = "\"off\" or the address of a collector such as \"http://127.0.0.1:4318/v1/traces\"";
    let (text, entry) = top.text(key, expected).filter(|(text, _)| *text != "off")?;
    Endpoint::parse(text).and_then(supported).map_err(|problem| top.bad_value(key.to_owned(), entry, problem)).ok()
}

pub(super) fn socket_group(top: &mut Section<'_, '_>, key: &str) -> Option<String> {
    let (group, entry) = top.text(key, "the name or number of a group such as \"ruleward\"")?;
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != ':';
    if group.is_empty() || group.len() > 256 || !group.chars().all(fits) {
        top.bad_value(key.to_owned(), entry, "must be the name or number of a group");
        return None;
    }
    Some(group.to_owned())
}

/// Reading and writing for owner, group and others; always for the owner.
pub(super) fn socket_mode(top: &mut Section<'_, '_>, key: &str) -> u32 {
    const MODE: u32 = 0o660;
    let Some((text, entry)) = top.text(key, "octal digits such as \"0660\"") else { return MODE };
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600);
    if mode.is_none() {
        let problem = format!("{text:?} is no mode of a socket; use \"0600\", \"0660\" or \"0666\"");
        top.bad_value(key.to_owned(), entry, problem);
    }
    mode.unwrap_or(MODE)
}

pub(super) fn families(top: &mut Section<'_, '_>, key: &str) -> Families {
    const EXPECTED: &str = "a list such as [\"ipv4\", \"ipv6\"]";
    let Some(entry) = top.get(key) else { return Families::BOTH };
    let mut families = Families { ipv4: false, ipv6: false };
    if entry.value.as_array().is_some_and(|array| array.is_empty()) {
        top.bad_value(key.to_owned(), entry, "is empty; name \"ipv4\", \"ipv6\" or both");
    }
    for (member, text, element) in top.texts(key, EXPECTED) {
        let family = match text {
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            _ => {
                top.bad_value(member, element, format!("{text:?} is no family; use \"ipv4\" or \"ipv6\""));
                continue;
            }
        };
        if families.contains(family) {
            top.bad_value(member, element, format!("{text:?} is there twice; remove one of them"));
        }
        match family {
            Family::Ipv4 => families.ipv4 = true,
            Family::Ipv6 => families.ipv6 = true,
        }
    }
    families
}
