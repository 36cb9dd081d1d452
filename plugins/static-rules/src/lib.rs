//! Chains, rules in built-in chains, and address sets, straight from the settings. Rules are written in iptables' own
//! syntax. They are split into words here, and the words go on as they are: the installed iptables alone says what they
//! mean, so every match and target that it knows can be used, in every spelling that it takes.
//!
//! The policy reads nothing of the node but which families it can filter. A rule that can't be read is refused by its
//! place in the settings (`/chains/0/rules/3`), with what to write instead.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod protocol_name;
mod rule;
mod set;
mod settings;
mod word;

use ruleward_sdk::{
    Attachment, Chain, ChainPolicy, Contribution, Description, Facts, Failure, Families, Ownership, Policy, Rule, Table,
};

use crate::rule::ReadRule;
use crate::settings::{AttachmentEntry, ChainEntry, Settings};

/// The policy.
#[derive(Debug)]
pub struct StaticRules;

impl Policy for StaticRules {
    fn describe() -> Description {
        let tables = vec![Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security];
        Description::new("static-rules", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .schema(settings::SCHEMA)
            .wanting(Ownership { tables, ..Ownership::default() })
    }

    fn evaluate(facts: &Facts, settings: &str) -> Result<Contribution, Failure> {
        let settings: Settings<'_> =
            serde_json::from_str(settings).map_err(|error| Failure::in_settings("", error.to_string()))?;
        let possible = facts.system.families;
        let mut contribution = Contribution::new();
        for (at, entry) in settings.chains.iter().enumerate() {
            add_chain(&mut contribution, at, entry, possible)?;
        }
        for (at, entry) in settings.attachments.iter().enumerate() {
            add_attachment(&mut contribution, at, entry, possible)?;
        }
        for entry in &settings.policies {
            let families = Families::from(entry.families) & possible;
            let policy = ChainPolicy {
                table: entry.table.into(),
                hook: entry.hook.into(),
                families,
                policy: entry.policy.into(),
            };
            contribution.policies.extend((!families.is_empty()).then_some(policy));
        }
        for (at, entry) in settings.sets.iter().enumerate() {
            let set = set::read(entry)
                .map_err(|(place, message)| Failure::in_settings(format!("/sets/{at}{place}"), message))?;
            if possible.contains(set.family.into()) {
                contribution.sets.push(set);
            }
        }
        Ok(contribution)
    }
}

fn add_chain(
    contribution: &mut Contribution,
    at: usize,
    entry: &ChainEntry<'_>,
    possible: Families,
) -> Result<(), Failure> {
    let table = entry.table.into();
    let families = entry.families.into();
    let mut rules: Vec<Rule> = Vec::with_capacity(entry.rules.len());
    // The rules that -4 or -6 keeps from a family of the chain.
    let mut restricted: Vec<(usize, Families)> = Vec::new();
    for (number, text) in entry.rules.iter().enumerate() {
        let read = ReadRule::parse(text.as_str(), families)
            .map_err(|message| refused(format!("/chains/{at}/rules/{number}"), text.as_str(), &message))?;
        if read.families != families {
            restricted.push((rules.len(), read.families));
        }
        rules.push(read.rule);
    }
    let families = families & possible;
    let chain = |families, rules| Chain { table, families, name: entry.name.as_str().to_owned(), rules };
    if restricted.is_empty() {
        contribution.chains.extend((!families.is_empty()).then(|| chain(families, rules)));
        return Ok(());
    }
    let [ipv4, ipv6] = divide(rules, &restricted);
    for (family, rules) in [(Families::IPV4, ipv4), (Families::IPV6, ipv6)] {
        contribution.chains.extend(families.contains(family).then(|| chain(family, rules)));
    }
    Ok(())
}

/// The rules for each family; `restricted` is sorted by their places.
fn divide(rules: Vec<Rule>, restricted: &[(usize, Families)]) -> [Vec<Rule>; 2] {
    let (mut ipv4, mut ipv6) = (Vec::with_capacity(rules.len()), Vec::with_capacity(rules.len()));
    let mut restricted = restricted.iter().peekable();
    for (place, rule) in rules.into_iter().enumerate() {
        let applies = restricted.next_if(|(at, _)| *at == place).map_or(Families::all(), |(_, families)| *families);
        match (applies.contains(Families::IPV4), applies.contains(Families::IPV6)) {
            (true, true) => {
                ipv4.push(rule.clone());
                ipv6.push(rule);
            }
            (true, false) => ipv4.push(rule),
            (false, true) => ipv6.push(rule),
            (false, false) => {}
        }
    }
    [ipv4, ipv6]
}

fn add_attachment(
    contribution: &mut Contribution,
    at: usize,
    entry: &AttachmentEntry<'_>,
    possible: Families,
) -> Result<(), Failure> {
    let read = ReadRule::parse(entry.rule.as_str(), entry.families.into())
        .map_err(|message| refused(format!("/attachments/{at}/rule"), entry.rule.as_str(), &message))?;
    let families = read.families & possible;
    if !families.is_empty() {
        let attachment = Attachment::new(entry.table.into(), entry.hook.into(), entry.placement.into(), read.rule);
        contribution.attachments.push(attachment.families(families).order(entry.order));
    }
    Ok(())
}

/// Quotes the rule.
fn refused(place: String, text: &str, message: &str) -> Failure {
    let cut: String = text.chars().take(200).collect();
    Failure::in_settings(place, format!("`{cut}`: {message}"))
}

ruleward_sdk::export_policy!(StaticRules);
