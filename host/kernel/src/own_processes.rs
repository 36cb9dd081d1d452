//! The tools that this program has started. What they write is heard and looked at like any other change, and no incident
//! names them as the one who did it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many are kept in mind: what a tool has written is heard before so many more have run.
const KEPT: usize = 64;

static RECENT: Mutex<VecDeque<u32>> = Mutex::new(VecDeque::new());

/// A tool was started.
pub fn note(pid: u32) {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if recent.len() >= KEPT {
        recent.pop_front();
    }
    recent.push_back(pid);
}

/// Whether it is one of them. A process of another program may have the number of one that has ended: then it goes
/// unnamed, and what it did is found all the same.
pub fn is_own(pid: u32) -> bool {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
}
