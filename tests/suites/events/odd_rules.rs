//! Rules whose bytes hold more than their text, or not all of it: each is deleted and must come back with the very same
//! text, whichever way the daemon takes.

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::json;

use super::{comes_back, settled};

const RULES: [(&str, &[&str]); 4] = [
    (
        "filter",
        &[
            "-m time --timestart 08:00 --timestop 17:30 --weekdays Mon,Tue --kerneltz -j RETURN",
            "-m u32 --u32 0>>22&0x3C@0>>16=0x50 -j RETURN",
            "-m quota --quota 123456 -j RETURN",
            "-m recent --name odd --update --seconds 60 --hitcount 4 --rsource -j DROP",
            "-p tcp --dport 22 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 7 --hashlimit-mode srcip,dstport --hashlimit-name odd -j RETURN",
            "-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\" -j RETURN",
            "-m string --algo bm --string \"odd text\" --to 300 -j RETURN",
            "-m string --algo kmp --hex-string \"|0001|odd\" -j RETURN",
            "-p tcp -j REJECT --reject-with tcp-reset",
            "-j REJECT",
            "-j LOG --log-prefix \"odd: \" --log-level 3 --log-uid --log-tcp-options",
            "-j NFLOG --nflog-group 7 --nflog-prefix \"odd prefix\" --nflog-threshold 3",
            "-m statistic --mode random --probability 0.33333 -j RETURN",
            "-m statistic --mode nth --every 3 --packet 1 -j RETURN",
            "-m limit --limit 60/minute --limit-burst 9 -j RETURN",
            "-p tcp -m multiport ! --dports 80,443,8000:8100 -j RETURN",
            "-p tcp --tcp-flags SYN,ACK,FIN SYN -m connlimit --connlimit-above 3 --connlimit-mask 24 -j RETURN",
            "-m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment \"with 'quotes' and $\" -j RETURN",
            "-m addrtype --dst-type LOCAL -j RETURN",
            "-p udp --sport 1024:65535 -m length --length 64:128 -j RETURN",
        ],
    ),
    (
        "mangle",
        &[
            "-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
            "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400",
            "-j MARK --or-mark 0x10",
            "-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff",
            "-j DSCP --set-dscp 0x2e",
            "-p udp -j TPROXY --on-port 5000 --tproxy-mark 0x1/0x1",
        ],
    ),
    ("raw", &["-p udp --dport 53 -j CT --notrack", "-j CT --zone 5", "-m mark --mark 0x3 -j NOTRACK"]),
    (
        "nat",
        &[
            "-p udp -j MASQUERADE --to-ports 1024-2048 --random-fully",
            "-p tcp -j MASQUERADE --random",
            "-m mark ! --mark 0x8/0x8 -j RETURN",
        ],
    ),
];

/// Where a table's rules are valid.
fn hook(table: &str) -> &'static str {
    match table {
        "filter" => "INPUT",
        "nat" => "POSTROUTING",
        _ => "PREROUTING",
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    for (table, rules) in RULES,
    "events::{backend}::{family}::odd_rules::{table}",
    come_back(backend, family, table, rules)
);
/// Each rule has a chain of its own, so that one repair tells nothing of the next.
fn come_back(backend: Backend, family: Family, table: &str, rules: &[&str]) {
    let node = Node::new(backend);
    let (mut chains, mut attachments) = (Vec::new(), Vec::new());
    // Of hooks TCPMSS with the path's MTU and MASQUERADE take only some.
    let usual = hook(table);
    for (number, rule) in rules.iter().enumerate() {
        let name = format!("op-{number}");
        chains.push(chain(family, table, &name, &[*rule]));
        let at = if rule.contains("clamp-mss") { "POSTROUTING" } else { usual };
        attachments.push(attachment(family, table, at, Placement::Last, &format!("-j {name}")));
    }
    node.configure(json!({
        "refresh-interval": "1h", "watch": "auto",
        "families": [family.to_string()],
        "policies": { "odd": static_rules(&chains, &attachments, &[]) },
    }));
    let daemon = settled(&node);
    let before = node.save(family, table);
    for (number, rule) in rules.iter().enumerate() {
        let chain = format!("op-{number}");
        assert!(before.contains(&format!("-A {chain} ")), "the policy's rule is not there: {rule}\n{before}");
        let incidents = daemon.status().mark();
        node.command(family.tool(backend, "")).args(&["-w", "-t", table, "-D", &chain, "1"]).must();
        comes_back(&node, family, table, &before);
        daemon.incident_after(&incidents, "chain-flushed", family, table, &chain);
    }
}
