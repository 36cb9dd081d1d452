//! What the C library keeps of freed memory, on the GNU one; others are left alone.
//!
//! A rehearsal holds every rule several times for a moment, on threads of its own. Left alone, the library keeps that
//! memory for each thread apart and never gives it back: a quarter of what the daemon then holds.

/// All threads share one heap from now on. They hardly ever work at the same time. To be called before others start.
#[allow(unsafe_code)]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives freed memory back to the kernel. Takes some milliseconds: for after a rehearsal, not for each check.
#[allow(unsafe_code)]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and locks the heap; memory in use is not touched.
    unsafe {
        libc::malloc_trim(0);
    }
}
