//! The author's way to the kernel: the example in each language ends with live rules, `dev` brings an edit into force on the
//! node, and what a kernel refuses is said on the author's desk.

mod started;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Running, program};
use serde_json::{Value, json};

/// What `cargo xtask languages` has built.
fn examples() -> Vec<(String, PathBuf)> {
    let folder = program::policy_file("host-firewall-example.wasm").ancestors().nth(2).unwrap().join("examples");
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}; cargo xtask languages", folder.display()));
    let wasm =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "wasm"));
    let mut found: Vec<_> = wasm.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path)).collect();
    found.sort();
    assert!(found.iter().any(|(language, _)| language == "rust"), "{found:?}");
    found
}

trial!(
    for backend in Backend::ALL,
    "author::{backend}::every_language_ends_with_a_live_rule",
    every_language_ends_with_a_live_rule(backend)
);
fn every_language_ends_with_a_live_rule(backend: Backend) {
    // What the language was is over when its answer is there: the other backend sees one.
    let examples = examples().into_iter().filter(|(language, _)| backend == Backend::Nft || language == "rust");
    for (language, component) in examples {
        let node = Node::cold(backend);
        // The largest takes long on a busy machine.
        node.configure(json!({ "compile-time": "10m", "policies": { "firewall": {
            "component": component,
            "grants": { "tables": ["filter"], "chains": ["hfe-*"], "sets": ["hfe-*"], "comments": ["hfe:"] },
            "settings": { "admit": ["192.0.2.0/24", "2001:db8::1"], "ports": [22] },
        } } }));
        node.apply();
        for family in Family::ALL {
            let save = node.save(family, "filter");
            let jump = "-A INPUT -m comment --comment \"hfe:input\" -j hfe-input";
            assert_eq!(rules_of(&save, "INPUT"), [jump], "{language}, {family}");
            let rules = rules_of(&save, "hfe-input");
            assert!(
                rules.iter().any(|rule| rule.contains("--dport 22 -m set --match-set hfe-admitted")),
                "{language}: {save}"
            );
        }
        let sets = node.sets();
        assert!(
            sets.contains("add hfe-admitted4 192.0.2.0/24") && sets.contains("add hfe-admitted6 2001:db8::1"),
            "{sets}"
        );
    }
}

/// A policy's folder whose compiler is `cp`.
struct Project {
    folder: PathBuf,
}

impl Project {
    fn new(node: &Arc<Node>) -> Self {
        let project = Self { folder: node.path("project") };
        fs::create_dir_all(project.folder.join("tests/plain")).unwrap();
        project.write("policy.toml", "component = \"policy.wasm\"\nbuild = \"cp source policy.wasm\"\n");
        project.write("tests/plain/facts.toml", "grants = { tables = [\"filter\"], chains = [\"bad-*\"] }\n");
        project.edit("bad-ok");
        project
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.join(name), content).unwrap();
    }

    /// The policy asks for this chain from now on, and its case expects it.
    fn edit(&self, chain: &str) {
        let expected = format!("# IPv4\n*filter\n:{chain} - [0:0]\nCOMMIT\n");
        self.write("tests/plain/expected.rules", expected);
        self.write("source", renamed(&ruleward_corpus::good(), chain));
    }
}

/// The component with another name for its chain, as long as the old one.
fn renamed(component: &[u8], chain: &str) -> Vec<u8> {
    const NAME: &[u8] = b"bad-ok";
    let mut component = component.to_owned();
    let places: Vec<usize> =
        (0..component.len() - NAME.len()).filter(|at| component[*at..].starts_with(NAME)).collect();
    assert!(!places.is_empty() && chain.len() == NAME.len());
    places.iter().for_each(|at| component[*at..at + NAME.len()].copy_from_slice(chain.as_bytes()));
    component
}

/// The next round that `wish` is about. An edit is two files: there may be rounds that saw the first alone, or nothing new.
fn round(dev: &mut Running, wish: impl Fn(&Value) -> bool) -> Value {
    loop {
        let round: Value = serde_json::from_str(&dev.line()).unwrap();
        if wish(&round) {
            return round;
        }
    }
}

/// The next round with this in its difference, and every case as expected.
fn round_with(dev: &mut Running, line: &str) -> Value {
    round(dev, |round| {
        let case = &round["cases"][0];
        case["unexpected"].is_null() && case["difference"].as_str().is_some_and(|difference| difference.contains(line))
    })
}

