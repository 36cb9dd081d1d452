//! Name services that hear whatever they are asked: a listener on each socket by which a program
//! can reach a resolver, in a node's own namespaces. None knows an answer.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::Node;

/// nscd, sssd, Avahi, systemd's resolver and user database, and the bus by which older releases asked both.
const PATHS: [&str; 8] = [
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/var/lib/sss/pipes/nss",
    "/run/avahi-daemon/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/userdb/io.systemd.DynamicUser",
    "/run/systemd/userdb/io.systemd.Home",
    "/run/dbus/system_bus_socket",
];
/// Multicast DNS and LLMNR: port, group of IPv4, group of IPv6.
const MULTICAST: [(u16, Ipv4Addr, Ipv6Addr); 2] = [
    (5353, Ipv4Addr::new(224, 0, 0, 251), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
    (5355, Ipv4Addr::new(224, 0, 0, 252), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3)),
];
/// Index of the loopback interface of each network namespace.
const LOOPBACK: u32 = 1;

/// Every module is asked that is installed, one after the other.
const NSSWITCH: &str = "\
passwd: files sss systemd
group: files sss systemd
shadow: files sss systemd
hosts: files mdns4_minimal mdns_minimal mdns4 mdns sss resolve dns
networks: files dns
protocols: files sss
services: files sss
ethers: files sss
netgroup: sss
initgroups: files sss systemd
";
const RESOLV: &str = "nameserver 127.0.0.1\nnameserver ::1\noptions timeout:1 attempts:1\n";

enum Ear {
    Unix(UnixListener),
    Stream(TcpListener),
    Datagrams(UdpSocket),
}

/// The listeners.
pub struct Resolvers {
    ears: Arc<Ears>,
    thread: Option<JoinHandle<()>>,
    end: Arc<OwnedFd>,
}

struct Ears {
    all: Vec<(String, Ear)>,
    heard: Mutex<BTreeSet<String>>,
}

impl Resolvers {
    /// Listens in the namespaces of `node`, and has the C library ask each of them there.
    pub fn around(node: &Node) -> Self {
        for (name, text) in [("nsswitch.conf", NSSWITCH), ("resolv.conf", RESOLV)] {
            node.write(name, text);
            // Where there is none, or a link into what is private here, the C library asks this machine.
            if Path::new("/etc").join(name).exists() && node.net.run(|| Path::new("/etc").join(name).exists()) {
                node.command("mount").args(&["--bind"]).args(&[node.path(name), Path::new("/etc").join(name)]).must();
            }
        }
        node.command("mount").args(&["-t", "tmpfs", "tmpfs", "/var/lib"]).must();
        node.net.ip("route add 224.0.0.0/4 dev lo");
        let all = node.net.run(listen).unwrap_or_else(|error| panic!("can't listen: {error}"));
        let ears = Arc::new(Ears { all, heard: Mutex::default() });
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor"));
        let (own, until) = (Arc::clone(&ears), Arc::clone(&end));
        let thread = std::thread::spawn(move || own.serve(until.as_fd()));
        Self { ears, thread: Some(thread), end }
    }

    /// Who was asked since the last time.
    pub fn heard(&self) -> BTreeSet<String> {
        self.ears.drain();
        std::mem::take(&mut self.ears.heard.lock().expect("no panic in between"))
    }

    /// Asks each of them, and makes sure that it has heard.
    #[track_caller]
    pub fn try_each(&self, node: &Node) {
        self.heard();
        node.net.run(ask_each).unwrap_or_else(|error| panic!("can't ask a listener: {error}"));
        let heard = self.heard();
        let deaf: Vec<_> = self.ears.all.iter().map(|(name, _)| name).filter(|name| !heard.contains(*name)).collect();
        assert!(deaf.is_empty(), "these do not hear: {deaf:?}");
    }
}

impl Drop for Resolvers {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            thread.join().ok(); // it has nothing to say
        }
    }
}

