//! The node's own packet filter behind [`Port`]: the stock tools, the xtables lock, and the kernel's own words for rules.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruleward_core::encoded_rule::{EncodedRule, RawTable, Stamp};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::sets::ListReader;
use ruleward_core::transaction::Transaction;
use rustix::io::Errno;

use super::in_flight::InFlight;
use super::legacy::{self, LegacyReader};
use super::lock::{self, LockError, LockWait, PrivateLock, XtablesLock};
use super::nfnetlink::Nfnetlink;
use super::nft::{self, Nft};
use super::objects::Objects;
use super::port::{Depth, Port, RawError, SetsDigest, TransactError, Wanted, marks_line};
use super::process::ToolError;
use super::scratch::{Scratch, ScratchError};
use super::set_digest;
use super::tools::{RestoreError, Tools};

/// A wait that is shorter is nothing to speak of.
const WORTH_SAYING: Duration = Duration::from_secs(1);

/// Hears who waits for what, `None` when the wait is over, and says whether to go on waiting.
pub type OnWait = Arc<dyn Fn(Option<String>) -> ControlFlow<()> + Send + Sync>;

/// The calling thread's network namespace.
pub struct Live {
    tools: Tools,
    rules: Rules,
    /// For sets, which both backends have.
    netlink: Option<Arc<Mutex<Nfnetlink>>>,
    clients: Arc<Mutex<InFlight>>,
    lock: LockSettings,
    held: Option<XtablesLock>,
}

/// How rules are read byte for byte.
#[derive(Clone)]
enum Rules {
    Nft(Arc<Mutex<Nft>>),
    Legacy(Arc<LegacyReader>),
    /// Not at all, for this reason.
    No(String),
}

impl Rules {
    /// In the calling thread's namespace.
    fn open(backend: Backend) -> Self {
        match backend {
            Backend::Nft => match Nft::open() {
                Ok(nft) => Self::Nft(Arc::new(Mutex::new(nft))),
                Err(error) => Self::No(format!("netlink: {error}")),
            },
            Backend::Legacy => match LegacyReader::open() {
                Ok(reader) => Self::Legacy(Arc::new(reader)),
                Err(error) => Self::No(error.to_string()),
            },
        }
    }

    fn nft(&self) -> Option<MutexGuard<'_, Nft>> {
        match self {
            // A panic while it was held leaves a socket whose old answers are told apart by their number.
            Self::Nft(nft) => Some(nft.lock().unwrap_or_else(PoisonError::into_inner)),
            _ => None,
        }
    }
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
        let rules = Rules::open(tools.backend());
        let private = if nft { None } else { PrivateLock::create().ok().map(Arc::new) };
        let lock = LockSettings { path: lock::default_path(), timeout: lock_timeout, on_wait, private };
        let netlink = open_netlink();
        Self { tools, rules, netlink, clients: Arc::default(), lock, held: None }
    }

    /// The same, where no lock has to be held.
    fn without_lock(&self) -> Self {
        Self {
            tools: self.tools.clone(),
            rules: self.rules.clone(),
            netlink: self.netlink.clone(),
            clients: Arc::clone(&self.clients),
            lock: self.lock.clone(),
            held: None,
        }
    }
}

impl Live {
    /// Where another thread walks through many members, this one does not wait for its socket.
    fn ask_of_sets<T>(&self, ask: impl FnOnce(&mut Nfnetlink) -> Result<T, Errno>) -> Option<T> {
        match self.netlink.as_ref()?.try_lock() {
            Ok(mut netlink) => ask(&mut netlink).ok(),
            Err(_) => ask(&mut Nfnetlink::open().ok()?).ok(),
        }
    }
}

