//! Lets a thread run the moment it wakes: who writes may be gone a millisecond later, and on a busy machine an ordinary
//! thread waits longer than that for its turn.
//!
//! For threads that do next to nothing and then wait. Needs `CAP_SYS_NICE`; without it they wait like all others.
//! Source: `sched_setscheduler(2)`.

use rustix::io::Errno;

/// The lowest of the real-time priorities, which is above all ordinary threads.
const LOWEST: libc::c_int = 1;

/// Raises the calling thread above ordinary ones; threads and processes that it starts are not raised.
#[allow(unsafe_code)]
pub(super) fn raise_this_thread() -> Result<(), Errno> {
    let priority: libc::c_int = LOWEST;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads one `struct sched_param`, which is one `int`, from an address that outlives the call. The
    // system call and not the library's function: that refuses on musl. 0 is the calling thread.
    let status = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    if status == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error))
}
