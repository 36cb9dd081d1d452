//! iptables-legacy without its tools, against a real kernel. Each test has a network namespace of its own, and each
//! lock that is watched is a file of its own. Works for root and, through a user namespace, for anyone, where the lock
//! is watched without telling who; fails where neither can be had.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lock_watch;
mod sandbox;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use ruleward_core::encoded_rule::{RawRule, RawTable, Stamp};
use ruleward_core::names::{Family, Table};
use ruleward_kernel::legacy::{LegacyReader, comments, target};
use ruleward_kernel::scratch::Scratch;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Some(code) = sandbox::enter(&arguments) {
        return code;
    }
    let test = |name: &str, body: fn()| {
        Trial::test(name, move || {
            let scratch = Scratch::create().map_err(|error| error.to_string())?;
            scratch.run(body).map_err(|error| error.to_string().into())
        })
    };
    let tests = vec![
        test("rules_are_those_of_iptables_save", rules_are_those_of_save),
        test("forms_are_equal_where_sets_have_other_numbers", forms_across_namespaces),
        test("traffic_leaves_the_digest_alone", digest_under_traffic),
        test("each_edit_changes_the_digest", digest_and_edits),
        test("looking_loads_no_table", looking_loads_nothing),
        test("a_table_can_be_read_while_it_is_written", reading_while_writing),
        test("a_reader_serves_its_own_namespace_from_anywhere", reader_from_elsewhere),
        test("set_indexes_go_both_ways", set_indexes),
        test("writers_of_the_lock_are_named", lock_watch::writers_are_named),
        test("without_fanotify_writers_are_still_noticed", lock_watch::inotify_notices),
        test("a_replaced_lock_file_is_followed", lock_watch::replaced_lock),
        test("a_flood_of_writers_is_bounded", lock_watch::flood),
        test("what_is_no_lock_file_is_refused", lock_watch::no_lock_file),
        Trial::test("measure", || Scratch::create().unwrap().run(measure).map_err(|error| error.to_string().into()))
            .with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// Runs a script, with a lock file of its own unless it is told which.
fn shell_with(script: &str, lock: Option<&Path>) -> String {
    let own = tempfile::NamedTempFile::new().unwrap();
    let lock = lock.unwrap_or(own.path());
    let script = format!("PATH=$PATH:/usr/sbin:/sbin; {script}");
    let output = Command::new("sh").args(["-ec", &script]).env("XTABLES_LOCKFILE", lock).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script:?} failed; are iptables, ipset and iproute2 installed? {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn shell(script: &str) -> String {
    shell_with(script, None)
}

fn tool(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "iptables-legacy",
        Family::Ipv6 => "ip6tables-legacy",
    }
}

fn restore(family: Family, script: &str) {
    shell(&format!("{}-restore <<'END'\n{script}\nEND", tool(family)));
}

const FILTER: &str = "*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:empty - [0:0]
:other - [0:0]
:four - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment \"a b \\\"c\\\"\" -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80:90 -j other
-A INPUT -p udp -m udp --dport 53 -g four
-A INPUT -m set --match-set one src -m comment --comment first -m comment --comment second -j DROP
-A INPUT -m set ! --match-set two dst -j four
-A INPUT -m hashlimit --hashlimit-upto 5/sec --hashlimit-mode srcip --hashlimit-name h -j RETURN
-A INPUT -m recent --name seen --set
-A INPUT -m limit --limit 3/min --limit-burst 7 -j LOG --log-prefix \"x y \" --log-level 6
-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT
-A INPUT -m statistic --mode nth --every 3 --packet 1 -j DROP
-A INPUT -m statistic --mode random --probability 0.3
-A INPUT -m string --string attack --algo bm -j DROP
-A INPUT -m quota --quota 100000 -j ACCEPT
-A INPUT -m connlimit --connlimit-above 9 -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -m mark --mark 0x1/0xff -j RETURN
-A INPUT -m length --length 1:99 -j NFLOG --nflog-group 3
-A INPUT -j REJECT
-A FORWARD -m time --timestart 01:00:00 --timestop 02:00:00 -j ACCEPT
-A FORWARD -m u32 --u32 \"6&0xFF=1\" -j DROP
-A FORWARD -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A FORWARD -m pkttype --pkt-type broadcast -j DROP
-A FORWARD -m physdev --physdev-in eth0 -j ACCEPT
-A OUTPUT -m owner --uid-owner 0 -j ACCEPT
-A OUTPUT
-A other -j SET --add-set one src
-A other -j SET --del-set two src
-A other -m connbytes --connbytes 1: --connbytes-dir both --connbytes-mode bytes -j DROP
-A other -g empty
-A four -j RETURN
COMMIT";

const MANGLE: &str = "*mangle
:marks - [0:0]
-A PREROUTING -j MARK --set-xmark 0x4/0xffffffff
-A PREROUTING -j CONNMARK --save-mark
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A POSTROUTING -m dscp --dscp 0x10 -j marks
-A marks -j MARK --set-xmark 0x1/0x1
COMMIT";

const NAT: &str = "*nat
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT";

/// Four tables with 38 rules.
fn load(family: Family) {
    let suffix = if family == Family::Ipv6 { "family inet6" } else { "" };
    let (one, two) = (format!("one{}", digit(family)), format!("two{}", digit(family)));
    shell(&format!("ipset create {one} hash:ip {suffix}; ipset create {two} hash:net {suffix}"));
    let filter = FILTER.replace("set one", &format!("set {one}")).replace("set two", &format!("set {two}"));
    restore(family, &format!("{filter}\n{MANGLE}\n{NAT}\n*raw\n-A PREROUTING -j CT --notrack\nCOMMIT"));
}

fn digit(family: Family) -> char {
    if family == Family::Ipv6 { '6' } else { '4' }
}

/// Chain, target and comments of each rule that a save shows, by chain.
fn saved(family: Family, table: Table) -> Vec<(String, Option<String>, Vec<String>)> {
    let save = shell(&format!("{}-save -t {table}", tool(family)));
    let rules = save.lines().filter_map(|line| line.strip_prefix("-A "));
    rules
        .map(|rule| {
            let words = words(rule);
            let after = |options: &[&str]| {
                let found = words.windows(2).filter(|pair| options.contains(&pair[0].as_str()));
                found.map(|pair| pair[1].clone()).collect::<Vec<_>>()
            };
            (words[0].clone(), after(&["-j", "-g"]).pop(), after(&["--comment"]))
        })
        .collect()
}

/// As a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for letter in line.chars() {
        let word = words.last_mut().unwrap();
        match letter {
            _ if escaped => (word.push(letter), escaped = false).0,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => word.push(letter),
        }
    }
    words
}

