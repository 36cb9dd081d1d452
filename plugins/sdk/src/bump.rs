//! The allocator of a component: it hands out memory and takes back only the block that it handed out last. An
//! instance lives for one call, so what is not taken back costs nothing, and allocating is an addition and a
//! comparison. Fails, as allocators do, with a null pointer when the host grants no more memory.

#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; each block carries its proof")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::Cell;
use core::ptr;

/// Bytes in a page of linear memory.
const PAGE: usize = 65_536;
/// Pages asked for at once, at least.
const STEP: usize = 8;

/// Memory from `next` to `end` is free and belongs to this allocator alone.
struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: components are built without the threads proposal (wasm32-unknown-unknown without `atomics`), so there is
// one thread, and none of the methods calls code that could enter the allocator again.
unsafe impl Sync for Bump {}

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

impl Bump {
    /// Makes at least `size` more bytes free behind `end`, or starts a new stretch if somebody else grew the memory.
    fn grow(&self, size: usize) -> bool {
        let pages = (size / PAGE + 1).max(STEP);
        let before = wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return false;
        }
        // The host never grows the memory beyond 4 GiB; a stretch that ends exactly there is cut by one byte.
        let start = before * PAGE;
        if start != self.end.get() {
            self.next.set(start);
        }
        self.end.set(start.saturating_add(pages * PAGE));
        true
    }

    fn take(&self, size: usize, align: usize) -> *mut u8 {
        loop {
            // `align` is a power of two by the contract of Layout.
            let start = self.next.get().checked_add(align - 1).map(|at| at & !(align - 1));
            let Some(stop) = start.and_then(|start| start.checked_add(size)) else { return ptr::null_mut() };
            if stop <= self.end.get() {
                self.next.set(stop);
                return (stop - size) as *mut u8;
            }
            if !self.grow(size + align) {
                return ptr::null_mut();
            }
        }
    }

    /// Gives the block a new size where it stands, if it ends where free memory begins and there is room.
    fn resize_last(&self, block: *mut u8, size: usize, new_size: usize) -> bool {
        let start = block as usize;
        if start + size != self.next.get() {
            return false;
        }
        let Some(stop) = start.checked_add(new_size) else { return false };
        if stop > self.end.get() && !(self.grow(stop - self.end.get()) && stop <= self.end.get()) {
            return false;
        }
        // Growing may have started a new stretch elsewhere.
        if start + size != self.next.get() {
            return false;
        }
        self.next.set(stop);
        true
    }
}

// SAFETY: `take` gives each byte between `next` and `end` to one caller: it moves `next` behind the block before it
// returns, and the bytes come from `memory.grow`, so nobody else has them. Blocks are aligned, and `stop <= end` keeps
// them inside linear memory. `next` moves back only in `resize_last`, and only over bytes of the block that the caller
// of `dealloc` or `realloc` gives up there: the last one handed out, since it ends at `next`. It moves forward there
// only over free bytes, which then belong to that block.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.resize_last(block, layout.size(), 0);
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = self.take(layout.size(), layout.align());
        if !block.is_null() {
            // Memory that was taken back may have been written to.
            // SAFETY: `take` gave `layout.size()` bytes at `block`.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.resize_last(block, layout.size(), new_size) || new_size <= layout.size() {
            return block;
        }
        let moved = self.take(new_size, layout.align());
        if !moved.is_null() {
            // SAFETY: the new block is larger than the old one, and `take` gave new bytes, so they don't overlap.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size()) };
        }
        moved
    }
}
