//! Empty network namespaces, one for each measurement that needs one. What runs inside is started by a thread that has
//! moved there.

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::command::Run;

/// The kernel takes a namespace apart in the background; measuring goes on when it has had time for that.
const SETTLING: Duration = Duration::from_millis(300);

/// A network namespace with a name; gone when dropped.
pub struct Namespace(String);

impl Namespace {
    /// An empty one.
    pub fn create() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Run::new("ip").args(["netns", "add", &name]).text()?;
        Ok(Self(name))
    }

    /// Runs `work` inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.0);
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot move into {path}"))?;
                work()
            });
            inside.join().map_err(|_| anyhow!("the thread inside the namespace panicked"))?
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It lies in our private /run, so what is left over goes with us.
        let _ = Run::new("ip").args(["netns", "delete", &self.0]).text();
        thread::sleep(SETTLING);
    }
}
