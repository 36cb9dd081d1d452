//! Rate estimators for a rehearsal: a rule with `-m rateest` is taken only where a rule with `-j RATEEST` has made what it
//! refers to, maybe another program's, maybe one of ours in a table or family that comes later.

use ruleward_core::estimator;
use ruleward_core::grants::HOST_PREFIX;
use ruleward_core::merge::Desired;
use ruleward_core::names::{Family, Hook, Table};
use ruleward_core::observed::ObservedTable;

use super::port::Port;

/// How each is made, in the words of iptables-restore.
#[derive(Debug, Default)]
pub(super) struct Estimators {
    family: Option<Family>,
    targets: Vec<String>,
}

impl Estimators {
    /// Those that the desired state makes, and those of other programs in the namespace of `port`; none if no rule refers
    /// to one.
    pub fn of(port: &dyn Port, desired: &Desired) -> Self {
        let texts = || desired.tables.values().flat_map(|table| table.rules().map(|rule| &*rule.text));
        if !texts().any(estimator::uses) {
            return Self::default();
        }
        let mut targets: Vec<String> = texts().filter_map(estimator::target).collect();
        for family in &desired.families {
            for table in Table::ALL {
                let Ok(save) = port.save(*family, table) else { continue };
                let Ok(shown) = ObservedTable::parse(table, save) else { continue };
                for chain in shown.chain_names() {
                    let ours = desired.ownership.owns_chain(table, chain);
                    let built_in = Hook::from_name(chain).is_some();
                    let foreign = |rule: &&str| !(ours || built_in && desired.ownership.owns_rule(table, rule));
                    targets.extend(shown.rules(chain).into_iter().filter(foreign).filter_map(estimator::target));
                }
            }
        }
        targets.dedup();
        Self { family: desired.families.first().copied(), targets }
    }

    /// A script for each of them.
    pub fn scripts(&self) -> impl Iterator<Item = (Family, String)> {
        let family = self.family.unwrap_or(Family::Ipv4);
        let script = move |(at, target): (usize, &String)| {
            let chain = format!("{HOST_PREFIX}rate-{at}");
            (family, format!("*mangle\n:{chain} - [0:0]\n-A {chain} {target}\nCOMMIT\n"))
        };
        self.targets.iter().enumerate().map(script)
    }

    /// Makes them. What can't be made is told when the rule is refused that needs it.
    pub fn make(&self, scratch: &dyn Port) {
        for (family, script) in self.scripts() {
            if let Err(error) = scratch.restore(family, &script) {
                tracing::debug!("an estimator can't be made for the rehearsal: {error}");
            }
        }
    }
}