fn seen(family: Family, table: &RawTable) -> Vec<(String, Option<String>, Vec<String>)> {
    let rules = table.chains.iter().flat_map(|chain| chain.rules.iter().map(|rule| (&*chain.name, &rule.form)));
    rules.map(|(chain, form)| (chain.to_owned(), target(form, family), comments(form, family))).collect()
}

fn by_chain<T>(mut rules: Vec<(String, T, Vec<String>)>) -> Vec<(String, T, Vec<String>)> {
    rules.sort_by(|left, right| left.0.cmp(&right.0));
    rules
}

fn rules_are_those_of_save() {
    let reader = LegacyReader::open().unwrap();
    for family in Family::ALL {
        load(family);
        let mut count = 0;
        for table in [Table::Filter, Table::Mangle, Table::Nat, Table::Raw] {
            let read = reader.table(family, table).unwrap();
            let expected = saved(family, table);
            count += expected.len();
            assert_eq!(by_chain(seen(family, &read)), by_chain(expected), "{family} {table}");
            let save = shell(&format!("{}-save -t {table}", tool(family)));
            let mut chains: Vec<&str> =
                save.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next()).collect();
            let mut names: Vec<&str> = read.chains.iter().map(|chain| &*chain.name).collect();
            chains.sort_unstable();
            names.sort_unstable();
            assert_eq!(names, chains);
        }
        assert_eq!(count, 38);
        let filter = reader.table(family, Table::Filter).unwrap();
        let uses: Vec<String> =
            all(&filter).flat_map(|rule| rule.form.sets.iter().map(|used| used.name.to_string())).collect();
        let (one, two) = (format!("one{}", digit(family)), format!("two{}", digit(family)));
        assert_eq!(uses, [&one, &two, &one, &two].map(String::clone));
    }
}

