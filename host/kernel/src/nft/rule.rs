//! A dumped rule as a form that can be compared and sent back.
//!
//! The form's bytes are the attributes of a `NFT_MSG_NEWRULE`: expressions with counters zeroed and set indexes zeroed,
//! the compatibility attribute that a dump lacks and some xtables matches ask for (made from the rule's own comparison of
//! the protocol), and the user data. A rule that can't be walked is still a form: it equals no rule of ours.

use std::ops::Range;

use ruleward_core::encoded_rule::{EncodedRule, RawRule, SetUse};
use ruleward_core::quote;
use ruleward_netlink::{Attributes, number, push_attribute, push_nested, text};

use super::wire;
use crate::port::marks_line;

const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
/// Of `match` and `target` alike.
const EXTENSION_NAME: u16 = 1;
const EXTENSION_REVISION: u16 = 2;
const EXTENSION_INFO: u16 = 3;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;
const META_KEY: u16 = 2;
const META_L4PROTO: u32 = 16;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const PAYLOAD_NETWORK_HEADER: u32 = 1;
/// Offset of the protocol in an IPv4 header.
const IPV4_PROTOCOL: u32 = 9;
const CMP_OPERATION: u16 = 2;
const CMP_DATA: u16 = 3;
const CMP_NOT_EQUAL: u32 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const COMPAT_PROTOCOL: u16 = 1;
const COMPAT_FLAGS: u16 = 2;
const COMPAT_INVERTED: u32 = 2;
/// `IPSET_INVALID_ID`: no set.
const NO_SET: u16 = u16::MAX;

/// Reads one rule of a dump: its chain and itself. `set_name` tells the name of a set by its index.
pub fn read(attributes: &[u8], set_name: &mut dyn FnMut(u16) -> Option<Box<str>>) -> Option<(String, RawRule)> {
    let (mut chain, mut handle, mut expressions, mut user_data) = (None, None, &[][..], None);
    for (kind, content) in Attributes(attributes) {
        match kind {
            wire::RULE_CHAIN => chain = Some(text(content)),
            wire::RULE_HANDLE => handle = content.try_into().ok().map(u64::from_be_bytes),
            wire::RULE_EXPRESSIONS => expressions = content,
            wire::RULE_USERDATA => user_data = Some(content),
            _ => {}
        }
    }
    let mut bytes = Vec::with_capacity(attributes.len());
    push_nested(&mut bytes, wire::RULE_EXPRESSIONS, expressions);
    let sets = make_comparable(&mut bytes, set_name);
    if let Some((protocol, inverted)) = compared_protocol(expressions) {
        let mut compat = Vec::with_capacity(16);
        push_attribute(&mut compat, COMPAT_PROTOCOL, &u32::from(protocol).to_be_bytes());
        push_attribute(&mut compat, COMPAT_FLAGS, &(if inverted { COMPAT_INVERTED } else { 0 }).to_be_bytes());
        push_nested(&mut bytes, wire::RULE_COMPAT, &compat);
    }
    if let Some(user_data) = user_data {
        push_attribute(&mut bytes, wire::RULE_USERDATA, user_data);
    }
    Some((chain?, RawRule { form: EncodedRule { bytes: bytes.into(), sets: sets.into() }, handle: handle? }))
}

/// One expression: its name, and where its data lies.
struct Expression {
    name: String,
    data: Range<usize>,
}

/// Where the attributes in `within` have their content.
fn spans(bytes: &[u8], within: Range<usize>) -> Vec<(u16, Range<usize>)> {
    let mut at = within.start;
    let mut found = Vec::new();
    let end = within.end.min(bytes.len());
    for (kind, content) in Attributes(bytes.get(within.start..end).unwrap_or_default()) {
        found.push((kind, at + 4..at + 4 + content.len()));
        at += (content.len() + 4).next_multiple_of(4);
    }
    found
}

