//! The jumps from the built-in chains. Their identifiers are constants of the release, so two programs that keep them
//! in force agree. An identifier follows the call that Felix makes, not the place: `chainInsertMode` moves the jumps
//! of PREROUTING and OUTPUT and leaves their identifiers as they are. Seen from Felix v3.28.1, v3.28.3 and v3.32.1 in
//! both modes.

use ruleward_sdk::{Attachment, Families, Family, Hook, Placement, Table};

use crate::chains;
use crate::felix::Felix;
use crate::identifier::Identifiers;
use crate::phrase::{self, Action};
use crate::release::Release;

/// The jumps to the policy's own chains, or to those of a running Felix: each is in force while its chain exists.
pub fn all(felix: &Felix, release: Release, families: &[Family]) -> Vec<Attachment> {
    if families.is_empty() {
        return Vec::new();
    }
    let families = families.iter().fold(Families::empty(), |all, family| all | Families::from(*family));
    let (postrouting, call) = if release.appends_to_postrouting() {
        (Placement::Last, "POSTROUTING*appends*")
    } else {
        (felix.placement, "POSTROUTING")
    };
    [
        (Hook::Prerouting, felix.placement, chains::PREROUTING, "PREROUTING"),
        (Hook::Output, felix.placement, chains::OUTPUT, "OUTPUT"),
        (Hook::Postrouting, postrouting, chains::POSTROUTING, call),
    ]
    .map(|(hook, placement, target, call)| {
        let mut identifiers = Identifiers::of_chain(call);
        let rule = phrase::rule(&mut identifiers, [], Action::Jump(target), felix.features);
        Attachment::new(Table::Nat, hook, placement, rule).families(families)
    })
    .into()
}
