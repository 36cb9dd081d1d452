//! All that the program and the tools ask of the network while policies are put in force and kept.
//! Whatever else is done is a failure; docs/adr/0030-tools-are-confined.md has the same list. A
//! call that the kernel refused reached nobody, and is what the names in the rules came to.

use std::collections::BTreeSet;

use ruleward_tests::system_calls::Deeds;

/// Of every tool: sockets that lead to the kernel alone.
const OF_TOOLS: [&str; 9] = [
    // nf_tables and ipset.
    "socket NETLINK_NETFILTER",
    "bind on NETLINK_NETFILTER",
    "sendto on NETLINK_NETFILTER",
    "sendmsg on NETLINK_NETFILTER",
    // The C library asks for the addresses of this machine before it looks a name up, or a port.
    "socket NETLINK_ROUTE",
    "bind on NETLINK_ROUTE",
    "sendto on NETLINK_ROUTE",
    // Options of such a socket are how x_tables and the `set` extension are reached. Nothing is sent on it.
    "socket AF_INET SOCK_RAW",
    "socket AF_INET6 SOCK_RAW",
];

/// Of Ruleward itself. Its own sockets have a path in the folder of the test, which stands here as `DIR`.
const OF_RULEWARD: [&str; 28] = [
    "socket NETLINK_NETFILTER",
    "bind on NETLINK_NETFILTER",
    "connect on NETLINK_NETFILTER",
    "sendto on NETLINK_NETFILTER",
    "sendmsg on NETLINK_NETFILTER",
    // Interfaces and addresses, which are facts.
    "socket NETLINK_ROUTE",
    "bind on NETLINK_ROUTE",
    "sendto on NETLINK_ROUTE",
    // x_tables, names of sets, and the state of the loopback interface of a private namespace: options and ioctls.
    "socket AF_INET SOCK_RAW",
    "socket AF_INET6 SOCK_RAW",
    "socket AF_INET SOCK_DGRAM",
    "socket AF_INET6 SOCK_DGRAM",
    // How a process that could not be started is told.
    "socketpair AF_UNIX SOCK_SEQPACKET",
    // Signals, and the sockets on which others ask the daemon.
    "socketpair AF_UNIX SOCK_STREAM",
    "socket AF_UNIX SOCK_STREAM",
    "bind on AF_UNIX SOCK_STREAM DIR/run/control.sock",
    "bind on AF_UNIX SOCK_STREAM DIR/run/status.sock",
    "bind on AF_UNIX SOCK_STREAM DIR/run/http.sock",
    "connect on AF_UNIX SOCK_STREAM DIR/run/control.sock",
    "connect on AF_UNIX SOCK_STREAM DIR/run/status.sock",
    "sendto on AF_UNIX SOCK_STREAM",
    "accepted AF_UNIX SOCK_STREAM",
    "sendto on accepted AF_UNIX SOCK_STREAM",
    "sendto on a socket pair",
    // The status page on loopback.
    "socket AF_INET SOCK_STREAM",
    "bind on AF_INET SOCK_STREAM",
    "socket AF_INET6 SOCK_STREAM",
    "bind on AF_INET6 SOCK_STREAM",
];

/// Judges what was done below `folder`. `refused`: what the tools must have tried in vain, or the trial shows nothing.
#[track_caller]
pub fn judge(deeds: &Deeds, folder: &str, refused: &[&str]) {
    let (mut strange, mut tried) = (Vec::new(), BTreeSet::new());
    for (program, done) in deeds {
        let of_tool = ["iptables-", "ip6tables-"].iter().any(|start| program.starts_with(start)) || program == "ipset";
        let allowed = match program.as_str() {
            "ruleward" => &OF_RULEWARD[..],
            _ if of_tool => &OF_TOOLS,
            // It is given words of Ruleward's, and starts the program under test in some trials.
            "modprobe" | "setpriv" | "sh" | "strace" => &[],
            _ => {
                strange.push(format!("{program} is started"));
                continue;
            }
        };
        for deed in done.iter().filter(|deed| *deed != "runs") {
            let general = deed.replace(&format!("\"{folder}"), "DIR").replace('"', "");
            match deed.strip_prefix("refused ") {
                Some(what) if of_tool => drop(tried.insert(what)),
                _ if allowed.contains(&general.as_str()) => {}
                _ => strange.push(format!("{program}: {deed}")),
            }
        }
    }
    assert!(strange.is_empty(), "not on the list of what is allowed: {strange:#?}");
    let missing: Vec<_> = refused.iter().filter(|what| !tried.contains(*what)).collect();
    assert!(missing.is_empty(), "no tool has tried {missing:?}, only {tried:?}");
    assert!(deeds.keys().any(|program| program.ends_with("-restore")), "no tool was started: {deeds:#?}");
}
