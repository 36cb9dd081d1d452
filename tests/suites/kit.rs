//! The kit itself: with iptables commands in the part of the program, so that a failure elsewhere is the program's.

use ruleward_tests::fake_tool::{FakeTool, Trouble, When};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::traffic::{Place, Transport, at, floating};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, HOOKS, Node, TABLES, Traffic};

trial!(
    for backend in Backend::ALL,
    "kit::{backend}::every_hook_takes_a_rule",
    every_hook_takes_a_rule(backend)
);
fn every_hook_takes_a_rule(backend: Backend) {
    let node = Node::new(backend);
    for family in Family::ALL {
        for (table, hook) in HOOKS {
            node.stranger(family).append(table, hook, "-j RETURN");
            let save = node.save(family, table);
            assert_eq!(rules_of(&save, hook), [format!("-A {hook} -j RETURN")]);
        }
    }
}

trial!(for backend in Backend::ALL, "kit::{backend}::nodes_are_alone", nodes_are_alone(backend));
fn nodes_are_alone(backend: Backend) {
    let (one, other) = (Node::new(backend), Node::new(backend));
    let before = other.save_all();
    one.stranger(Family::Ipv4).append("nat", "POSTROUTING", "-j MASQUERADE");
    one.load_sets("create op-a hash:ip\nadd op-a 10.0.0.1\n");
    assert_same("the other node", &before, &other.save_all());
    assert!(one.sets().contains("add op-a 10.0.0.1"), "{}", one.sets());
    one.command("touch").args(&["/run/xtables.lock"]).must();
    other.command("test").args(&["!", "-e", "/run/mine"]).must();
}

trial!(
    for backend in Backend::ALL,
    "kit::{backend}::a_stranger_tampers",
    a_stranger_tampers(backend)
);
fn a_stranger_tampers(backend: Backend) {
    let node = Node::new(backend);
    for family in Family::ALL {
        let stranger = node.stranger(family);
        stranger.new_chain("filter", "web");
        let other = format!("{}/{}", family.address(7), if family == Family::Ipv4 { 32 } else { 128 });
        stranger.append("filter", "web", &format!("-s {other} -m comment --comment \"two words\" -j ACCEPT"));
        stranger.insert("filter", "web", 1, "-j RETURN");
        stranger.append("filter", "FORWARD", "-j web");
        stranger.rename_chain("filter", "web", "site");
        let save = node.save(family, "filter");
        assert_eq!(
            rules_of(&save, "site"),
            ["-A site -j RETURN", &format!("-A site -s {other} -m comment --comment \"two words\" -j ACCEPT")]
        );
        assert_eq!(rules_of(&save, "FORWARD"), ["-A FORWARD -j site"]);
        stranger.replace("filter", "site", 1, "-j DROP");
        stranger.delete("filter", "FORWARD", "-j site");
        stranger.flush_chain("filter", "site");
        stranger.delete_chain("filter", "site");
        stranger.flush_table("filter");
        for table in TABLES {
            stranger.append(table, "OUTPUT", "-j RETURN");
            stranger.delete_table(table);
            assert!(!node.save(family, table).contains("-A"), "{table} is still there");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "kit::{backend}::load_gives_back_what_save_took",
    load_gives_back_what_save_took(backend)
);
fn load_gives_back_what_save_took(backend: Backend) {
    let node = Node::new(backend);
    let text = "*nat\n:PREROUTING ACCEPT [3:4]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
                :web - [0:0]\n[5:6] -A POSTROUTING -j web\nCOMMIT\n";
    node.load(Family::Ipv4, text);
    let saved = node.save_exact(Family::Ipv4, "nat");
    assert!(saved.contains("[5:6] -A POSTROUTING -j web"), "{saved}");
}

trial!(
    for backend in Backend::ALL,
    "kit::{backend}::packets_tell_their_source",
    packets_tell_their_source(backend)
);
fn packets_tell_their_source(backend: Backend) {
    let node = Node::new(backend);
    let traffic = Traffic::around(&node);
    for family in Family::ALL {
        for transport in Transport::ALL {
            let seen = || traffic.seen(Place::Pod, Place::Outside, family, transport).ip();
            assert_eq!(seen(), at(Place::Pod, family), "without a rule");
            node.stranger(family).append("nat", "POSTROUTING", "-o eth0 -j MASQUERADE");
            assert_eq!(seen(), at(Place::Node, family), "with a rule");
            node.stranger(family).delete("nat", "POSTROUTING", "-o eth0 -j MASQUERADE");
            assert_eq!(seen(), at(Place::Pod, family), "without it again");
            assert_eq!(traffic.seen(Place::Pod, Place::Pod2, family, transport).ip(), at(Place::Pod, family));
        }
        let rule = format!("-d {} -j DNAT --to-destination {}", floating(family), at(Place::Pod, family));
        node.stranger(family).append("nat", "PREROUTING", &rule);
        for transport in Transport::ALL {
            let seen = traffic.seen_through(Place::Outside, floating(family), Place::Pod, transport);
            assert_eq!(seen.ip(), at(Place::Outside, family));
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "kit::{backend}::fake_tools_misbehave",
    fake_tools_misbehave(backend)
);
fn fake_tools_misbehave(backend: Backend) {
    let node = Node::new(backend);
    let fake = FakeTool::new(&node);
    let save = FakeTool::tools(backend, "save");
    let path = node.path("fake").join(&save[0]);
    let call = || node.command(&path).args(&["-t", "nat"]).output();

    fake.trouble(&save, &Trouble::Fail, When::First(2));
    assert_eq!((call().code, call().code, call().code), (Some(1), Some(1), Some(0)));
    assert_eq!(fake.calls(), 3);
    fake.trouble(&save, &Trouble::Incompatible, When::Always);
    let output = call();
    assert_eq!((output.code, output.stdout.trim()), (Some(0), "# Table `nat' is incompatible, use 'nft' tool."));
    fake.trouble(&save, &Trouble::Garbage, When::Always);
    assert!(call().stdout.contains("garbage"));
    let tool = Family::Ipv4.tool(backend, "");
    fake.trouble(&save, &Trouble::Then(format!("{tool} -w -t nat -A OUTPUT -j ACCEPT")), When::Call(1));
    assert!(!call().stdout.contains("-A OUTPUT -j ACCEPT"), "the stranger came before the read");
    assert!(call().stdout.contains("-A OUTPUT -j ACCEPT"), "the stranger never came");

    fake.trouble(&save, &Trouble::KillAfter, When::Call(2));
    let caller = format!("{0} -t nat; {0} -t nat; echo survived", path.display());
    let killed = node.command("sh").args(&["-c", &caller]).output();
    assert_eq!(killed.code, None, "its caller was not killed");
    assert!(!killed.stdout.contains("survived"));
    fake.remove();
    assert!(!path.exists());
}