fn expressions(bytes: &[u8], within: Range<usize>) -> Vec<Expression> {
    let elements = spans(bytes, within).into_iter().filter(|(kind, _)| *kind == LIST_ELEMENT);
    let expression = |(_, element): (u16, Range<usize>)| {
        let (mut name, mut data) = (String::new(), element.end..element.end);
        for (kind, span) in spans(bytes, element) {
            match kind {
                EXPRESSION_NAME => name = text(&bytes[span]),
                EXPRESSION_DATA => data = span,
                _ => {}
            }
        }
        Expression { name, data }
    };
    elements.map(expression).collect()
}

/// Zeroes counters and set indexes of `bytes`, which are one attribute with the expressions in it.
fn make_comparable(bytes: &mut [u8], set_name: &mut dyn FnMut(u16) -> Option<Box<str>>) -> Vec<SetUse> {
    let mut sets = Vec::new();
    for Expression { name, data } in expressions(bytes, 4..bytes.len()) {
        match name.as_str() {
            "counter" => {
                for (kind, span) in spans(bytes, data) {
                    if matches!(kind, COUNTER_BYTES | COUNTER_PACKETS) {
                        bytes[span].fill(0);
                    }
                }
            }
            "match" | "target" => {
                for offset in set_offsets(bytes, &name, data) {
                    let Some(place) = bytes.get_mut(offset..offset + 2) else { continue };
                    let index = u16::from_ne_bytes([place[0], place[1]]);
                    if index == NO_SET {
                        continue;
                    }
                    place.fill(0);
                    // A set that is gone from under a rule can't be: rules hold their sets.
                    let name = set_name(index).unwrap_or_else(|| format!("#{index}").into());
                    sets.push(SetUse { offset: u32::try_from(offset).unwrap_or(u32::MAX), name });
                }
            }
            _ => {}
        }
    }
    sets
}

/// Where an extension has indexes of sets: the `set` match at its beginning, the `SET` target in each of its first two
/// or, from revision 3, three groups of four bytes.
fn set_offsets(bytes: &[u8], kind: &str, data: Range<usize>) -> Vec<usize> {
    let (mut name, mut revision, mut info) = (String::new(), 0, None);
    for (attribute, span) in spans(bytes, data) {
        match attribute {
            EXTENSION_NAME => name = text(&bytes[span]),
            EXTENSION_REVISION => revision = number(&bytes[span]).unwrap_or(0),
            EXTENSION_INFO => info = Some(span.start),
            _ => {}
        }
    }
    let Some(info) = info else { return Vec::new() };
    match (kind, name.as_str()) {
        ("match", "set") => vec![info],
        ("target", "SET") => (0..if revision < 3 { 2 } else { 3 }).map(|group| info + 4 * group).collect(),
        _ => Vec::new(),
    }
}

/// The protocol that a rule compares packets with, and whether it wants any other.
fn compared_protocol(content: &[u8]) -> Option<(u8, bool)> {
    let all = expressions(content, 0..content.len());
    let field = |expression: &Expression, wanted: u16| {
        spans(content, expression.data.clone())
            .into_iter()
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, span)| &content[span])
    };
    let is = |expression: &Expression, kind, value| field(expression, kind).and_then(number) == Some(value);
    let loads_protocol = |expression: &Expression| match expression.name.as_str() {
        "meta" => is(expression, META_KEY, META_L4PROTO),
        "payload" => {
            is(expression, PAYLOAD_BASE, PAYLOAD_NETWORK_HEADER)
                && is(expression, PAYLOAD_OFFSET, IPV4_PROTOCOL)
                && is(expression, PAYLOAD_LENGTH, 1)
        }
        _ => false,
    };
    let at = all.iter().position(loads_protocol)?;
    let comparison = all.get(at + 1).filter(|next| next.name == "cmp")?;
    let inverted = is(comparison, CMP_OPERATION, CMP_NOT_EQUAL);
    let value = Attributes(field(comparison, CMP_DATA)?).find(|(kind, _)| *kind == DATA_VALUE)?.1;
    Some((*value.first()?, inverted))
}

