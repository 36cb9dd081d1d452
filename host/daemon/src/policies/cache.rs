//! Keeps compiled components from run to run, in a folder that only the daemon can write to. An entry's name says what
//! it was compiled from and by which engine, and the digest of its bytes: an entry that is damaged, foreign or of
//! another engine is removed and compiled again, never mapped. Without a usable folder everything still works, slower,
//! and a warning says so.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmtime::component::Component;

use super::artefact::{self, Trusted};
use super::compile::{CompileError, Compiler};
use super::engine::{self, Sandbox};
use crate::private_dir::{self, PrivateDir};

/// Ends the names of entries.
const SUFFIX: &str = ".cwasm";
/// Begins the names of folders in which a child works.
const WORK: &str = ".work-";
/// Age at which a work folder belongs to nobody any more: a child lives for a minute.
const ABANDONED: Duration = Duration::from_secs(600);

/// The cache.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    compiler: Compiler,
}

/// A component ready to be linked, and what the operator should know about how it came.
#[derive(Debug)]
pub struct Loaded {
    /// The component.
    pub component: Component,
    /// It was compiled just now.
    pub compiled: bool,
    /// What is wrong with the cache, one sentence each.
    pub warnings: Vec<String>,
}

impl Cache {
    /// The cache in the folder `path`, which is made when it is needed.
    pub fn new(path: PathBuf, compiler: Compiler) -> Self {
        Self { path, compiler }
    }

    /// The component with these bytes and this digest, from the cache or compiled.
    ///
    /// # Errors
    /// When it can't be compiled, neither in the cache's folder nor in a temporary one.
    pub fn load(&self, sandbox: &Sandbox, bytes: &[u8], digest: &str) -> Result<Loaded, CompileError> {
        let key = engine::sha256(format!("{digest} {}", sandbox.fingerprint).as_bytes());
        let mut warnings = Vec::new();
        match PrivateDir::open(&self.path) {
            Ok(folder) => {
                if let Some(component) = find(&folder, sandbox, &key, &mut warnings) {
                    return Ok(Loaded { component, compiled: false, warnings });
                }
                match self.compile_into(&folder, sandbox, bytes, &key, &mut warnings) {
                    Ok(component) => return Ok(Loaded { component, compiled: true, warnings }),
                    Err(CompileError::Io(problem)) => warnings.push(unusable(&problem)),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => warnings.push(unusable(&error.to_string())),
        }
        let work = temporary_folder().map_err(|e| CompileError::Io(format!("no place for temporary files: {e}")))?;
        let (code, _) = self.compiler.compile(bytes, work.path())?;
        Ok(Loaded { component: map(sandbox, code)?, compiled: true, warnings })
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
        let digest = private_dir::open_own(&path).and_then(digest).map_err(io)?;
        let name = format!("{key}.{digest}{SUFFIX}");
        let from = path.strip_prefix(folder.path()).unwrap_or(&path);
        if let Err(error) = folder.place(from.as_os_str(), OsStr::new(&name)) {
            warnings.push(unusable(&error.to_string()));
        }
        map(sandbox, code)
    }

    /// Removes entries of components other than these digests, and what crashed children left. Answers how many.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn prune(&self, sandbox: &Sandbox, keep: &[&str]) -> Result<usize, private_dir::PrivateError> {
        let folder = PrivateDir::open(&self.path)?;
        let keys: BTreeSet<_> =
            keep.iter().map(|digest| engine::sha256(format!("{digest} {}", sandbox.fingerprint).as_bytes())).collect();
        let mut removed = 0;
        for name in folder.names()? {
            let Some(text) = name.to_str() else { continue };
            let kept = text.split_once('.').is_some_and(|(key, _)| keys.contains(key));
            if text.starts_with(WORK) && is_abandoned(&self.path.join(text)) {
                std::fs::remove_dir_all(self.path.join(text))
                    .map_err(|source| private_dir::PrivateError::Io { path: self.path.join(text), source })?;
                removed += 1;
            } else if text.ends_with(SUFFIX) && !kept {
                folder.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn is_abandoned(path: &Path) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED))
}

fn unusable(problem: &str) -> String {
    format!("compiled policies can't be kept, so that each start compiles them again: {problem}")
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
    let found = file.try_clone().and_then(digest).map_err(|e| format!("can't be read: {e}"))?;
    if stated != Some(found.as_str()) {
        return Err("is damaged: its digest is not the one in its name".to_owned());
    }
    // The folder and the file are ours alone to write, and the bytes are those that were named when a child of ours
    // wrote them.
    artefact::map(&sandbox.engine, Trusted::promise(file)).map_err(|e| format!("can't be mapped: {e:#}"))
}

fn digest(mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(engine::hex(&hash.finalize())),
            count => hash.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// A private folder outside the state directory.
fn temporary_folder() -> io::Result<TempDir> {
    let builder = |at: &Path| tempfile::Builder::new().prefix("ruleward-").tempdir_in(at);
    builder(&std::env::temp_dir()).or_else(|first| builder(Path::new("/dev/shm")).map_err(|_| first))
}
