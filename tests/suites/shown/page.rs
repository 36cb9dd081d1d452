//! The status page of a node: rules with their counters.

use ruleward_tests::trial;
use ruleward_tests::web::{body, get};
use ruleward_tests::{Backend, poll};

use crate::reload;

trial!(
    for backend in Backend::ALL,
    "shown::page::{backend}::rules_have_counters",
    rules_have_counters(backend)
);
fn rules_have_counters(backend: Backend) {
    let (node, daemon) = reload::node(backend);
    let page = || body(&node, "/rules?family=ipv4&table=filter");
    let none = page();
    assert!(none.contains("<span class=\"count\">[0 packets, 0 bytes] </span>-A op-in"), "{none}");
    node.net.run(|| {
        // Nobody listens there: one packet, and its refusal.
        let _ = std::net::TcpStream::connect("127.0.0.1:80").expect_err("a port without a listener");
    });
    // The kernel is not asked more often than once a second.
    poll("the packet is counted", || {
        let page = page();
        page.contains("[1 packets, 60 bytes] </span>-A op-in -p tcp").then_some(())
    });
    assert!(get(&node, "/rules?family=ipv6&table=nat").starts_with("HTTP/1.1 200"));
    assert!(page().contains("wanted by web"));
    daemon.stop();
}
