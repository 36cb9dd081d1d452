//! Rules in iptables' syntax, what they are read as, and what is refused. One table each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{answer, chain_of, refusal, refused_rule, rule};

#[test]
fn what_the_contract_has_a_case_for_is_typed() {
    for (text, expected) in [
        ("", ""),
        ("-j ACCEPT", "ACCEPT"),
        ("-j DROP", "DROP"),
        ("--jump=RETURN", "RETURN"),
        ("-g other", "goto other"),
        ("-j other", "jump other"),
        ("-j web-inn", "jump web-inn"),
        ("-j MASQUERADE", "masquerade"),
        ("-p tcp", "p=6"),
        ("-p TCP", "p=6"),
        ("! -p 17", "p!=17"),
        ("-p all -j DROP", "DROP"),
        ("-p 0 -j DROP", "DROP"),
        ("--proto=icmpv6", "p=58"),
        ("-4 -s 10.0.0.0/8 ! -d 192.0.2.1", "s=10.0.0.0/8 d!=192.0.2.1/32"),
        ("-4 -s 10.1.2.3/255.0.0.0", "s=10.0.0.0/8"),
        ("-i eth0 ! -o docker+", "i=eth0 o!=docker+"),
        ("--in-interface eth0 --out-interface=eth1", "i=eth0 o=eth1"),
        ("-p tcp --dport 443 -j ACCEPT", "p=6 dports=443 ACCEPT"),
        ("-p tcp -m tcp --dport 443 -j ACCEPT", "p=6 dports=443 ACCEPT"),
        ("-p tcp -j ACCEPT --dport 443", "p=6 dports=443 ACCEPT"),
        ("-m tcp -p tcp --dport 443", "p=6 dports=443"),
        ("-p udp ! --sport 1024:65535", "p=17 sports!=1024:65535"),
        ("-p tcp -m multiport --dports 80,443,8000:8100", "p=6 dports=80,443,8000:8100"),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "ct=ESTABLISHED|RELATED ACCEPT"),
        ("-m conntrack ! --ctstate NEW", "ct!=NEW"),
        ("-m set --match-set web-allow src,dst", "set=web-allow:src,dst"),
        ("-m set ! --match-set web-allow src", "set!=web-allow:src"),
        ("-m mark --mark 0x10/0xf0", "mark=0x10/0xf0"),
        ("-m mark ! --mark 1", "mark!=0x1/0xffffffff"),
        (r#"-m comment --comment "web servers" -j DROP"#, "DROP # web servers"),
        (r#"-p tcp -m comment --comment=web -j DROP"#, "p=6 DROP # web"),
    ] {
        assert_eq!(rule(text), expected, "{text}");
    }
}

/// Each kind that kernel-level comparison has to cope with: these go on word by word.
#[test]
fn everything_else_is_an_extension() {
    for (text, expected) in [
        ("-p tcp --dport http", "p=6 m:tcp[--dport http]"),
        ("-p tcp --dport 080", "p=6 m:tcp[--dport 080]"),
        ("-p tcp --syn", "p=6 m:tcp[--syn]"),
        ("-p tcp ! --syn", "p=6 m:tcp[! --syn]"),
        ("-p tcp --sport 1 --dport 2", "p=6 m:tcp[--sport 1 --dport 2]"),
        ("-p tcp --tcp-flags SYN,ACK SYN", "p=6 m:tcp[--tcp-flags SYN,ACK SYN]"),
        ("-p icmp --icmp-type echo-request", "p=1 m:icmp[--icmp-type echo-request]"),
        ("-p 58 --icmpv6-type 1", "p=58 m:icmp6[--icmpv6-type 1]"),
        ("! -p tcp -m tcp --dport 1", "p!=6 m:tcp[--dport 1]"),
        ("-p tcp -m multiport --dports 80", "p=6 m:multiport[--dports 80]"),
        ("-p tcp -m multiport --ports 80,81", "p=6 m:multiport[--ports 80,81]"),
        ("-p tcp -m state --state NEW --dport 22", "p=6 m:state[--state NEW --dport 22]"),
        ("-m limit --limit 60/min", "m:limit[--limit 60/min]"),
        ("-m recent --name bad --update --seconds 60", "m:recent[--name bad --update --seconds 60]"),
        ("-m statistic --mode random --probability 0.33333", "m:statistic[--mode random --probability 0.33333]"),
        (
            "-m connlimit --connlimit-above 10 --connlimit-mask 24",
            "m:connlimit[--connlimit-above 10 --connlimit-mask 24]",
        ),
        (r#"-m string --string "a b" --algo bm"#, "m:string[--string <a b> --algo bm]"),
        (r#"-m string --algo bm --string "-j""#, "m:string[--algo bm --string -j]"),
        ("-m quota --quota 1000", "m:quota[--quota 1000]"),
        ("-m time --timestart 10:00 --timestop 11:00", "m:time[--timestart 10:00 --timestop 11:00]"),
        (r#"-m u32 --u32 "0>>22&0x3C@0>>24=0""#, "m:u32[--u32 0>>22&0x3C@0>>24=0]"),
        (r#"-m bpf --bytecode "1,6 0 0 0""#, "m:bpf[--bytecode <1,6 0 0 0>]"),
        ("-m iprange ! --src-range 10.0.0.1-10.0.0.9", "m:iprange[! --src-range 10.0.0.1-10.0.0.9]"),
        ("-m addrtype ! --src-type LOCAL --limit-iface-out", "m:addrtype[! --src-type LOCAL --limit-iface-out]"),
        (
            "-m hashlimit --hashlimit-above 5/sec --hashlimit-name h --hashlimit-mode srcip",
            "m:hashlimit[--hashlimit-above 5/sec --hashlimit-name h --hashlimit-mode srcip]",
        ),
        ("-m conntrack --ctstate NEW --ctdir ORIGINAL", "m:conntrack[--ctstate NEW --ctdir ORIGINAL]"),
        ("-m conntrack --ctstate NONE", "m:conntrack[--ctstate NONE]"),
        ("-m set --match-set s src --return-nomatch", "m:set[--match-set s src --return-nomatch]"),
        ("-m mark --mark 010", "m:mark[--mark 010]"),
        ("-m socket", "m:socket[]"),
        ("-m limit --limit 1/s -m comment --comment x", "m:limit[--limit 1/s] m:comment[--comment x]"),
        ("-j REJECT --reject-with tcp-reset -p tcp", "p=6 j:REJECT[--reject-with tcp-reset]"),
        (r#"-j LOG --log-prefix "web: ""#, "j:LOG[--log-prefix <web: >]"),
        ("-j NFLOG --nflog-group 5", "j:NFLOG[--nflog-group 5]"),
        ("-j MASQUERADE --random-fully", "j:MASQUERADE[--random-fully]"),
        ("-j SNAT --to-source 192.0.2.1", "j:SNAT[--to-source 192.0.2.1]"),
        ("-j MARK --or-mark 0x1", "j:MARK[--or-mark 0x1]"),
        ("-j CONNMARK --restore-mark", "j:CONNMARK[--restore-mark]"),
        ("-p tcp -j TPROXY --on-port 1 --tproxy-mark 1/1", "p=6 j:TPROXY[--on-port 1 --tproxy-mark 1/1]"),
        ("-j TCPMSS --clamp-mss-to-pmtu -p tcp --syn", "p=6 j:TCPMSS[--clamp-mss-to-pmtu --syn]"),
        ("-j CT --notrack", "j:CT[--notrack]"),
        ("-j TOS --set-tos 0x10", "j:TOS[--set-tos 0x10]"),
        ("-j SET --add-set seen src --exist", "j:SET[--add-set seen src --exist]"),
        ("-j TTL --ttl-dec 1 -m ttl --ttl-gt 1", "m:ttl[--ttl-gt 1] j:TTL[--ttl-dec 1]"),
    ] {
        assert_eq!(rule(text), expected, "{text}");
    }
}

#[test]
fn lists_of_addresses_are_expanded_as_by_iptables() {
    let lines = chain_of(&["-4 -s 10.0.0.1,10.0.0.2 -d 192.0.2.1,192.0.2.2 -j DROP"], "filter");
    assert_eq!(
        lines["ipv4"],
        [
            "s=10.0.0.1/32 d=192.0.2.1/32 DROP",
            "s=10.0.0.1/32 d=192.0.2.2/32 DROP",
            "s=10.0.0.2/32 d=192.0.2.1/32 DROP",
            "s=10.0.0.2/32 d=192.0.2.2/32 DROP",
        ]
    );
    assert!(lines["ipv6"].is_empty());
}

#[test]
fn a_rule_for_one_family_divides_the_chain() {
    let lines = chain_of(&["-j a", "-4 -s 10.0.0.0/8 -j b", "-6 -s 2001:db8::/32 -j c", "-j d"], "filter");
    assert_eq!(lines["ipv4"], ["jump a", "s=10.0.0.0/8 jump b", "jump d"]);
    assert_eq!(lines["ipv6"], ["jump a", "s=2001:db8::/32 jump c", "jump d"]);
    let undivided = answer(r#"{"chains":[{"table":"filter","name":"c","rules":["-j a","-j b"]}]}"#);
    assert_eq!(undivided.chains.len(), 1);
}

#[test]
fn names_of_chains_win_over_targets() {
    let settings = |rule: &str, awaits: bool| {
        format!(
            r#"{{"chains":[{{"table":"filter","name":"LOGDROP","rules":[]}}],
                "attachments":[{{"table":"filter","hook":"INPUT","rule":"{rule}","awaits-target":{awaits}}}]}}"#
        )
    };
    let target = |rule: &str, awaits| support::describe(&answer(&settings(rule, awaits)).attachments[0].rule);
    assert_eq!(target("-j LOGDROP", false), "jump LOGDROP");
    assert_eq!(target("-j LOGDROPS", false), "j:LOGDROPS[]");
    assert_eq!(target("-j KUBE-FORWARD", true), "jump KUBE-FORWARD");
    assert_eq!(target("-j DOCKER", true), "jump DOCKER");
}

#[test]
fn wrong_rules_are_refused_with_the_fix() {
    for (text, reason) in [
        ("-A INPUT -j DROP", "leave it out together with the chain's name"),
        ("-I web 1 -j DROP", "leave it out together with the chain's name"),
        ("--append INPUT", "leave it out together with the chain's name"),
        ("-t nat -j DROP", "the entry's `table`"),
        ("--table=nat", "the entry's `table`"),
        ("-c 1 2 -j DROP", "the kernel counts"),
        ("-w 5", "leave it out"),
        ("--modprobe=/bin/sh", "leave it out"),
        ("-F", "is not an option of a rule"),
        ("-f -j DROP", "--u32"),
        ("-jACCEPT", "is not an option of a rule"),
        ("-p", "-p needs a value"),
        ("-p ! tcp", "write the ! before -p"),
        ("-p tcpp", "protocol \"tcpp\" is not known"),
        ("-p tcp -p udp", "two -p"),
        ("! -p all", "matches nothing"),
        ("-s", "-s needs a value"),
        ("-s example.org", "host names are not looked up"),
        ("-s 10.0.0.0/255.0.255.0", "not a number of leading bits"),
        ("-s 10.0.0.0/40", "too long"),
        ("! -s 192.0.2.1,192.0.2.2", "takes one address"),
        ("-s 192.0.2.1", "begin the rule with -4"),
        ("-s 2001:db8::1", "begin the rule with -6"),
        ("-4 -s 2001:db8::1", "applies to the other family"),
        ("-i averylonginterfacename", "at most 15 bytes"),
        ("-i a -i b", "two -i"),
        ("-j ACCEPT -j DROP", "two targets"),
        ("-j LOG -g other", "two targets"),
        ("! -j ACCEPT", "! can't stand before -j"),
        ("! -m tcp", "! can't stand before -m"),
        ("! -4", "! can't stand before -4"),
        ("--ipv4=x", "takes no value"),
        ("-j DROP !", "ends with an exclamation mark"),
        ("! ! -p tcp", "two exclamation marks"),
        ("--dport 80 -p tcp", "name its match before it"),
        ("-p igmp --dport 80", "name its match before it"),
        ("-j ACCEPT now", "\"now\" belongs to no option"),
        ("'-j' ACCEPT", "single quotes do not quote"),
        (r#"-m comment --comment "open -j DROP"#, "not closed"),
        (r#"-m comment --comment "" -j DROP"#, "empty"),
    ] {
        let (place, message) = refused_rule(text);
        assert_eq!(place, "/chains/0/rules/1", "{text}");
        assert!(message.contains(reason), "{text}: {message}");
    }
}

/// Nothing in a rule can become a second line, another chain or another table.
#[test]
fn nothing_is_smuggled_out_of_a_rule() {
    for text in [
        "-j ACCEPT\n-A INPUT -j DROP",
        "-j ACCEPT\r\nCOMMIT",
        "-m comment --comment \"x\nCOMMIT\n*nat\"",
        "-j ACCEPT\u{0}",
        "-j\u{2028}ACCEPT\u{7f}",
        "-m tcp -t nat",
        "-m tcp --dport 1 --table nat",
        "-m tcp --dport 1 -A INPUT",
        "-m tcp -D INPUT 1",
        "-j LOG --delete-chain x",
        "-m x --modprobe /bin/sh",
    ] {
        refused_rule(text);
    }
    // As values they stay values: one word of their match.
    assert_eq!(rule(r#"-m string --algo bm --string "x -j DROP""#), "m:string[--algo bm --string <x -j DROP>]");
    assert_eq!(rule(r#"-m comment --comment "x\" -j DROP" -j ACCEPT"#), "ACCEPT # x\" -j DROP");
    assert_eq!(rule(r#"-j "ACCEPT" "#), "ACCEPT");
    assert_eq!(rule(r#"-j "a b""#), "jump a b");
}

#[test]
fn a_refusal_in_an_attachment_names_it() {
    let settings = r#"{"attachments":[{"table":"filter","hook":"INPUT","rule":"-j DROP"},
        {"table":"filter","hook":"INPUT","rule":"-t nat"}]}"#;
    assert_eq!(refusal(settings).0, "/attachments/1/rule");
}
