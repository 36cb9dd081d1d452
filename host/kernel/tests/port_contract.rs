//! What a [`Port`] promises, held against the real kernel (both backends) and against the kernel of plain data alike:
//! what the logic above is tested with behaves as what it runs on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sandbox;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use ruleward_core::check::{OutputLimits, check};
use ruleward_core::contribution::{AddressSet, Attachment, Chain, Contribution, Families, SetMember, SetType};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::merge::merge;
use ruleward_core::names::{Backend, ChainName, Family, Hook, Placement, PolicyName, SetName, Table};
use ruleward_core::ownership::Ownership;
use ruleward_core::plan::plan;
use ruleward_core::rule::{Direction, Match, Rule, Target};
use ruleward_kernel::commit::{CommitError, commit, commit_at_once};
use ruleward_kernel::live::Live;
use ruleward_kernel::observe::{Reading, Scope, list_sets, observe, observe_forms};
use ruleward_kernel::port::{Depth, Port, Wanted};
use ruleward_kernel::rehearse::{Learn, RehearseError, rehearse};
use ruleward_kernel::scratch::Scratch;
use ruleward_kernel::sim::Fake;
use ruleward_kernel::tools::{RestoreError, Tools};

fn read_forms(port: &dyn Port, expected: &Expected, scope: &Scope) -> Reading {
    let mut reading = observe_forms(port, expected, scope, &mut |_| None).unwrap().unwrap();
    if !matches!(scope, Scope::Part { sets: false, .. }) {
        reading.observed.sets = Some(list_sets(port, &|_| true).unwrap());
    }
    reading
}

