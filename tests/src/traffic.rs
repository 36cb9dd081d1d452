//! Packets that tell what they saw: two pods behind a node, and the outside. A probe sends from one place to another
//! and says which source address arrived.
//!
//! ```text
//! pod  192.168.1.10 ──┐
//!      fd00:10:244::10│        10.10.0.1   10.10.0.99
//!                     ├── node ──────────────────────── outside
//! pod2 192.168.2.20 ──┘        fd10::1     fd10::99
//!      fd00:10:245::20
//! ```

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::{Family, Netns, Node};

/// Transport of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One connection.
    Tcp,
    /// One datagram (sent again while nothing arrives).
    Udp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

/// Where a probe starts or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first pod.
    Pod,
    /// The second pod, in another network of the pool.
    Pod2,
    /// The node itself.
    Node,
    /// Beyond the node.
    Outside,
}

/// The wiring around a node.
pub struct Traffic<'n> {
    node: &'n Node,
    pod: Netns,
    pod2: Netns,
    outside: Netns,
}

/// An address of the outside's network that the outside routes to the node: a floating IP.
pub fn floating(family: Family) -> IpAddr {
    address(if family == Family::Ipv4 { "10.10.0.50" } else { "fd10::50" })
}

/// The address of a place.
pub fn at(place: Place, family: Family) -> IpAddr {
    address(match (place, family) {
        (Place::Pod, Family::Ipv4) => "192.168.1.10",
        (Place::Pod, Family::Ipv6) => "fd00:10:244::10",
        (Place::Pod2, Family::Ipv4) => "192.168.2.20",
        (Place::Pod2, Family::Ipv6) => "fd00:10:245::20",
        (Place::Node, Family::Ipv4) => "10.10.0.1",
        (Place::Node, Family::Ipv6) => "fd10::1",
        (Place::Outside, Family::Ipv4) => "10.10.0.99",
        (Place::Outside, Family::Ipv6) => "fd10::99",
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

const DEADLINE: Duration = Duration::from_secs(20);

impl<'n> Traffic<'n> {
    /// Wires pods and an outside to `node`.
    pub fn around(node: &'n Node) -> Self {
        let (pod, pod2, outside) = (Netns::new(), Netns::new(), Netns::new());
        for path in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            node.net.sysctl(path, "1");
        }
        for path in ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"] {
            node.net.sysctl(path, "0");
        }
        for (namespace, interface, subnets) in
            [(&pod, "pod0", ["192.168.1", "fd00:10:244:"]), (&pod2, "pod1", ["192.168.2", "fd00:10:245:"])]
        {
            node.net.join(interface, namespace, "eth0");
            let last = if interface == "pod0" { "10" } else { "20" };
            namespace.ip(&format!("addr add {}.{last}/24 dev eth0", subnets[0]));
            namespace.ip(&format!("-6 addr add {}:{last}/64 dev eth0 nodad", subnets[1]));
            node.net.ip(&format!("addr add {}.1/24 dev {interface}", subnets[0]));
            node.net.ip(&format!("-6 addr add {}:1/64 dev {interface} nodad", subnets[1]));
            namespace.ip(&format!("route add default via {}.1", subnets[0]));
            namespace.ip(&format!("-6 route add default via {}:1", subnets[1]));
        }
        node.net.join("eth0", &outside, "eth0");
        node.net.ip("addr add 10.10.0.1/24 dev eth0");
        node.net.ip("-6 addr add fd10::1/64 dev eth0 nodad");
        outside.ip("addr add 10.10.0.99/24 dev eth0");
        outside.ip("-6 addr add fd10::99/64 dev eth0 nodad");
        // The outside knows the way to the pods, so that an answer comes back with and without translation.
        for words in [
            "route add 192.168.0.0/16 via 10.10.0.1",
            "-6 route add fd00:10:244::/47 via fd10::1",
            "route add 10.10.0.50/32 via 10.10.0.1",
            "-6 route add fd10::50/128 via fd10::1",
        ] {
            outside.ip(words);
        }
        Self { node, pod, pod2, outside }
    }

    /// The source that `to` sees when `from` talks to it.
    #[track_caller]
    pub fn seen(&self, from: Place, to: Place, family: Family, transport: Transport) -> SocketAddr {
        self.seen_through(from, at(to, family), to, transport)
    }

    /// The same, where `from` calls it by another address (a floating IP).
    #[track_caller]
    pub fn seen_through(&self, from: Place, called: IpAddr, to: Place, transport: Transport) -> SocketAddr {
        let result = match transport {
            Transport::Tcp => self.tcp(from, called, to),
            Transport::Udp => self.udp(from, called, to),
        };
        result.unwrap_or_else(|error| panic!("{transport:?} from {from:?} to {to:?} ({called}): {error}"))
    }

    /// Runs `work` where packets of that place start.
    pub fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        self.namespace(place).run(work)
    }

    fn namespace(&self, place: Place) -> &Netns {
        match place {
            Place::Pod => &self.pod,
            Place::Pod2 => &self.pod2,
            Place::Node => &self.node.net,
            Place::Outside => &self.outside,
        }
    }

    fn udp(&self, from: Place, called: IpAddr, to: Place) -> std::io::Result<SocketAddr> {
        let family = if called.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let server = self.namespace(to).run(|| UdpSocket::bind((at(to, family), 0)))?;
        let client = self.namespace(from).run(|| UdpSocket::bind((at(from, family), 0)))?;
        server.set_read_timeout(Some(Duration::from_millis(200)))?;
        let port = server.local_addr()?.port();
        let deadline = Instant::now() + DEADLINE;
        loop {
            client.send_to(b"who am I?", (called, port))?;
            match server.recv_from(&mut [0; 64]) {
                Ok((_, source)) => return Ok(source),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn tcp(&self, from: Place, called: IpAddr, to: Place) -> std::io::Result<SocketAddr> {
        let family = if called.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let server = self.namespace(to).run(|| TcpListener::bind((at(to, family), 0)))?;
        let port = server.local_addr()?.port();
        let answer = || -> std::io::Result<SocketAddr> {
            let (mut stream, source) = server.accept()?;
            stream.write_all(b"!")?;
            Ok(source)
        };
        std::thread::scope(|scope| {
            let answered = scope.spawn(answer);
            let called = SocketAddr::new(called, port);
            let connected = self.namespace(from).run(|| TcpStream::connect_timeout(&called, DEADLINE));
            let mut stream = match connected {
                Ok(stream) => stream,
                Err(error) => {
                    // Lets the waiting thread go.
                    self.namespace(to).run(|| TcpStream::connect((at(to, family), port)))?;
                    return Err(error);
                }
            };
            stream.set_read_timeout(Some(DEADLINE))?;
            // Both directions work: the answer comes back through the translation.
            stream.read_exact(&mut [0])?;
            answered.join().unwrap_or_else(|_| Err(std::io::Error::other("the server panicked")))
        })
    }
}
