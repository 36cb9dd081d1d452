//! Hears of changes in the folders that lead to what was loaded. What happened is not asked: it only says "look again".

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::places::{Interest, Places};

/// Room for many events.
const BUFFER: usize = 16 << 10;

/// Why nothing is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwatched(pub Errno);

impl std::fmt::Display for Unwatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Errno::NOSPC => f.write_str("the limit fs.inotify.max_user_watches is reached; raise it"),
            Errno::MFILE => f.write_str("the limit fs.inotify.max_user_instances is reached; raise it"),
            error => write!(f, "inotify: {error}"),
        }
    }
}

/// File systems that other machines, or programs behind the kernel's back, can change: it tells only of what is done
/// here. Numbers from linux/magic.h.
const CHANGED_ELSEWHERE: [u32; 8] = [
    0x0000_6969, // NFS
    0xfe53_4d42, // SMB
    0xff53_4d42, // CIFS
    0x6573_5546, // FUSE
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS
    0x0116_1970, // GFS2
];

/// Listens.
#[derive(Debug)]
pub struct Files {
    inotify: OwnedFd,
    /// By the kernel's number.
    watched: BTreeMap<i32, (PathBuf, Interest)>,
    /// A folder of which not every change is told.
    deaf: Option<PathBuf>,
}

impl Files {
    /// To nothing yet.
    ///
    /// # Errors
    /// When the system has no more queues to give.
    pub fn open() -> Result<Self, Unwatched> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(Unwatched)?;
        Ok(Self { inotify, watched: BTreeMap::new(), deaf: None })
    }

    /// Readable when there is something to take.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Listens to exactly these from now on. Whether any folder is watched that was not before: what happened in it until
    /// now was not heard.
    ///
    /// # Errors
    /// When not all of them can be.
    pub fn watch(&mut self, places: &Places) -> Result<bool, Unwatched> {
        let mut now = BTreeMap::new();
        self.deaf = None;
        for (folder, interest) in places.folders() {
            if is_changed_elsewhere(folder) {
                self.deaf = Some(folder.clone());
            }
            match inotify::add_watch(&self.inotify, folder.as_path(), signs()) {
                Ok(number) => drop(now.insert(number, (folder.clone(), interest.clone()))),
                // Gone since it was found: the folder above it tells. What may not be read is told of when it is read.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(error) => return Err(Unwatched(error)),
            }
        }
        let new = now.iter().any(|(number, place)| self.watched.get(number) != Some(place));
        for number in self.watched.keys().filter(|number| !now.contains_key(number)) {
            let _ = inotify::remove_watch(&self.inotify, *number); // it may be gone already
        }
        self.watched = now;
        Ok(new)
    }

    /// A folder whose changes are not all told of, because its file system is not of this machine alone.
    pub fn deaf(&self) -> Option<&Path> {
        self.deaf.as_deref()
    }

    /// Takes all that has happened: names that matter, or what may have made them matter. `hears` gets the folder, and the
    /// name in it if there is one.
    pub fn take(&mut self, hears: &mut dyn FnMut(&Path)) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                hears(Path::new("/"));
                continue;
            }
            let Some((folder, interest)) = self.watched.get(&event.wd()) else { continue };
            match event.file_name() {
                Some(name) => {
                    let name = OsStr::from_bytes(name.to_bytes());
                    if interest.holds(name) {
                        hears(&folder.join(name));
                    }
                }
                None => hears(folder),
            }
        }
    }
}

fn is_changed_elsewhere(folder: &Path) -> bool {
    // The system's type differs between architectures; the magic numbers have 32 bits.
    rustix::fs::statfs(folder).is_ok_and(|found| CHANGED_ELSEWHERE.contains(&(found.f_type as u32)))
}

fn signs() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::EXCL_UNLINK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(files: &mut Files) -> Vec<PathBuf> {
        let mut all = Vec::new();
        files.take(&mut |path| all.push(path.to_owned()));
        all.dedup();
        all
    }

    #[test]
    fn only_what_matters_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut places = Places::default();
        places.add(&root.join("file")).unwrap();
        let mut files = Files::open().unwrap();
        assert_eq!(files.watch(&places), Ok(true));
        assert_eq!(files.watch(&places), Ok(false));
        std::fs::write(root.join("other"), "").unwrap();
        assert_eq!(heard(&mut files), Vec::<PathBuf>::new());
        std::fs::write(root.join("new"), "1").unwrap();
        std::fs::rename(root.join("new"), root.join("file")).unwrap();
        assert_eq!(heard(&mut files), [root.join("file")]);
        std::fs::remove_file(root.join("file")).unwrap();
        assert_eq!(heard(&mut files), [root.join("file")]);
    }

    #[test]
    fn a_folder_that_is_made_anew_is_watched_anew() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("folder/file");
        std::fs::create_dir(root.join("folder")).unwrap();
        let mut files = Files::open().unwrap();
        let watch = |files: &mut Files| {
            let mut places = Places::default();
            places.add(&file).unwrap();
            files.watch(&places).unwrap()
        };
        assert!(watch(&mut files));
        std::fs::remove_dir(root.join("folder")).unwrap();
        std::fs::create_dir(root.join("folder")).unwrap();
        assert!(!heard(&mut files).is_empty());
        assert!(watch(&mut files), "it is another folder");
        std::fs::write(&file, "").unwrap();
        assert_eq!(heard(&mut files), std::slice::from_ref(&file));
    }
}