fn all(table: &RawTable) -> impl Iterator<Item = &RawRule> {
    table.chains.iter().flat_map(|chain| &chain.rules)
}

fn forms_across_namespaces() {
    let other = Scratch::create().unwrap();
    for family in Family::ALL {
        load(family);
        let read = || {
            let reader = LegacyReader::open().unwrap();
            let tables = [Table::Filter, Table::Mangle, Table::Nat, Table::Raw];
            let index = reader.sets().index(&format!("one{}", digit(family))).unwrap().unwrap();
            (tables.map(|table| reader.table(family, table).unwrap().chains), index)
        };
        let (here, index) = read();
        let (there, other_index) = other
            .run(|| {
                shell(&format!("for i in 1 2 3 4 5 6 7; do ipset create pad{}$i hash:ip; done", digit(family)));
                load(family);
                shell(&format!("{0} -I INPUT; {0} -N aaa; {0} -D INPUT 1; {0} -X aaa", tool(family)));
                read()
            })
            .unwrap();
        assert_ne!(index, other_index);
        assert_eq!(here, there, "{family}");
    }
}

fn digest_under_traffic() {
    shell("ip link set lo up");
    let reader = LegacyReader::open().unwrap();
    for family in Family::ALL {
        load(family);
        let tables = [Table::Filter, Table::Mangle, Table::Nat, Table::Raw];
        let digests = || tables.map(|table| reader.snapshot(family, table).unwrap().stamp());
        restore(
            family,
            "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -m limit --limit 9/sec\n-A OUTPUT -m quota --quota 9999\n-A OUTPUT -m statistic --mode nth --every 2 --packet 0\nCOMMIT",
        );
        let before = (digests(), tables.map(|table| reader.table(family, table).unwrap()));
        let to = if family == Family::Ipv6 { "::1" } else { "127.0.0.1" };
        let send = format!(
            "import socket\nwith socket.socket(socket.AF_INET{}, socket.SOCK_DGRAM) as s:\n for i in range(50): s.sendto(b'x', ('{to}', 9))",
            if family == Family::Ipv6 { "6" } else { "" }
        );
        shell(&format!("python3 -c \"{send}\""));
        let counters = shell(&format!("{}-save -c -t filter", tool(family)));
        assert!(counters.lines().any(|line| line.starts_with("[50:")), "no packet was counted: {counters}");
        let after = (digests(), tables.map(|table| reader.table(family, table).unwrap()));
        assert_eq!(before, after);
    }
}

fn digest_and_edits() {
    let reader = LegacyReader::open().unwrap();
    for family in Family::ALL {
        load(family);
        let digest = || reader.snapshot(family, Table::Filter).unwrap().stamp();
        let mut last = digest();
        assert_eq!(digest(), last);
        let edits = [
            "-P INPUT ACCEPT",
            "-A INPUT -j DROP",
            "-D INPUT 1",
            "-I OUTPUT 1 -m mark --mark 0x2",
            "-R OUTPUT 1 -m mark --mark 0x3",
            "-N new",
            "-E new newer",
            "-X newer",
            "-A empty -m comment --comment x",
            "-R empty 1 -m comment --comment y",
            "-F four",
            "-R empty 1 -j four",
            "-R empty 1 -g four",
            "-R empty 1 -i eth0",
            "-R empty 1 -o eth0",
            "-F",
        ];
        for edit in edits {
            shell(&format!("{} {edit}", tool(family)));
            let now = digest();
            assert_ne!(now, last, "{family} {edit}");
            last = now;
        }
        shell(&format!("{0} -A FORWARD; {0} -D FORWARD 1; {0} -L -n; {0} -Z; {0}-save", tool(family)));
        assert_eq!(digest(), last, "it is the same table again");
    }
}

fn looking_loads_nothing() {
    let reader = LegacyReader::open().unwrap();
    for family in Family::ALL {
        for table in Table::ALL {
            assert_eq!(reader.info(family, table).unwrap(), None);
            assert_eq!(reader.snapshot(family, table).unwrap().stamp(), Stamp::default());
            assert_eq!(
                reader.table(family, table).unwrap(),
                RawTable { stamp: Some(Stamp::default()), ..RawTable::default() }
            );
        }
        let list = if family == Family::Ipv6 { "ip6_tables_names" } else { "ip_tables_names" };
        let names = || std::fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
        assert_eq!(names(), "");
        shell(&format!("{} -t nat -L -n", tool(family)));
        assert_eq!(names(), "nat\n");
        assert!(reader.info(family, Table::Nat).unwrap().is_some());
        assert_eq!(reader.table(family, Table::Nat).unwrap().chains.len(), 4);
        assert_eq!(reader.snapshot(family, Table::Filter).unwrap().stamp(), Stamp::default());
    }
}

