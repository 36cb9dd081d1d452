//! What the documentation says to do can be done: every configuration in it is right, and the first five minutes go as told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, policy_file, poll};
use serde_json::Value;

/// Components that examples name and that do not ship, and what stands in for each.
const STAND_INS: [(&str, &str); 3] = [
    ("my-policy.wasm", "host-firewall-example.wasm"),
    ("web.wasm", "static-rules.wasm"),
    ("web-2.wasm", "static-rules.wasm"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README and all pages, without the decisions, which tell of their time.
fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/author"].map(|folder| fs::read_dir(repository().join(folder)).expect("it is there"));
    let all = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(repository().join("README.md"));
    pages.sort();
    pages
}

/// The fenced blocks of a page whose first word is this, with the number of their first line.
fn blocks(page: &str, kind: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut inside: Option<(bool, usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut inside, line.strip_prefix("```")) {
            (None, Some(info)) => {
                inside = Some((info.split([' ', ',']).next() == Some(kind), number + 2, String::new()))
            }
            (Some(_), Some(_)) => {
                if let Some((true, first, text)) = inside.take() {
                    blocks.push((first, text));
                }
                inside = None;
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(inside.is_none(), "a block has no end");
    blocks
}

/// A node whose policy directory has what ships, and the stand-ins.
fn node() -> Arc<Node> {
    let node = Node::new(Backend::Nft);
    let folder = node.path("policies");
    fs::create_dir(&folder).expect("a free name");
    for entry in fs::read_dir(policy_file("static-rules.wasm").parent().unwrap()).unwrap().map(Result::unwrap) {
        std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).expect("a free name");
    }
    for (name, shipped) in STAND_INS {
        std::os::unix::fs::symlink(policy_file(shipped), folder.join(name)).expect("a free name");
    }
    node
}

/// Puts a configuration of the documentation on the node, with the node's own folders where it names none.
fn configure(node: &Node, text: &str) {
    // `ruleward policy new` gives the example the author's name, this one has its own.
    let text = text.replace("/etc/ruleward/my-policy.wasm", "my-policy.wasm").replace("my-policy-*", "hfe-*");
    let mut own = String::new();
    for (key, folder) in [
        ("state-directory", "state"),
        ("runtime-directory", "run"),
        ("policy-directory", "policies"),
        ("resources", "resources"),
    ] {
        if !text.contains(key) {
            own += &format!("{key} = {:?}\n", node.path(folder));
        }
    }
    node.write("ruleward.toml", &(own + "backend = \"nft\"\n" + &text));
}

/// Facts for `ruleward policy run` are the other kind of TOML that pages have.
fn is_facts(text: &str) -> bool {
    text.contains("\nkernel = ")
}

trial!("shown::documented::every_configuration_is_right", every_configuration_is_right());
fn every_configuration_is_right() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for (line, block) in blocks(&text, "toml") {
            let place = format!("{}:{line}", page.file_name().unwrap().display());
            let node = node();
            let output = if is_facts(&block) {
                node.write("facts.toml", &block);
                node.write("settings.toml", "chains = []\n");
                let paths = ["policies/static-rules.wasm", "settings.toml", "facts.toml"].map(|name| node.path(name));
                let [policy, settings, facts] = paths.each_ref().map(|path| path.to_str().expect("a path of ours"));
                node.ruleward(&["policy", "run", policy, "--settings", settings, "--facts", facts]).output()
            } else {
                configure(&node, &block);
                node.ruleward(&["check"]).output()
            };
            assert_eq!(output.code, Some(0), "{place} is not right: {}{}\n{block}", output.stdout, output.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 6, "only {checked} configurations were found");
}

trial!("shown::documented::the_first_five_minutes_go_as_told", the_first_five_minutes_go_as_told());
fn the_first_five_minutes_go_as_told() {
    let text = fs::read_to_string(repository().join("docs/start.md")).expect("a page");
    let node = node();
    let [(_, configuration)] = &blocks(&text, "toml")[..] else { panic!("there is one configuration") };
    configure(&node, configuration);
    let before = node.save_all();
    let mut daemon = None;
    let mut done = Vec::new();
    for line in blocks(&text, "sh").iter().flat_map(|(_, block)| block.lines()) {
        let command = line.split(" #").next().unwrap().trim();
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["ruleward", "run"] => daemon = Some(node.daemon()),
            ["ruleward", "plan"] => {
                let output = node.ruleward(&["plan"]).output();
                assert_eq!(output.code, Some(2), "{output:?}");
                assert!(output.stdout.contains("-A my-input -p udp"), "{output:?}");
            }
            ["ruleward", "cleanup"] => {
                daemon.take().expect("it runs by now").stop();
                assert!(node.save(Family::Ipv4, "filter").contains("-j my-input"), "stopping leaves the rules");
                node.cleanup();
                assert_same_rules(&before, &node);
            }
            ["ruleward", "status"] => assert!(node.ruleward(&["status"]).must().starts_with("IN SYNC since ")),
            ["ruleward", "incidents", ..] => {
                let told = poll("the journal tells of both", || {
                    let told = node.ruleward(&words[1..]).must();
                    (told.contains("chain-flushed") && told.contains("rule-deleted")).then_some(told)
                });
                assert!(told.contains("who: iptables (pid "), "{told}");
            }
            ["ruleward", ..] => drop(node.ruleward(&words[1..]).must()),
            ["iptables", "-S", ..] => poll("both rules are back", || {
                let shown = node.command(node.path("tools/iptables")).args(&words[1..]).output();
                (shown.stdout.matches("-A my-input").count() == 2).then_some(())
            }),
            ["iptables", ..] => {
                let rules = node.save(Family::Ipv4, "filter");
                node.command(node.path("tools/iptables")).args(&words[1..]).must();
                poll("it is repaired", || (node.save(Family::Ipv4, "filter") == rules).then_some(()));
            }
            _ => panic!("nobody knows how to try `{command}`"),
        }
        done.push(command.to_owned());
    }
    assert!(done.len() >= 9 && done.last().is_some_and(|last| last == "ruleward cleanup"), "{done:#?}");
    // The same words, for a script.
    let _: Value = serde_json::from_str(&node.ruleward(&["--output", "json", "check"]).must()).expect("JSON");
}

#[track_caller]
fn assert_same_rules(before: &str, node: &Node) {
    // An empty table that was touched stays; no rule does.
    let rules =
        |text: &str| text.lines().filter(|line| line.starts_with("-A")).map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!(rules(before), rules(&node.save_all()));
}
