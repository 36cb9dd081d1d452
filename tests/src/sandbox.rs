//! Namespaces: one sandbox around the whole test program, and one set for each node inside it. The only file with
//! `unsafe`: unsharing is unsafe for `FILES` alone, which is never asked for.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Puts this process into namespaces of its own. Must come before any thread. An ordinary user becomes root inside
/// a user namespace.
///
/// # Errors
/// When the kernel forbids it, with what would permit it.
pub fn enter() -> Result<(), String> {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if !user.is_root() {
        unshare(UnshareFlags::NEWUSER).map_err(|error| {
            format!(
                "can't make a user namespace: {error}. Run the tests as root, or permit it: \
                 sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
            )
        })?;
        let identity = || -> io::Result<()> {
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
            fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
        };
        identity().map_err(|error| format!("can't become root in the user namespace: {error}"))?;
    }
    private_namespaces().map_err(|error| {
        format!("can't make network and mount namespaces: {error}. It takes CAP_SYS_ADMIN (root without a container's limits).")
    })
}

/// Whether this is the machine's own root: fanotify, big socket buffers and the like take that.
pub fn is_real_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("every process has one");
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether process ids here are the kernel's own, and not those of a container.
pub fn sees_real_pids() -> bool {
    // The kernel gives its first pid namespace this number (PROC_PID_INIT_INO).
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

/// Handles on a thread's network and mount namespaces.
pub(crate) struct Handles {
    network: File,
    mount: File,
}

impl Handles {
    /// New namespaces, made on a thread that ends at once.
    pub(crate) fn new() -> io::Result<Self> {
        let make = || {
            private_namespaces()?;
            Ok(Self {
                network: File::open("/proc/thread-self/ns/net")?,
                mount: File::open("/proc/thread-self/ns/mnt")?,
            })
        };
        std::thread::scope(|scope| scope.spawn(make).join()).map_err(|_| io::Error::other("the thread panicked"))?
    }

    /// Moves the calling thread in. Only for threads that are about to end: there is no way back.
    pub(crate) fn enter(&self) -> io::Result<()> {
        use std::os::fd::AsFd;
        unshare(UnshareFlags::FS)?;
        move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))?;
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// A path by which other programs can name the network namespace while this value lives.
    pub(crate) fn network_path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }
}

/// A network namespace, and a mount namespace whose `/run` is empty, so that the xtables lock is private too.
fn private_namespaces() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None::<&std::ffi::CStr>)?;
    // /var/run may be a directory of its own, and iptables may have been built to lock there.
    if Path::new("/var/run").is_dir() && !Path::new("/var/run").is_symlink() {
        mount("tmpfs", "/var/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None::<&std::ffi::CStr>)?;
    }
    Ok(())
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "file descriptors are shared between threads");
    // SAFETY: only FILES is unsafe, as it parts the descriptor tables of threads; it was just ruled out.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}
