//! What the check lets through, what it refuses, and in which words.

use super::*;
use crate::contribution::Families;
use crate::grants::{Pattern, Uses};
use crate::rule::{AddressType, AddressTypeLimit, AddressTypeTest, Direction, Extension, Nat, PortRange};
use crate::set_members::SetMembers;

fn chain_name(name: &str) -> ChainName {
    ChainName::new(name).unwrap()
}

fn grants() -> Grants {
    Grants {
        tables: vec![Table::Filter, Table::Nat],
        chains: vec![Pattern::new("web-*").unwrap()],
        sets: vec![Pattern::new("web-*").unwrap()],
        comments: vec!["web:".into()],
        ..Grants::default()
    }
}

fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target: Some(target), comment: None }
}

fn chain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain { table: Table::Filter, families: Families::BOTH, name: chain_name(name), rules }
}

fn attachment(rule: Rule) -> Attachment {
    Attachment {
        table: Table::Filter,
        hook: Hook::Input,
        families: Families { ipv4: true, ipv6: false },
        placement: Placement::First,
        order: 0,
        rule,
    }
}

fn judge(contribution: &Contribution) -> Result<Checked, Vec<String>> {
    let policy = PolicyName::new("web").unwrap();
    check(&policy, &grants(), |_| true, OutputLimits::default(), contribution)
        .map_err(|refusals| refusals.iter().map(ToString::to_string).collect())
}

fn refusals(contribution: Contribution) -> Vec<String> {
    judge(&contribution).expect_err("was taken")
}

#[test]
fn rules_are_rendered_for_each_family() {
    let matches = vec![
        Match::DestinationPorts { ranges: vec![PortRange { first: 80, last: 80 }], negated: false },
        Match::Protocol { number: 6, negated: false },
        Match::AddressType {
            source: Some(AddressTypeTest { kind: AddressType::Local, negated: true }),
            destination: None,
            limit: AddressTypeLimit::OutInterface,
        },
    ];
    let checked = judge(&Contribution {
        chains: vec![chain("web-in", vec![rule(matches, Target::Accept)])],
        ..Contribution::default()
    })
    .unwrap();
    for family in Family::ALL {
        let rules = &checked.chains[&(family, Table::Filter)][&chain_name("web-in")];
        assert_eq!(
            &*rules[0].text,
            "-p 6 -m tcp --dport 80 -m addrtype ! --src-type LOCAL --limit-iface-out -j ACCEPT"
        );
    }
}

#[test]
fn an_attachment_without_a_granted_comment_gets_one() {
    let marked = Rule { comment: Some(Comment::new("web:1").unwrap()), ..rule(Vec::new(), Target::Drop) };
    let contribution = Contribution {
        attachments: vec![attachment(rule(Vec::new(), Target::Drop)), attachment(marked)],
        ..Contribution::default()
    };
    let checked = judge(&contribution).unwrap();
    let site = (Family::Ipv4, Table::Filter, Hook::Input, Placement::First);
    let texts: Vec<&str> = checked.attachments[&site].iter().map(|one| &*one.rule.text).collect();
    assert!(texts[0].starts_with("-m comment --comment rw:web:") && texts[0].ends_with(" -j DROP"), "{texts:?}");
    assert_eq!(texts[1], "-m comment --comment web:1 -j DROP");
    assert_eq!(judge(&contribution).unwrap(), checked, "the identifier changes from run to run");
}

#[test]
fn what_is_not_granted_is_refused_by_name() {
    let mut elsewhere = chain("web-in", Vec::new());
    elsewhere.table = Table::Raw;
    let refusals = refusals(Contribution {
        chains: vec![chain("other", Vec::new()), elsewhere],
        sets: vec![AddressSet {
            name: SetName::new("other").unwrap(),
            family: Family::Ipv4,
            kind: SetType::HashNet,
            members: SetMembers::default(),
            max_elements: None,
            dynamic: false,
            timeout: None,
            options: Vec::new(),
        }],
        ..Contribution::default()
    });
    assert_eq!(
        refusals,
        [
            "set other: its name fits no pattern in grants.sets, which grants web-*",
            "chain other in filter: its name fits no pattern in grants.chains, which grants web-*",
            "chain web-in in raw: the table raw is not granted; add it to grants.tables if that is meant",
        ]
    );
}

#[test]
fn jumps_to_nowhere_and_in_circles_are_refused() {
    let jump = |to: &str| rule(Vec::new(), Target::Jump(chain_name(to)));
    let nowhere =
        refusals(Contribution { chains: vec![chain("web-a", vec![jump("web-b")])], ..Contribution::default() });
    assert!(nowhere[0].starts_with("chain web-a in filter, rule 1: jumps to web-b, which this policy does not have"));
    let circle = refusals(Contribution {
        chains: vec![chain("web-a", vec![jump("web-b")]), chain("web-b", vec![jump("web-a")])],
        ..Contribution::default()
    });
    assert_eq!(circle, ["chain web-a in filter: jumps in a circle: web-a -> web-b -> web-a"]);
}

