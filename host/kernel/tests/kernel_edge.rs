//! The kernel edge against a real kernel. Each test has a network namespace of its own; all share a mount namespace
//! with an empty `/run`, so that the machine's rules and its xtables lock are never touched. Works for root and,
//! through a user namespace, for anyone; fails where neither can be had.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sandbox;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use ruleward_core::contribution::Families;
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::sets::ListReader;
use ruleward_kernel::detect::detect;
use ruleward_kernel::generation::GenerationReader;
use ruleward_kernel::lock::{self, PrivateLock, XtablesLock};
use ruleward_kernel::process::ToolError;
use ruleward_kernel::scratch::{Scratch, ScratchError};
use ruleward_kernel::tools::{RestoreError, Tools};
use rustix::thread::CapabilitySet;

const BACKENDS: [Backend; 2] = [Backend::Nft, Backend::Legacy];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Some(code) = sandbox::enter(&arguments) {
        return code;
    }
    let test = |name: &str, body: fn(&Scratch)| {
        Trial::test(name, move || {
            let scratch = Scratch::create().map_err(|error| error.to_string())?;
            scratch.run(|| body(&scratch)).map_err(|error| error.to_string().into())
        })
    };
    let tests = vec![
        test("an_empty_namespace_shows_nothing_and_stays_empty", empty_namespace),
        test("what_is_restored_is_saved", round_trip),
        test("a_refused_script_names_its_line", refused_script),
        test("a_table_that_only_nft_can_show_is_an_error", incompatible_table),
        test("foreign_base_chains_do_not_hide_a_table", foreign_base_chains),
        test("a_rule_that_save_cannot_parse_is_an_error", unparsable_rule),
        test("the_xtables_lock_is_respected", held_lock),
        test("the_generation_changes_with_the_rules_only", generation),
        test("a_scratch_namespace_is_apart", scratch_is_apart),
        test("a_missing_capability_is_told_apart", missing_capability),
        test("sets_are_restored_and_saved", ipsets),
        test("a_refused_set_names_its_line", refused_set),
        test("five_hundred_rules_come_back_in_order", many_rules),
        test("the_backend_with_our_chains_is_chosen", detects_ours),
        test("a_chosen_backend_reports_leftovers", detects_leftovers),
        test("an_empty_node_gets_the_default", detects_default),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn tools(scratch: &Scratch, backend: Backend) -> Tools {
    scratch.tools(&Tools::new(backend))
}

fn shell(script: &str) {
    let output = Command::new("sh").args(["-ec", &format!("PATH=$PATH:/usr/sbin:/sbin; {script}")]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script:?} failed; are nftables, iptables and iproute2 installed? {errors}");
}

fn rules(save: &str) -> Vec<&str> {
    save.lines().filter(|line| line.starts_with("-A ")).collect()
}

fn empty_namespace(scratch: &Scratch) {
    for family in Family::ALL {
        for backend in BACKENDS {
            let tools = tools(scratch, backend);
            assert_eq!(tools.save_all(family).unwrap(), "");
            for table in Table::ALL {
                assert_eq!(rules(&tools.save(family, table).unwrap()), [""; 0]);
            }
            assert_eq!(tools.save_all(family).unwrap(), "", "looking with {backend} has created {family} tables");
            assert_eq!(tools.legacy_tables(family).unwrap(), []);
        }
    }
}

fn round_trip(scratch: &Scratch) {
    for family in Family::ALL {
        for backend in BACKENDS {
            let tools = tools(scratch, backend);
            for table in Table::ALL {
                let hook = table.hooks()[0];
                let script = format!(
                    "*{table}\n:c - [0:0]\n-A c -m comment --comment \"a b\" -j RETURN\n-A {hook} -j c\nCOMMIT\n"
                );
                tools.restore(family, &script).unwrap();
                let save = tools.save(family, table).unwrap();
                let jump = format!("-A {hook} -j c");
                let mut found = rules(&save);
                found.sort_unstable_by_key(|rule| *rule == jump);
                assert_eq!(found, ["-A c -m comment --comment \"a b\" -j RETURN", &jump], "{backend} {family}: {save}");
            }
            let all = tools.save_all(family).unwrap();
            assert_eq!(all.lines().filter(|line| *line == "COMMIT").count(), 5, "{all}");
        }
        let mut tables = tools(scratch, Backend::Nft).legacy_tables(family).unwrap();
        tables.sort_unstable();
        assert_eq!(tables, Table::ALL);
    }
}

fn refused_script(scratch: &Scratch) {
    let unknown = "*filter\n:c - [0:0]\n-A c -j ACCEPT\n-A c -p tcp --nosuch 5\nCOMMIT\n";
    let no_chain = "*nat\n-A NOCHAIN -j ACCEPT\nCOMMIT\n";
    let by_kernel = "*filter\n-A INPUT -j ACCEPT\n-A INPUT -j MASQUERADE\nCOMMIT\n";
    for (backend, expected) in [(Backend::Nft, [4, 2, 3]), (Backend::Legacy, [4, 2, 4])] {
        let by_family = match backend {
            Backend::Nft => "RULE_APPEND failed (Invalid argument): rule in chain INPUT",
            Backend::Legacy => "the kernel does not accept the table",
        };
        for (script, line) in [unknown, no_chain, by_kernel].into_iter().zip(expected) {
            let error = tools(scratch, backend).restore(Family::Ipv4, script).unwrap_err();
            let RestoreError::Refused { line: found, message, .. } = &error else { panic!("{error}") };
            assert_eq!(*found, Some(line), "{error}");
            assert!(script != by_kernel || message.contains(by_family), "{error}");
            assert!(script != unknown || message.contains("--nosuch"), "{error}");
        }
        assert_eq!(rules(&tools(scratch, backend).save_all(Family::Ipv4).unwrap()), [""; 0]);
    }
}

fn incompatible_table(scratch: &Scratch) {
    let tools = tools(scratch, Backend::Nft);
    shell(
        "iptables-nft -A INPUT -j ACCEPT; iptables-nft -t nat -A OUTPUT -j ACCEPT; nft add rule ip filter INPUT ct state new drop",
    );
    let error = tools.save(Family::Ipv4, Table::Filter).unwrap_err();
    assert!(matches!(error, ToolError::Incompatible { .. }), "{error}");
    assert!(tools.save_all(Family::Ipv4).is_err());
    assert_eq!(rules(&tools.save(Family::Ipv4, Table::Nat).unwrap()), ["-A OUTPUT -j ACCEPT"]);
}

fn foreign_base_chains(scratch: &Scratch) {
    shell("iptables-nft -A INPUT -j ACCEPT; nft add chain ip filter other '{ type filter hook input priority 50; }'");
    let save = tools(scratch, Backend::Nft).save(Family::Ipv4, Table::Filter).unwrap();
    assert!(save.contains("incompatible base-chains"), "{save}");
    assert_eq!(rules(&save), ["-A INPUT -j ACCEPT"]);
}

fn unparsable_rule(scratch: &Scratch) {
    shell("iptables-nft -A INPUT -j ACCEPT; nft add rule ip filter INPUT meta mark set 5");
    let result = tools(scratch, Backend::Nft).save(Family::Ipv4, Table::Filter);
    // iptables 1.8.9 gives up with status 3; a version that can show the rule may.
    if let Ok(save) = &result {
        assert_eq!(rules(save).len(), 2, "a rule is missing without an error: {save}");
    }
}

fn held_lock(_: &Scratch) {
    let script = "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n";
    let path = Path::new("/run/xtables.lock");
    assert_eq!(lock::default_path(), path);
    let held = XtablesLock::acquire(path, Duration::from_secs(60), &mut |_| ControlFlow::Continue(())).unwrap();
    let shared = Tools::new(Backend::Legacy).with_lock_timeout(Duration::from_secs(1));
    let error = shared.restore(Family::Ipv4, script).unwrap_err();
    assert!(matches!(error, RestoreError::LockBusy { .. }), "{error}");
    let private = shared.clone().with_private_lock(Arc::new(PrivateLock::create().unwrap()));
    private.restore(Family::Ipv4, script).unwrap();
    drop(held);
    shared.restore(Family::Ipv4, script).unwrap();
    assert_eq!(rules(&shared.save(Family::Ipv4, Table::Filter).unwrap()).len(), 2);
}

fn generation(_: &Scratch) {
    let mut here = GenerationReader::open().unwrap();
    let other = Scratch::create().unwrap();
    let mut there = other.run(|| GenerationReader::open().unwrap()).unwrap();
    let (first, first_there) = (here.read().unwrap(), there.read().unwrap());
    assert_eq!(here.read().unwrap(), first);
    shell("iptables-nft -A INPUT -j ACCEPT");
    let second = here.read().unwrap();
    assert_ne!(second, first);
    shell("iptables-nft-save; iptables-nft -S; ip6tables-nft-save");
    assert_eq!(here.read().unwrap(), second, "reading the rules changed the generation");
    shell("ip6tables-nft -A INPUT -j ACCEPT");
    assert_ne!(here.read().unwrap(), second);
    assert_eq!(there.read().unwrap(), first_there, "another namespace's change was seen");
}

fn scratch_is_apart(outside: &Scratch) {
    shell("iptables-nft -A INPUT -j ACCEPT");
    let inside = Scratch::create().unwrap();
    for backend in BACKENDS {
        let tools = inside.tools(&Tools::new(backend));
        let script = "*filter\n-A INPUT -j DROP\nCOMMIT\n";
        inside.run(|| tools.restore(Family::Ipv4, script)).unwrap().unwrap();
        let save = inside.run(|| tools.save_all(Family::Ipv4)).unwrap().unwrap();
        assert_eq!(rules(&save), ["-A INPUT -j DROP"]);
    }
    let save = tools(outside, Backend::Nft).save_all(Family::Ipv4).unwrap();
    assert_eq!(rules(&save), ["-A INPUT -j ACCEPT"]);
    assert_eq!(tools(outside, Backend::Legacy).save_all(Family::Ipv4).unwrap(), "");
}

fn missing_capability(_: &Scratch) {
    let dropped = std::thread::spawn(|| {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, sets).unwrap();
        Scratch::create()
    });
    let error = dropped.join().unwrap().unwrap_err();
    assert!(matches!(error, ScratchError::Permission { .. }), "{error}");
}