fn locked(netlink: &Mutex<Nfnetlink>) -> MutexGuard<'_, Nfnetlink> {
    // A panic while it was held leaves a socket whose old answers are told apart by their number.
    netlink.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_netlink() -> Option<Arc<Mutex<Nfnetlink>>> {
    Some(Arc::new(Mutex::new(Nfnetlink::open().ok()?)))
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

    fn why_refused(&self, family: Family, table: Table, chain: &str, rule: &str) -> Option<String> {
        self.tools.why_refused(family, table, chain, rule)
    }

    fn sets(&self, wanted: &dyn Fn(&str) -> bool, list: &mut ListReader) -> Result<(), ToolError> {
        let names = self.ask_of_sets(set_digest::names);
        let Some(names) = names else { return self.tools.ipset_list(list) };
        let names: Vec<String> = names.into_iter().filter(|name| wanted(name)).collect();
        // One may go meanwhile; then the list of all is asked for.
        self.tools.ipset_list_some(&names, list).or_else(|_| {
            *list = ListReader::default();
            self.tools.ipset_list(list)
        })
    }

    fn sets_digest(&self, depth: &dyn Fn(&str) -> Option<Depth>) -> Option<SetsDigest> {
        self.ask_of_sets(|netlink| set_digest::digest(netlink, depth))
    }

    fn set_references(&self, set: &str) -> Option<u32> {
        self.ask_of_sets(|netlink| set_digest::references(netlink, set))?
    }

    fn restore_sets(&self, script: &str) -> Result<(), RestoreError> {
        self.tools.ipset_restore(script)
    }

    fn generation(&self) -> Option<u32> {
        self.rules.nft()?.generation().ok()
    }

    fn stamp(&self, family: Family, table: Table) -> Option<Stamp> {
        match &self.rules {
            Rules::Legacy(reader) => Some(reader.snapshot(family, table).ok()?.stamp()),
            Rules::Nft(_) | Rules::No(_) => None,
        }
    }

    fn raw(&self, family: Family, table: Table, wanted: Wanted<'_>) -> Result<RawTable, RawError> {
        let failed = |reason: String| RawError::Failed { family, table, reason };
        match &self.rules {
            Rules::No(reason) => Err(RawError::Unsupported(reason.clone())),
            Rules::Nft(_) => match self.rules.nft() {
                Some(mut nft) => nft.table(family, table, wanted).map_err(|error| failed(error.to_string())),
                None => Err(RawError::Unsupported("no socket".to_owned())),
            },
            Rules::Legacy(reader) => {
                let whole = reader.table(family, table).map_err(|error| failed(error.to_string()))?;
                Ok(wanted.narrow(whole))
            }
        }
    }

    fn stands_alone(&self, form: &EncodedRule) -> bool {
        nft::stands_alone(form)
    }

    fn marks(&self, family: Family, form: &EncodedRule) -> String {
        match self.backend() {
            Backend::Nft => nft::marks(form),
            Backend::Legacy => {
                let target = legacy::target(form, family).filter(|target| !target.is_empty());
                marks_line(form, &legacy::comments(form, family), target.as_deref().map(|target| ("-j", target)))
            }
        }
    }

    fn lighter(&self, form: &EncodedRule) -> Option<EncodedRule> {
        if self.backend() == Backend::Nft { nft::lighter(form) } else { None }
    }

    fn shows_all(&self, form: &EncodedRule) -> bool {
        self.backend() == Backend::Legacy || nft::is_of_iptables(form)
    }

    fn transact(&self, transaction: &Transaction) -> Result<(), TransactError> {
        match self.rules.nft() {
            Some(mut nft) => nft.transact(transaction),
            None => Err(TransactError::Impossible("this backend has no transactions".to_owned())),
        }
    }

    fn wait_for_clients(&self, until: Instant) -> bool {
        // On legacy the lock keeps writers apart.
        self.backend() == Backend::Nft && self.clients.lock().unwrap_or_else(PoisonError::into_inner).wait(until)
    }

    fn exclusive(&self) -> Result<Box<dyn Port + '_>, LockError> {
        if self.backend() == Backend::Nft || self.held.is_some() {
            return Ok(Box::new(self.without_lock()));
        }
        // Without a lock of their own our tools would wait for us: then they take the node's lock themselves.
        let lock = self.lock.clone();
        let Some(private) = &lock.private else {
            return Ok(Box::new(self.without_lock()));
        };
        let tools = self.tools.clone().with_private_lock(Arc::clone(private));
        let mut told = false;
        let mut on_wait = |wait: &LockWait<'_>| {
            // Many hold it for milliseconds: that is how it is meant.
            if !told && wait.elapsed >= WORTH_SAYING {
                tracing::warn!("waiting {wait}; nothing is written until it is free");
                told = true;
            }
            (lock.on_wait)(Some(wait.to_string()))
        };
        let held = XtablesLock::acquire(&lock.path, lock.timeout, &mut on_wait);
        let _ = (lock.on_wait)(None); // nothing is waited for any more
        let clients = Arc::clone(&self.clients);
        let (rules, netlink) = (self.rules.clone(), self.netlink.clone());
        Ok(Box::new(Self { tools, rules, netlink, clients, held: Some(held?), lock }))
    }

    fn in_scratch(&self, work: &mut (dyn FnMut(&dyn Port) + Send)) -> Result<(), ScratchError> {
        let scratch = Scratch::create()?;
        let tools = scratch.tools(&self.tools);
        let lock = self.lock.clone();
        let objects = self.netlink.as_ref().map(|netlink| Objects::read(&mut locked(netlink))).unwrap_or_default();
        scratch.run(|| {
            let rules = Rules::open(tools.backend());
            let netlink = open_netlink();
            if let Some(netlink) = netlink.as_ref().filter(|_| !objects.is_empty())
                && let Err(error) = objects.make(&mut locked(netlink))
            {
                tracing::debug!("not all accounting and timeout objects can be made for a rehearsal: {error}");
            }
            work(&Self { tools, rules, netlink, clients: Arc::default(), lock, held: None });
        })
    }
}
