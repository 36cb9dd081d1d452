//! The policies that ship, with real packets under every policy of the built-in chains, in both directions: Docker and
//! ufw set FORWARD to DROP, careful administrators INPUT and OUTPUT as well.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ruleward_tests::policies::calico;
use ruleward_tests::traffic::{Place, Transport, at};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Traffic, poll};
use serde_json::{Value, json};

use crate::traffic::POOLS;

/// Which of filter's chains drop what no rule accepts.
const POLICIES: [(&str, &[&str]); 3] =
    [("accept", &[]), ("forward_drop", &["FORWARD"]), ("all_drop", &["INPUT", "FORWARD", "OUTPUT"])];

fn grants(tables: &[&str], prefix: &str) -> Value {
    json!({ "tables": tables, "chains": [format!("{prefix}-*")], "comments": [format!("{prefix}:")] })
}

fn node_with(backend: Backend, name: &str, policy: Value) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    node.resources(POOLS);
    node.configure(json!({ "policies": { name: policy } }));
    let daemon = node.daemon();
    (node, daemon)
}

/// Sets the policies of filter's chains as an administrator does, who admits what IPv6 needs to find neighbours.
fn drop_in(node: &Node, family: Family, chains: &[&str]) {
    let tool = family.tool(node.backend, "");
    for chain in chains {
        node.command(&tool).args(&["-P", chain, "DROP"]).must();
        if family == Family::Ipv6 && *chain != "FORWARD" {
            node.command(&tool).args(&["-A", chain, "-p", "icmpv6", "-j", "ACCEPT"]).must();
        }
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    for (name, drops) in POLICIES,
    "shipped::{backend}::{family}::port_forward_leads_in_and_back::{name}",
    port_forward_leads_in_and_back(backend, family, drops)
);
/// From outside, from another network, from the target's own network, and from the node where its own packets may leave.
fn port_forward_leads_in_and_back(backend: Backend, family: Family, drops: &[&str]) {
    let target = at(Place::Pod, family);
    let forward = |protocol: &str| json!({ "protocol": protocol, "port": "1024-65535", "to": target });
    let node = Node::new(backend);
    let traffic = Traffic::around(&node);
    node.configure(json!({ "policies": { "port-forward": {
        "component": "port-forward.wasm",
        "grants": grants(&["nat", "filter"], "pf"),
        "settings": { "forwards": [forward("tcp"), forward("udp")] },
    } } }));
    let _daemon = node.daemon();
    drop_in(&node, family, drops);
    let called = at(Place::Node, family);
    for transport in Transport::ALL {
        for from in [Place::Outside, Place::Pod2] {
            let seen = traffic.seen_through(from, called, Place::Pod, transport);
            assert_eq!(seen.ip(), at(from, family), "{transport:?} from {from:?}");
        }
        let hairpin = traffic.seen_through(Place::Pod, called, Place::Pod, transport);
        assert_ne!(hairpin.ip(), target, "{transport:?}: the target sees another source than itself");
        if !drops.contains(&"OUTPUT") {
            traffic.seen_through(Place::Node, called, Place::Pod, transport);
        }
    }
    // The target has nobody at this port: its ICMP error reaches the client, as that of a path that is too narrow must.
    traffic.inside(Place::Outside, || {
        let client = UdpSocket::bind((at(Place::Outside, family), 0)).unwrap();
        client.connect((called, 9_999)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        poll("the target's ICMP error", || {
            let _ = client.send(b"?");
            let error = client.recv(&mut [0; 8]).err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
    });
}

fn host_firewall(backend: Backend) -> (Arc<Node>, Daemon) {
    let zone = json!({ "name": "outside", "services": ["1024-65535/tcp", "1024-65535/udp"] });
    let policy = json!({
        "component": "host-firewall.wasm",
        "grants": grants(&["filter"], "hfw"),
        "settings": { "zones": [zone] },
    });
    node_with(backend, "host-firewall", policy)
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    for (name, drops) in POLICIES,
    "shipped::{backend}::{family}::host_firewall_admits_and_answers::{name}",
    host_firewall_admits_and_answers(backend, family, drops)
);
fn host_firewall_admits_and_answers(backend: Backend, family: Family, drops: &[&str]) {
    let (node, _daemon) = host_firewall(backend);
    let traffic = Traffic::around(&node);
    drop_in(&node, family, drops);
    if drops.contains(&"OUTPUT") {
        // The policy is for INPUT alone: what leaves is the administrator's affair.
        let words = ["-A", "OUTPUT", "-m", "conntrack", "--ctstate", "NEW,ESTABLISHED", "-j", "ACCEPT"];
        node.command(family.tool(backend, "")).args(&words).must();
    }
    for transport in Transport::ALL {
        traffic.seen(Place::Outside, Place::Node, family, transport);
        traffic.seen(Place::Node, Place::Outside, family, transport);
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "shipped::{backend}::{family}::host_firewall_admits_dhcp_answers",
    host_firewall_admits_dhcp_answers(backend, family)
);
/// What a DHCP server answers is no answer to conntrack: the question went to everybody.
fn host_firewall_admits_dhcp_answers(backend: Backend, family: Family) {
    let policy = json!({ "component": "host-firewall.wasm", "grants": grants(&["filter"], "hfw") });
    let (node, _daemon) = node_with(backend, "host-firewall", policy);
    let traffic = Traffic::around(&node);
    let (server_port, client_port) = if family == Family::Ipv4 { (67, 68) } else { (547, 546) };
    let address = |place: Place| match family {
        Family::Ipv4 => SocketAddr::new(at(place, family), 0),
        Family::Ipv6 => traffic.inside(place, || link_local("eth0")),
    };
    let with_port = |mut address: SocketAddr, port| {
        address.set_port(port);
        address
    };
    let (server, client) = (address(Place::Outside), address(Place::Node));
    let bind = |place, address| traffic.inside(place, || UdpSocket::bind(address).unwrap());
    let answers = bind(Place::Outside, with_port(server, server_port));
    let other = bind(Place::Outside, with_port(server, server_port + 100));
    let heard = bind(Place::Node, with_port(client, client_port));
    heard.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The peer's scope is the sender's own interface.
    let peer = with_port(rescoped(client, server), client_port);
    let mut buffer = [0; 16];
    poll("the server's answer", || {
        other.send_to(b"not DHCP", peer).unwrap();
        answers.send_to(b"a lease", peer).unwrap();
        let (length, _) = heard.recv_from(&mut buffer).ok()?;
        assert_eq!(&buffer[..length], b"a lease", "only a server's port is admitted");
        Some(())
    });
}

/// The link-local address of an interface, once it may be used.
fn link_local(interface: &str) -> SocketAddr {
    poll("a link-local address", || {
        let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [digits, index, _, scope, flags, name] = fields[..] else { return None };
            let index = u32::from_str_radix(index, 16).unwrap();
            let tentative = u8::from_str_radix(flags, 16).unwrap() & 0x40 != 0;
            let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).unwrap());
            (name == interface && scope == "20" && !tentative)
                .then(|| SocketAddr::V6(SocketAddrV6::new(address, 0, 0, index)))
        })
    })
}

/// The same address, by the interface of `own`.
fn rescoped(address: SocketAddr, own: SocketAddr) -> SocketAddr {
    match (address, own) {
        (SocketAddr::V6(peer), SocketAddr::V6(own)) => {
            SocketAddr::V6(SocketAddrV6::new(*peer.ip(), 0, 0, own.scope_id()))
        }
        (address, _) => address,
    }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    for (name, drops) in POLICIES,
    "shipped::{backend}::{family}::masquerading_leads_out_and_back::{name}",
    masquerading_leads_out_and_back(backend, family, drops)
);
fn masquerading_leads_out_and_back(backend: Backend, family: Family, drops: &[&str]) {
    let masquerade = json!({
        "component": "ip-masquerade.wasm",
        "grants": grants(&["nat"], "ipm"),
        "settings": { "non-masquerade": ["192.168.0.0/16", "fd00:10:244::/47"], "ipv6": true },
    });
    for (name, policy) in [("ip-masquerade", masquerade), ("calico-postrouting", calico("3.32.1"))] {
        let (node, _daemon) = node_with(backend, name, policy);
        let traffic = Traffic::around(&node);
        drop_in(&node, family, drops);
        if drops.contains(&"FORWARD") {
            // They translate, and let nothing through by themselves.
            node.command(family.tool(backend, "")).args(&["-A", "FORWARD", "-j", "ACCEPT"]).must();
        }
        for transport in Transport::ALL {
            let seen = |to| -> IpAddr { traffic.seen(Place::Pod, to, family, transport).ip() };
            assert_eq!(seen(Place::Outside), at(Place::Node, family), "{name} {transport:?}");
            assert_eq!(seen(Place::Pod2), at(Place::Pod, family), "{name} {transport:?}");
        }
    }
}
