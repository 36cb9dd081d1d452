//! Each component of the corpus beside a good policy, in the program on a real kernel. The bad one was good before: its last
//! good answer stays in force, its reason is told, and the good policy's changes go through as if it were not there.

mod cache;

use std::fs;
use std::sync::Arc;

use libtest_mimic::Trial;
use ruleward_corpus::{Case, FUEL, Fate};
use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Output, Placement, Report, poll};
use ruleward_tests::{trial, trials};
use serde_json::{Value, json};

/// The good policy, with one rule for each of these ports.
fn good(ports: &[u16]) -> Value {
    let rules: Vec<String> = ports.iter().map(|port| format!("-p tcp --dport {port} -j RETURN")).collect();
    static_rules(
        &[chain(None, "filter", "op-in", &rules)],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    )
}

fn bad() -> Value {
    json!({
        "component": "./bad.wasm",
        "grants": { "tables": ["filter"], "chains": ["bad-*"], "sets": ["bad-*"] },
        "limits": { "fuel": FUEL, "time": "1h" },
    })
}

/// A node on which both are good, and in force.
fn node_with_both() -> Arc<Node> {
    let node = Node::new(Backend::Nft);
    fs::write(node.path("bad.wasm"), ruleward_corpus::good()).expect("the node's directory is writable");
    node.configure(json!({ "policies": { "good": good(&[80]), "bad": bad() } }));
    node.apply();
    assert_eq!(chains_of_the_bad(&node), [":bad-ok -"]);
    node
}

fn chains_of_the_bad(node: &Node) -> Vec<String> {
    let save = node.save(Family::Ipv4, "filter");
    save.lines().filter(|line| line.contains("bad-")).map(str::to_owned).collect()
}

/// Puts the case in place of the bad policy's component.
fn replace(node: &Node, case: &Case) {
    let path = node.path("bad.wasm");
    fs::remove_file(&path).expect("it is there");
    case.place(&path).unwrap_or_else(|error| panic!("can't make {}: {error}", case.name));
}

/// Panics unless the report shows the fate of the case, the node has kept what was good of it, and the good policy's rules for
/// these ports are in force.
#[track_caller]
fn assert_fate(node: &Node, case: &Case, report: &Report, ports: &[u16]) {
    let (refused, words) = match case.fate {
        Fate::NotLoaded(words) | Fate::NoAnswer(words) | Fate::NotGranted(words) => (true, words),
        Fate::Harmless(_) => (false, &[][..]),
    };
    let policy = report.policy("bad");
    let reason = policy.reason.clone().unwrap_or_default();
    assert_eq!(policy.state, if refused { "last-good" } else { "current" }, "{reason}");
    for word in words {
        assert!(reason.contains(word), "the reason does not say {word:?}: {reason}");
    }
    assert_eq!(report.policy("good").state, "current");
    let expected: &[&str] = if refused { &[":bad-ok -"] } else { &[] };
    assert_eq!(chains_of_the_bad(node), expected);
    let rules: Vec<String> =
        ports.iter().map(|port| format!("-A op-in -p tcp -m tcp --dport {port} -j RETURN")).collect();
    for family in Family::ALL {
        assert_eq!(rules_of(&node.save(family, "filter"), "op-in"), rules, "{family}");
    }
}

/// How changed files reach the program; gives what it said.
type Delivery = fn(&Node) -> Output;

/// In a program that is started for it.
fn by_apply(node: &Node) -> Output {
    node.ruleward(&["--output", "json", "apply"]).output()
}

trials!(corpus);
/// One for each component of the corpus.
fn corpus() -> Vec<Trial> {
    let of = |case: Case| {
        let name = format!("hostile::beside_a_good_policy::{}", case.name);
        trial(name, move || beside_a_good_policy(&case, by_apply))
    };
    ruleward_corpus::all().into_iter().map(of).collect()
}

