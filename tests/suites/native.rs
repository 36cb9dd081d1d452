//! Other programs (Tailscale, Kilo, kube-router) put rules of nf_tables' own into the tables of iptables. iptables-save
//! then leaves the table out, or shows such a rule without a part of it. What text can't show is read, compared, written
//! and deleted by bytes: our rules are kept as ever, and the native ones are left alone.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement, poll};
use serde_json::{Value, json};

trial!(
    for family in Family::ALL,
    "native::nft::{family}::a_stub_with_a_granted_name_spoils_no_proof",
    a_stub_with_a_granted_name_spoils_no_proof(family)
);
/// A rule awaits a foreign chain whose name another policy was granted: the proof's stand-in for that chain is nobody's,
/// and every rule is replayed.
fn a_stub_with_a_granted_name_spoils_no_proof(family: Family) {
    let node = Node::new(Backend::Nft);
    let mut owner = static_rules(&[chain(family, "filter", "zz-own", &["-j RETURN"])], &[], &[]);
    owner["grants"]["chains"] = json!(["zz-*"]);
    owner["grants"]["sets"] = json!([]);
    let mut awaiting = static_rules(
        &[chain(family, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"])],
        &[attachment(family, "filter", "INPUT", Placement::First, "-j zz-foreign")],
        &[],
    );
    awaiting["grants"]["uses"] = json!({ "chains": ["zz-*"] });
    node.configure(json!({
        "families": [family.to_string()], "watch": "auto", "policies": { "web": awaiting, "zz": owner },
    }));
    let daemon = node.daemon();
    let status = daemon.wait_until("in sync", |status| status.report.in_sync);
    let watch = status.watch.expect("it watches");
    assert!(watch.repair.starts_with("netlink replay, all"), "{watch:#?}\n{}", daemon.log());
}

const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

fn hook(table: &str) -> &'static str {
    if matches!(table, "filter" | "security") { "INPUT" } else { "OUTPUT" }
}

/// A chain, a set and a jump in each table, and a rule of ours in a built-in chain.
fn policy(family: Family, port: u16) -> Value {
    let rules = [
        format!("-p tcp --dport {port} -m comment --comment web -j RETURN"),
        "-m set --match-set op-some src -m mark --mark 0x1 -j RETURN".to_owned(),
        "-m hashlimit --hashlimit-upto 5/sec --hashlimit-name op -j RETURN".to_owned(),
    ];
    let chains = TABLES.map(|table| chain(family, table, "op-in", &rules));
    let mut attachments =
        TABLES.map(|table| attachment(family, table, hook(table), Placement::First, "-j op-in")).to_vec();
    attachments.push(attachment(
        family,
        "filter",
        "FORWARD",
        Placement::Last,
        &format!("-p tcp --dport {port} -j DROP"),
    ));
    let some = set(family, "op-some", "hash:ip", &[&family.address(1)]);
    json!({ "web": static_rules(&chains, &attachments, &[some]) })
}

/// Everything that nft can put into a table of iptables, in each table.
fn natives(node: &Node, family: Family) {
    let of = family.ip();
    let set_type = if family == Family::Ipv4 { "ipv4_addr" } else { "ipv6_addr" };
    let mut script = String::new();
    for table in TABLES {
        // The table and its built-in chain, as iptables makes them.
        node.stranger(family).append(table, hook(table), "-m mark --mark 0x77 -j RETURN");
        let (place, hook) = (format!("{of} {table}"), hook(table));
        let long = "a-native-chain-whose-name-is-longer-than-iptables-permits";
        script += &format!(
            "add set {place} theirs {{ type {set_type}; }}\n\
             add map {place} ports {{ type inet_service : verdict; }}\n\
             add counter {place} counted\n\
             add chain {place} native\n\
             add chain {place} {long}\n\
             add chain {place} based {{ type filter hook input priority 77; }}\n\
             add rule {place} {hook} ct state established accept\n\
             add rule {place} {hook} {of} saddr @theirs counter accept comment \"theirs\"\n\
             add rule {place} {hook} tcp dport vmap {{ 22 : accept, 23 : jump native }}\n\
             add rule {place} {hook} tcp dport vmap @ports\n\
             add rule {place} native counter name counted\n\
             add rule {place} native ct state new limit rate over 5/second drop\n\
             add rule {place} {long} meta l4proto {{ tcp, udp }} return\n\
             add rule {place} based ct state invalid drop\n"
        );
    }
    node.command("nft").args(&["-f", "-"]).input(&script).must();
}

fn configured(family: Family, replay: &str) -> Arc<Node> {
    let node = Node::new(Backend::Nft);
    node.configure(json!({
        "families": [family.to_string()], "watch": "auto", "replay": replay, "policies": policy(family, 80),
    }));
    node
}

/// All tables as nft shows them, without counters.
fn listed(node: &Node, family: Family) -> String {
    // The tools write a comment as an extension, a replay as user data: nft shows only the second.
    let of_table = |table| {
        let text = node.command("nft").args(&["-s", "list", "table", family.ip(), table]).must();
        text.replace(" comment \"web\"", "").replace("80  counter", "80 counter").replace("81  counter", "81 counter")
    };
    TABLES.map(of_table).concat()
}

/// The lines that are not ours.
fn foreign(node: &Node, family: Family) -> Vec<String> {
    let listed = listed(node, family);
    let ours = |line: &&str| line.contains("dport 80") || line.contains("dport 81") || line.contains("op-");
    listed.lines().filter(|line| !ours(line)).map(str::to_owned).collect()
}

fn port_is(node: &Node, family: Family, port: u16) -> bool {
    let listed = listed(node, family);
    let (port, other) = (format!("dport {port}"), if port == 80 { "dport 81" } else { "dport 80" });
    listed.matches(&port).count() == TABLES.len() + 1 && !listed.contains(other)
}

trial!(
    for family in Family::ALL,
    for replay in ["auto", "off"],
    "native::nft::{family}::replay_{replay}::a_first_apply_beside_them",
    a_first_apply_beside_them(family, replay)
);
fn a_first_apply_beside_them(family: Family, replay: &str) {
    let node = configured(family, replay);
    natives(&node, family);
    let before = listed(&node, family);
    assert!(node.apply().in_sync);
    assert!(port_is(&node, family, 80), "{}", listed(&node, family));
    for line in before.lines() {
        assert!(listed(&node, family).contains(line), "{line} is gone:\n{}", listed(&node, family));
    }
    node.apply().assert_unchanged();
    node.plan(0);
}

trial!(
    for family in Family::ALL,
    for replay in ["auto", "off"],
    "native::nft::{family}::replay_{replay}::rules_of_ours_change_beside_them",
    rules_of_ours_change_beside_them(family, replay)
);
fn rules_of_ours_change_beside_them(family: Family, replay: &str) {
    let node = configured(family, replay);
    node.apply();
    let daemon = node.daemon();
    natives(&node, family);
    let theirs = foreign(&node, family);
    for port in [81, 80] {
        node.set("policies", policy(family, port));
        poll("the changed rules are in force", || port_is(&node, family, port).then_some(()));
        daemon.wait_until_in_sync();
    }
    assert_eq!(theirs, foreign(&node, family));
    daemon.refresh().assert_unchanged();
}

trial!(
    for family in Family::ALL,
    for replay in ["auto", "off"],
    "native::nft::{family}::replay_{replay}::drift_is_undone_after_a_restart",
    drift_is_undone_after_a_restart(family, replay)
);
fn drift_is_undone_after_a_restart(family: Family, replay: &str) {
    let node = configured(family, replay);
    node.apply();
    natives(&node, family);
    let before = listed(&node, family);
    node.daemon().stop();
    let daemon = node.daemon();
    for table in TABLES {
        for damage in ["flush chain", "add rule"] {
            let mut words: Vec<&str> = damage.split(' ').collect();
            words.extend([family.ip(), table, "op-in"]);
            if damage == "add rule" {
                words.extend(["ct", "state", "new", "accept"]);
            }
            node.command("nft").args(&words).must();
            let mut last = String::new();
            let back = ruleward_tests::try_poll(|| {
                last = listed(&node, family);
                (last == before).then_some(())
            });
            if back.is_none() {
                assert_same(&format!("{table} after {damage}"), &before, &last);
            }
        }
    }
    daemon.wait_until_in_sync();
    // While no daemon runs, and found by reading everything.
    daemon.stop();
    node.command("nft").args(&["flush", "chain", family.ip(), "filter", "op-in"]).must();
    node.command("nft").args(&["insert", "rule", family.ip(), "nat", "op-in", "ct", "state", "new", "drop"]).must();
    let daemon = node.daemon();
    assert_same("everything", &before, &listed(&node, family));
    daemon.refresh().assert_unchanged();
}

trial!(
    for family in Family::ALL,
    for replay in ["auto", "off"],
    "native::nft::{family}::replay_{replay}::a_rule_of_ours_made_native_is_put_back",
    a_rule_of_ours_made_native_is_put_back(family, replay)
);
/// One that iptables-save shows exactly as ours: it has no words for what was put in.
fn a_rule_of_ours_made_native_is_put_back(family: Family, replay: &str) {
    let node = configured(family, replay);
    node.apply();
    let before = listed(&node, family);
    let daemon = node.daemon();
    let of = family.ip();
    node.command("nft").args(&["add", "set", of, "filter", "theirs", "{ type mark; }"]).must();
    let list = node.command("nft").args(&["-a", "list", "chain", of, "filter", "op-in"]).must();
    let handle = list.lines().find(|line| line.contains("dport 80")).and_then(|line| line.rsplit(' ').next());
    let handle = handle.expect("our rule has a handle");
    let rule = "meta mark @theirs tcp dport 80 counter return comment \"web\"";
    node.command("nft").args(&["replace", "rule", of, "filter", "op-in", "handle", handle, rule]).must();
    let ours = || !listed(&node, family).contains("meta mark @theirs");
    if replay == "off" {
        node.ruleward(&["refresh"]).output();
    }
    poll("the edited rule is gone", || ours().then_some(()));
    daemon.wait_until_in_sync();
    node.command("nft").args(&["delete", "set", of, "filter", "theirs"]).must();
    assert_same("everything", &before, &listed(&node, family));
}

trial!(
    for family in Family::ALL,
    for replay in ["auto", "off"],
    "native::nft::{family}::replay_{replay}::a_cleanup_leaves_them_alone",
    a_cleanup_leaves_them_alone(family, replay)
);
fn a_cleanup_leaves_them_alone(family: Family, replay: &str) {
    let node = configured(family, replay);
    natives(&node, family);
    let before = foreign(&node, family);
    node.apply();
    node.cleanup();
    assert!(!listed(&node, family).contains("dport 80"), "{}", listed(&node, family));
    assert!(!listed(&node, family).contains("op-in"), "{}", listed(&node, family));
    // Built-in chains that iptables makes with its first rule stay.
    let after = foreign(&node, family);
    for line in before {
        assert!(after.contains(&line), "{line} is gone:\n{}", listed(&node, family));
    }
}
