//! Keeps compiled components from run to run, in a folder that only the daemon can write to. An entry's name says what
//! it was compiled from and by which engine, and the digest of that engine and its bytes: an entry that is damaged, foreign or of
//! another engine is removed and compiled again, never mapped. Without a usable folder everything still works, slower,
//! and a warning says so.
//!
//! Policies with the same component share one mapping of it. What was used longest ago goes when all entries together are over a size. So entries of other engines and of components
//! that nobody uses any more go by themselves.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::artefact::{self, Trusted};
use super::compile::{CompileError, Compiler};
use super::engine::Sandbox;
use ruleward_files::digest;
use ruleward_files::private_dir::{self, PrivateDir, PrivateError};

/// Ends the names of entries.
const SUFFIX: &str = ".cwasm";
/// Begins the names of folders in which a child works.
const WORK: &str = ".work-";
/// Age at which a work folder belongs to nobody any more: a child lives for a minute.
const ABANDONED: Duration = Duration::from_secs(600);
/// Bytes of one entry: what is larger was not compiled here, and is not even read. The largest that are known have 35 MiB.
const LARGEST: u64 = 256 << 20;
/// Bytes of all entries together: some thirty of the largest that are known.
const MOST: u64 = 1 << 30;

/// The cache.
pub struct Cache {
    path: PathBuf,
    compiler: Compiler,
    /// Bytes of all entries together.
    most: u64,
    /// Components that some policy uses at this moment, by their keys.
    used: Mutex<BTreeMap<String, Weak<Component>>>,
}

/// A component ready to be linked, and what the operator should know about how it came.
pub struct Loaded {
    /// The component; others get the same one as long as another program holds it.
    pub component: Arc<Component>,
    /// It was compiled just now.
    pub compiled: bool,
    /// What is wrong with the cache, one sentence each.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("path", &self.path).field("compiler", &self.compiler).finish_non_exhaustive()
    }
}

impl Cache {
    /// The cache in the folder `path`, which is made when it is needed.
    pub fn new(path: PathBuf, compiler: Compiler) -> Self {
        Self { path, compiler, most: MOST, used: Mutex::default() }
    }

