//! Grants hold everywhere: what is foreign stays, a name of another policy is refused wherever it hides, and no word of a
//! policy reaches a name service or another program.

use std::path::PathBuf;
use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::{Value, json};

fn policy(rules: &[&str]) -> Value {
    static_rules(
        &[chain(None, "filter", "op-in", rules)],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    )
}

fn node_with(backend: Backend, policy: Value) -> Arc<Node> {
    let node = Node::new(backend);
    node.configure(json!({ "policies": { "web": policy } }));
    node
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::only_the_exact_comment_of_the_host_is_ours",
    only_the_exact_comment_of_the_host_is_ours(backend)
);
fn only_the_exact_comment_of_the_host_is_ours(backend: Backend) {
    let node = node_with(backend, policy(&["-j RETURN"]));
    for family in Family::ALL {
        let foreign = node.stranger(family);
        for comment in ["rw: nfs clients", "rw:foo", "rw:web:12", "rw:web:0123456789ab x"] {
            foreign.append("filter", "INPUT", &format!("-m comment --comment \"{comment}\" -j ACCEPT"));
        }
        foreign.append("filter", "INPUT", "-m comment --comment rw:web:0123456789ab -j ACCEPT");
    }
    node.apply();
    for family in Family::ALL {
        let save = node.save(family, "filter");
        for comment in ["rw: nfs clients", "rw:foo", "rw:web:12", "rw:web:0123456789ab x"] {
            assert!(save.contains(comment), "{comment} is gone:\n{save}");
        }
        assert!(!save.contains("--comment rw:web:0123456789ab -j"), "{save}");
    }
    node.apply().assert_unchanged();
}

const FOREIGN_JUMP: &str = "-s 10.0.0.0/8 -p tcp -m tcp --dport 99 -j op-in";

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_foreign_jump_to_a_granted_chain_stays_and_is_named",
    a_foreign_jump_stays_and_is_named(backend)
);
fn a_foreign_jump_stays_and_is_named(backend: Backend) {
    let node = node_with(backend, policy(&["-j RETURN"]));
    node.apply();
    node.stranger(Family::Ipv4).append("filter", "INPUT", FOREIGN_JUMP);
    let daemon = node.daemon();
    let report = daemon.refresh();
    assert!(node.save(Family::Ipv4, "filter").contains(FOREIGN_JUMP));
    assert!(report.notes.iter().any(|note| note.contains("--dport 99") || note.contains("-j op-in")), "{report:#?}");
    daemon.stop();
    let plan = node.plan(0);
    assert!(plan.notes.iter().any(|note| note.contains("exclusive")), "{plan:#?}");
    assert!(node.save(Family::Ipv4, "filter").contains(FOREIGN_JUMP));
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_planted_chain_that_a_foreign_rule_jumps_to_is_emptied",
    a_planted_chain_is_emptied(backend)
);
/// The chain has a name of ours, the jump is another program's: the chain can't go before it.
fn a_planted_chain_is_emptied(backend: Backend) {
    let node = node_with(backend, policy(&["-j RETURN"]));
    node.apply();
    let before = node.save_all();
    for family in Family::ALL {
        let foreign = node.stranger(family);
        foreign.new_chain("filter", "op-planted");
        foreign.append("filter", "op-planted", "-j ACCEPT");
        foreign.append("filter", "INPUT", "-j op-planted");
    }
    let report = node.apply();
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert!(save.contains("-A INPUT -j op-planted"), "a foreign jump is gone:\n{save}");
        assert!(!save.contains("-A op-planted"), "a chain of ours holds a foreign rule:\n{save}");
        let told = |note: &String| note.contains("op-planted") && note.to_lowercase().contains(&family.to_string());
        assert!(report.notes.iter().chain(&report.problems).any(told), "{report:#?}");
        node.stranger(family).delete("filter", "INPUT", "-j op-planted");
    }
    node.apply();
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::exclusive_jumps_are_all_the_policys",
    exclusive_jumps_are_all_the_policys(backend)
);
fn exclusive_jumps_are_all_the_policys(backend: Backend) {
    let mut exclusive = policy(&["-j RETURN"]);
    exclusive["grants"]["jumps"] = json!("exclusive");
    let node = node_with(backend, exclusive);
    node.apply();
    node.stranger(Family::Ipv4).append("filter", "INPUT", FOREIGN_JUMP);
    assert_eq!(node.apply().outcome, "changed");
    assert!(!node.save(Family::Ipv4, "filter").contains(FOREIGN_JUMP));
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::our_jump_with_another_comment_is_ours",
    our_jump_with_another_comment_is_ours(backend)
);
fn our_jump_with_another_comment_is_ours(backend: Backend) {
    let node = node_with(backend, policy(&["-j RETURN"]));
    node.apply();
    let before = node.save_all();
    node.stranger(Family::Ipv4).replace("filter", "INPUT", 1, "-m comment --comment mine -j op-in");
    node.stranger(Family::Ipv6).append("filter", "INPUT", "-j op-in");
    assert_eq!(node.apply().outcome, "changed");
    assert_eq!(node.save_all(), before);
}

