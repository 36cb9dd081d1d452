//! Rules that no packet can ever satisfy, although the kernel takes them: a protocol of the other family, an extension header
//! in the place of a protocol, a negation of everything. ReloadRequest by what iptables-save shows of a rule.

use crate::expected::{Expected, ExpectedRule};
use crate::names::{Family, PolicyName};
use crate::quote;

/// So many are told of.
const MOST: usize = 20;

/// One line for each such rule.
pub fn warnings(expected: &Expected) -> Vec<String> {
    let mut lines = Vec::new();
    for ((family, table), rules) in &expected.tables {
        let chains = rules
            .chains
            .iter()
            .flat_map(|(name, (policy, rules))| rules.iter().map(move |rule| (name.as_str(), policy, rule)));
        let hooks = rules.hooks.iter().flat_map(|(hook, rules)| {
            let all = rules.first.iter().chain(&rules.last);
            all.map(move |one| (hook.as_str(), &one.policy, &one.rule))
        });
        let line = |(chain, policy, rule): (&str, &PolicyName, &ExpectedRule)| {
            let text = rule.show()?;
            let reason = reason(*family, text)?;
            Some(format!("policy {policy}: a rule in {table}/{chain} ({family}) can never match: `{text}`: {reason}"))
        };
        lines.extend(chains.chain(hooks).filter_map(line).take(MOST - lines.len().min(MOST)));
    }
    lines
}

/// Why a rule in the form of iptables-save can never match.
fn reason(family: Family, rule: &str) -> Option<&'static str> {
    let mut negated = false;
    let mut words = quote::words(rule);
    while let Some(word) = words.next() {
        match &*word {
            "!" => negated = true,
            "-p" | "-s" | "-d" | "-i" | "-o" => {
                let value = words.next()?;
                if let Some(reason) = value_reason(family, negated, &word, &value) {
                    return Some(reason);
                }
                negated = false;
            }
            // What follows are options of matches and the target.
            _ => return None,
        }
    }
    None
}

fn value_reason(family: Family, negated: bool, option: &str, value: &str) -> Option<&'static str> {
    match (family, negated, option, value) {
        (Family::Ipv6, false, "-p", "icmp" | "1") => Some("ICMP of IPv6 is -p icmpv6"),
        (Family::Ipv4, false, "-p", "ipv6-icmp" | "icmpv6" | "58") => Some("ICMP of IPv4 is -p icmp"),
        (Family::Ipv6, false, "-p", "hopopt" | "ipv6-route" | "ipv6-frag" | "ipv6-opts" | "43" | "44" | "60") => {
            Some("an extension header is no protocol; -m rt, -m frag, -m dst and -m hbh look at it")
        }
        (_, true, "-s" | "-d", "0.0.0.0/0" | "::/0") => Some("every address is in that network"),
        (_, true, "-i" | "-o", "+") => Some("every interface has such a name"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_match_is_told_with_the_reason() {
        for (family, rule, says) in [
            (Family::Ipv6, "-p icmp -j ACCEPT", "icmpv6"),
            (Family::Ipv6, "-s 2001:db8::/32 -i eth0 -p icmp -m icmp --icmp-type 8", "icmpv6"),
            (Family::Ipv4, "-p ipv6-icmp -j ACCEPT", "-p icmp"),
            (Family::Ipv6, "-p ipv6-frag", "-m frag"),
            (Family::Ipv4, "! -s 0.0.0.0/0 -j DROP", "every address"),
            (Family::Ipv4, "! -i + -j DROP", "every interface"),
        ] {
            assert!(reason(family, rule).is_some_and(|reason| reason.contains(says)), "{rule}");
        }
        for (family, rule) in [
            (Family::Ipv4, "-p icmp -j ACCEPT"),
            (Family::Ipv6, "! -p icmp -j ACCEPT"),
            (Family::Ipv6, "-p ipv6-icmp"),
            (Family::Ipv6, "-m comment --comment \"-p icmp\" -j ACCEPT"),
            (Family::Ipv6, "-m policy --dir in --pol ipsec --proto esp"),
        ] {
            assert_eq!(reason(family, rule), None, "{rule}");
        }
    }
}
