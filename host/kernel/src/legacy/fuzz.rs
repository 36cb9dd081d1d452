//! Tables as no kernel gives them.

use ruleward_core::names::Family;

use super::entries::{HookPlace, HookPlaces, table as read};
use super::form::{comments, target};
use super::layout::mask;

/// Two bytes for where each hook's chain begins and two for where its policy is (all ones: no such hook), then the table.
pub(crate) fn table(family: Family, bytes: &[u8]) {
    let mut hooks = HookPlaces::default();
    let mut rest = bytes;
    for hook in &mut hooks {
        let Some(([a, b, c, d], after)) = rest.split_first_chunk() else { return };
        let place =
            HookPlace { entry: u16::from_ne_bytes([*a, *b]).into(), underflow: u16::from_ne_bytes([*c, *d]).into() };
        *hook = (place.entry != u32::from(u16::MAX)).then_some(place);
        rest = after;
    }
    let mut masked = rest.to_vec();
    let whole = mask(family, &mut masked).is_ok();
    let Ok(table) = read(family, &hooks, rest, &mut |index| Ok((index % 2 == 0).then(|| format!("set{index}").into())))
    else {
        return;
    };
    assert!(whole, "a table was read of which the entries can't be told apart");
    for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
        let _ = (comments(&rule.form, family), target(&rule.form, family));
    }
}