    /// With another bound for all entries together, bytes.
    #[cfg(test)]
    pub fn with_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// The component with these bytes and this digest, from the cache or compiled.
    ///
    /// # Errors
    /// When it can't be compiled, neither in the cache's folder nor in a temporary one.
    pub fn load(&self, sandbox: &Sandbox, bytes: &[u8], digest: &str) -> Result<Loaded, CompileError> {
        let key = key(sandbox, digest);
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).get(&key).and_then(Weak::upgrade);
        if let Some(component) = used {
            return Ok(Loaded { component, compiled: false, warnings: Vec::new() });
        }
        let mut warnings = Vec::new();
        let (component, compiled) = self.find_or_compile(sandbox, bytes, &key, &mut warnings)?;
        let component = Arc::new(component);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, component| component.strong_count() > 0);
        used.insert(key, Arc::downgrade(&component));
        Ok(Loaded { component, compiled, warnings })
    }

    /// The component, and whether it was compiled for it.
    fn find_or_compile(
        &self,
        sandbox: &Sandbox,
        bytes: &[u8],
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(Component, bool), CompileError> {
        match self.folder() {
            Ok(folder) => {
                if let Some(component) = find(&folder, sandbox, key, warnings) {
                    return Ok((component, false));
                }
                match self.compile_into(&folder, sandbox, bytes, key, warnings) {
                    Ok(component) => return Ok((component, true)),
                    Err(CompileError::Io(problem)) => warnings.push(unusable(&problem)),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => warnings.push(unusable(&error.to_string())),
        }
        Ok((self.compile_elsewhere(sandbox, bytes)?, true))
    }

    fn folder(&self) -> Result<PrivateDir, PrivateError> {
        let folder = PrivateDir::open(&self.path)?;
        private_dir::guarded(&self.path)?;
        Ok(folder)
    }

    /// In the first place outside the state directory that has room.
    fn compile_elsewhere(&self, sandbox: &Sandbox, bytes: &[u8]) -> Result<Component, CompileError> {
        let mut problem = None;
        for place in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
            let compiled = tempfile::Builder::new()
                .prefix("ruleward-")
                .tempdir_in(&place)
                .map_err(|error| {
                    CompileError::Io(format!("no place for temporary files: {}: {error}", place.display()))
                })
                .and_then(|work| map(sandbox, self.compiler.compile(bytes, work.path())?.0));
            match compiled {
                Err(error @ CompileError::Io(_)) => _ = problem.get_or_insert(error),
                decided => return decided,
            }
        }
        Err(problem.unwrap_or_else(|| CompileError::Io("no place for temporary files".to_owned())))
    }

    fn compile_into(
        &self,
        folder: &PrivateDir,
        sandbox: &Sandbox,
        bytes: &[u8],
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Component, CompileError> {
        let io = |error: io::Error| CompileError::Io(format!("{}: {error}", folder.path().display()));
        let work = tempfile::Builder::new().prefix(WORK).tempdir_in(folder.path()).map_err(io)?;
        let (code, path) = self.compiler.compile(bytes, work.path())?;
        let digest = private_dir::open_own(&path).and_then(|file| seal(sandbox, file)).map_err(io)?;
        let name = format!("{key}.{digest}{SUFFIX}");
        let from = path.strip_prefix(folder.path()).unwrap_or(&path);
        if let Err(error) = folder.place(from.as_os_str(), OsStr::new(&name)) {
            warnings.push(unusable(&error.to_string()));
        }
        let component = map(sandbox, code);
        if let Err(error) = self.make_room(folder, &name) {
            warnings.push(format!("old entries of the cache of compiled policies can't be removed: {error}"));
        }
        component
    }

    /// Removes entries of components other than those with these digests. Answers how many.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn prune(&self, sandbox: &Sandbox, keep: &[&str]) -> Result<usize, PrivateError> {
        let folder = PrivateDir::open(&self.path)?;
        let keys: Vec<_> = keep.iter().map(|digest| key(sandbox, digest)).collect();
        let mut removed = 0;
        for name in folder.names()? {
            let Some((entry, _)) =
                name.to_str().filter(|text| text.ends_with(SUFFIX)).and_then(|text| text.split_once('.'))
            else {
                continue;
            };
            if !keys.iter().any(|key| key == entry) {
                folder.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes what was used longest ago until the rest fits, `newest` apart, and what crashed children left.
    fn make_room(&self, folder: &PrivateDir, newest: &str) -> Result<(), PrivateError> {
        let mut entries = Vec::new();
        let mut room = self.most;
        for name in folder.names()? {
            let Some(text) = name.to_str() else { continue };
            let path = self.path.join(text);
            if text.starts_with(WORK) && is_abandoned(&path) {
                std::fs::remove_dir_all(&path).map_err(|source| PrivateError::Io { path, source })?;
            } else if text.ends_with(SUFFIX)
                && let Ok(metadata) = std::fs::symlink_metadata(&path)
            {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push((text != newest, std::cmp::Reverse(used), metadata.len(), name));
            }
        }
        entries.sort();
        for (_, _, size, name) in entries {
            match room.checked_sub(size) {
                Some(left) => room = left,
                None if name == newest => {}
                None => folder.remove(&name)?,
            }
        }
        Ok(())
    }
}

/// Names a component compiled for this very engine: for its wasmtime, settings and processor.
fn key(sandbox: &Sandbox, digest: &str) -> String {
    digest::hex_of(format!("{digest} {}", sandbox.fingerprint).as_bytes())
}

fn is_abandoned(path: &Path) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED))
}

fn unusable(problem: &str) -> String {
    format!("compiled policies can't be saved, so each start compiles them again: {problem}")
}

fn map(sandbox: &Sandbox, code: Trusted) -> Result<Component, CompileError> {
    artefact::map(&sandbox.engine, code).map_err(|e| CompileError::Io(format!("compiled code can't be mapped: {e:#}")))
}

/// The entry of this key, if there is one that is whole; others of the key are removed.
fn find(folder: &PrivateDir, sandbox: &Sandbox, key: &str, warnings: &mut Vec<String>) -> Option<Component> {
    let names = match folder.names() {
        Ok(names) => names,
        Err(error) => {
            warnings.push(unusable(&error.to_string()));
            return None;
        }
    };
    let is_entry = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(key) && name.ends_with(SUFFIX));
    for name in names.into_iter().filter(is_entry) {
        match entry(folder, sandbox, key, &name) {
            Ok(component) => return Some(component),
            Err(problem) => {
                let what = format!("{} {problem}; it was removed and is compiled again", name.display());
                warnings.push(match folder.remove(&name) {
                    Ok(()) => what,
                    Err(error) => format!("{} {problem}, and it can't be removed: {error}", name.display()),
                });
            }
        }
    }
    None
}

fn entry(folder: &PrivateDir, sandbox: &Sandbox, key: &str, name: &OsStr) -> Result<Component, String> {
    let stated = name.to_str().and_then(|name| name.strip_prefix(key)?.strip_prefix('.')?.strip_suffix(SUFFIX));
    let file = folder.file(name).map_err(|e| format!("is not trusted: {e}"))?.ok_or("has vanished")?;
    let metadata = file.metadata().map_err(|e| format!("can't be read: {e}"))?;
    if metadata.len() > LARGEST {
        return Err(format!("is no compiled code: it is {} bytes long", metadata.len()));
    }
    let links = metadata.nlink();
    if links != 1 {
        return Err(format!("is not trusted: it has {links} names (hard links), and should have one"));
    }
    let found = file.try_clone().and_then(|file| seal(sandbox, file)).map_err(|e| format!("can't be read: {e}"))?;
    if stated != Some(found.as_str()) {
        return Err("is damaged or of another engine: its digest is not the one in its name".to_owned());
    }
    // The folder and the file are ours alone to write, and the bytes are those that were named when a child of ours
    // wrote them.
    let used = file.try_clone();
    let component =
        artefact::map(&sandbox.engine, Trusted::promise(file)).map_err(|e| format!("can't be mapped: {e:#}"));
    if component.is_ok() {
        // On a read-only disk the order of last use stays as it is, and nothing is removed either.
        let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
    }
    component
}

/// Digest of the engine and the bytes. wasmtime compares most settings when it maps code, and not all: whether NaN has one bit
/// pattern is not among them.
fn seal(sandbox: &Sandbox, mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(&sandbox.fingerprint);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest::hex(&hash.finalize())),
            count => hash.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