/// Whether nothing belongs to the rule that goes with it when it is deleted: an anonymous set, map or chain. Then its form is
/// all of it.
pub fn stands_alone(form: &EncodedRule) -> bool {
    let has = |word: &[u8]| form.bytes.windows(word.len()).any(|window| window == word);
    !has(b"__set") && !has(b"__map") && !has(b"__chain")
}

/// What can be said of a rule that is not one of ours: its comments and where it goes, in the words of iptables, and a
/// number that tells it from others. Not the rule's text, which only the tools know.
pub fn marks(form: &EncodedRule) -> String {
    let bytes = &*form.bytes;
    let Some((_, list)) = spans(bytes, 0..bytes.len()).into_iter().find(|(kind, _)| *kind == wire::RULE_EXPRESSIONS)
    else {
        return marks_line(form, &[], None);
    };
    let (mut comments, mut target) = (Vec::new(), None);
    // Whether nothing else is in the rule: then its line is the rule itself.
    let mut whole = true;
    for Expression { name, data } in expressions(bytes, list) {
        match name.as_str() {
            "match" | "target" => {
                let parts = spans(bytes, data);
                let part =
                    |wanted| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, span)| &bytes[span.clone()]);
                let extension = part(EXTENSION_NAME).map(text).unwrap_or_default();
                whole &= name == "match" && extension == "comment";
                if name == "target" {
                    target = Some(("-j", extension));
                } else if extension == "comment" {
                    comments.extend(part(EXTENSION_INFO).map(text));
                }
            }
            "immediate" => target = verdict(bytes, data).or(target),
            "counter" => {}
            _ => whole = false,
        }
    }
    comments.extend(user_comment(bytes));
    let legible = |comment: &String| !comment.is_empty() && !comment.chars().any(|c| c.is_control() || c == '\u{fffd}');
    if let (true, Some((word, chain))) = (whole && comments.iter().all(legible), &target)
        && !chain.is_empty()
    {
        let mut line = String::new();
        let comments = comments.iter().flat_map(|comment| ["-m", "comment", "--comment", comment]);
        comments.chain([*word, chain]).for_each(|word| quote::push_word(&mut line, word));
        return line;
    }
    marks_line(form, &comments, target.as_ref().map(|(word, target)| (*word, target.as_str())))
}

/// The comment that a rule carries as user data.
fn user_comment(bytes: &[u8]) -> Option<String> {
    let data = spans(bytes, 0..bytes.len()).into_iter().find(|(kind, _)| *kind == wire::RULE_USERDATA)?.1;
    let mut rest = bytes.get(data)?;
    while let [kind, length, after @ ..] = rest {
        let (value, next) = after.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return Some(text(value));
        }
        rest = next;
    }
    None
}

fn verdict(bytes: &[u8], data: Range<usize>) -> Option<(&'static str, String)> {
    let inner = |within: Range<usize>, wanted: u16| {
        spans(bytes, within).into_iter().find(|(kind, _)| *kind == wanted).map(|(_, span)| span)
    };
    let verdict = inner(inner(data, IMMEDIATE_DATA)?, DATA_VERDICT)?;
    let code = number(&bytes[inner(verdict.clone(), VERDICT_CODE)?])?.cast_signed();
    let chain = inner(verdict, VERDICT_CHAIN).map(|span| text(&bytes[span]));
    Some(match (code, chain) {
        (-3, Some(chain)) => ("-j", chain),
        (-4, Some(chain)) => ("-g", chain),
        (0, _) => ("-j", "DROP".to_owned()),
        (1, _) => ("-j", "ACCEPT".to_owned()),
        (-5, _) => ("-j", "RETURN".to_owned()),
        _ => return None,
    })
}