fn ipsets(scratch: &Scratch) {
    let tools = tools(scratch, Backend::Nft);
    let list = || {
        let mut list = ListReader::default();
        tools.ipset_list(&mut list).unwrap();
        list.finish().unwrap()
    };
    assert!(list().is_empty());
    tools.ipset_restore("create a hash:ip\nadd a 10.0.0.1\ncreate b hash:net family inet6\nadd b fd00::/64\n").unwrap();
    let sets = list();
    assert_eq!(sets["a"].members, ["10.0.0.1"].into_iter().collect());
    assert_eq!(sets["b"].members, ["fd00::/64"].into_iter().collect());
    assert_eq!(sets["b"].options, "family inet6 maxelem 65536");
}

fn refused_set(scratch: &Scratch) {
    let error =
        tools(scratch, Backend::Nft).ipset_restore("create a hash:ip\nadd a 10.0.0.1\nadd a x.y\n").unwrap_err();
    let RestoreError::Refused { line, message, .. } = &error else { panic!("{error}") };
    assert_eq!(*line, Some(3));
    assert!(message.contains("cannot parse x.y"), "{error}");
}

/// Not more: without the capabilities of the machine's root, iptables-nft can't send more in one transaction.
fn many_rules(scratch: &Scratch) {
    let rule = |n: u32| format!("-A c -s 10.{}.{}.{}/32 -j RETURN", n >> 16, n >> 8 & 255, n & 255);
    let wanted: Vec<String> = (0..500).map(rule).collect();
    let script = format!("*filter\n:c - [0:0]\n{}\nCOMMIT\n", wanted.join("\n"));
    for backend in BACKENDS {
        let tools = tools(scratch, backend);
        tools.restore(Family::Ipv4, &script).unwrap();
        let save = tools.save(Family::Ipv4, Table::Filter).unwrap();
        assert!(rules(&save) == wanted, "{backend}: {} rules came back, or others", rules(&save).len());
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("cali-")
}

fn detects_ours(scratch: &Scratch) {
    shell("iptables-nft -A INPUT -j ACCEPT; iptables-nft -A INPUT -j ACCEPT");
    tools(scratch, Backend::Legacy).restore(Family::Ipv6, "*nat\n:cali-x - [0:0]\nCOMMIT\n").unwrap();
    let found = detect(None, Families::BOTH, &is_ours, &Tools::new(Backend::Nft)).unwrap();
    assert_eq!(found.backend, Backend::Legacy);
    assert_eq!(found.reason, "iptables-legacy already holds our chain cali-x in nat (IPv6)");
    assert_eq!(found.leftovers, [""; 0]);
    assert!(found.version.0 >= 1 && found.kernel.0 >= 4, "{found:?}");
    let found = detect(None, Families::BOTH, &|_| false, &Tools::new(Backend::Nft)).unwrap();
    assert_eq!(found.reason, "iptables-nft holds 2 rules, iptables-legacy none");
}

fn detects_leftovers(scratch: &Scratch) {
    for (used, unused) in [(Backend::Nft, Backend::Legacy), (Backend::Legacy, Backend::Nft)] {
        let script = "*nat\n:cali-x - [0:0]\n-A POSTROUTING -j cali-x\nCOMMIT\n";
        tools(scratch, unused).restore(Family::Ipv4, script).unwrap();
        let found = detect(Some(used), Families::BOTH, &is_ours, &Tools::new(Backend::Nft)).unwrap();
        assert_eq!((found.backend, found.leftovers.len()), (used, 1), "{found:?}");
        let start = format!("iptables-{unused} still holds cali-x in nat (IPv4)");
        assert!(found.leftovers[0].starts_with(&start), "{found:?}");
    }
}

fn detects_default(scratch: &Scratch) {
    let found = detect(None, Families::BOTH, &is_ours, &Tools::new(Backend::Nft)).unwrap();
    assert!(found.reason.starts_with("no kernel module or existing rule decides it"), "{found:?}");
    assert_eq!(found.families, Families::BOTH);
    assert_eq!(tools(scratch, Backend::Legacy).legacy_tables(Family::Ipv4).unwrap(), [], "looking loaded a table");
    shell("test -z \"$(nft list tables)\"");
}
