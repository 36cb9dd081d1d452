//! The words of ipset that a policy may write: options of `ipset create` and what may follow a member. Both lists are
//! closed. A word that is not known could change what a set means without a trace in what `ipset list` shows of it.

use std::borrow::Cow;

use crate::quote;

/// Options of `ipset create` that take a value. `family`, `maxelem` and `timeout` are fields of their own.
const WITH_VALUE: [&str; 7] = ["bitmask", "bucketsize", "hashsize", "markmask", "netmask", "range", "size"];
/// Options of `ipset create` that stand alone.
const ALONE: [&str; 4] = ["comment", "counters", "forceadd", "skbinfo"];
/// What may follow a member and takes a value that stays as it is.
const OF_MEMBER: [&str; 3] = ["skbmark", "skbprio", "skbqueue"];
/// What may follow a member alone.
const OF_MEMBER_ALONE: [&str; 2] = ["nomatch", "wildcard"];
/// Longest text of a member.
const LONGEST: usize = 512;

/// Judges the further words of `ipset create`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn options(words: &[String]) -> Result<(), String> {
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if ALONE.contains(&word) {
            continue;
        }
        if !WITH_VALUE.contains(&word) {
            let known: Vec<&str> = WITH_VALUE.into_iter().chain(ALONE).collect();
            return Err(format!(
                "{word:?} is no option of a set that a policy may write; known are {} (and the fields family, \
                 max-elements and timeout)",
                known.join(", ")
            ));
        }
        let value = words.next().ok_or_else(|| format!("the option {word} has no value"))?;
        let fits = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/' | '-' | 'x' | 'X');
        if value.is_empty() || value.starts_with('-') || value.len() > 90 || !value.chars().all(fits) {
            return Err(format!("{value:?} is no value of the option {word}; write numbers and addresses"));
        }
    }
    Ok(())
}

/// Reads a member with what may follow it, and writes it as `ipset list` shows it.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn member(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!("{text:?} is no member; write at most {LONGEST} characters, not beginning with a hyphen"));
    }
    let mut words = quote::words(text);
    let first = words.next().unwrap_or_default();
    if first.is_empty() || first.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '#')) {
        return Err(format!("{text:?} is no member: its first word holds blanks or quotes"));
    }
    let mut member = first.into_owned();
    while let Some(word) = words.next() {
        let word = word.as_ref();
        if OF_MEMBER_ALONE.contains(&word) {
            member = format!("{member} {word}");
            continue;
        }
        let mut value = || words.next().ok_or_else(|| format!("{text:?}: {word} has no value"));
        if word == "comment" {
            let value = value()?;
            if value.contains(['"', '\\']) {
                return Err(format!("{text:?}: a comment of ipset can't hold quotes and backslashes"));
            }
            member = format!("{member} comment \"{value}\"");
        } else if OF_MEMBER.contains(&word) {
            let value = value()?;
            if value.is_empty() || !value.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | ':' | '/')) {
                return Err(format!("{text:?}: {value:?} is no value of {word}"));
            }
            member = format!("{member} {word} {value}");
        } else {
            let kept = "nomatch, wildcard, comment, skbmark, skbprio and skbqueue";
            return Err(match word {
                "timeout" => format!(
                    "{text:?}: a member with a timeout vanishes by itself and can't be kept; make the set dynamic, or \
                     leave the timeout out"
                ),
                "packets" | "bytes" => format!("{text:?}: the kernel counts {word} itself; leave them out"),
                _ => format!("{text:?}: {word:?} can't follow a member; known are {kept}"),
            });
        }
    }
    Ok(member)
}

/// A member as `ipset list` shows it, without what the kernel counts.
pub fn without_counters(shown: &str) -> Cow<'_, str> {
    let Some((before, counted)) = shown.split_once(" packets ") else { return shown.into() };
    if before.contains('"') {
        return shown.into();
    }
    let mut words = counted.split(' ');
    let numbers = [words.next(), words.next(), words.next()];
    let is_number = |word: Option<&str>| word.is_some_and(|word| word.parse::<u64>().is_ok());
    if !is_number(numbers[0]) || numbers[1] != Some("bytes") || !is_number(numbers[2]) {
        return shown.into();
    }
    let rest: Vec<&str> = words.collect();
    if rest.is_empty() { before.into() } else { format!("{before} {}", rest.join(" ")).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_written_as_ipset_shows_it() {
        assert_eq!(member("10.0.0.0/8 nomatch").as_deref(), Ok("10.0.0.0/8 nomatch"));
        assert_eq!(member("192.0.2.0/24,eth0").as_deref(), Ok("192.0.2.0/24,eth0"));
        assert_eq!(member("1.2.3.4 comment printer").as_deref(), Ok("1.2.3.4 comment \"printer\""));
        assert_eq!(member("1.2.3.4  comment \"a b\"").as_deref(), Ok("1.2.3.4 comment \"a b\""));
        for bad in ["", "-exist", "1.2.3.4 timeout 5", "1.2.3.4 -exist", "1.2.3.4 comment", "1.2.3.4 packets 3", "a\nb"]
        {
            assert!(member(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counters_are_no_difference() {
        assert_eq!(without_counters("1.2.3.4 packets 3 bytes 252"), "1.2.3.4");
        assert_eq!(without_counters("1.2.3.4 packets 3 bytes 252 comment \"a\""), "1.2.3.4 comment \"a\"");
        for kept in ["1.2.3.4", "1.2.3.4 comment \"x packets 3 bytes 4\"", "1.2.3.4 packets many"] {
            assert_eq!(without_counters(kept), kept);
        }
    }

    #[test]
    fn options_are_a_closed_list() {
        let judged = |text: &str| options(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for good in ["range 0-1023", "netmask 24 counters", "range 192.0.2.0/24 comment", "markmask 0xff00", "skbinfo"]
        {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
        for bad in ["family inet6", "maxelem 3", "timeout 3", "range", "range victim.example", "-exist", "range -exist"]
        {
            assert!(judged(bad).is_err(), "{bad}");
        }
    }
}
