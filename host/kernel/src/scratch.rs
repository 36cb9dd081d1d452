//! A private, empty network namespace in which a desired state is rehearsed.
//!
//! It lives as long as the [`Scratch`]: a descriptor keeps it, no name and no mount, so a killed daemon leaves
//! nothing behind. Work in it runs on threads that belong to it alone; the daemon's other threads never leave
//! their namespace. iptables-legacy gets a lock file of its own there, so a rehearsal never waits for the live one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use thiserror::Error;

use super::lock::PrivateLock;
use super::tools::Tools;

/// Why there is no private namespace.
#[derive(Debug, Error)]
pub enum ScratchError {
    /// The process lacks the capability, or a security module or seccomp filter forbids it.
    #[error("a private network namespace can't be made: {what} is not permitted; CAP_SYS_ADMIN is needed for it")]
    Permission {
        /// The step that failed.
        what: &'static str,
    },
    /// Too many namespaces, too little memory, a kernel without them.
    #[error("a private network namespace can't be made: {what} failed: {source}")]
    System {
        /// The step that failed.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl ScratchError {
    fn new(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM | Errno::ACCESS) => Self::Permission { what },
            _ => Self::System { what, source },
        }
    }
}

/// A network namespace of our own.
#[derive(Debug)]
pub struct Scratch {
    namespace: File,
    lock: Arc<PrivateLock>,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// [`ScratchError`]
    pub fn create() -> Result<Self, ScratchError> {
        let lock = PrivateLock::create().map_err(|error| ScratchError::new("creating a lock file", error))?;
        let namespace = on_thread(|| {
            leave_network_namespace().map_err(|error| ScratchError::new("unshare(CLONE_NEWNET)", error.into()))?;
            File::open("/proc/thread-self/ns/net")
                .map_err(|error| ScratchError::new("opening /proc/thread-self/ns/net", error))
        })??;
        Ok(Self { namespace, lock: Arc::new(lock) })
    }

    /// Runs `work` on a thread inside the namespace; tools that it starts work there too.
    ///
    /// # Errors
    /// [`ScratchError`] if the thread can't get there; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, ScratchError> {
        on_thread(|| {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| ScratchError::new("setns(CLONE_NEWNET)", error.into()))?;
            Ok(work())
        })?
    }

    /// `tools` for use inside: iptables-legacy takes a lock of its own.
    pub fn tools(&self, tools: &Tools) -> Tools {
        tools.clone().with_private_lock(Arc::clone(&self.lock))
    }
}

/// Runs `work` on a thread of its own and waits for it; a panic in it goes on in the caller.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ScratchError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("ruleward-scratch".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|error| ScratchError::new("starting a thread", error))?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes an ordinary user root in a user namespace of its own, where private network namespaces can be made; root stays what it
/// is. Only for a process that has no other threads.
///
/// # Errors
/// When the kernel does not permit it, with what would.
#[allow(unsafe_code)]
pub fn become_root() -> Result<(), String> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if user.is_root() {
        return Ok(());
    }
    // SAFETY: `unshare_unsafe` is unsafe for CLONE_FILES alone, which is not asked for. CLONE_NEWUSER touches no memory and
    // no descriptor, and the kernel refuses it to a process with several threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(|error| {
        format!(
            "a user namespace can't be made: {error}. Do this as root, or permit it: \
             sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
        )
    })?;
    let identity = || -> io::Result<()> {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        std::fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
    };
    identity().map_err(|error| format!("becoming root in a user namespace failed: {error}"))
}

/// Gives the calling thread a new network namespace.
#[allow(unsafe_code)]
fn leave_network_namespace() -> Result<(), Errno> {
    // SAFETY: `unshare_unsafe` is unsafe for CLONE_FILES alone, after which descriptors mean different things in
    // different threads. CLONE_NEWNET touches no memory and no descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}
