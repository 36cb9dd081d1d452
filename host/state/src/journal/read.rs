//! Reads the journal, whoever writes it meanwhile. Lines that are no incident are left out and counted; a last line
//! without its end is one that is being written or that a crash has cut, and is not counted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Deserialize;
use thiserror::Error;

use super::{CURRENT, PREVIOUS};
use ruleward_report::Incident;

/// Longest line that is read; longer ones are damaged.
const LONGEST_LINE: u64 = 64 << 20;

/// How much of a file is read: more than the journal may be configured to have.
const LONGEST: u64 = 320 << 20;

/// Why there is nothing to read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No daemon has ever made it.
    #[error(
        "{} does not exist: no daemon has run with this state directory; start it with `ruleward run`, or name its \
         configuration with --config",
        .0.display()
    )]
    None(PathBuf),
    /// Not for everyone.
    #[error("{}: permission denied; run the command as root", .0.display())]
    Denied(PathBuf),
    /// The system refuses.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl ReadError {
    /// What the command exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::None(_) => 69,
            Self::Denied(_) => 77,
            Self::Io { .. } => 75,
        }
    }

    pub(super) fn new(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied(path.to_owned()),
            io::ErrorKind::NotFound => Self::None(path.to_owned()),
            _ => Self::Io { path: path.to_owned(), error },
        }
    }
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// The last state of each incident; the one that was written last is last.
    pub incidents: Vec<Incident>,
    /// How many lines make no sense.
    pub damaged: u64,
}

impl Loaded {
    /// Takes what is newer than the journal: of an incident that repeats it has a line at growing pauses only.
    pub fn update(&mut self, newest: Vec<Incident>) {
        for incident in newest {
            let same = |one: &&mut Incident| (one.id, &one.at) == (incident.id, &incident.at);
            match self.incidents.iter_mut().find(same) {
                Some(known) => *known = incident,
                None => self.incidents.push(incident),
            }
        }
    }
}

/// All incidents of both files.
///
/// # Errors
/// [`ReadError`] when there is no journal, or none that may be read.
pub fn load(directory: &Path) -> Result<Loaded, ReadError> {
    let mut lines = Lines::default();
    let current = open(&directory.join(CURRENT))?;
    let previous = open(&directory.join(PREVIOUS))?;
    if current.is_none() && previous.is_none() {
        return Err(ReadError::None(directory.join(CURRENT)));
    }
    for (name, file) in [(PREVIOUS, previous), (CURRENT, current)] {
        if let Some(mut file) = file {
            lines.read(&mut file).map_err(|error| ReadError::new(&directory.join(name), error))?;
            lines.end();
        }
    }
    Ok(lines.take())
}

/// The highest id in both files; 0 if there is none or nothing can be read.
pub fn last_id(directory: &Path) -> u64 {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
    }
    let files = [PREVIOUS, CURRENT].into_iter().filter_map(|name| open(&directory.join(name)).ok().flatten());
    let in_file = |file: File| {
        let mut reader = BufReader::new(file);
        let (mut line, mut last) = (Vec::new(), 0);
        while matches!(reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line), Ok(1..)) {
            last = last.max(serde_json::from_slice(&line).map_or(0, |numbered: Numbered| numbered.id));
            line.clear();
        }
        last
    };
    // Nobody counts that far; a forged number must not end the counting.
    files.map(in_file).filter(|id| *id < u64::MAX / 2).max().unwrap_or(0)
}

/// Opens a file of the journal for reading; `None` if it is not there.
pub(super) fn open(path: &Path) -> Result<Option<File>, ReadError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReadError::new(path, error)),
    };
    let metadata = file.metadata().map_err(|error| ReadError::new(path, error))?;
    if !metadata.is_file() {
        return Err(ReadError::Io { path: path.to_owned(), error: io::Error::other("is not a regular file") });
    }
    // A longer one is not ours; the newest lines are at its end.
    let surplus = metadata.len().saturating_sub(LONGEST);
    if surplus > 0 {
        file.seek(SeekFrom::Start(surplus)).map_err(|error| ReadError::new(path, error))?;
    }
    Ok(Some(file))
}

/// Takes bytes in pieces, gives incidents.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has no end yet.
    partial: Vec<u8>,
    found: Vec<Option<Incident>>,
    /// Where the last state of an incident is in `found`.
    places: HashMap<(u64, String), usize>,
    damaged: u64,
}

impl Lines {
    /// Reads a file to its present end.
    pub fn read(&mut self, file: &mut File) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        loop {
            let room = LONGEST_LINE.saturating_sub(self.partial.len() as u64);
            if reader.by_ref().take(room).read_until(b'\n', &mut self.partial)? == 0 && room > 0 {
                return Ok(());
            }
            if self.partial.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.line(&line);
            } else if self.partial.len() as u64 >= LONGEST_LINE {
                self.partial.clear();
                self.damaged += 1;
            }
        }
    }

    /// No more comes: a last line without its end counts if it is whole.
    pub fn end(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if let Ok(incident) = serde_json::from_slice(&line) {
            self.add(incident);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(incident) => self.add(incident),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => self.damaged += 1,
        }
    }

    fn add(&mut self, incident: Incident) {
        let key = (incident.id, incident.at.clone());
        if let Some(before) = self.places.insert(key, self.found.len()) {
            self.found[before] = None;
        }
        self.found.push(Some(incident));
    }

    /// What came since the last time.
    pub fn take(&mut self) -> Loaded {
        self.places.clear();
        let incidents = std::mem::take(&mut self.found).into_iter().flatten().collect();
        Loaded { incidents, damaged: std::mem::take(&mut self.damaged) }
    }
}
