//! The stranger without stock tools, checked with the stock tools: what it does to the kernel is what it says.

use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node};

/// Jumps forward and backward, in front of and behind what is deleted, in built-in chains and others.
fn tangled(node: &Node, family: Family) {
    let rules = "*filter\n:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n-A INPUT -j c\n-A INPUT -p tcp --dport 80 -j a\n\
                 -A INPUT -j b\n-A FORWARD -m mark --mark 0x1 -j b\n-A OUTPUT -j a\n-A a -j c\n\
                 -A a -m limit --limit 5/sec -j RETURN\n-A a -j LOG --log-prefix \"a: \"\n-A b -j a\n-A c -j DROP\nCOMMIT\n";
    node.add(family, rules);
}

trial!("kit::legacy::raw_deletion_moves_jumps_and_hooks", raw_deletion_moves_jumps_and_hooks());
fn raw_deletion_moves_jumps_and_hooks() {
    let (raw, stock) = (Node::new(Backend::Legacy), Node::new(Backend::Legacy));
    for family in Family::ALL {
        tangled(&raw, family);
        tangled(&stock, family);
        // After each the table is read back by the kernel's own checks and by iptables-save.
        for (chain, number) in
            [("a", "2"), ("INPUT", "2"), ("c", "1"), ("a", "2"), ("FORWARD", "1"), ("b", "1"), ("INPUT", "2")]
        {
            raw.raw(&["legacy-delete", &family.to_string(), "filter", chain, number]).must();
            stock.command(family.tool(Backend::Legacy, "")).args(&["-w", "-D", chain, number]).must();
            let what = format!("{family} without rule {number} of {chain}");
            assert_same(&what, &stock.save(family, "filter"), &raw.save(family, "filter"));
        }
        let nothing = raw.raw(&["legacy-delete", &family.to_string(), "filter", "b", "1"]).output();
        assert_eq!(nothing.code, Some(1), "{nothing:#?}");
    }
}

trial!("kit::nft::raw_rules_are_deleted_and_copied", raw_rules_are_deleted_and_copied());
fn raw_rules_are_deleted_and_copied() {
    let node = Node::new(Backend::Nft);
    for family in Family::ALL {
        let name = family.to_string();
        tangled(&node, family);
        node.raw(&["append-copy", &name, "filter", "a", "2"]).must();
        node.raw(&["delete-rule", &name, "filter", "a", "1"]).must();
        let save = node.save(family, "filter");
        let limit = "-A a -m limit --limit 5/sec -j RETURN";
        assert_eq!(rules_of(&save, "a"), [limit, "-A a -j LOG --log-prefix \"a: \"", limit]);
        node.raw(&["burst", &name, "filter", "many", "300", "many"]).must();
        node.raw(&["burst", &name, "filter", "one", "300", "one"]).must();
        let save = node.save(family, "filter");
        for chain in ["many", "one"] {
            let rules = rules_of(&save, chain);
            assert_eq!(rules.len(), 300, "{chain}");
            assert_eq!(rules[299], format!("-A {chain} -m comment --comment \"burst 300\""));
        }
    }
}

trial!("kit::nft::raw_writers_say_what_they_left", raw_writers_say_what_they_left());
fn raw_writers_say_what_they_left() {
    let node = Node::new(Backend::Nft);
    for family in Family::ALL {
        node.stranger(family).append("nat", "OUTPUT", "-j RETURN");
        let mut writer = node.raw(&["write-loop", &family.to_string(), "nat", "OUTPUT", "w", "0"]).start();
        writer.says("round 1000");
        let lines = writer.finish();
        let left: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("left ")).collect();
        let save = node.save(family, "nat");
        let rules = rules_of(&save, "OUTPUT");
        let found: Vec<_> =
            rules.iter().filter_map(|rule| rule.strip_prefix("-A OUTPUT -m comment --comment ")).collect();
        assert_eq!(found, left, "{lines:?}");
        assert_eq!((left.len(), rules.len()), (8, 9));
    }
}

trial!("kit::nft::raw_deleters_and_readers_see_every_change", raw_deleters_and_readers_see_every_change());
fn raw_deleters_and_readers_see_every_change() {
    let node = Node::new(Backend::Nft);
    let family = Family::Ipv4;
    tangled(&node, family);
    let mut reader = node.raw(&["watch-dump", "ipv4:filter:a", "ipv4:nat:OUTPUT", "ipv6:raw:OUTPUT"]).start();
    let mut states = vec![reader.line()];
    for _ in 0..2 {
        node.stranger(Family::Ipv6).append("raw", "OUTPUT", "-j RETURN");
        states.push(reader.line());
        node.stranger(Family::Ipv6).delete("raw", "OUTPUT", "-j RETURN");
        states.push(reader.line());
    }
    let digests: Vec<_> = states.iter().map(|state| state.rsplit(' ').next().unwrap_or_default()).collect();
    assert!(digests[0] == digests[2] && digests[0] == digests[4] && digests[1] == digests[3], "{states:?}");
    assert_ne!(digests[0], digests[1], "{states:?}");
    assert_eq!(reader.finish().len(), 1, "nothing but the sum was left to say");

    let mut deleter = node.raw(&["loop-delete", "ipv4", "filter", "INPUT", "unwanted", "3"]).start();
    for number in 0..3 {
        node.stranger(family).append("filter", "INPUT", "-m comment --comment unwanted -j RETURN");
        ruleward_tests::poll("the rule is deleted", || {
            (!node.save(family, "filter").contains("unwanted")).then_some(())
        });
        if number == 0 {
            deleter.says("begun");
        }
    }
    assert_eq!(deleter.finish(), ["deleted 3"]);
}
