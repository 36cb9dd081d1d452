//! The node's own packet filter behind [`Port`]: the stock tools, the xtables lock, nf_tables' generation.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ruleward_core::names::{Backend, Family, Table};

use super::generation::GenerationReader;
use super::lock::{self, LockError, LockWait, PrivateLock, XtablesLock};
use super::port::Port;
use super::process::ToolError;
use super::scratch::{Scratch, ScratchError};
use super::tools::{RestoreError, Tools};

/// Hears who waits for what, `None` when the wait is over, and says whether to go on waiting.
pub type OnWait = Arc<dyn Fn(Option<String>) -> ControlFlow<()> + Send + Sync>;

/// The calling thread's network namespace.
pub struct Live {
    tools: Tools,
    generation: Option<Mutex<GenerationReader>>,
    lock: LockSettings,
    held: Option<XtablesLock>,
}

#[derive(Clone)]
struct LockSettings {
    path: PathBuf,
    timeout: Duration,
    on_wait: OnWait,
    private: Option<Arc<PrivateLock>>,
}

impl Live {
    /// With these tools. `lock_timeout` bounds a wait for the xtables lock.
    pub fn new(tools: Tools, lock_timeout: Duration, on_wait: OnWait) -> Self {
        let nft = tools.backend() == Backend::Nft;
        let generation = if nft { GenerationReader::open().ok().map(Mutex::new) } else { None };
        let private = if nft { None } else { PrivateLock::create().ok().map(Arc::new) };
        let lock = LockSettings { path: lock::default_path(), timeout: lock_timeout, on_wait, private };
        Self { tools, generation, lock, held: None }
    }
}

impl Port for Live {
    fn backend(&self) -> Backend {
        self.tools.backend()
    }

    fn save(&self, family: Family, table: Table) -> Result<String, ToolError> {
        self.tools.save(family, table)
    }

    fn restore(&self, family: Family, script: &str) -> Result<(), RestoreError> {
        self.tools.restore(family, script)
    }

    fn sets(&self) -> Result<String, ToolError> {
        self.tools.ipset_list()
    }

    fn restore_sets(&self, script: &str) -> Result<(), RestoreError> {
        self.tools.ipset_restore(script)
    }

    fn generation(&self) -> Option<u32> {
        self.generation.as_ref()?.lock().ok()?.read().ok()
    }

    fn exclusive(&self) -> Result<Box<dyn Port + '_>, LockError> {
        let lock = self.lock.clone();
        if self.backend() == Backend::Nft || self.held.is_some() {
            let generation = GenerationReader::open().ok().map(Mutex::new);
            return Ok(Box::new(Self { tools: self.tools.clone(), generation, lock, held: None }));
        }
        // Without a lock of their own our tools would wait for us: then they take the node's lock themselves.
        let Some(private) = &lock.private else {
            return Ok(Box::new(Self { tools: self.tools.clone(), generation: None, lock, held: None }));
        };
        let tools = self.tools.clone().with_private_lock(Arc::clone(private));
        let mut told = false;
        let mut on_wait = |wait: &LockWait<'_>| {
            if !told {
                tracing::warn!("waiting {wait}; nothing is written until it is free");
                told = true;
            }
            (lock.on_wait)(Some(wait.to_string()))
        };
        let held = XtablesLock::acquire(&lock.path, lock.timeout, &mut on_wait);
        let _ = (lock.on_wait)(None); // nothing is waited for any more
        Ok(Box::new(Self { tools, generation: None, held: Some(held?), lock }))
    }

    fn in_scratch(&self, work: &mut (dyn FnMut(&dyn Port) + Send)) -> Result<(), ScratchError> {
        let scratch = Scratch::create()?;
        let tools = scratch.tools(&self.tools);
        let lock = self.lock.clone();
        scratch.run(|| work(&Self { tools, generation: None, lock, held: None }))
    }
}
