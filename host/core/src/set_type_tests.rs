//! A set's change of type, planned.

use super::*;

fn names(pairs: &[(&str, &str)]) -> BTreeMap<Box<str>, Box<str>> {
    pairs.iter().map(|(set, by)| ((*set).into(), (*by).into())).collect()
}

#[test]
fn only_the_names_of_sets_are_renamed() {
    let names = names(&[("a", "b")]);
    let rule = "-m set ! --match-set a src -m comment --comment a -j a";
    assert_eq!(rename_sets(rule, &names), "-m set ! --match-set b src -m comment --comment a -j a");
    assert_eq!(rename_sets("-j SET --add-set a src --del-set a dst", &names), "-j SET --add-set b src --del-set b dst");
    assert!(matches!(rename_sets("-j a", &names), Cow::Borrowed(_)));
    assert_eq!((uses_of_set(rule, "a"), uses_of_set("-j SET --add-set a src --del-set a dst", "a")), (1, 2));
}

#[test]
fn a_member_that_is_a_set_is_renamed_with_its_options_kept() {
    let members: Members = ["a timeout 5", "c"].into_iter().collect();
    let renamed = rename_members(&members, &names(&[("a", "b")]));
    assert_eq!(renamed.iter().collect::<Vec<_>>(), ["b timeout 5", "c"]);
    assert_eq!(listed(&members).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn another_type_or_family_is_one_and_other_options_are_not() {
    let shown = |kind: &str, options: &str| ObservedSet {
        kind: kind.into(),
        options: options.into(),
        ..ObservedSet::default()
    };
    let set = ExpectedSet {
        create: "hash:ip family inet".into(),
        members: Members::default(),
        dynamic: false,
        show: Some(shown("hash:ip", "family inet maxelem 65536")),
    };
    assert!(!is_other_type(&set, &shown("hash:ip", "family inet maxelem 9")));
    assert!(is_other_type(&set, &shown("hash:net", "family inet maxelem 65536")));
    assert!(is_other_type(&set, &shown("hash:ip", "family inet6 maxelem 65536")));
    let unknown = ExpectedSet { show: None, ..set };
    assert!(!is_other_type(&unknown, &shown("hash:ip", "family inet maxelem 9")));
    assert!(is_other_type(&unknown, &shown("bitmap:ip", "range 10.0.0.0-10.0.0.255")));
}