/// Any other delivery is proven with this very trial.
fn beside_a_good_policy(case: &Case, deliver: Delivery) {
    let node = node_with_both();
    replace(&node, case);
    node.set("policies", json!({ "good": good(&[80, 443]), "bad": bad() }));
    let output = deliver(&node);
    assert!(!output.stderr.contains("panicked at"), "{}", output.stderr);
    let code = if matches!(case.fate, Fate::Harmless(_)) { 0 } else { 78 };
    assert_eq!(output.code, Some(code), "{}\n{}", output.stdout, output.stderr);
    assert_fate(&node, case, &Report::parse(&output.stdout), &[80, 443]);
}

fn case(name: &str) -> Case {
    ruleward_corpus::all()
        .into_iter()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("there is no case {name}"))
}

trial!("hostile::at_the_start_of_a_daemon", at_the_start_of_a_daemon());
fn at_the_start_of_a_daemon() {
    for name in ["core_module", "loop_in_evaluate", "jump_to_nowhere", "memory_that_grows"] {
        let (node, case) = (node_with_both(), case(name));
        replace(&node, &case);
        let daemon = Daemon::start(&node);
        let status = daemon.wait_until("checked", |status| status.checks > 0);
        assert_fate(&node, &case, &status.report, &[80]);
        // The good policy is kept in force, and so is the bad one's last good answer.
        for chain in ["op-in", "bad-ok"] {
            let stranger = node.stranger(Family::Ipv4);
            if chain == "op-in" {
                stranger.flush_chain("filter", chain)
            } else {
                stranger.delete_chain("filter", chain)
            }
            daemon.refresh_ending_with(78);
            assert_fate(&node, &case, &daemon.status().report, &[80]);
        }
        daemon.stop();
    }
}

trial!("hostile::right_today_and_trapping_tomorrow", right_today_and_trapping_tomorrow());
fn right_today_and_trapping_tomorrow() {
    let node = node_with_both();
    replace(&node, &case("right_today_and_trapping_tomorrow"));
    node.apply();
    let before = node.save_all();
    let mut tomorrow = bad();
    tomorrow["settings"] = json!({ "day": 2 });
    node.set("policies", json!({ "good": good(&[80]), "bad": tomorrow }));
    let report = node.ruleward(&["--output", "json", "apply"]).report(78);
    let policy = report.policy("bad");
    assert_eq!(policy.state, "last-good");
    assert!(policy.reason.as_deref().unwrap_or_default().contains("panicked"), "{policy:?}");
    ruleward_tests::save::assert_same("everything", &before, &node.save_all());
}

/// Most resident memory of a process, bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has one");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

trial!("hostile::a_compile_bomb_ends_in_the_child", a_compile_bomb_ends_in_the_child());
fn a_compile_bomb_ends_in_the_child() {
    let node = node_with_both();
    node.set("compile-memory", json!("256MiB"));
    let bomb = ruleward_corpus::compile_bombs().into_iter().find(|bomb| bomb.name == "one_huge_function");
    let bomb = bomb.expect("it is there");
    fs::write(node.path("bad.wasm"), &bomb.component).expect("the node's directory is writable");
    let daemon = Daemon::start(&node);
    // The node is held at what was in force before until the compiler has given up.
    let status = daemon.wait_until("the bomb is refused", |status| {
        status.report.policies.iter().any(|policy| policy.name == "bad" && policy.reason.is_some())
    });
    let policy = status.report.policy("bad");
    assert_eq!(policy.state, "last-good");
    let reason = policy.reason.clone().unwrap_or_default();
    assert!(reason.contains("could not be compiled within 256 MiB of memory, which is `compile-memory`"), "{reason}");
    assert_eq!(chains_of_the_bad(&node), [":bad-ok -"]);
    let peak = peak_memory(daemon.pid());
    assert!(peak < 150 << 20, "the daemon took {peak} bytes");
    daemon.stop();
}

/// The first line of /proc/PID/status that begins so.
fn told(pid: u32, start: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
}