/// Whether the rule is made of nothing but what iptables itself writes. One that is not may be shown by iptables-save
/// without the part that it can't express.
pub fn is_of_iptables(form: &EncodedRule) -> bool {
    const WRITTEN_BY_IPTABLES: [&str; 11] =
        ["bitwise", "cmp", "counter", "immediate", "limit", "log", "match", "meta", "payload", "range", "target"];
    let bytes = &*form.bytes;
    let list = spans(bytes, 0..bytes.len()).into_iter().find(|(kind, _)| *kind == wire::RULE_EXPRESSIONS);
    list.is_some_and(|(_, list)| {
        expressions(bytes, list).iter().all(|expression| WRITTEN_BY_IPTABLES.contains(&expression.name.as_str()))
    })
}

/// The same rule with its comment as user data and not as an xtables match, if that is the only xtables extension in
/// it. iptables shows and finds both alike. Before it takes an xtables extension the kernel waits until all rules that
/// were deleted are gone for good, which takes a grace period of RCU (10 ms here); without one it does not wait.
pub fn lighter(form: &EncodedRule) -> Option<EncodedRule> {
    let bytes = &*form.bytes;
    let parts = spans(bytes, 0..bytes.len());
    let list = parts.iter().find(|(kind, _)| *kind == wire::RULE_EXPRESSIONS)?.1.clone();
    if parts.iter().any(|(kind, _)| *kind == wire::RULE_USERDATA) || !form.sets.is_empty() {
        return None;
    }
    let (mut kept, mut comment) = (Vec::with_capacity(bytes.len()), None);
    for (_, element) in spans(bytes, list) {
        let name = spans(bytes, element.clone()).into_iter().find(|(kind, _)| *kind == EXPRESSION_NAME)?.1;
        match text(&bytes[name]).as_str() {
            "target" => return None,
            "match" if comment.is_some() => return None,
            "match" => {
                let data = spans(bytes, element).into_iter().find(|(kind, _)| *kind == EXPRESSION_DATA)?.1;
                let parts = spans(bytes, data);
                let part =
                    |wanted| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, span)| &bytes[span.clone()]);
                if text(part(EXTENSION_NAME)?) != "comment" {
                    return None;
                }
                comment = Some(part(EXTENSION_INFO)?.split(|byte| *byte == 0).next()?);
            }
            // As it is, header and padding included: the kernel's own flags are part of the form.
            _ => kept.extend_from_slice(bytes.get(element.start - 4..element.end.next_multiple_of(4))?),
        }
    }
    let comment = comment?;
    // `NFTNL_UDATA_RULE_COMMENT`, length and text with its closing zero byte.
    let length = u8::try_from(comment.len() + 1).ok()?;
    let user_data = [&[0, length], comment, &[0]].concat();
    let mut light = Vec::with_capacity(kept.len() + 64);
    push_nested(&mut light, wire::RULE_EXPRESSIONS, &kept);
    // As a reading of the rule would make it again.
    for (kind, compat) in parts.iter().filter(|(kind, _)| *kind == wire::RULE_COMPAT) {
        push_nested(&mut light, *kind, &bytes[compat.clone()]);
    }
    push_attribute(&mut light, wire::RULE_USERDATA, &user_data);
    Some(EncodedRule { bytes: light.into(), sets: Box::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruleward_core::quote;

    use super::*;

    fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_nested(&mut bytes, kind, &parts.concat());
        bytes
    }

    fn leaf(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, kind, content);
        bytes
    }

    fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
        nested(LIST_ELEMENT, &[leaf(EXPRESSION_NAME, name.as_bytes()), nested(EXPRESSION_DATA, data)])
    }

    fn rule(expressions: &[Vec<u8>]) -> Vec<u8> {
        let head = [leaf(wire::RULE_CHAIN, b"c\0"), leaf(wire::RULE_HANDLE, &7_u64.to_be_bytes())].concat();
        [head, nested(wire::RULE_EXPRESSIONS, expressions)].concat()
    }

    fn counter(value: u64) -> Vec<u8> {
        let field = |kind| leaf(kind, &value.to_be_bytes());
        expression("counter", &[field(COUNTER_BYTES), field(COUNTER_PACKETS)])
    }

    fn set_match(index: u16) -> Vec<u8> {
        let info = [index.to_ne_bytes().to_vec(), vec![1, 1]].concat();
        let parts = [
            leaf(EXTENSION_NAME, b"set\0"),
            leaf(EXTENSION_REVISION, &1_u32.to_be_bytes()),
            leaf(EXTENSION_INFO, &info),
        ];
        expression("match", &parts)
    }

    fn form(expressions: &[Vec<u8>]) -> EncodedRule {
        read(&rule(expressions), &mut |index| Some(format!("set{index}").into())).unwrap().1.form
    }

    #[test]
    fn counters_and_set_indexes_do_not_count_but_names_do() {
        assert_eq!(form(&[counter(1)]), form(&[counter(99)]));
        let one = read(&rule(&[set_match(3)]), &mut |_| Some("a".into())).unwrap().1.form;
        let same = read(&rule(&[set_match(9)]), &mut |_| Some("a".into())).unwrap().1.form;
        assert_eq!(one, same);
        assert_ne!(form(&[set_match(3)]), form(&[set_match(9)]));
        assert_eq!(form(&[set_match(NO_SET)]).sets.len(), 0);
    }

    #[test]
    fn the_protocol_comes_from_the_rules_own_comparison() {
        let load = expression("meta", &[leaf(META_KEY, &META_L4PROTO.to_be_bytes())]);
        let value = nested(CMP_DATA, &[leaf(DATA_VALUE, &[17])]);
        let not_udp = expression("cmp", &[leaf(CMP_OPERATION, &CMP_NOT_EQUAL.to_be_bytes()), value]);
        let content = [load, not_udp].concat();
        assert_eq!(compared_protocol(&content), Some((17, true)));
        assert_eq!(compared_protocol(&counter(1)), None);
    }

    #[test]
    fn a_strange_rule_is_known_by_its_comment_and_target() {
        let comment = [b"cali:x y".to_vec(), vec![0; 248]].concat();
        let comment = expression("match", &[leaf(EXTENSION_NAME, b"comment\0"), leaf(EXTENSION_INFO, &comment)]);
        let other = expression("match", &[leaf(EXTENSION_NAME, b"addrtype\0"), leaf(EXTENSION_INFO, &[0])]);
        let light = lighter(&form(&[comment.clone(), counter(1)])).unwrap();
        assert_eq!(quote::marks(&marks(&light)).comments, ["cali:x y"]);
        assert_eq!(lighter(&light), None);
        assert_eq!(lighter(&form(&[comment.clone(), other])), None, "another extension waits all the same");
        let jump = [leaf(VERDICT_CODE, &(-3_i32).to_be_bytes()), leaf(VERDICT_CHAIN, b"cali-a\0")];
        let jump = expression("immediate", &[nested(IMMEDIATE_DATA, &[nested(DATA_VERDICT, &jump)])]);
        let form = form(&[comment, jump]);
        let line = marks(&form);
        let read = quote::marks(&line);
        assert_eq!((read.comments[0].as_ref(), read.target.as_deref()), ("cali:x y", Some("cali-a")), "{line}");
        assert!(is_of_iptables(&form) && !is_of_iptables(&self::form(&[expression("lookup", &[])])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..200) {
            let _ = read(&bytes, &mut |_| None);
            let mut whole = rule(&[counter(1), set_match(3)]);
            whole.truncate(cut);
            whole.extend(&bytes);
            if let Some((_, rule)) = read(&whole, &mut |_| None) {
                let _ = (marks(&rule.form), is_of_iptables(&rule.form), lighter(&rule.form));
            }
        }
    }
}
