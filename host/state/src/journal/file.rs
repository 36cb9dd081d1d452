//! The two files of the journal, for the one who writes them. After each [`JournalFile::append`] that succeeds the lines
//! are on the disk; after one that fails the file ends where it did before, or with a cut line that the next append ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{CURRENT, PREVIOUS};
use ruleward_files::private_dir::{PrivateDir, PrivateError};

/// The file that grows, and the folder that it is in.
#[derive(Debug)]
pub struct JournalFile {
    folder: PrivateDir,
    file: File,
    size: u64,
}

impl JournalFile {
    /// Opens or makes it; it becomes the previous one when it would grow beyond `size` bytes.
    ///
    /// # Errors
    /// When the folder or the file can't be made, or others can write to it.
    pub fn open(directory: &Path, size: u64) -> Result<Self, PrivateError> {
        let folder = PrivateDir::open(directory)?;
        let file = folder.append(OsStr::new(CURRENT))?;
        Ok(Self { folder, file, size })
    }

    /// Appends whole lines, each with its line end.
    ///
    /// # Errors
    /// When they are not all on the disk; some may be.
    pub fn append(&mut self, lines: &[Vec<u8>]) -> Result<(), PrivateError> {
        if !self.folder.holds(OsStr::new(CURRENT), &self.file) {
            self.file = self.folder.append(OsStr::new(CURRENT))?; // another program moved or removed it
        }
        let (mut length, mut piece) = (self.length()?, Vec::new());
        for line in lines {
            // One byte more: a cut line may have to be ended.
            if length > 0 && length + line.len() as u64 + 1 > self.size {
                self.write(&piece)?;
                piece.clear();
                self.folder.place(OsStr::new(CURRENT), OsStr::new(PREVIOUS))?;
                self.file = self.folder.append(OsStr::new(CURRENT))?;
                length = 0;
            }
            length += line.len() as u64;
            piece.extend_from_slice(line);
        }
        self.write(&piece)
    }

    fn length(&self) -> Result<u64, PrivateError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| self.failed(error))
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), PrivateError> {
        if piece.is_empty() {
            return Ok(());
        }
        let length = self.length()?;
        let written = self.ends_within_a_line(length).and_then(|cut| {
            if cut {
                self.file.write_all(b"\n")?;
            }
            self.file.write_all(piece)?;
            self.file.sync_data()
        });
        written.map_err(|error| {
            // If this fails as well, the cut line is ended next time.
            let _ = self.file.set_len(length);
            self.failed(error)
        })
    }

    fn ends_within_a_line(&self, length: u64) -> io::Result<bool> {
        let Some(last) = length.checked_sub(1) else { return Ok(false) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }

    fn failed(&self, source: io::Error) -> PrivateError {
        PrivateError::Io { path: self.folder.path().join(CURRENT), source }
    }
}
