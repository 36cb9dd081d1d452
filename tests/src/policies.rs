//! Configurations of the policies that ship. The only place that knows the shape of their settings.

use serde_json::{Value, json};

use crate::{Family, Placement};

/// A static-rules policy that owns chains and sets `op-*` in all tables.
pub fn static_rules(chains: &[Value], attachments: &[Value], sets: &[Value]) -> Value {
    json!({
        "component": "static-rules.wasm",
        "grants": { "tables": crate::TABLES, "chains": ["op-*"], "sets": ["op-*"] },
        "settings": { "chains": chains, "attachments": attachments, "sets": sets },
    })
}

/// One chain of a static-rules policy. Without a family it is for both.
pub fn chain(family: impl Into<Option<Family>>, table: &str, name: &str, rules: &[impl AsRef<str>]) -> Value {
    let rules: Vec<_> = rules.iter().map(AsRef::as_ref).collect();
    json!({ "families": families(family.into()), "table": table, "name": name, "rules": rules })
}

/// One rule in a built-in chain.
pub fn attachment(
    family: impl Into<Option<Family>>,
    table: &str,
    hook: &str,
    placement: Placement,
    rule: &str,
) -> Value {
    let families = families(family.into());
    json!({ "families": families, "table": table, "hook": hook, "placement": placement.to_string(), "rule": rule })
}

/// One address set.
pub fn set(family: Family, name: &str, kind: &str, members: &[&str]) -> Value {
    json!({ "family": family.to_string(), "name": name, "type": kind, "members": members })
}

fn families(family: Option<Family>) -> Vec<String> {
    Family::ALL
        .into_iter()
        .filter(|one| family.is_none_or(|wanted| wanted == *one))
        .map(|one| one.to_string())
        .collect()
}

/// The sets of Calico's nat rules, each by name: a pattern would also own those of Felix's filter rules.
const CALICO_SETS: [&str; 8] = [
    "cali40masq-ipam-pools",
    "cali40all-ipam-pools",
    "cali40network-ip-pools",
    "cali40all-hosts-net",
    "cali60masq-ipam-pools",
    "cali60all-ipam-pools",
    "cali60network-ip-pools",
    "cali60all-hosts-net",
];

/// calico-postrouting in scope `all`, for this version of Calico.
pub fn calico(version: &str) -> Value {
    json!({
        "component": "calico-postrouting.wasm",
        "grants": {
            "tables": ["nat"],
            "chains": ["cali-*"],
            "sets": CALICO_SETS,
            "comments": ["cali:"],
            "jumps": "exclusive",
            "resources": ["IPPool", "Node", "FelixConfiguration", "WorkloadEndpoint"],
        },
        "settings": { "calico-version": version },
    })
}

/// calico-postrouting beside a running Felix: only the jumps.
pub fn calico_jumps(version: &str) -> Value {
    json!({
        "component": "calico-postrouting.wasm",
        "grants": {
            "tables": ["nat"],
            "comments": ["cali:"],
            "uses": { "chains": ["cali-*"] },
            "jumps": "exclusive",
            "resources": ["IPPool", "Node", "FelixConfiguration"],
        },
        "settings": { "calico-version": version },
    })
}