fn reading_while_writing() {
    let reader = LegacyReader::open().unwrap();
    shell("iptables-legacy -N c; iptables-legacy -A INPUT -j c");
    let writer = std::thread::spawn(|| {
        shell("for i in $(seq 300); do iptables-legacy -I FORWARD -j DROP; iptables-legacy -D FORWARD 1; done");
    });
    let mut reads = 0;
    while !writer.is_finished() {
        let table = reader.table(Family::Ipv4, Table::Filter).unwrap();
        let jump = &table.chains[0].rules[0].form;
        assert_eq!((&*table.chains[0].name, target(jump, Family::Ipv4)), ("INPUT", Some("c".to_owned())));
        assert!(table.chains[1].rules.len() <= 1);
        reads += 1;
    }
    writer.join().unwrap();
    assert!(reads > 100, "only {reads} reads in all that time");
}

fn reader_from_elsewhere() {
    let reader = LegacyReader::open().unwrap();
    shell("iptables-legacy -A INPUT -j DROP");
    let other = Scratch::create().unwrap();
    let read = other.run(|| {
        let rules = all(&reader.table(Family::Ipv4, Table::Filter).unwrap()).count();
        (rules, LegacyReader::open().unwrap().info(Family::Ipv4, Table::Filter).unwrap())
    });
    assert_eq!(read.unwrap(), (1, None));
}

fn set_indexes() {
    let reader = LegacyReader::open().unwrap();
    let sets = reader.sets();
    assert_eq!(sets.index("a").unwrap(), None);
    assert_eq!(sets.name(0).unwrap(), None);
    assert_eq!(sets.name(65_535).unwrap(), None);
    shell("ipset create a hash:ip; ipset create 1234567890123456789012345678901 hash:ip");
    for name in ["a", "1234567890123456789012345678901"] {
        let index = sets.index(name).unwrap().unwrap();
        assert_eq!(sets.name(index).unwrap().as_deref(), Some(name));
    }
    assert_eq!(sets.index("12345678901234567890123456789012").unwrap(), None);
    assert_eq!((sets.index("").unwrap(), sets.index("a\0b").unwrap()), (None, None));
}

/// Not a test: prints what reading costs beside what the tool takes. `-- --ignored measure --nocapture`
fn measure() {
    let reader = LegacyReader::open().unwrap();
    for count in [1_000, 10_000, 50_000] {
        let mut script = String::from("*filter\n");
        (0..count / 20).for_each(|chain| script += &format!(":c{chain} - [0:0]\n"));
        (0..count).for_each(|rule| {
            script += &format!(
                "-A c{} -s 10.{}.{}.0/24 -p tcp -m tcp --dport {} -j ACCEPT\n",
                rule / 20,
                rule % 200,
                rule / 200,
                rule % 60_000 + 1
            );
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script + "COMMIT\n").unwrap();
        shell(&format!("iptables-legacy-restore {}", file.path().display()));
        let (family, table) = (Family::Ipv4, Table::Filter);
        let info = median(201, || assert!(reader.info(family, table).unwrap().is_some()));
        let digest = median(15, || drop(reader.snapshot(family, table).unwrap()));
        let read = median(15, || assert_eq!(all(&reader.table(family, table).unwrap()).count(), count));
        let save = median(9, || {
            let status = Command::new("iptables-legacy-save")
                .args(["-t", "filter"])
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.unwrap().success());
        });
        println!("{count} rules: info {info:?}, digest {digest:?}, table {read:?}, iptables-legacy-save {save:?}");
    }
    let child = Command::new("sleep").arg("60").spawn();
    let mut child = child.unwrap();
    let named = median(201, || drop(ruleward_kernel::identify::identify(child.id(), None)));
    child.kill().unwrap();
    child.wait().unwrap();
    println!("identify {named:?}");
}

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}