const IPV4: Families = Families { ipv4: true, ipv6: false };

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    if let Some(code) = sandbox::enter(&arguments) {
        return code;
    }
    type Body = fn(&dyn Port);
    let promises: [(&str, Body); 11] = [
        ("what_is_restored_is_saved", what_is_restored_is_saved),
        ("a_refused_script_changes_nothing", a_refused_script_changes_nothing),
        ("what_is_rehearsed_is_not_live", what_is_rehearsed_is_not_live),
        ("a_commit_gives_what_was_rehearsed", a_commit_gives_what_was_rehearsed),
        ("every_drift_is_undone_around_strangers", every_drift_is_undone_around_strangers),
        ("every_drift_is_undone_at_once", every_drift_is_undone_at_once),
        ("a_part_is_read_by_form", a_part_is_read_by_form),
        ("a_stale_transaction_is_not_carried_out", a_stale_transaction_is_not_carried_out),
        ("nothing_wanted_removes_exactly_ours", nothing_wanted_removes_exactly_ours),
        ("a_stale_plan_is_not_carried_out", a_stale_plan_is_not_carried_out),
        ("a_stamp_tells_tables_apart", a_stamp_tells_tables_apart),
    ];
    let mut trials = Vec::new();
    for (name, body) in promises {
        for backend in [Backend::Nft, Backend::Legacy] {
            trials.push(Trial::test(format!("live::{backend}::{name}"), move || {
                let scratch = Scratch::create().map_err(|error| error.to_string())?;
                let tools = scratch.tools(&Tools::new(backend));
                let run = || body(&Live::new(tools, Duration::from_secs(10), Arc::new(|_| ControlFlow::Continue(()))));
                scratch.run(run).map_err(|error| error.to_string().into())
            }));
            trials.push(Trial::test(format!("fake::{backend}::{name}"), move || {
                body(&Fake::new(backend));
                Ok(())
            }));
        }
    }
    trials
        .push(Trial::test("live::nft::a_rule_for_another_table_is_refused_by_name", || refused_by_name(Backend::Nft)));
    trials.push(Trial::test("fake::nft::a_rule_that_replay_would_change_is_left_to_the_tools", || {
        poisoned();
        Ok(())
    }));
    trials.push(Trial::test("live::legacy::a_rule_for_another_table_is_refused_by_name", || {
        refused_by_name(Backend::Legacy)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn policy() -> PolicyName {
    PolicyName::new("web").unwrap()
}

fn grants() -> Grants {
    Grants {
        tables: vec![Table::Nat, Table::Filter],
        chains: vec![Pattern::new("web-*").unwrap()],
        sets: vec![Pattern::new("web-*").unwrap()],
        ..Grants::default()
    }
}

fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target: Some(target), comment: None }
}

fn web_chain() -> ChainName {
    ChainName::new("web-in").unwrap()
}

/// A chain that uses a set, a jump to it first in INPUT and a rule last in INPUT.
fn contribution() -> Contribution {
    let set = SetName::new("web-allow").unwrap();
    let from_set = Match::Set { name: set.clone(), directions: vec![Direction::Source], negated: false };
    let from = |network: &str| Match::Source { network: network.parse().unwrap(), negated: false };
    let attach = |placement, target| Attachment {
        table: Table::Filter,
        hook: Hook::Input,
        families: IPV4,
        placement,
        order: 0,
        rule: rule(Vec::new(), target),
    };
    Contribution {
        chains: vec![Chain {
            table: Table::Filter,
            families: IPV4,
            name: web_chain(),
            rules: vec![
                rule(vec![from_set], Target::Accept),
                rule(vec![from("192.0.2.0/24")], Target::Accept),
                rule(vec![from("198.51.100.0/24")], Target::Drop),
            ],
        }],
        attachments: vec![attach(Placement::First, Target::Jump(web_chain())), attach(Placement::Last, Target::Accept)],
        sets: vec![AddressSet {
            name: set,
            family: Family::Ipv4,
            kind: SetType::HashNet,
            members: [SetMember::Network("10.0.0.0/8".parse().unwrap())].into_iter().collect(),
            max_elements: None,
            dynamic: false,
            timeout: None,
            options: Vec::new(),
        }],
        policies: Vec::new(),
    }
}

fn desired(contribution: &Contribution) -> ruleward_core::merge::Desired {
    let checked = check(&policy(), &grants(), |_| true, OutputLimits::default(), contribution).unwrap();
    merge(&[checked], Ownership::new(vec![(policy(), grants())]), Family::ALL.to_vec())
}

fn rehearsed(port: &dyn Port) -> Expected {
    let rehearsed = rehearse(port, desired(&contribution()), Learn::Encodings(None)).unwrap();
    assert_eq!((rehearsed.impossible, rehearsed.no_forms), (None, None));
    assert_eq!(rehearsed.expected.basis, Basis::Rehearsed);
    rehearsed.expected
}

fn a_stamp_tells_tables_apart(port: &dyn Port) {
    let (family, table) = (Family::Ipv4, Table::Filter);
    let stamps = || (port.stamp(family, table), port.raw(family, table, Wanted::Which(&|_| true)).unwrap().stamp);
    let mut seen = vec![stamps()];
    for line in
        [":a - [0:0]", "-A a -s 192.0.2.1/32 -j DROP", "-A a -s 192.0.2.2/32 -j DROP", "-D a 1", "-A INPUT -j a"]
    {
        port.restore(family, &format!("*filter\n{line}\nCOMMIT\n")).unwrap();
        assert_eq!(stamps(), stamps(), "after {line}");
        seen.push(stamps());
    }
    for (at, (asked, read)) in seen.iter().enumerate() {
        assert_eq!(asked, read, "asked for, and of a reading");
        assert_eq!(asked.is_some(), port.backend() == Backend::Legacy);
        assert!(asked.is_none() || !seen[..at].contains(&(*asked, *read)), "{at}: {seen:?}");
    }
}

/// By text and the tools.
fn bring_about(port: &dyn Port, expected: &Expected) {
    let todo = plan(expected, &observe(port, expected).unwrap());
    commit(port, &todo).unwrap();
    let left = plan(expected, &observe(port, expected).unwrap());
    assert!(left.is_empty(), "{left:?}");
}

/// By form, in one transaction where there is such a thing. Both ways of looking must agree about the end.
fn bring_about_at_once(port: &dyn Port, expected: &Expected) {
    let forms = expected.forms.as_ref().unwrap();
    let observed = read_forms(port, expected, &Scope::All).observed;
    let todo = plan(expected, &observed);
    match port.backend() {
        Backend::Nft => commit_at_once(port, &todo, &observed, forms).unwrap(),
        Backend::Legacy => commit(port, &plan(expected, &observe(port, expected).unwrap())).unwrap(),
    };
    let left = plan(expected, &read_forms(port, expected, &Scope::All).observed);
    assert!(left.is_empty(), "{left:?}");
    let left = plan(expected, &observe(port, expected).unwrap());
    assert!(left.is_empty(), "{left:?}");
}

type Bring = fn(&dyn Port, &Expected);

fn rules(port: &dyn Port, table: Table) -> Vec<String> {
    let text = port.save(Family::Ipv4, table).unwrap();
    text.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned).collect()
}

