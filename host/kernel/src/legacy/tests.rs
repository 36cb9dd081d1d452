//! Tables made by hand, whole and broken.

use proptest::prelude::*;
use ruleward_core::encoded_rule::{EncodedRule, SetUse};

use super::entries::{HookPlace, HookPlaces, table};
use super::form::FormError;
use super::layout::{Layout, mask};
use super::*;

/// A match or target.
fn part(name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
    let data_length = data.len().next_multiple_of(8);
    let mut bytes = u16::try_from(32 + data_length).unwrap().to_ne_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.resize(31, 0);
    bytes.push(revision);
    bytes.extend(data);
    bytes.resize(32 + data_length, 0);
    bytes
}

fn verdict(number: i32) -> Vec<u8> {
    part("", 0, &number.to_ne_bytes())
}

fn error(name: &str) -> Vec<u8> {
    let mut data = name.as_bytes().to_vec();
    data.resize(30, 0);
    part("ERROR", 0, &data)
}

fn entry(family: Family, matches: &[Vec<u8>], target: &[u8]) -> Vec<u8> {
    let header = Layout::of(family).header;
    let at = match family {
        Family::Ipv4 => 88,
        Family::Ipv6 => 140,
    };
    let mut bytes = vec![0; header];
    bytes.extend(matches.concat());
    let target_at = u16::try_from(bytes.len()).unwrap();
    bytes.extend(target);
    let length = u16::try_from(bytes.len()).unwrap();
    bytes[at..at + 2].copy_from_slice(&target_at.to_ne_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// `INPUT` with a set match, a comment, a jump and a rule without a target; `user` with a SET target; `empty`.
fn sample(family: Family, padding: usize) -> (HookPlaces, Vec<u8>) {
    let set = part("set", 4, &[7, 0, 1, 1, 0, 0, 0, 0]);
    let mut comment = b"what for".to_vec();
    comment.resize(256, 0);
    let comment = part("comment", 0, &comment);
    let accept = entry(family, &[set, comment.clone()], &verdict(-2));
    let jump = |to: usize| entry(family, std::slice::from_ref(&comment), &verdict(i32::try_from(to).unwrap()));
    let policy = entry(family, &[], &verdict(-1));
    let padded = entry(family, &[], &verdict(-1)).repeat(padding);
    let counting = entry(family, &[], &verdict(0));
    let start = accept.len() + padded.len() + jump(0).len() + counting.len() + policy.len();
    let user = entry(family, &[], &error("user"));
    let next = accept.len() + padded.len() + jump(0).len() + counting.len();
    let counting = entry(family, &[], &verdict(i32::try_from(next).unwrap()));
    let add = entry(family, &[], &part("SET", 1, &[9, 0, 1, 1, 0xff, 0xff, 0, 0]));
    let back = entry(family, &[], &verdict(-5));
    let hook = HookPlace { entry: 0, underflow: u32::try_from(next).unwrap() };
    let parts = [
        accept,
        padded,
        jump(start + user.len()),
        counting,
        policy,
        user,
        add,
        back.clone(),
        entry(family, &[], &error("empty")),
        back,
        entry(family, &[], &error("ERROR")),
    ];
    ([None, Some(hook), None, None, None], parts.concat())
}

fn name(index: u16) -> Result<Option<Box<str>>, SetIndexError> {
    Ok(Some(format!("set-{index}").into()))
}

#[test]
fn a_table_comes_apart_into_its_rules() {
    for family in Family::ALL {
        let (hooks, bytes) = sample(family, 0);
        let read = table(family, &hooks, &bytes, &mut name).unwrap();
        let names: Vec<&str> = read.chains.iter().map(|chain| &*chain.name).collect();
        assert_eq!(names, ["INPUT", "user", "empty"]);
        let targets = |chain: usize| {
            let rules = read.chains[chain].rules.iter();
            rules.map(|rule| target(&rule.form, family)).collect::<Vec<_>>()
        };
        assert_eq!(targets(0), [Some("ACCEPT".to_owned()), Some("user".to_owned()), None]);
        assert_eq!(targets(1), [Some("SET".to_owned())]);
        assert!(targets(2).is_empty());
        let first = &read.chains[0].rules[0].form;
        assert_eq!(comments(first, family), ["what for"]);
        let offset = u32::try_from(Layout::of(family).header + 32).unwrap();
        assert_eq!(*first.sets, [SetUse { offset, name: "set-7".into() }]);
        assert_eq!(*read.chains[1].rules[0].form.sets, [SetUse { offset, name: "set-9".into() }]);
    }
}

#[test]
fn a_form_does_not_depend_on_the_place_or_the_counters() {
    for family in Family::ALL {
        let (hooks, bytes) = sample(family, 0);
        let (moved_hooks, mut moved) = sample(family, 3);
        let end = Layout::of(family).header;
        moved[end - 16..end].fill(77);
        let here = table(family, &hooks, &bytes, &mut name).unwrap();
        let there = table(family, &moved_hooks, &moved, &mut name).unwrap();
        assert_eq!(here.chains[1..], there.chains[1..]);
        assert_eq!(here.chains[0].rules[0], there.chains[0].rules[0]);
        assert_eq!(here.chains[0].rules[1..], there.chains[0].rules[4..]);
    }
}

#[test]
fn a_revision_0_set_target_has_its_second_set_twenty_bytes_on() {
    let mut data = [0; 40];
    data[20] = 5;
    data[0] = 4;
    let target = part("SET", 0, &data);
    let (policy, end) = (entry(Family::Ipv4, &[], &verdict(-1)), entry(Family::Ipv4, &[], &error("ERROR")));
    let rule = entry(Family::Ipv4, &[], &target);
    let hook = HookPlace { entry: 0, underflow: u32::try_from(rule.len()).unwrap() };
    let bytes = [rule, policy, end].concat();
    let read = table(Family::Ipv4, &[Some(hook), None, None, None, None], &bytes, &mut name).unwrap();
    let form = &read.chains[0].rules[0].form;
    assert_eq!(
        form.sets.iter().map(|used| (used.offset, &*used.name)).collect::<Vec<_>>(),
        [(144, "set-4"), (164, "set-5")]
    );
    assert!(form.bytes[144..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_could_hide_a_rule_is_refused() {
    let family = Family::Ipv4;
    let (hooks, bytes) = sample(family, 0);
    let reason = |hooks: &HookPlaces, bytes: &[u8]| match table(family, hooks, bytes, &mut name).unwrap_err() {
        FormError::Malformed(error) => error.reason,
        other => panic!("{other:?}"),
    };
    let trailer = entry(family, &[], &error("ERROR")).len();
    assert!(reason(&hooks, &bytes[..bytes.len() - trailer]).contains("does not end"));
    assert!(reason(&hooks, &bytes[..bytes.len() - 1]).contains("longer than the table"));
    assert!(reason(&[None; 5], &bytes).contains("before the first chain"));
    let mut more = hooks;
    more[2] = Some(HookPlace { entry: 8, underflow: 8 });
    assert!(reason(&more, &bytes).contains("where the kernel says"));
    let shifted = [None, Some(HookPlace { entry: 0, underflow: 0 }), None, None, None];
    assert!(reason(&shifted, &bytes).contains("ends there with a rule"));
    let mut guarded = bytes.clone();
    let at = guarded.len() - trailer - entry(family, &[], &verdict(-5)).len();
    guarded[at] = 10;
    assert!(reason(&hooks, &guarded).contains("ends there with a rule"));
    let mut astray = bytes.clone();
    let at = entry(family, &[part("set", 4, &[0; 8]), part("comment", 0, &[0; 256])], &verdict(-2)).len();
    astray[at + 112 + 288 + 32] ^= 8;
    assert!(reason(&hooks, &astray).contains("no chain begins"));
    let gone = table(family, &hooks, &bytes, &mut |_| Ok(None));
    assert_eq!(gone.unwrap_err(), FormError::NoSuchSet);
}

fn look_at(form: &EncodedRule) {
    for family in Family::ALL {
        comments(form, family);
        target(form, family);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_are_too_wild(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in any::<u32>()) {
        let hooks = [Some(HookPlace { entry: 0, underflow: at }), None, None, None, None];
        for family in Family::ALL {
            let _ = table(family, &hooks, &bytes, &mut name);
            let _ = mask(family, &mut bytes.clone());
        }
        look_at(&EncodedRule { bytes: bytes.into(), sets: [].into() });
    }

    #[test]
    fn a_damaged_table_is_an_error_or_another_table(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        for family in Family::ALL {
            let (hooks, mut bytes) = sample(family, 1);
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = mask(family, &mut bytes.clone());
            if let Ok(read) = table(family, &hooks, &bytes, &mut name) {
                let forms = read.chains.iter().flat_map(|chain| &chain.rules).map(|rule| &rule.form);
                for form in forms {
                    look_at(form);
                    prop_assert!(form.sets.iter().all(|used| used.offset as usize + 2 <= form.bytes.len()));
                }
            }
        }
    }
}
