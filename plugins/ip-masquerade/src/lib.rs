//! Gives what leaves the cluster the node's address, and leaves alone what stays in it: what ip-masq-agent does, with the
//! same defaults. One chain in nat is reached from POSTROUTING for every packet that is not for this machine; it returns
//! for each network that is not to be masqueraded, and masquerades the rest.

use ruleward_sdk::settings::Network;
use ruleward_sdk::{
    AddressType, Attachment, Chain, Contribution, Description, Facts, Failure, Families, Family, Hook, Ownership,
    Placement, Rule, Table, log,
};
use schemars::JsonSchema;
use serde::Deserialize;

const CHAIN: &str = "ipm-postrouting";
/// Private and shared networks: ip-masq-agent's defaults, and unique local addresses for IPv6.
const DEFAULT: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
    /// Destinations that see the packet's own source: the networks of pods, nodes and whatever routes back to pods.
    /// The private networks if not given.
    non_masquerade: Option<Vec<Network>>,
    /// Whether link-local destinations (169.254.0.0/16, fe80::/10) are masqueraded too.
    masquerade_link_local: bool,
    /// Only sources in these networks are masqueraded; all if not given.
    sources: Vec<Network>,
    /// Only what leaves by this interface is masqueraded: "eth0", "eth+".
    out_interface: Option<String>,
    /// Whether IPv6 is masqueraded.
    ipv6: bool,
}

ruleward_sdk::policy! {
    /// The policy.
    pub struct IpMasquerade;
    description: Description::new("ip-masquerade", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
        .wanting(Ownership::in_tables([Table::Nat]).chains(["ipm-*"]).comments(["ipm:"]));
    evaluate: ip_masquerade;
}

fn ip_masquerade(facts: &Facts, settings: Settings) -> Result<Contribution, Failure> {
    let excepted = match &settings.non_masquerade {
        Some(networks) => networks.clone(),
        None => known(&DEFAULT),
    };
    let link_local = if settings.masquerade_link_local { Vec::new() } else { known(&LINK_LOCAL) };
    let mut contribution = Contribution::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let wanted = family == Family::Ipv4 || settings.ipv6;
        let possible = facts.system.families.contains(Families::from(family));
        warn_without_effect(&settings, family, wanted, possible);
        if !wanted || !possible {
            continue;
        }
        let of_family = |network: &&Network| network.family() == family;
        let mut chain = Chain::new(Table::Nat, CHAIN).families(family);
        for network in link_local.iter().chain(&excepted).filter(of_family) {
            chain = chain.rule(Rule::new().destination(*network).go_back());
        }
        let leaving = || match &settings.out_interface {
            Some(name) => Rule::new().out_interface(name.as_str()),
            None => Rule::new(),
        };
        let random = facts.system.random_fully;
        if settings.sources.is_empty() {
            chain = chain.rule(leaving().masquerade_random(random));
        }
        for source in settings.sources.iter().filter(of_family) {
            chain = chain.rule(leaving().source(*source).masquerade_random(random));
        }
        let jump = Rule::new().not_destination_type(AddressType::Local).jump(CHAIN).comment("ipm: leaves this node");
        let attachment = Attachment::new(Table::Nat, Hook::Postrouting, Placement::Last, jump).families(family);
        contribution = contribution.chain(chain).attachment(attachment);
    }
    Ok(contribution)
}

/// Says which settings change nothing: an operator who wrote them believes that they do.
fn warn_without_effect(settings: &Settings, family: Family, wanted: bool, possible: bool) {
    let of_family = |networks: &[Network]| networks.iter().filter(|network| network.family() == family).count();
    let exceptions = settings.non_masquerade.as_deref().unwrap_or_default();
    let why = match (wanted, possible) {
        (false, _) => "IPv6 is not masqueraded; set ipv6 = true if it should be",
        (true, false) => "this node has no packet filter for that family",
        (true, true) => {
            if !settings.sources.is_empty() && of_family(&settings.sources) == 0 {
                log::warn(format!("no {family} packet is masqueraded: no network of `sources` is of {family}"));
            }
            return;
        }
    };
    for (key, count) in [("sources", of_family(&settings.sources)), ("non-masquerade", of_family(exceptions))] {
        if count > 0 {
            log::warn(format!("the {family} networks in `{key}` ({count}) have no effect: {why}"));
        }
    }
    if settings.ipv6 && family == Family::Ipv6 && !possible {
        log::warn(format!("`ipv6 = true` has no effect: {why}"));
    }
}

/// Networks of this file; each can be read.
fn known(networks: &[&str]) -> Vec<Network> {
    networks.iter().filter_map(|text| text.parse().ok()).collect()
}