impl Ears {
    fn serve(&self, end: BorrowedFd<'_>) {
        let own = self.all.iter().map(|(_, ear)| match ear {
            Ear::Unix(listener) => listener.as_fd(),
            Ear::Stream(listener) => listener.as_fd(),
            Ear::Datagrams(socket) => socket.as_fd(),
        });
        let mut fds: Vec<_> =
            std::iter::once(end).chain(own).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        while poll(&mut fds, None).is_ok() && fds[0].revents().is_empty() {
            self.drain();
        }
    }

    /// Takes what has come. Connections are closed at once, and of what is asked for by datagram
    /// nothing is known: whoever asks need not wait.
    fn drain(&self) {
        let mut heard = self.heard.lock().expect("no panic in between");
        for (name, ear) in &self.all {
            let any = match ear {
                Ear::Unix(listener) => std::iter::from_fn(|| listener.accept().ok()).count() > 0,
                Ear::Stream(listener) => std::iter::from_fn(|| listener.accept().ok()).count() > 0,
                Ear::Datagrams(socket) => std::iter::from_fn(|| answer(socket).ok()).count() > 0,
            };
            if any {
                heard.insert(name.clone());
            }
        }
    }
}

/// "No such name", in the words of DNS.
fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut question = [0; 1500];
    let (length, from) = socket.recv_from(&mut question)?;
    if length > 3 {
        question[2] |= 0x80;
        question[3] = 0x83;
        socket.send_to(&question[..length], from).ok(); // it may be gone
    }
    Ok(())
}

fn listen() -> io::Result<Vec<(String, Ear)>> {
    let mut all = Vec::new();
    for path in paths() {
        fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("/")))?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        all.push((path.to_owned(), Ear::Unix(listener)));
    }
    for address in local() {
        let address = SocketAddr::new(address, 53);
        let (stream, socket) = (TcpListener::bind(address)?, UdpSocket::bind(address)?);
        stream.set_nonblocking(true)?;
        all.push((format!("tcp {address}"), Ear::Stream(stream)));
        all.push((format!("udp {address}"), datagrams(socket)?));
    }
    for (port, ipv4, ipv6) in MULTICAST {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.join_multicast_v4(&ipv4, &Ipv4Addr::LOCALHOST)?;
        all.push((format!("udp {ipv4}:{port}"), datagrams(socket)?));
        let socket = only_ipv6(port)?;
        socket.join_multicast_v6(&ipv6, LOOPBACK)?;
        all.push((format!("udp {ipv6}:{port}"), datagrams(socket)?));
    }
    Ok(all)
}

fn ask_each() -> io::Result<()> {
    for path in paths() {
        UnixStream::connect(path)?;
    }
    let (ipv4, ipv6) = (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?);
    for address in local() {
        TcpStream::connect((address, 53))?;
        let socket = if address.is_ipv4() { &ipv4 } else { &ipv6 };
        socket.send_to(b"?", (address, 53))?;
    }
    for (port, group, _) in MULTICAST {
        ipv4.send_to(b"?", (group, port))?;
        ipv6.send_to(b"?", (Ipv6Addr::LOCALHOST, port))?; // a loopback interface carries no multicast of IPv6
    }
    Ok(())
}

/// `/var/run` is a link to `/run`, or a folder of its own.
fn paths() -> impl Iterator<Item = &'static str> {
    let same = fs::canonicalize("/var/run").is_ok_and(|path| path == Path::new("/run"));
    PATHS.into_iter().filter(move |path| !(same && path.starts_with("/var/run/")))
}

fn local() -> [std::net::IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

fn datagrams(socket: UdpSocket) -> io::Result<Ear> {
    socket.set_nonblocking(true)?;
    Ok(Ear::Datagrams(socket))
}

/// Beside a socket of the same port for IPv4.
fn only_ipv6(port: u16) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    bind(&socket, &std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0))?;
    Ok(socket.into())
}