#[test]
fn a_long_line_of_chains_is_no_circle() {
    let chains = (0..4000).map(|n| {
        let next = (n < 3999).then(|| rule(Vec::new(), Target::Jump(chain_name(&format!("web-{}", n + 1)))));
        chain(&format!("web-{n}"), next.into_iter().collect())
    });
    assert!(judge(&Contribution { chains: chains.collect(), ..Contribution::default() }).is_ok());
}

#[test]
fn families_do_not_mix() {
    let source = Match::Source { network: "192.0.2.0/24".parse().unwrap(), negated: false };
    let found = refusals(Contribution {
        chains: vec![chain("web-in", vec![rule(vec![source], Target::Drop)])],
        ..Contribution::default()
    });
    assert_eq!(
        found,
        ["chain web-in in filter, rule 1: source 192.0.2.0 is not IPv6; give the rule to the other family only, or \
          leave the address out"]
    );
    let set = AddressSet {
        name: SetName::new("web-6").unwrap(),
        family: Family::Ipv6,
        kind: SetType::HashNet,
        members: [SetMember::Network("10.0.0.0/8".parse().unwrap())].into_iter().collect(),
        max_elements: None,
        dynamic: false,
        timeout: None,
        options: Vec::new(),
    };
    let uses = Match::Set { name: set.name.clone(), directions: vec![Direction::Source], negated: false };
    let mut four = chain("web-in", vec![rule(vec![uses], Target::Drop)]);
    four.families = Families { ipv4: true, ipv6: false };
    let found = refusals(Contribution { chains: vec![four], sets: vec![set], ..Contribution::default() });
    assert_eq!(found[0], "set web-6, member 1: 10.0.0.0/8 is not IPv6, the family of the set");
    assert_eq!(found[1], "chain web-in in filter, rule 1: uses the set web-6 of IPv6 in a rule for IPv4");
}

#[test]
fn limits_are_named_with_their_key() {
    let contribution = Contribution { chains: vec![chain("web-a", vec![]); 3], ..Contribution::default() };
    let policy = PolicyName::new("web").unwrap();
    let limits = OutputLimits { chains: 2, ..OutputLimits::default() };
    let refusals = check(&policy, &grants(), |_| true, limits, &contribution).unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "the contribution: 3 chains, but its limit is 2; raise limits.chains if that is meant"
    );
}

#[test]
fn translation_to_ports_needs_a_protocol() {
    let nat = Nat {
        addresses: Some(("192.0.2.1".parse().unwrap(), "192.0.2.1".parse().unwrap())),
        ports: Some(PortRange { first: 1024, last: 2048 }),
        random: false,
        random_fully: true,
        persistent: false,
    };
    let mut outgoing = chain("web-out", vec![rule(Vec::new(), Target::SourceNat(nat.clone()))]);
    outgoing.families = Families { ipv4: true, ipv6: false };
    assert!(
        refusals(Contribution { chains: vec![outgoing.clone()], ..Contribution::default() })[0]
            .contains("source-nat needs a protocol")
    );
    outgoing.rules[0].matches.push(Match::Protocol { number: 17, negated: false });
    let checked = judge(&Contribution { chains: vec![outgoing], ..Contribution::default() }).unwrap();
    let rules = &checked.chains[&(Family::Ipv4, Table::Filter)][&chain_name("web-out")];
    assert_eq!(&*rules[0].text, "-p 17 -j SNAT --to-source 192.0.2.1:1024-2048 --random-fully");
}

#[test]
fn an_extension_cannot_smuggle_a_command() {
    let smuggle = Extension { name: "comment".into(), arguments: vec!["--comment".into(), "x".into(), "-j".into()] };
    let found = refusals(Contribution {
        chains: vec![chain("web-a", vec![rule(vec![Match::Extension(smuggle)], Target::Accept)])],
        ..Contribution::default()
    });
    assert!(found[0].contains("argument 3 (\"-j\") is an option of iptables itself"), "{found:?}");
}

#[test]
fn a_policy_of_a_built_in_chain_is_granted_by_name() {
    let policy = |hook| ChainPolicy { table: Table::Filter, hook, families: Families::BOTH, policy: Verdict::Drop };
    let asked = |policies| Contribution { policies, ..Contribution::default() };
    let refused = refusals(asked(vec![policy(Hook::Input)]));
    assert_eq!(
        refused[0],
        "policy 1 (filter/INPUT): the policy of filter/INPUT is not granted; grants.policies grants nothing: add \
         \"filter/INPUT\" to it if that is meant"
    );
    let granted = Grants { policies: vec!["filter/INPUT".to_owned().try_into().unwrap()], ..grants() };
    let name = PolicyName::new("web").unwrap();
    let judged = |policies| check(&name, &granted, |_| true, OutputLimits::default(), &asked(policies));
    let checked = judged(vec![policy(Hook::Input)]).unwrap();
    assert_eq!(checked.policies.len(), 2);
    assert!(judged(vec![policy(Hook::Input), policy(Hook::Input)]).is_err());
    assert!(judged(vec![policy(Hook::Output)]).is_err());
}