trial!(
    for backend in Backend::ALL,
    "author::{backend}::an_edit_goes_live",
    an_edit_goes_live(backend)
);
fn an_edit_goes_live(backend: Backend) {
    let node = Node::cold(backend);
    let project = Project::new(&node);
    fs::create_dir(node.path("live")).unwrap();
    let target = node.path("live").join("policy.wasm");
    fs::write(&target, ruleward_corpus::good()).unwrap();
    node.configure(json!({ "policies": { "mine": {
        "component": target,
        "grants": { "tables": ["filter"], "chains": ["bad-*"] },
    } } }));
    let daemon = node.daemon();
    let has = |chain: &str| node.save(Family::Ipv4, "filter").contains(&format!(":{chain} "));
    assert!(has("bad-ok"));

    let dev = node.ruleward(&["--output", "json", "dev", "--live", "mine"]).args(&[&project.folder]);
    let mut dev = dev.env("XDG_CACHE_HOME", node.path("cache")).start();
    let first = round_with(&mut dev, ":bad-ok - [0:0]\n");
    assert_eq!(first["cases"][0]["rehearsal"]["kernel"], "takes", "{first}");
    assert!(first["live"].as_str().unwrap().starts_with("in force on the node after "), "{first}");

    project.edit("bad-no");
    let second = round_with(&mut dev, "\n-:bad-ok - [0:0]\n+:bad-no - [0:0]\n");
    assert!(second["cases"][0]["rehearsal"]["rules"].as_str().unwrap().contains(":bad-no - [0:0]"), "{second}");
    assert!(second["live"].as_str().unwrap().starts_with("in force on the node after "), "{second}");
    assert!(has("bad-no") && !has("bad-ok"));

    // What does not build, or is no policy, leaves what is in force.
    project.write("source", "not a component");
    let broken = round(&mut dev, |round| round["failed"].is_string());
    assert!(broken["failed"].as_str().unwrap().contains("is not WebAssembly"), "{broken}");
    assert!(has("bad-no"));
    project.edit("bad-ok");
    round_with(&mut dev, "+:bad-ok - [0:0]");
    assert!(has("bad-ok") && !has("bad-no"));
    drop(dev);
    daemon.stop();
}

trial!(
    for backend in Backend::ALL,
    "author::{backend}::a_node_that_can_not_be_asked_is_told",
    a_node_that_can_not_be_asked_is_told(backend)
);
fn a_node_that_can_not_be_asked_is_told(backend: Backend) {
    let node = Node::cold(backend);
    let project = Project::new(&node);
    let target = node.path("live.wasm");
    fs::write(&target, "the old one").unwrap();
    node.configure(json!({ "policies": { "mine": {
        "component": target,
        "grants": { "tables": ["filter"], "chains": ["bad-*"] },
    } } }));
    let dev = |policy: &str| {
        let dev = node.ruleward(&["--output", "json", "dev", "--live", policy]).args(&[&project.folder]);
        dev.env("XDG_CACHE_HOME", node.path("cache"))
    };
    let output = dev("other").output();
    assert_eq!(output.code, Some(78), "{output:?}");
    assert!(output.stderr.contains("has no policy other; add it with its grants first"), "{output:?}");

    let mut dev = dev("mine").start();
    let first = round_with(&mut dev, ":bad-ok - [0:0]\n");
    let live = first["live"].as_str().unwrap();
    assert!(live.contains("live.wasm is replaced, and no daemon answers on "), "{first}");
    assert!(first["live-ms"].is_null(), "{first}");
    assert_eq!(fs::read(&target).unwrap(), ruleward_corpus::good());
}

trial!(
    for backend in Backend::ALL,
    "author::{backend}::what_the_kernel_refuses_is_told",
    what_the_kernel_refuses_is_told(backend)
);
fn what_the_kernel_refuses_is_told(backend: Backend) {
    let node = Node::cold(backend);
    let case = |name: &str, rule: &str| {
        let folder: PathBuf = node.path("cases").join(name);
        fs::create_dir_all(&folder).unwrap();
        let chain = json!({ "table": "filter", "name": "op-a", "families": ["ipv4"], "rules": [rule] });
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("settings.json", &json!({ "chains": [chain] }).to_string());
        write(
            "facts.toml",
            &format!("backend = \"{backend}\"\ngrants = {{ tables = [\"filter\"], chains = [\"op-*\"] }}\n"),
        );
    };
    case("good", "-p tcp --dport 22 -j ACCEPT");
    let test = |more: &[&str]| {
        let command = node.ruleward(&["policy", "test", "--cases"]).args(&[node.path("cases")]);
        let command = command.args(&[program::policy_file("static-rules.wasm")]).args(more);
        command.env("XDG_CACHE_HOME", node.path("cache")).output()
    };
    assert_eq!(test(&["--update"]).code, Some(0));
    let output = test(&["--rehearse"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    case("refused", "-m nosuchmatch -j ACCEPT");
    assert_eq!(test(&["--update"]).code, Some(0), "without the kernel it passes");
    let output = test(&["--rehearse"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("FAILED   refused: the kernel refuses it: "), "{}", output.stdout);
    assert!(output.stdout.contains("nosuchmatch"), "{}", output.stdout);

    let run = |name: &str| {
        let command = node.ruleward(&["policy", "run", "--rehearse", "--case"]).args(&[node.path("cases").join(name)]);
        command.args(&[program::policy_file("static-rules.wasm")]).env("XDG_CACHE_HOME", node.path("cache")).output()
    };
    let (good, refused) = (run("good"), run("refused"));
    assert!(good.stdout.contains("-A op-a -p tcp -m tcp --dport 22 -j ACCEPT"), "{good:?}");
    assert!(refused.code == Some(78) && refused.stderr.contains("nosuchmatch"), "{refused:?}");
    let save = node.save(Family::Ipv4, "filter");
    assert!(
        !save.contains("op-a") && !Path::new("/run/ruleward").exists(),
        "the machine's own rules were touched: {save}"
    );
}
