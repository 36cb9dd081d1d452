//! A host firewall: admits some TCP ports from the addresses in a set, logs and drops the rest, for IPv4 and IPv6.

use ruleward_sdk::settings::Network;
use ruleward_sdk::{
    AddressSet, Attachment, Chain, ConntrackStates, Contribution, Description, Direction, Facts, Failure, Families,
    Family, Hook, LogLevel, Ownership, Placement, RateUnit, Rule, Table, protocol,
};
use schemars::JsonSchema;
use serde::Deserialize;

const CHAIN: &str = "hfe-input";

/// What the operator writes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Addresses and networks that may reach the ports.
    admit: Vec<Network>,
    /// TCP ports that are open to them.
    ports: Vec<u16>,
    /// Beginning of the log lines about dropped packets, at most 29 bytes.
    #[serde(default = "log_prefix")]
    #[schemars(length(max = 29))]
    log_prefix: String,
}

fn log_prefix() -> String {
    "host-firewall: ".into()
}

ruleward_sdk::policy! {
    /// The policy.
    pub struct HostFirewallExample;
    description: Description::new("host-firewall-example", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
        .wanting(Ownership::in_tables([Table::Filter]).chains(["hfe-*"]).sets(["hfe-*"]).comments(["hfe:"]));
    evaluate: host_firewall;
}

fn host_firewall(facts: &Facts, settings: Settings) -> Result<Contribution, Failure> {
    let everything = settings.admit.iter().position(|network| network.net().prefix_len() == 0);
    if let Some(at) = everything {
        let message = "is every address, which a set can't hold; write its two halves";
        return Err(Failure::in_settings(format!("/admit/{at}"), message));
    }
    let mut contribution = Contribution::new();
    for (family, set, icmp) in
        [(Family::Ipv4, "hfe-admitted4", protocol::ICMP), (Family::Ipv6, "hfe-admitted6", protocol::ICMPV6)]
    {
        if !facts.system.families.contains(Families::from(family)) {
            continue;
        }
        let admitted = settings.admit.iter().copied().filter(|network| network.family() == family);
        let open = settings.ports.iter().map(|port| {
            let to_port = Rule::new().protocol(protocol::TCP).destination_port(*port);
            to_port.in_set(set, &[Direction::Source]).accept()
        });
        let logged = Rule::new().at_most(10, RateUnit::Minute).log(settings.log_prefix.as_str(), LogLevel::Warning);
        let chain = Chain::new(Table::Filter, CHAIN)
            .families(family)
            .rule(Rule::new().in_interface("lo").accept())
            .rule(Rule::new().conntrack(ConntrackStates::ESTABLISHED | ConntrackStates::RELATED).accept())
            .rule(Rule::new().protocol(icmp).accept())
            .rules(open.chain([logged, Rule::new().drop()]));
        contribution = contribution.set(AddressSet::networks(set, family, admitted)).chain(chain);
    }
    let jump = Rule::new().jump(CHAIN).comment("hfe:input");
    let attachment = Attachment::new(Table::Filter, Hook::Input, Placement::First, jump);
    Ok(contribution.attachment(attachment.families(facts.system.families)))
}
