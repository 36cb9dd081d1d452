//! What the C library keeps of freed memory, on the GNU one; others are left alone.
//!
//! A rehearsal holds every rule several times for a moment, on threads of its own. Left alone, the library keeps that
//! memory for each thread apart and never gives it back: a quarter of what the daemon then holds.

/// From so many bytes on a block is given back when it is freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 << 10;

/// All threads share one heap from now on. They hardly ever work at the same time. To be called before others start.
#[allow(unsafe_code)]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Left alone, the library takes large blocks from the heap once one was freed, and the heap
        // never shrinks below what lies at its end.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
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
