//! The nat chains and address sets that Calico's Felix programs, computed from Calico's own resources: the same
//! chains, rules, order and identifiers as Felix v3.26 to v3.33, so that a node can go from one to the other without
//! a rule being written.
//!
//! What the operator grants decides the scope. Granted `cali-POSTROUTING`, the policy answers with all of Felix's nat
//! part. Otherwise Felix is taken to run, and the answer is only the three jumps from the built-in chains, each in
//! force while Felix's chain exists. A resource that can't be used is refused by name and field; there is no guess.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod chains;
mod dataplane;
mod features;
mod felix;
mod floating;
mod identifier;
mod jumps;
mod nodes;
mod parameters;
mod phrase;
mod pools;
mod release;
mod resources;
mod sets;
mod settings;

use ruleward_sdk::{Contribution, Description, Facts, Failure, Family, Ownership, Policy, Table};

use crate::chains::Inputs;
use crate::felix::Felix;
use crate::floating::FloatingIps;
use crate::nodes::Nodes;
use crate::pools::Pools;
use crate::settings::Settings;

/// The policy.
#[derive(Debug)]
pub struct CalicoPostrouting;

impl Policy for CalicoPostrouting {
    fn describe() -> Description {
        let wants = Ownership {
            tables: vec![Table::Nat],
            chains: chains::NAMES.map(String::from).to_vec(),
            sets: sets::all_names(),
            comments: vec!["cali:".into()],
            exclusive_jumps: true,
            ..Ownership::default()
        };
        Description::new("calico-postrouting", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .schema(settings::SCHEMA)
            .reading(["FelixConfiguration", "IPPool", "Node", "WorkloadEndpoint"])
            .reading_nft_tables()
            .wanting(wants)
    }

    fn evaluate(facts: &Facts, settings: &str) -> Result<Contribution, Failure> {
        let Settings { release, felix } = Settings::parse(settings)?;
        let felix = Felix::read(facts, felix, release)?;
        let families: Vec<Family> = felix.families(facts.system.families).collect();
        let beside_felix = !facts.granted.covers_chain(chains::POSTROUTING);
        dataplane::need_iptables(felix.nftables, facts, beside_felix)?;
        if beside_felix {
            let attachments = jumps::all(&felix, release, &families);
            return Ok(Contribution { attachments, ..Contribution::new() });
        }
        let pools = Pools::read(facts, release)?;
        let encapsulation = felix.encapsulation(&pools);
        let nodes = Nodes::read(facts, &felix, encapsulation)?;
        let floating = FloatingIps::read(facts, felix.floating_ips)?;
        let inputs = Inputs {
            release,
            features: felix.features,
            felix: &felix,
            encapsulation,
            pools: &pools,
            nodes: &nodes,
            floating: &floating,
        };
        Ok(Contribution {
            chains: families.iter().flat_map(|family| chains::of_family(*family, &inputs)).collect(),
            attachments: jumps::all(&felix, release, &families),
            sets: families.iter().flat_map(|family| sets::of_family(*family, &inputs)).collect(),
            ..Contribution::new()
        })
    }
}

ruleward_sdk::export_policy!(CalicoPostrouting);