#[test]
fn a_whole_rule_stands_alone_and_every_word_is_quoted() {
    let words = |words: &[&str]| Match::Verbatim(words.iter().map(|word| (*word).to_owned()).collect());
    let whole = ["-p", "tcp", "-j", "LOG", "--log-prefix", "-j: \"x\" "];
    let plain = |matches, target, comment: Option<&str>| Rule {
        matches,
        target,
        comment: comment.map(|text| Comment::new(text).unwrap()),
    };
    let one = |rule: Rule| Contribution { chains: vec![chain("web-a", vec![rule])], ..Contribution::default() };
    let checked = judge(&one(plain(vec![words(&whole)], None, Some("a b")))).unwrap();
    assert_eq!(
        &*checked.chains[&(Family::Ipv4, Table::Filter)][&chain_name("web-a")][0].text,
        r#"-m comment --comment "a b" -p tcp -j LOG --log-prefix "-j: \"x\" ""#
    );
    for (rule, reason) in [
        (plain(vec![words(&whole), words(&whole)], None, None), "beside another match"),
        (plain(vec![words(&whole)], Some(Target::Drop), None), "beside a target"),
        (plain(vec![words(&["a\nb"])], None, None), "control character"),
    ] {
        let refused = refusals(one(rule));
        assert!(refused[0].contains(reason), "{refused:?}");
    }
}

#[test]
fn a_jump_to_a_foreign_chain_waits_where_its_use_is_granted() {
    let granted = Grants { uses: Uses { chains: vec![Pattern::new("f2b-*").unwrap()], ..Uses::default() }, ..grants() };
    let name = PolicyName::new("web").unwrap();
    let to = |rule| Contribution { attachments: vec![attachment(rule)], ..Contribution::default() };
    let jump = || rule(vec![], Target::Jump(chain_name("f2b-sshd")));
    assert!(refusals(to(jump()))[0].contains("to grants.uses.chains"));
    let verbatim = Rule {
        matches: vec![Match::Verbatim(["-p", "tcp", "-j", "f2b-sshd"].map(String::from).to_vec())],
        target: None,
        comment: None,
    };
    for rule in [jump(), verbatim] {
        let checked = check(&name, &granted, |_| true, OutputLimits::default(), &to(rule)).unwrap();
        let attached = checked.attachments.values().flatten().next().unwrap();
        assert_eq!(attached.rule.awaits(), [Foreign::Chain(chain_name("f2b-sshd"))]);
    }
}

#[test]
fn a_rule_with_a_foreign_set_waits_where_its_use_is_granted() {
    let sets = vec![Pattern::new("crowdsec*").unwrap()];
    let granted = Grants { uses: Uses { sets, ..Uses::default() }, ..grants() };
    let name = PolicyName::new("web").unwrap();
    let of = |rules| Contribution { chains: vec![chain("web-in", rules)], ..Contribution::default() };
    let crowdsec = SetName::new("crowdsec").unwrap();
    let typed = || {
        let found = Match::Set { name: crowdsec.clone(), directions: vec![Direction::Source], negated: false };
        rule(vec![found], Target::Drop)
    };
    let words = ["-m", "set", "--match-set", "crowdsec", "src", "-j", "DROP"].map(String::from).to_vec();
    let verbatim = Rule { matches: vec![Match::Verbatim(words)], target: None, comment: None };
    let refused = refusals(of(vec![typed()]));
    assert!(refused[0].contains("\"crowdsec\" to grants.uses.sets"), "{refused:?}");
    let checked = check(
        &name,
        &granted,
        |_| true,
        OutputLimits::default(),
        &of(vec![typed(), verbatim, rule(vec![], Target::Drop)]),
    );
    let checked = checked.unwrap();
    let rules = &checked.chains[&(Family::Ipv4, Table::Filter)][&chain_name("web-in")];
    let awaits: Vec<&[Foreign]> = rules.iter().map(CheckedRule::awaits).collect();
    let one = [Foreign::Set(crowdsec.clone())];
    assert_eq!(awaits, [&one[..], &one[..], &[]]);
}

#[test]
fn a_set_of_sets_holds_what_was_granted() {
    let list = |member: &str| AddressSet {
        kind: SetType::Extension(set_use::LIST.into()),
        members: [SetMember::Extension(member.into())].into_iter().collect(),
        name: SetName::new("web-all").unwrap(),
        family: Family::Ipv4,
        max_elements: None,
        dynamic: false,
        timeout: None,
        options: Vec::new(),
    };
    let of = |set| Contribution { sets: vec![set], ..Contribution::default() };
    assert!(judge(&of(list("web-a"))).is_ok());
    let refused = refusals(of(list("victim")));
    assert!(refused[0].contains("names the set victim, which it was not granted"), "{refused:?}");
}