/// A policy beside the one that owns the set `op-victim`.
fn thief(rule: &str) -> Value {
    let mut thief = static_rules(&[chain(Family::Ipv4, "filter", "ox-in", &[rule])], &[], &[]);
    thief["grants"] = json!({ "tables": ["filter"], "chains": ["ox-*"] });
    thief
}

fn owner() -> Value {
    let victim = set(Family::Ipv4, "op-victim", "hash:ip", &["192.0.2.1"]);
    let rule = "-m set --match-set op-victim src -m recent --set --name op-list --rsource -j RETURN";
    static_rules(&[chain(Family::Ipv4, "filter", "op-in", &[rule])], &[], &[victim])
}

fn refused_beside_the_owner(backend: Backend, rule: &str, says: &[&str]) {
    let node = Node::new(backend);
    node.configure(json!({ "policies": { "owner": owner(), "thief": thief(rule) } }));
    let output = node.ruleward(&["apply"]).output();
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(says.iter().all(|word| text.contains(word)), "{rule}: {text}");
    assert!(!node.save(Family::Ipv4, "filter").contains("ox-in"), "{rule}");
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_set_of_another_policy_is_refused_in_every_extension",
    a_set_of_another_policy_is_refused(backend)
);
fn a_set_of_another_policy_is_refused(backend: Backend) {
    for rule in ["-j SET --add-set op-victim src", "-j SET --del-set op-victim src"] {
        refused_beside_the_owner(backend, rule, &["ox-in", "op-victim", "grants"]);
    }
    refused_beside_the_owner(backend, "-m set --match-set op-victim src -j DROP", &["ox-in", "op-victim"]);
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_list_of_recent_has_one_policy",
    a_list_of_recent_has_one_policy(backend)
);
fn a_list_of_recent_has_one_policy(backend: Backend) {
    refused_beside_the_owner(backend, "-m recent --update --name op-list -j DROP", &["ox-in", "op-list", "owner"]);
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_chain_named_like_a_target_is_refused",
    a_chain_named_like_a_target_is_refused(backend)
);
fn a_chain_named_like_a_target_is_refused(backend: Backend) {
    for name in ["REJECT", "LOG", "TCPOPTSTRIP"] {
        let mut policy = static_rules(&[chain(None, "filter", name, &["-j RETURN"])], &[], &[]);
        policy["grants"]["chains"] = json!(["RE*", "LO*", "TC*"]);
        let node = node_with(backend, policy);
        let output = node.ruleward(&["apply"]).output();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(output.code != Some(0) && text.contains(name), "{text}");
        assert!(!node.save(Family::Ipv4, "filter").contains(&format!(":{name} ")));
    }
}

/// Where this machine's iptables has its extensions.
fn library_folder() -> PathBuf {
    let below = |folder: &str| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let libraries = below("/usr/lib").chain(["/usr/lib", "/usr/lib64", "/lib", "/lib64"].map(PathBuf::from));
    let mut folders = libraries.map(|library| library.join("xtables"));
    folders.find(|folder| folder.join("libxt_TEE.so").exists()).expect("iptables is installed with its extensions")
}

/// A folder with all extensions of this machine and one more, which is TEE by another name.
fn with_one_more(node: &Node) -> PathBuf {
    let (folder, from) = (node.path("xtables"), library_folder());
    std::fs::create_dir(&folder).expect("a free name");
    for entry in std::fs::read_dir(&from).expect("just found").flatten() {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("room");
    }
    std::fs::copy(from.join("libxt_TEE.so"), folder.join("libxt_ZAP.so")).expect("room");
    folder
}

fn zap(name: &str) -> Value {
    let jump = format!("-j {name}");
    let mut policy = static_rules(
        &[chain(None, "filter", name, &["-j RETURN"])],
        &[attachment(None, "filter", "INPUT", Placement::First, &jump)],
        &[],
    );
    policy["grants"] = json!({ "tables": ["filter"], "chains": ["ZAP*"] });
    policy
}

