//! The jumps from the built-in chains. Their identifiers depend only on where they stand, so two programs that keep
//! them in force agree.

use ruleward_sdk::{Attachment, Families, Family, Hook, Placement, Table};

use crate::chains;
use crate::felix::Felix;
use crate::identifier::Identifiers;
use crate::phrase::{self, Action};
use crate::release::Release;

/// The jumps to chains that are ours.
pub fn of_our_own(felix: &Felix, release: Release, families: &[Family]) -> Vec<Attachment> {
    if families.is_empty() {
        return Vec::new();
    }
    let families = families.iter().fold(Families::empty(), |all, family| all | Families::from(*family));
    let postrouting = if release.appends_to_postrouting() { Placement::Last } else { felix.placement };
    [
        (Hook::Prerouting, felix.placement, chains::PREROUTING, ["PREROUTING", "PREROUTING*appends*"]),
        (Hook::Output, felix.placement, chains::OUTPUT, ["OUTPUT", "OUTPUT*appends*"]),
        (Hook::Postrouting, postrouting, chains::POSTROUTING, ["POSTROUTING", "POSTROUTING*appends*"]),
    ]
    .map(|(hook, placement, target, [inserted, appended])| {
        let mut identifiers = Identifiers::of_chain(if placement == Placement::First { inserted } else { appended });
        let rule = phrase::rule(&mut identifiers, [], Action::Jump(target), false);
        Attachment::new(Table::Nat, hook, placement, rule).families(families)
    })
    .into()
}

/// The jumps to the chains of a running Felix, each in force while its chain exists.
pub fn beside_felix(felix: &Felix, release: Release, families: &[Family]) -> Vec<Attachment> {
    of_our_own(felix, release, families).into_iter().map(Attachment::awaiting_target).collect()
}
