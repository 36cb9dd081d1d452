//! What packets meet, not what rules say: the source address that the other side sees, with the jump, without it, and
//! again after the repair.

use std::net::IpAddr;
use std::sync::Arc;

use ruleward_tests::policies::calico;
use ruleward_tests::traffic::{Place, Transport, at, floating};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Traffic};
use serde_json::json;

pub const POOLS: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool4}
spec: {cidr: 192.168.0.0/16, natOutgoing: true, ipipMode: Never, vxlanMode: Never}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool6}
spec: {cidr: 'fd00:10:244::/47', natOutgoing: true, ipipMode: Never, vxlanMode: Never}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node1}
spec: {bgp: {ipv4Address: 10.10.0.1/24, ipv6Address: 'fd10::1/64'}}
";

pub const JUMP: &str = "-m comment --comment \"cali:0i8pjzKKPyA34aQD\" -j cali-POSTROUTING";

/// A node under calico-postrouting with these resources besides pools and node.
pub fn calico_node(backend: Backend, more: &str) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    node.resources(&format!("{POOLS}{more}"));
    node.configure(json!({ "policies": { "calico-postrouting": calico("3.32.1") } }));
    let daemon = node.daemon();
    (node, daemon)
}

fn felix(settings: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {{{settings}}}\n"
    )
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::masqueraded_while_the_jump_is_there",
    masqueraded_while_the_jump_is_there(backend, family)
);
fn masqueraded_while_the_jump_is_there(backend: Backend, family: Family) {
    let (node, daemon) = calico_node(backend, "");
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        let seen = || traffic.seen(Place::Pod, Place::Outside, family, transport).ip();
        assert_eq!(seen(), at(Place::Node, family), "with the jump");
        // It looks again after the write before this one.
        daemon.pause();
        node.stranger(family).delete("nat", "POSTROUTING", JUMP);
        assert_eq!(seen(), at(Place::Pod, family), "after an administrator deleted the jump");
        daemon.resume();
        daemon.refresh();
        assert_eq!(seen(), at(Place::Node, family), "after the repair");
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::pool_to_pool_keeps_its_source",
    pool_to_pool_keeps_its_source(backend, family)
);
fn pool_to_pool_keeps_its_source(backend: Backend, family: Family) {
    let (node, _daemon) = calico_node(backend, "");
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        assert_eq!(traffic.seen(Place::Pod, Place::Pod2, family, transport).ip(), at(Place::Pod, family));
        assert_eq!(traffic.seen(Place::Pod2, Place::Outside, family, transport).ip(), at(Place::Node, family));
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::a_pool_without_nat_keeps_its_source",
    a_pool_without_nat_keeps_its_source(backend, family)
);
fn a_pool_without_nat_keeps_its_source(backend: Backend, family: Family) {
    let (node, daemon) = calico_node(backend, "");
    let traffic = Traffic::around(&node);
    node.resources(&POOLS.replace("natOutgoing: true", "natOutgoing: false"));
    assert_eq!(daemon.refresh().outcome, "changed");
    for transport in Transport::ALL {
        assert_eq!(traffic.seen(Place::Pod, Place::Outside, family, transport).ip(), at(Place::Pod, family));
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::source_ports_come_from_the_range",
    source_ports_come_from_the_range(backend, family)
);
fn source_ports_come_from_the_range(backend: Backend, family: Family) {
    let (node, _daemon) = calico_node(backend, &felix("natPortRange: '61000:61009'"));
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        let seen = traffic.seen(Place::Pod, Place::Outside, family, transport);
        assert_eq!(seen.ip(), at(Place::Node, family));
        assert!((61000..=61009).contains(&seen.port()), "{transport:?} came from port {}", seen.port());
    }
}

trial!(
    for backend in Backend::ALL,
    "traffic::{backend}::ipv4::nat_outgoing_address_is_the_source",
    nat_outgoing_address_is_the_source(backend)
);
fn nat_outgoing_address_is_the_source(backend: Backend) {
    let (node, _daemon) = calico_node(backend, &felix("natOutgoingAddress: 10.10.0.77"));
    let traffic = Traffic::around(&node);
    node.net.ip("addr add 10.10.0.77/24 dev eth0");
    for transport in Transport::ALL {
        let seen = traffic.seen(Place::Pod, Place::Outside, Family::Ipv4, transport).ip();
        assert_eq!(seen, IpAddr::from([10, 10, 0, 77]));
    }
}

trial!(
    for backend in Backend::ALL,
    "traffic::{backend}::ipv6::nat_outgoing_address_leaves_the_other_family_alone",
    nat_outgoing_address_leaves_the_other_family_alone(backend)
);
fn nat_outgoing_address_leaves_the_other_family_alone(backend: Backend) {
    let (node, _daemon) = calico_node(backend, &felix("natOutgoingAddress: 10.10.0.77"));
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        let seen = traffic.seen(Place::Pod, Place::Outside, Family::Ipv6, transport).ip();
        assert_eq!(seen, at(Place::Node, Family::Ipv6));
    }
}

/// A workload whose address is reached by a floating IP.
fn with_floating_ip(backend: Backend, family: Family) -> (Arc<Node>, Daemon) {
    let (internal, external) = (at(Place::Pod, family), floating(family));
    let length = if family == Family::Ipv4 { 32 } else { 128 };
    let workload = format!(
        "---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: node1-k8s-pod-eth0, namespace: default}}
spec:
  node: node1
  orchestrator: k8s
  workload: pod
  endpoint: eth0
  pod: pod
  interfaceName: pod0
  ipNetworks: ['{internal}/{length}']
  ipNATs: [{{internalIP: '{internal}', externalIP: '{external}'}}]
"
    );
    calico_node(backend, &format!("{}{workload}", felix("floatingIPs: Enabled")))
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::floating_ips_lead_in",
    floating_ips_lead_in(backend, family)
);
fn floating_ips_lead_in(backend: Backend, family: Family) {
    let (node, _daemon) = with_floating_ip(backend, family);
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        let seen = traffic.seen_through(Place::Outside, floating(family), Place::Pod, transport);
        assert_eq!(seen.ip(), at(Place::Outside, family), "from outside");
        traffic.seen_through(Place::Node, floating(family), Place::Pod, transport);
        traffic.seen_through(Place::Pod2, floating(family), Place::Pod, transport);
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "traffic::{backend}::{family}::floating_ips_lead_back_to_their_own_pod",
    floating_ips_lead_back_to_their_own_pod(backend, family)
);
/// The pod calls itself by its floating IP: it must see that address as the source too, or it would answer itself
/// past the translation.
fn floating_ips_lead_back_to_their_own_pod(backend: Backend, family: Family) {
    let (node, _daemon) = with_floating_ip(backend, family);
    let traffic = Traffic::around(&node);
    for transport in Transport::ALL {
        let seen = traffic.seen_through(Place::Pod, floating(family), Place::Pod, transport);
        assert_eq!(seen.ip(), floating(family));
    }
}