fn what_is_restored_is_saved(port: &dyn Port) {
    let script = "*filter\n:theirs - [0:0]\n-A theirs -s 192.0.2.0/24 -j ACCEPT\n-A INPUT -j theirs\nCOMMIT\n";
    port.restore(Family::Ipv4, script).unwrap();
    assert_eq!(rules(port, Table::Filter), ["-A INPUT -j theirs", "-A theirs -s 192.0.2.0/24 -j ACCEPT"]);
}

fn a_refused_script_changes_nothing(port: &dyn Port) {
    port.restore(Family::Ipv4, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n").unwrap();
    let before = port.save(Family::Ipv4, Table::Filter).unwrap();
    let bad = "*filter\n-A INPUT -j DROP\n-A nowhere -j ACCEPT\nCOMMIT\n";
    let error = port.restore(Family::Ipv4, bad).unwrap_err();
    assert!(matches!(error, RestoreError::Refused { .. }), "{error}");
    let strip = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert_eq!(strip(&port.save(Family::Ipv4, Table::Filter).unwrap()), strip(&before));
}

fn what_is_rehearsed_is_not_live(port: &dyn Port) {
    let generation = port.generation();
    rehearsed(port);
    assert!(rules(port, Table::Filter).is_empty());
    assert_eq!(port.generation(), generation);
}

fn a_commit_gives_what_was_rehearsed(port: &dyn Port) {
    let expected = rehearsed(port);
    bring_about(port, &expected);
    let rules = rules(port, Table::Filter);
    assert_eq!(rules.len(), 5, "{rules:?}");
    assert!(rules[0].starts_with("-A INPUT -m comment --comment ") && rules[0].ends_with("-j web-in"), "{rules:?}");
}

fn every_drift_is_undone_around_strangers(port: &dyn Port) {
    undo_every_drift(port, bring_about);
}

fn every_drift_is_undone_at_once(port: &dyn Port) {
    undo_every_drift(port, bring_about_at_once);
}

fn a_part_is_read_by_form(port: &dyn Port) {
    let expected = rehearsed(port);
    bring_about_at_once(port, &expected);
    let coverage = expected.forms.as_ref().unwrap().coverage();
    assert_eq!((coverage.unproven, coverage.rules), (0, 5), "{coverage:?}");
    let part = [((Family::Ipv4, Table::Filter), Some([Box::from("web-in"), Box::from("INPUT")].into()))];
    let reading = read_forms(port, &expected, &Scope::Part { tables: part.into(), sets: false });
    assert!(plan(&expected, &reading.observed).is_empty());
    assert_eq!(reading.strange, []);
    port.restore(Family::Ipv4, "*filter\n-I web-in 2 -s 192.0.2.1/32 -j DROP\nCOMMIT\n").unwrap();
    let part = [((Family::Ipv4, Table::Filter), Some([Box::from("web-in")].into()))];
    let reading = read_forms(port, &expected, &Scope::Part { tables: part.into(), sets: false });
    assert_eq!(reading.strange.iter().map(|strange| strange.at).collect::<Vec<_>>(), [1]);
    let todo = plan(&expected, &reading.observed);
    assert_eq!(todo.tables.iter().map(|table| table.chains.len()).collect::<Vec<_>>(), [1], "{todo:?}");
}

/// A kernel that shows one kind of rule otherwise when it is replayed: the proof finds it, nothing of it is ever replayed,
/// and the tools bring it back.
fn poisoned() {
    let port = Fake::new(Backend::Nft);
    port.distort(|rule| rule.replace("192.0.2.0/24", "192.0.2.0/25"));
    let expected = rehearsed(&port);
    let forms = expected.forms.as_ref().unwrap();
    let coverage = forms.coverage();
    assert_eq!((coverage.rules, coverage.unproven), (5, 1), "{coverage:?}");
    assert!(coverage.reason.as_ref().unwrap().contains("192.0.2.0/25"), "{coverage:?}");
    let observed = read_forms(&port, &expected, &Scope::All).observed;
    let todo = plan(&expected, &observed);
    let error = commit_at_once(&port, &todo, &observed, forms).unwrap_err();
    assert!(matches!(&error, CommitError::NotAtOnce(why) if why.contains("192.0.2.0/24")), "{error}");
    assert!(rules(&port, Table::Filter).is_empty() && port.transactions() == 0);
    bring_about(&port, &expected);
    assert_eq!(rules(&port, Table::Filter).len(), 5);
    // All others are replayed all the same.
    let jump = rules(&port, Table::Filter).into_iter().find(|rule| rule.ends_with("-j web-in")).unwrap();
    port.restore(Family::Ipv4, &format!("*filter\n-D {}\nCOMMIT\n", &jump[3..])).unwrap();
    let before = port.restores();
    bring_about_at_once(&port, &expected);
    assert_eq!((port.restores(), port.transactions()), (before, 1));
}

fn a_stale_transaction_is_not_carried_out(port: &dyn Port) {
    let expected = rehearsed(port);
    let observed = read_forms(port, &expected, &Scope::All).observed;
    let todo = plan(&expected, &observed);
    port.restore(Family::Ipv4, "*nat\n:theirs - [0:0]\nCOMMIT\n").unwrap();
    let error = commit_at_once(port, &todo, &observed, expected.forms.as_ref().unwrap()).unwrap_err();
    match port.backend() {
        Backend::Nft => assert!(matches!(error, CommitError::Stale), "{error}"),
        Backend::Legacy => assert!(matches!(error, CommitError::NotAtOnce(_)), "{error}"),
    }
    assert!(rules(port, Table::Filter).is_empty());
}

fn undo_every_drift(port: &dyn Port, bring_about: Bring) {
    let expected = rehearsed(port);
    port.restore(Family::Ipv4, "*filter\n:theirs - [0:0]\n-A theirs -s 192.0.2.9/32 -j DROP\n-A INPUT -s 203.0.113.1/32 -j theirs\n-A INPUT -s 203.0.113.2/32 -j ACCEPT\nCOMMIT\n").unwrap();
    bring_about(port, &expected);
    let right = rules(port, Table::Filter);
    let jump = right.iter().find(|rule| rule.ends_with("-j web-in")).unwrap()["-A INPUT ".len()..].to_owned();
    for tamper in [
        format!("-D INPUT {jump}"),
        format!("-A INPUT {jump}"),
        format!("-D INPUT {jump}\n-I INPUT 3 {jump}"),
        format!("-D INPUT {jump}\n-I INPUT 1 -j web-in"),
        "-I INPUT 1 -s 203.0.113.1/32 -j theirs\n-D INPUT 3".to_owned(),
        "-F web-in".to_owned(),
        "-D web-in 2".to_owned(),
        "-I web-in 1 -j ACCEPT".to_owned(),
        "-D web-in 1\n-A web-in -s 192.0.2.77/32 -j DROP".to_owned(),
        format!("-D INPUT {jump}\n-F web-in\n-X web-in"),
        ":web-more - [0:0]\n-A web-more -j DROP".to_owned(),
    ] {
        port.restore(Family::Ipv4, &format!("*filter\n{tamper}\nCOMMIT\n")).unwrap_or_else(|e| panic!("{tamper}: {e}"));
        bring_about(port, &expected);
        assert_eq!(rules(port, Table::Filter), right, "after {tamper}");
    }
    let digest = || port.sets_digest(&|name| name.starts_with("web-").then_some(Depth::Members)).unwrap();
    for tamper in ["add web-allow 172.16.0.0/12", "del web-allow 10.0.0.0/8"] {
        let before = digest();
        assert_eq!(digest(), before);
        if port.restore_sets(&format!("{tamper}\n")).is_ok() {
            assert!(!plan(&expected, &observe(port, &expected).unwrap()).is_empty(), "{tamper} is not seen");
            assert_ne!(digest(), before, "{tamper} leaves the digest");
            bring_about(port, &expected);
        }
    }
    assert_eq!(rules(port, Table::Filter), right);
}

fn nothing_wanted_removes_exactly_ours(port: &dyn Port) {
    port.restore(Family::Ipv4, "*filter\n:theirs - [0:0]\n-A INPUT -s 203.0.113.2/32 -j theirs\nCOMMIT\n").unwrap();
    let before = rules(port, Table::Filter);
    let expected = rehearsed(port);
    bring_about(port, &expected);
    let nothing = Expected::nothing(Ownership::new(vec![(policy(), grants())]), Family::ALL.to_vec(), BTreeSet::new());
    bring_about(port, &nothing);
    assert_eq!(rules(port, Table::Filter), before);
    assert!(!port.save(Family::Ipv4, Table::Filter).unwrap().contains("web-"));
    assert!(!list_sets(port, &|_| true).unwrap().contains_key("web-allow"));
}

fn a_stale_plan_is_not_carried_out(port: &dyn Port) {
    let expected = rehearsed(port);
    let todo = plan(&expected, &observe(port, &expected).unwrap());
    port.restore(Family::Ipv4, "*nat\n:theirs - [0:0]\nCOMMIT\n").unwrap();
    match (port.backend(), commit(port, &todo)) {
        (Backend::Nft, Err(CommitError::Stale)) => assert!(rules(port, Table::Filter).is_empty()),
        (Backend::Legacy, Ok(_)) => {} // nobody can write between the two: the xtables lock is held
        (backend, other) => panic!("{backend}: {other:?}"),
    }
}

fn refused_by_name(backend: Backend) -> Result<(), libtest_mimic::Failed> {
    let scratch = Scratch::create().map_err(|error| error.to_string())?;
    let tools = scratch.tools(&Tools::new(backend));
    let run = || {
        let port = Live::new(tools, Duration::from_secs(10), Arc::new(|_| ControlFlow::Continue(())));
        let mut contribution = contribution();
        let masquerade = Target::Masquerade { ports: None, random: false, random_fully: false };
        contribution.chains[0].rules.insert(1, rule(Vec::new(), masquerade));
        let error = rehearse(&port, desired(&contribution), Learn::Nothing).unwrap_err();
        let RehearseError::Refused(refused) = &error else { panic!("{error}") };
        let origin = refused[0].origin.as_ref().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(origin.policy, policy());
        assert_eq!(origin.place, "chain web-in in filter (IPv4), rule 2", "{error}");
        assert_eq!(&*origin.text, "-j MASQUERADE");
    };
    scratch.run(run).map_err(|error| error.to_string().into())
}
