//! Rules in iptables' syntax: their words go on as they are, and what is no rule is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{answer, chain_of, refusal, refused_rule, rule};

#[test]
fn words_go_on_as_they_are() {
    for text in [
        "",
        "-j ACCEPT",
        "--jump=RETURN",
        "-p ipip -j ACCEPT",
        "-p tcp -j ACCEPT --dport 443",
        "-m policy --dir in --pol ipsec --proto esp",
        "-m connlabel --label 41 --set",
        "-m comment --comment -A -j ACCEPT",
        "-m comment --comment --table",
        "-j LOG --log-prefix -F",
        "-s 10.0.0.1,10.0.0.2 -d 192.0.2.1",
        "-f -j DROP",
        "-j SET --add-set seen src --timeout -1",
        "! -p tcp ! -i eth0",
    ] {
        assert_eq!(rule(text), text);
    }
    assert_eq!(rule(r#"-j LOG --log-prefix "-j: ""#), "-j LOG --log-prefix <-j: >");
    assert_eq!(rule(r#"-m string --string "--jump" --algo bm"#), "-m string --string --jump --algo bm");
    assert_eq!(rule(r#"-m comment --comment "" -j DROP"#), "-m comment --comment <> -j DROP");
}

#[test]
fn a_rule_for_one_family_divides_the_chain() {
    let lines = chain_of(&["-j a", "-4 -s 10.0.0.0/8 -j b", "-6 -s 2001:db8::/32 -j c", "-j d"], "filter");
    assert_eq!(lines["ipv4"], ["-j a", "-s 10.0.0.0/8 -j b", "-j d"]);
    assert_eq!(lines["ipv6"], ["-j a", "-s 2001:db8::/32 -j c", "-j d"]);
    let undivided = answer(r#"{"chains":[{"table":"filter","name":"c","rules":["-j a","-j b"]}]}"#);
    assert_eq!(undivided.chains.len(), 1);
}

#[test]
fn what_is_no_rule_is_refused_with_what_to_write() {
    for (text, reason) in [
        ("-A INPUT -j DROP", "leave it out together with the chain's name"),
        ("-I web 1 -j DROP", "leave it out together with the chain's name"),
        ("--append INPUT", "leave it out together with the chain's name"),
        ("-p tcp -D INPUT", "leave it out together with the chain's name"),
        ("-F", "another command"),
        ("-t nat -j DROP", "the entry's `table`"),
        ("-m tcp -t nat", "the entry's `table`"),
        ("-c 1 2 -j DROP", "the kernel counts"),
        ("[5:300] -j DROP", "the kernel counts"),
        ("-p tcp -M /bin/sh", "leave it out"),
        ("-j RETURN --modprobe=/bin/sh", "leave it out"),
        ("-j RETURN --mo /bin/sh", "leave it out"),
        ("-j ACCEPT -v", "leave it out"),
        ("-p tcp -h", "leave it out"),
        ("-p tcp -4", "first word"),
        (r#"-m comment --comment "open -j DROP"#, "not closed"),
    ] {
        let (place, message) = refused_rule(text);
        assert_eq!(place, "/chains/0/rules/1", "{text}");
        assert!(message.contains(reason), "{text}: {message}");
    }
}

/// Nothing in a rule can become a second line.
#[test]
fn nothing_is_smuggled_out_of_a_rule() {
    for text in [
        "-j ACCEPT\n-A INPUT -j DROP",
        "-j ACCEPT\r\nCOMMIT",
        "-m comment --comment \"x\nCOMMIT\n*nat\"",
        "-j ACCEPT\u{0}",
        "-j\u{2028}ACCEPT\u{7f}",
    ] {
        refused_rule(text);
    }
    // As values they stay values: one word.
    assert_eq!(rule(r#"-m string --algo bm --string "x -j DROP""#), "-m string --algo bm --string <x -j DROP>");
    assert_eq!(rule(r#"-m comment --comment "x\" -j DROP" -j ACCEPT"#), "-m comment --comment <x\" -j DROP> -j ACCEPT");
}

#[test]
fn a_refusal_in_an_attachment_names_it() {
    let settings = r#"{"attachments":[{"table":"filter","hook":"INPUT","rule":"-j DROP"},
        {"table":"filter","hook":"INPUT","rule":"-t nat"}]}"#;
    assert_eq!(refusal(settings).0, "/attachments/1/rule");
}
