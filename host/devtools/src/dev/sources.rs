//! The sources of a policy: what is watched for changes, and what a build writes and is therefore none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ruleward_files::places::Places;
use ruleward_files::watch::Files;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::AuthorError;
use crate::project::Project;

/// Folders that compilers and package managers fill.
const MADE: [&str; 6] = ["target", "node_modules", "build", "dist", "__pycache__", "venv"];
/// An editor writes several times when it saves: nothing more for so long, and it is done.
const QUIET: Duration = Duration::from_millis(15);
/// Folders in folders that are looked at.
const DEEPEST: usize = 16;

/// Watches a policy's folder.
pub struct Sources {
    folder: PathBuf,
    made: Vec<PathBuf>,
    files: Files,
    seen: Snapshot,
}

/// Files with size and time of change.
type Snapshot = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Sources {
    /// Of the policy in `folder`.
    ///
    /// # Errors
    /// When it can't be watched.
    pub fn watch(folder: &Path, project: &Project) -> Result<Self, AuthorError> {
        let folder = folder.canonicalize().map_err(|error| AuthorError::file(folder, error))?;
        let mut made = vec![folder.join(&project.component)];
        made.extend(project.module.iter().map(|module| folder.join(module)));
        if let Some(bindings) = &project.bindings {
            let below = folder.join(&bindings.folder);
            made.extend(ruleward_author::bindings(bindings.language.into()).iter().map(|(name, _)| below.join(name)));
        }
        let files = Files::open().map_err(|error| AuthorError::file(&folder, format!("can't be watched: {error}")))?;
        let mut sources = Self { folder, made, files, seen: Snapshot::new() };
        sources.listen()?;
        sources.seen = sources.snapshot();
        Ok(sources)
    }

    /// Waits until a source is another than it was when this was last asked, or than at the start.
    ///
    /// # Errors
    /// When nothing can be heard any more.
    pub fn changed(&mut self) -> Result<(), AuthorError> {
        loop {
            let now = self.snapshot();
            if now != self.seen {
                self.seen = now;
                return Ok(());
            }
            self.hear()?;
            self.listen()?;
        }
    }

    /// What a build has made of itself is no change: a file that was not there before it, such as a lock file.
    pub fn built(&mut self) {
        let now = self.snapshot();
        let new = now.into_iter().filter(|(path, _)| !self.seen.contains_key(path));
        self.seen.extend(new.collect::<Snapshot>());
    }

    /// Waits for something to happen, and for the quiet after it.
    fn hear(&mut self) -> Result<(), AuthorError> {
        let mut timeout = None;
        loop {
            let mut fds = [PollFd::from_borrowed_fd(self.files.fd(), PollFlags::IN)];
            let ready = match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => {
                    other.map_err(|error| AuthorError::file(&self.folder, format!("can't be watched: {error}")))?
                }
            };
            if ready == 0 {
                return Ok(());
            }
            self.files.take(&mut |_| {});
            timeout = Timespec::try_from(QUIET).ok();
        }
    }

    fn listen(&mut self) -> Result<(), AuthorError> {
        let mut places = Places::default();
        let watched = places.add_below_without(&self.folder, &is_made);
        watched.map_err(|_| AuthorError::file(&self.folder, "holds too many folders to watch"))?;
        let listening = self.files.watch(&places);
        listening.map_err(|error| AuthorError::file(&self.folder, format!("can't be watched: {error}")))?;
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        self.look(&self.folder, 0, &mut found);
        found
    }

    fn look(&self, folder: &Path, depth: usize, found: &mut Snapshot) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            // Gone again since it was listed.
            let Ok(file) = std::fs::metadata(&path) else { continue };
            if file.is_dir() {
                if depth < DEEPEST && !is_made(&path) {
                    self.look(&path, depth + 1, found);
                }
            } else if !self.made.contains(&path) {
                found.insert(path, (file.len(), file.modified().ok()));
            }
        }
    }
}

/// Hidden folders, and those that are made.
fn is_made(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || MADE.contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_makes_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("mine.c", "1");
        let project: Project =
            toml::from_str("component = \"p.wasm\"\nbuild = \"true\"\nbindings = { language = \"c\", folder = \".\" }")
                .unwrap();
        let mut sources = Sources::watch(folder.path(), &project).unwrap();
        std::fs::create_dir(folder.path().join("build")).unwrap();
        for made in ["p.wasm", "policy.h", "build/x.o"] {
            write(made, "made");
        }
        write("new.lock", "made");
        sources.built();
        assert_eq!(sources.snapshot(), sources.seen);
        write("mine.c", "22");
        sources.changed().unwrap();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        write("more/x.c", "1");
        sources.changed().unwrap();
    }
}
