//! Which folders to watch to hear of every change of what a path leads to. A path is a chain of names, each looked up in
//! a folder, and links lead on to others: a change of any of them can lead elsewhere. So Kubernetes swaps a ConfigMap
//! (`ruleward.toml -> ..data/ruleward.toml`, `..data -> ..2026_01_01`), editors rename over a file, and a folder that does
//! not exist yet appears.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;
/// Folders in folders that are watched.
const DEEPEST: usize = 16;
/// Most folders and names that are watched.
const MOST: usize = 10_000;

/// What matters in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// These names.
    Names(BTreeSet<OsString>),
    /// Every name.
    All,
}

impl Interest {
    /// Whether a name matters.
    pub fn holds(&self, name: &OsStr) -> bool {
        match self {
            Self::Names(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// Folders to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    folders: BTreeMap<PathBuf, Interest>,
    count: usize,
}

/// There are more than can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Places {
    /// By path. No path holds a link.
    pub fn folders(&self) -> &BTreeMap<PathBuf, Interest> {
        &self.folders
    }

    /// Adds what leads to `path`, an absolute one, and where it ends as far as it exists.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn add(&mut self, path: &Path) -> Result<PathBuf, TooMany> {
        let mut rest: VecDeque<OsString> = names(path);
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            self.interest(&at, &name)?;
            let next = at.join(&name);
            match std::fs::read_link(&next) {
                Ok(target) if links < MOST_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    let mut through = names(&target);
                    through.append(&mut rest);
                    rest = through;
                }
                _ => at = next, // a folder, a file, or nothing yet
            }
        }
        Ok(at)
    }

    /// Adds what leads to the folder `path`, everything in it, and what links in it lead to.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn add_all_below(&mut self, path: &Path) -> Result<(), TooMany> {
        self.add_below_without(path, &|_| false)
    }

    /// The same without folders that `skips` names.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn add_below_without(&mut self, path: &Path, skips: &dyn Fn(&Path) -> bool) -> Result<(), TooMany> {
        let folder = self.add(path)?;
        self.below(&folder, 0, skips)
    }

    fn below(&mut self, folder: &Path, depth: usize, skips: &dyn Fn(&Path) -> bool) -> Result<(), TooMany> {
        let known = self.folders.get(folder) == Some(&Interest::All);
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        if known || depth > DEEPEST {
            return Ok(());
        }
        self.count()?;
        self.folders.insert(folder.to_owned(), Interest::All);
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let end = if kind.is_symlink() { self.add(&entry.path())? } else { entry.path() };
            let is_folder = kind.is_dir() || (kind.is_symlink() && end.is_dir());
            if is_folder && !skips(&entry.path()) {
                self.below(&end, depth + 1, skips)?;
            }
        }
        Ok(())
    }

    fn interest(&mut self, folder: &Path, name: &OsStr) -> Result<(), TooMany> {
        self.count()?;
        match self.folders.entry(folder.to_owned()).or_insert_with(|| Interest::Names(BTreeSet::new())) {
            Interest::Names(names) => drop(names.insert(name.to_owned())),
            Interest::All => {}
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), TooMany> {
        self.count += 1;
        if self.count > MOST { Err(TooMany) } else { Ok(()) }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_name_that_leads_to_a_file_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..2026")).unwrap();
        std::fs::write(root.join("..2026/x.toml"), "").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/x.toml", root.join("x.toml")).unwrap();
        let mut places = Places::default();
        assert_eq!(places.add(&root.join("x.toml")), Ok(root.join("..2026/x.toml")));
        let interest = |path: &Path, name: &str| places.folders()[path].holds(OsStr::new(name));
        assert!(interest(&root, "x.toml") && interest(&root, "..data") && interest(&root, "..2026"));
        assert!(interest(&root.join("..2026"), "x.toml") && !interest(&root, "other"));
        assert!(interest(root.parent().unwrap(), root.file_name().unwrap().to_str().unwrap()));
    }

    #[test]
    fn what_does_not_exist_yet_is_watched_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut places = Places::default();
        places.add(&root.join("not/yet/there")).unwrap();
        assert!(places.folders()[&root].holds(OsStr::new("not")));
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        symlink(".", root.join("self")).unwrap();
        let mut places = Places::default();
        places.add(&root.join("a/x")).unwrap();
        places.add_all_below(&root).unwrap();
        assert_eq!(places.folders()[&root], Interest::All);
    }
}
