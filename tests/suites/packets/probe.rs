//! A packet to the node itself, and whether a rule of ours in INPUT has met it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use ruleward_tests::{Family, Node, PATIENCE};

/// Packets to this port are rejected by the rule that is tried.
pub const PORT: u16 = 7777;

/// The rule.
pub fn rule() -> String {
    format!("-p udp --dport {PORT} -j REJECT")
}

/// Whether a packet to [`PORT`] is rejected; else it arrives. Both are answers: there is nothing to wait for in vain.
#[track_caller]
pub fn is_rejected(node: &Node, family: Family) -> bool {
    let home: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    };
    node.net.ip("link set lo up");
    node.net.run(|| {
        let server = UdpSocket::bind((home, PORT)).expect("the port is free");
        let client = UdpSocket::bind((home, 0)).expect("there is a port");
        client.connect((home, PORT)).expect("it is a local address");
        server.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent = client.send(b"?");
            if sent
                .is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied))
            {
                return true;
            }
            if server.recv(&mut [0; 8]).is_ok() {
                return false;
            }
            assert!(Instant::now() < deadline, "the packet neither arrives nor is it rejected");
        }
    })
}
