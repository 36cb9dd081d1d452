//! What is said of a rule: the user's own text, where it stands, the tool's reason for it and for no other; `check` says the
//! same as `apply`. And what is read of others' rules: every byte.

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::json;

fn configure(node: &Node, rules: &[&str]) {
    let chains = [chain(Family::Ipv4, "filter", "op-a", rules)];
    node.configure(json!({ "policies": { "own": static_rules(&chains, &[], &[]) } }));
}

fn said(node: &Node, command: &str, code: i32) -> String {
    let output = node.ruleward(&[command]).output();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(code), "{command}: {said}");
    said
}

fn delete_number(node: &Node, chain: &str, number: &str) {
    node.command(Family::Ipv4.tool(node.backend, "")).args(&["-D", chain, number]).must();
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::a_refusal_quotes_the_rule_with_file_and_line",
    quotes(backend)
);
fn quotes(backend: Backend) {
    let node = Node::new(backend);
    configure(&node, &["-j RETURN", "-p tcp --dport 70000 -j ACCEPT", "-p tcp --dprt 22", "-j DORP"]);
    let file = std::fs::read_to_string(node.path("ruleward.toml")).unwrap();
    for command in ["check", "apply"] {
        let said = said(&node, command, 78);
        for rule in ["-p tcp --dport 70000 -j ACCEPT", "-p tcp --dprt 22", "-j DORP"] {
            let line = 1 + file.lines().position(|line| line.contains(rule)).unwrap();
            assert!(said.contains(&format!("`{rule}`")), "{command} does not quote {rule}: {said}");
            assert!(said.contains(&format!("ruleward.toml, line {line}")), "{command} names no line {line}: {said}");
        }
        for reason in ["70000", "unknown option \"--dprt\"", "DORP"] {
            assert!(said.contains(reason), "{command}: {said}");
        }
    }
    configure(&node, &["-j RETURN", "-t nat -j RETURN"]);
    for command in ["check", "apply"] {
        let said = said(&node, command, 78);
        assert!(said.contains("ruleward.toml, line "), "{command}: {said}");
        assert!(!said.contains("missing: own"), "{command}: {said}");
    }
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::a_refusal_has_its_own_reason",
    own_reason(backend)
);
/// The tool warns of the first rule, and takes it.
fn own_reason(backend: Backend) {
    let node = Node::new(backend);
    configure(&node, &["-i a/b -j RETURN", "-j MASQUERADE"]);
    let said = said(&node, "apply", 78);
    assert!(said.contains("`-j MASQUERADE`"), "{said}");
    assert!(!said.contains("weird character") && !said.contains("a/b"), "{said}");
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::check_refuses_what_apply_refuses",
    check(backend)
);
fn check(backend: Backend) {
    let node = Node::new(backend);
    for rule in ["-p tcp --dport 70000", "-j DORP", "-p tcp --dprt 22", "-j MASQUERADE", "-m nosuch", "-6 --nosuch"] {
        configure(&node, &[rule]);
        let family = rule.starts_with("-6");
        let said = said(&node, "check", if family { 0 } else { 78 });
        assert!(family || said.contains(rule), "{said}");
    }
    configure(&node, &["-p tcp --dport 22 -j ACCEPT"]);
    said(&node, "check", 0);
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::a_rule_that_can_never_match_is_warned_of",
    never_matches(backend)
);
fn never_matches(backend: Backend) {
    let node = Node::new(backend);
    let chains = [
        chain(Family::Ipv6, "filter", "op-six", &["-p icmp -j ACCEPT", "-p icmpv6 -j ACCEPT"]),
        chain(Family::Ipv4, "filter", "op-four", &["-p icmpv6 -j DROP", "-p icmp -j ACCEPT"]),
    ];
    node.configure(json!({ "policies": { "own": static_rules(&chains, &[], &[]) } }));
    for command in ["check", "apply"] {
        let said = said(&node, command, 0);
        let notes: Vec<&str> = said.lines().filter(|line| line.starts_with("Note: policy own: a rule in")).collect();
        assert_eq!(notes.len(), 2, "{command}: {said}");
        for rule in ["can never match: `-p icmp -j ACCEPT`", "can never match: `-p ipv6-icmp -j DROP`"] {
            assert!(notes.iter().any(|note| note.contains(rule)), "{command}: {said}");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::a_list_of_addresses_is_several_rules",
    lists(backend)
);
fn lists(backend: Backend) {
    let node = Node::new(backend);
    let rule = "-s 192.0.2.1,192.0.2.2 -d 198.51.100.1,198.51.100.2 -j DROP";
    let chains = [chain(Family::Ipv4, "filter", "op-a", &["-j RETURN", rule, "-j ACCEPT"])];
    let attachments = [attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-s 192.0.2.1,192.0.2.2 -j op-a")];
    node.configure(json!({ "policies": { "own": static_rules(&chains, &attachments, &[]) } }));
    for _ in 0..2 {
        assert!(node.apply().in_sync);
        let save = node.save(Family::Ipv4, "filter");
        assert_eq!(rules_of(&save, "op-a").len(), 6, "{save}");
        assert_eq!(rules_of(&save, "INPUT").len(), 2, "{save}");
        delete_number(&node, "op-a", "3");
    }
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::rules_of_the_other_family_are_never_left_out_silently",
    other_family(backend)
);
fn other_family(backend: Backend) {
    let node = Node::new(backend);
    for rule in ["-p tcp --syn -6 -j ACCEPT", "-p tcp --syn -h", "-m socket -V"] {
        configure(&node, &["-j RETURN", rule, "-j ACCEPT"]);
        let said = said(&node, "apply", 78);
        assert!(said.contains(&format!("`{rule}`")), "{said}");
    }
}

trial!(
    for backend in Backend::ALL,
    for replay in ["auto", "off"],
    "differential::{backend}::comments_of_any_bytes_are_read_with_replay_{replay}",
    bytes(backend, replay)
);
fn bytes(backend: Backend, replay: &str) {
    let node = Node::new(backend);
    let tool = Family::Ipv4.tool(backend, "");
    for comment in ["a\\377b", "a\\nb", "a\\n-A INPUT -j DROP\\nCOMMIT\\nb", "a\\tb\\033"] {
        let line = format!("{tool} -A INPUT -m comment --comment \"$(printf '{comment}')\" -j RETURN");
        node.command("sh").args(&["-c", &line]).must();
    }
    let sets = "ipset create foreign hash:ip comment && ipset add foreign 192.0.2.1 comment \"$(printf 'x\\377y')\" \
                && ipset add foreign 192.0.2.2 comment \"$(printf 'x\\n\\ny')\"";
    node.command("sh").args(&["-c", sets]).must();
    let before = node.save(Family::Ipv4, "filter");
    let attachments = [attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-p tcp --dport 22 -j ACCEPT")];
    let own = static_rules(&[chain(None, "filter", "op-a", &["-j RETURN"])], &attachments, &[]);
    node.configure(json!({ "replay": replay, "policies": { "own": own } }));
    assert!(node.apply().in_sync);
    node.stranger(Family::Ipv4).flush_chain("filter", "op-a");
    delete_number(&node, "INPUT", "1");
    assert!(node.apply().in_sync);
    let save = node.save(Family::Ipv4, "filter");
    assert!(save.contains("-A op-a -j RETURN") && save.contains("--dport 22"), "{save}");
    node.cleanup();
    assert_eq!(node.save(Family::Ipv4, "filter"), before);
}
