//! Whether a file is the one that was read: a cheap question, asked at each look. What is loaded is decided by
//! content; a stamp only tells when to look at it again.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file that was changed so short a time before it was looked at may change again without another stamp: the kernel
/// counts its time in steps.
const RACY: Duration = Duration::from_millis(100);

/// What the system says of a file, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// None: there is no such file, or it can't be asked.
    file: Option<Identity>,
    /// It had just been changed.
    racy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file at `path`, now. To be taken before the file is read.
    pub fn of(path: &Path) -> Self {
        let now = SystemTime::now();
        match std::fs::metadata(path) {
            Ok(metadata) => Self { file: Some(Identity::from(&metadata)), racy: is_young(&metadata, now, RACY) },
            Err(_) => Self { file: None, racy: false },
        }
    }

    /// Whether the file at `path` is surely the one that was read after this stamp was taken.
    pub fn holds(&self, path: &Path) -> bool {
        !self.racy && std::fs::metadata(path).ok().as_ref().map(Identity::from) == self.file
    }
}

fn is_young(metadata: &Metadata, now: SystemTime, age: Duration) -> bool {
    // The time of the last change of the inode can't be set by anyone.
    let changed =
        Duration::new(metadata.ctime().max(0).cast_unsigned(), u32::try_from(metadata.ctime_nsec()).unwrap_or(0));
    let changed = SystemTime::UNIX_EPOCH.checked_add(changed).unwrap_or(now);
    now.duration_since(changed).map_or(true, |old| old < age)
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp that was taken when the file was old enough.
    fn settled(path: &Path) -> Stamp {
        Stamp { racy: false, ..Stamp::of(path) }
    }

    #[test]
    fn what_was_changed_just_now_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let absent = Stamp::of(&file);
        assert!(absent.holds(&file));
        std::fs::write(&file, "1").unwrap();
        assert!(!absent.holds(&file));
        assert!(!Stamp::of(&file).holds(&file), "it may change again within the same tick");
        assert!(settled(&file).holds(&file));
    }

    #[test]
    fn another_file_under_the_same_name_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("a", "1"), ("b", "2")] {
            std::fs::write(path(name), text).unwrap();
        }
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        let stamp = settled(&path("link"));
        assert!(stamp.holds(&path("link")));
        std::os::unix::fs::symlink("b", path("new")).unwrap();
        std::fs::rename(path("new"), path("link")).unwrap();
        assert!(!stamp.holds(&path("link")));
        std::fs::remove_file(path("b")).unwrap();
        assert!(!stamp.holds(&path("link")));
    }
}
