//! Dumps as no kernel gives them.

use super::rule::{is_of_iptables, lighter, marks, read, stands_alone};
use super::state::of_chain;

/// Takes the bytes for the attributes of a rule and of a chain. What is read of a rule is in a form that can be read again.
pub(crate) fn attributes(bytes: &[u8]) {
    let _ = of_chain(bytes);
    let Some((_, rule)) = read(bytes, &mut |index| (index % 2 == 0).then(|| format!("set{index}").into())) else {
        return;
    };
    let _ = (is_of_iptables(&rule.form), stands_alone(&rule.form), marks(&rule.form));
    if let Some(light) = lighter(&rule.form) {
        assert!(light.bytes.len() <= rule.form.bytes.len(), "the lighter form is heavier");
        let _ = marks(&light);
    }
}
