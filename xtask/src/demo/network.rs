//! The stage: three network namespaces, and what the outside world sees of a packet that a pod sends.
//!
//! ```text
//! pod 10.244.1.10 -- veth -- node 10.244.1.1 | 192.0.2.7 -- veth -- outside 192.0.2.1
//! ```
//!
//! The outside has no way back to pod addresses, as in any cluster. Must be called inside a private network and mount
//! namespace: the node is the network namespace that we are in.

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::command::Run;

pub const POD: &str = "10.244.1.10";
pub const NODE: &str = "192.0.2.7";
pub const OUTSIDE: &str = "192.0.2.1";

/// How long a datagram may be under way; on one machine it takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of one datagram from the pod to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The source address that the outside saw.
    pub seen: IpAddr,
    /// Whether the pod got the outside's answer.
    pub answered: bool,
}

/// A /run of our own, empty: named namespaces, the xtables lock and the daemon's sockets live there.
pub fn private_run_directory() -> Result<PathBuf> {
    // It does not reach the machine: `unshare --mount` makes every mount of the new namespace private.
    let mounted = Run::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "ruleward-demo", "/run"]).text();
    mounted.context("cannot mount a private /run: is this inside `unshare --mount`?")?;
    let scratch = PathBuf::from("/run/demo");
    fs::create_dir(&scratch).context("cannot create /run/demo")?;
    Ok(scratch)
}

/// Makes the namespaces and joins them.
pub fn build() -> Result<()> {
    for space in ["pod", "outside"] {
        ip(&format!("netns add {space}"))?;
        ip(&format!("-n {space} link set lo up"))?;
    }
    ip("link set lo up")?;
    ip("link add cali0 type veth peer name eth0 netns pod")?;
    ip("link add eth0 type veth peer name eth0 netns outside")?;
    ip("addr add 10.244.1.1/24 dev cali0")?;
    ip(&format!("addr add {NODE}/24 dev eth0"))?;
    ip("link set cali0 up")?;
    ip("link set eth0 up")?;
    ip(&format!("-n pod addr add {POD}/24 dev eth0"))?;
    ip("-n pod link set eth0 up")?;
    ip("-n pod route add default via 10.244.1.1")?;
    ip(&format!("-n outside addr add {OUTSIDE}/24 dev eth0"))?;
    ip("-n outside link set eth0 up")?;
    setting("net/ipv4/ip_forward", "1")?;
    // The outside must be able to see a packet that it could not answer.
    within("outside", || {
        setting("net/ipv4/conf/all/rp_filter", "0")?;
        setting("net/ipv4/conf/eth0/rp_filter", "0")
    })
}

/// Sends one datagram from the pod to the outside, which answers it. A new port, so a new connection, every time.
pub fn send() -> Result<Delivery> {
    let outside = within("outside", || socket(&format!("{OUTSIDE}:0")))?;
    let pod = within("pod", || socket(&format!("{POD}:0")))?;
    let to = outside.local_addr()?;
    pod.send_to(b"hello", to).context("the pod cannot send")?;
    let mut buffer = [0; 16];
    outside.set_read_timeout(Some(PATIENCE))?;
    let (_, seen) = outside.recv_from(&mut buffer).context("the pod's datagram did not reach the outside")?;
    Ok(Delivery { seen: seen.ip(), answered: answer(&outside, &pod, seen)? })
}

fn answer(outside: &UdpSocket, pod: &UdpSocket, to: SocketAddr) -> Result<bool> {
    if outside.send_to(b"hello, you", to).is_err() {
        // No route back: what happens to a pod's address out there.
        return Ok(false);
    }
    pod.set_read_timeout(Some(PATIENCE))?;
    Ok(pod.recv_from(&mut [0; 16]).is_ok())
}

fn socket(address: &str) -> Result<UdpSocket> {
    UdpSocket::bind(address).with_context(|| format!("cannot open a socket at {address}"))
}

/// Does `work` in another network namespace: on a thread of its own, because a namespace belongs to a thread. A
/// socket that is opened there stays there.
fn within<T: Send>(space: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = Path::new("/run/netns").join(space);
    let handle = File::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter namespace {space}"))?;
            work()
        });
        worker.join().map_err(|_| anyhow!("the thread in namespace {space} panicked"))?
    })
}

fn setting(name: &str, value: &str) -> Result<()> {
    let file = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&file).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    if let Err(error) = fs::write(&file, value) {
        bail!(
            "cannot set {} to {value}: {error}. A container needs a writable /proc/sys (--privileged)",
            file.display()
        );
    }
    Ok(())
}

fn ip(words: &str) -> Result<()> {
    Run::new("ip").args(words.split(' ')).text().map(drop)
}