#[track_caller]
fn zap_is_refused(node: &Node, file: &std::path::Path) {
    node.configure(json!({ "policies": { "web": zap("ZAP") } }));
    for command in ["check", "plan", "apply"] {
        let output = node.ruleward(&[command]).output();
        let said = format!("{}{}", output.stdout, output.stderr);
        let file = file.join("libxt_ZAP.so").display().to_string();
        for word in ["chain ZAP in filter", "is a target of the installed iptables", &file] {
            assert!(said.contains(word), "{command} does not say {word:?}: {said}");
        }
        assert_eq!(output.code, Some(78), "{command}: {said}");
    }
    assert!(!node.save(Family::Ipv4, "filter").contains("ZAP"));
    node.configure(json!({ "policies": { "web": zap("ZAPPER") } }));
    assert!(node.apply().in_sync, "only the very name is a target");
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_chain_named_like_an_installed_target_is_refused",
    a_chain_named_like_an_installed_target_is_refused(backend)
);
fn a_chain_named_like_an_installed_target_is_refused(backend: Backend) {
    let node = Node::new(backend);
    let folder = with_one_more(&node);
    node.set_environment("XTABLES_LIBDIR", &folder);
    zap_is_refused(&node, &folder);
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::an_extension_that_is_installed_later_concerns_its_policy_alone",
    an_extension_that_is_installed_later_concerns_its_policy_alone(backend)
);
/// The chain was in force before the extension was installed. What other policies ask for is put in force all the same.
fn an_extension_that_is_installed_later_concerns_its_policy_alone(backend: Backend) {
    let node = Node::new(backend);
    let policies =
        |port: &str| json!({ "web": policy(&[&format!("-p tcp --dport {port} -j RETURN")]), "zap": zap("ZAP") });
    node.configure(json!({ "policies": policies("80") }));
    assert!(node.apply().in_sync, "without the extension it is a name like any other");
    node.set_environment("XTABLES_LIBDIR", with_one_more(&node));
    node.configure(json!({ "policies": policies("81") }));
    let output = node.ruleward(&["apply"]).output();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("policy zap") && said.contains("libxt_ZAP.so"), "{said}");
    let save = node.save(Family::Ipv4, "filter");
    assert!(save.contains("--dport 81"), "{save}\n{said}");
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::targets_are_found_where_the_tools_find_them",
    targets_are_found_where_the_tools_find_them(backend)
);
/// No variable names the folder that iptables was built with.
fn targets_are_found_where_the_tools_find_them(backend: Backend) {
    let node = node_with(backend, zap("ZAP"));
    let (folder, own) = (library_folder(), with_one_more(&node));
    node.command("mount").args(&["--bind"]).args(&[&own, &folder]).must();
    let found = node.net.run(|| folder.canonicalize()).expect("it is there");
    zap_is_refused(&node, &found);
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_name_of_a_host_or_user_is_refused",
    a_name_of_a_host_or_user_is_refused(backend)
);
fn a_name_of_a_host_or_user_is_refused(backend: Backend) {
    for rule in [
        "-m conntrack --ctorigsrc localhost -j DROP",
        "-m conntrack --ctorigsrc a.example -j DROP",
        "-m policy --dir in --pol ipsec --tunnel-src localhost --mode tunnel -j DROP",
    ] {
        let node = node_with(backend, policy(&[rule]));
        let output = node.ruleward(&["apply"]).output();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(output.code != Some(0), "{rule} was taken: {text}");
        assert!(!node.save(Family::Ipv4, "filter").contains("op-in"), "{rule}");
    }
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_dynamic_set_keeps_its_members_with_another_timeout",
    a_dynamic_set_keeps_its_members(backend)
);
fn a_dynamic_set_keeps_its_members(backend: Backend) {
    let with = |timeout: u32| {
        let mut filled = set(Family::Ipv4, "op-seen", "hash:ip", &[]);
        filled["dynamic"] = json!(true);
        filled["timeout"] = json!(timeout);
        static_rules(&[], &[], &[filled])
    };
    let node = node_with(backend, with(3000));
    node.apply();
    node.load_sets("add op-seen 192.0.2.7 timeout 2000\nadd op-seen 192.0.2.8\n");
    node.set("policies", json!({ "web": with(6000) }));
    assert_eq!(node.apply().outcome, "changed");
    let sets = node.sets();
    assert!(sets.contains("timeout 6000"), "{sets}");
    assert!(sets.contains("192.0.2.7") && sets.contains("192.0.2.8"), "{sets}");
}

trial!(
    for backend in Backend::ALL,
    "grants::{backend}::a_member_that_is_listed_twice_is_one",
    a_member_that_is_listed_twice_is_one(backend)
);
fn a_member_that_is_listed_twice_is_one(backend: Backend) {
    let members = ["10.0.0.0/8", "10.0.0.0/8", "10.1.2.3/8"];
    let node = node_with(backend, static_rules(&[], &[], &[set(Family::Ipv4, "op-nets", "hash:net", &members)]));
    assert_eq!(node.apply().outcome, "changed");
    let sets = node.sets();
    assert_eq!(sets.matches("op-nets 10.0.0.0/8").count(), 1, "{sets}");
    node.apply().assert_unchanged();
}
