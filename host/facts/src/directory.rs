//! Reads all resource files of a directory, and of those in it, as one picture: when something changed while they
//! were read, they are read again. That covers a ConfigMap that Kubernetes exchanges under our hands.
//!
//! Links are followed, a directory that is reached twice is read once. Names that begin with a dot are left out:
//! editors keep their copies there, and Kubernetes the versions of a ConfigMap, of which the visible links name one.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::resources::{Problem, ResourcesError};
use ruleward_files::regular::{self, NotRead};

/// Longest file in bytes: 16 MiB.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Most bytes of all files together: 64 MiB.
pub(super) const MAX_TOTAL_SIZE: u64 = 64 << 20;

/// Most files and directories.
const MAX_ENTRIES: usize = 100_000;

/// Deepest directory below the first.
const MAX_DEPTH: usize = 16;

/// How often a directory that changes while it is read is read anew.
const ATTEMPTS: usize = 5;

/// A file and its bytes.
pub(super) type FileBytes = (PathBuf, Vec<u8>);

/// The files of `directory` in name order; `None` when it does not exist.
pub(super) fn read_files(directory: &Path) -> Result<Option<Vec<FileBytes>>, ResourcesError> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(directory, &error).into()),
        Ok(kind) if !kind.is_dir() => {
            return Err(refused(directory, "is not a directory; name the directory that holds the files").into());
        }
        Ok(_) => {}
    }
    let files = read_settled(|| list(directory), |listed: &Vec<Listed>| read_listed(listed))?;
    let reason = "changed each time while it was read; it is read again at the next refresh";
    files.map(Some).ok_or_else(|| refused(directory, reason).into())
}

/// Reads what `list` finds until a listing afterwards finds the same; `None` when it never does.
fn read_settled<L: PartialEq, T, E>(
    mut list: impl FnMut() -> Result<L, E>,
    mut read: impl FnMut(&L) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let mut before = list()?;
    for _ in 0..ATTEMPTS {
        let found = read(&before)?;
        let after = list()?;
        if before == after && found.is_some() {
            return Ok(found);
        }
        before = after;
    }
    Ok(None)
}

/// A file as the listing saw it. Two that are equal hold the same bytes.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

#[derive(Default)]
struct Listing {
    files: Vec<Listed>,
    directories: HashSet<(u64, u64)>,
    entries: usize,
    problems: ResourcesError,
}

fn list(directory: &Path) -> Result<Vec<Listed>, ResourcesError> {
    let mut listing = Listing::default();
    if let Ok(metadata) = std::fs::metadata(directory) {
        listing.directories.insert((metadata.dev(), metadata.ino()));
    }
    listing.directory(directory, 0);
    if listing.problems.problems.is_empty() { Ok(listing.files) } else { Err(listing.problems) }
}

impl Listing {
    fn directory(&mut self, directory: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let reason = "lies more than 16 directories deep; move it up";
            return self.problems.add(refused(directory, reason));
        }
        let names = std::fs::read_dir(directory).and_then(|entries| {
            let mut paths = Vec::new();
            for entry in entries.take(MAX_ENTRIES + 1) {
                paths.push(entry?.path());
            }
            paths.sort();
            Ok(paths)
        });
        let names = match names {
            Ok(names) => names,
            Err(error) => return self.problems.add(unreadable(directory, &error)),
        };
        for path in names {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.problems.add(refused(directory, "holds more than 100,000 files; this is not the place"));
            }
            if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                self.entry(path, depth);
            }
        }
    }

    fn entry(&mut self, path: PathBuf, depth: usize) {
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Gone since it was listed, or a link to nothing.
                if is_resource(&path) && std::fs::symlink_metadata(&path).is_ok() {
                    self.problems.add(refused(&path, "is a link to a file that does not exist; remove or mend it"));
                }
                return;
            }
            Err(error) => return self.problems.add(unreadable(&path, &error)),
        };
        if metadata.is_dir() {
            if self.directories.insert((metadata.dev(), metadata.ino())) {
                self.directory(&path, depth + 1);
            }
        } else if is_resource(&path) {
            self.file(path, &metadata);
        }
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata) {
        if !metadata.is_file() {
            return self.problems.add(refused(&path, "is not a regular file; remove it"));
        }
        self.files.push(Listed {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            path,
        });
    }
}

fn is_resource(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// The bytes of each file; `None` when one has gone since it was listed.
fn read_listed(listed: &[Listed]) -> Result<Option<Vec<FileBytes>>, ResourcesError> {
    let mut files = Vec::with_capacity(listed.len());
    let mut problems = ResourcesError::default();
    let mut total = 0;
    for file in listed {
        let problem = match regular::read(&file.path, MAX_FILE_SIZE) {
            Ok(bytes) => {
                total += bytes.len() as u64;
                files.push((file.path.clone(), bytes));
                None
            }
            Err(error) if error.is_missing() => return Ok(None),
            Err(NotRead::Io(error)) => Some(unreadable(&file.path, &error)),
            Err(NotRead::NotAFile) => Some(refused(&file.path, "is not a regular file; remove it")),
            Err(NotRead::TooLong(_)) => Some(refused(&file.path, "is longer than 16 MiB; split it")),
        };
        problem.into_iter().for_each(|problem| problems.add(problem));
        if total > MAX_TOTAL_SIZE {
            return Err(
                refused(&file.path, "brings all resources to more than 64 MiB; remove what is not needed").into()
            );
        }
    }
    if problems.problems.is_empty() { Ok(Some(files)) } else { Err(problems) }
}

fn refused(path: &Path, reason: &str) -> Problem {
    Problem::Unreadable { path: path.to_owned(), reason: reason.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let reason = match error.kind() {
        ErrorKind::PermissionDenied => "can't be read: permission denied; let the daemon's user read it".to_owned(),
        _ => format!("can't be read: {error}"),
    };
    Problem::Unreadable { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let mut listings = [1, 2, 2].into_iter();
        let mut read = Vec::new();
        let result = read_settled(
            || listings.next().ok_or("listed too often"),
            |listing| {
                read.push(*listing);
                Ok(Some(*listing))
            },
        );
        assert_eq!(result, Ok(Some(2)));
        assert_eq!(read, [1, 2]);
    }

    #[test]
    fn what_never_settles_is_given_up() {
        let mut listing = 0..;
        assert_eq!(read_settled(|| Ok::<_, ()>(listing.next()), |_| Ok(Some(()))), Ok(None));
        assert_eq!(read_settled(|| Ok::<_, ()>(1), |_| Ok(None::<()>)), Ok(None), "a file that is gone was overlooked");
    }
}