trial!("hostile::a_compiler_dies_with_its_program", a_compiler_dies_with_its_program());
fn a_compiler_dies_with_its_program() {
    let node = node_with_both();
    let bomb = ruleward_corpus::compile_bombs().into_iter().find(|bomb| bomb.name == "many_functions");
    fs::write(node.path("bad.wasm"), bomb.expect("it is there").component).expect("the node's directory is writable");
    let program = node.ruleward(&["check"]).start();
    let parent = program.pid().to_string();
    let limited = |pid: u32| -> bool {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let limit = |name: &str, most: &str| limits.lines().any(|line| line.starts_with(name) && line.contains(most));
        limit("Max address space", " 2147483648 ")
            && limit("Max cpu time", " 60 ")
            && limit("Max core file size", " 0 ")
    };
    let child = poll("it compiles in a child that has limited itself", || {
        let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        processes.into_iter().find(|pid: &u32| {
            told(*pid, "PPid:").as_ref() == Some(&parent)
                && told(*pid, "NoNewPrivs:").as_deref() == Some("1")
                && limited(*pid)
        })
    });
    let input = fs::read_link(format!("/proc/{child}/fd/0")).expect("it runs");
    assert_eq!(input.to_str(), Some("/dev/null"));
    // Kills the program and nothing else.
    drop(program);
    poll("the compiler is gone", || told(child, "State:").is_none_or(|state| state.starts_with('Z')).then_some(()));
    assert_eq!(chains_of_the_bad(&node), [":bad-ok -"]);
}

trial!("hostile::limits_and_usage_are_shown", limits_and_usage_are_shown());
fn limits_and_usage_are_shown() {
    let node = node_with_both();
    node.set("limits-ceiling", json!({ "memory": "48MiB", "rules": 500 }));
    let daemon = node.daemon();
    let status = daemon.status();
    let limits = &status.report.policy("good").limits;
    let of = |key: &str| {
        limits
            .iter()
            .find(|limit| limit["limit"] == key)
            .unwrap_or_else(|| panic!("there is no {key}: {limits:?}"))
            .clone()
    };
    for key in [
        "memory",
        "time",
        "fuel",
        "instances",
        "memories",
        "tables",
        "table-elements",
        "input",
        "output",
        "chains",
        "rules",
        "sets",
        "members",
        "log-lines",
        "log-line-size",
    ] {
        let limit = of(key);
        let [last, worst, most] = ["last", "worst", "most"].map(|field| limit[field].as_u64().expect("a number"));
        assert!(last <= worst && worst <= most, "{limit}");
    }
    assert_eq!(
        (&of("memory")["most"], &of("memory")["ceiling"], &of("memory")["default"]),
        (&json!(48 << 20), &json!(48 << 20), &json!(64 << 20))
    );
    assert_eq!((&of("rules")["most"], &of("rules")["last"]), (&json!(500), &json!(2)));
    assert_eq!((&of("chains")["last"], &of("chains")["ceiling"]), (&json!(1), &Value::Null));
    let text = node.ruleward(&["status"]).must();
    assert!(text.contains("uses memory ") && text.contains(" of 48 MiB"), "{text}");
    daemon.stop();

    let mut greedy = bad();
    greedy["limits"] = json!({ "rules": 501 });
    node.set("policies", json!({ "good": good(&[80]), "bad": greedy }));
    let output = node.ruleward(&["check"]).output();
    assert_eq!(output.code, Some(78));
    assert!(
        output.stderr.contains("policies.bad.limits.rules") && output.stderr.contains("`limits-ceiling.rules`"),
        "{}",
        output.stderr
    );
}

trial!("hostile::check_shows_the_digest_that_apply_shows", check_shows_the_digest_that_apply_shows());
fn check_shows_the_digest_that_apply_shows() {
    let (node, other) = (node_with_both(), node_with_both());
    let digest = |report: &Report| report.policy("good").contribution.clone().expect("it answered");
    let first = digest(&node.ruleward(&["--output", "json", "check"]).report(0));
    assert!(first.starts_with("sha256:"), "{first}");
    assert_eq!(first, digest(&node.apply()));
    assert_eq!(first, digest(&other.apply()), "on another node");
    other.set("policies", json!({ "good": good(&[81]), "bad": bad() }));
    assert_ne!(first, digest(&other.apply()));
}
