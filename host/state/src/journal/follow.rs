//! Follows the journal as it grows, across rotation: inotify wakes the reader, nothing is polled.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::read::{self, Lines, Loaded, ReadError};
use super::{CURRENT, PREVIOUS};

/// A place in the journal.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    inotify: OwnedFd,
    /// The file that is being read. Held open, so no other can get its inode.
    file: Option<File>,
    lines: Lines,
}

impl Follower {
    /// Begins with all that is there.
    ///
    /// # Errors
    /// [`ReadError`] when there is no journal, or none that may be read.
    pub fn open(directory: &Path) -> Result<(Self, Loaded), ReadError> {
        let failed = |error: Errno| ReadError::new(directory, error.into());
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        let events = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, directory, events).map_err(|error| match error {
            Errno::NOENT => ReadError::None(directory.join(CURRENT)),
            other => failed(other),
        })?;
        let mut follower = Self { directory: directory.to_owned(), inotify, file: None, lines: Lines::default() };
        let current = follower.find(CURRENT)?;
        let previous = follower.find(PREVIOUS)?;
        if current.is_none() && previous.is_none() {
            return Err(ReadError::None(directory.join(CURRENT)));
        }
        follower.file = previous;
        follower.read()?;
        if let Some(current) = current
            && !same(follower.file.as_ref(), &current)
        {
            follower.turn_to(current);
            follower.read()?;
        }
        let loaded = follower.lines.take();
        Ok((follower, loaded))
    }

    /// What came since the last time; each incident once, in its last state.
    ///
    /// # Errors
    /// [`ReadError`] when the journal can't be read any more.
    #[allow(clippy::should_implement_trait)] // it has no end
    pub fn next(&mut self) -> Result<Loaded, ReadError> {
        self.read()?;
        loop {
            let Some(current) = self.find(CURRENT)? else { break };
            if same(self.file.as_ref(), &current) {
                break;
            }
            // A new file: nothing is added to the old one any more. Its last lines came before the new file was made.
            self.read()?;
            let previous = self.find(PREVIOUS)?;
            if let Some(missed) = previous
                && !same(self.file.as_ref(), &missed)
                && !same(Some(&current), &missed)
            {
                self.turn_to(missed);
                self.read()?;
            }
            self.turn_to(current);
            self.read()?;
        }
        Ok(self.lines.take())
    }

    /// Waits until there may be something new. False if whoever reads `output` is gone, or the folder.
    ///
    /// # Errors
    /// [`ReadError`] when waiting is impossible.
    pub fn wait(&self, output: BorrowedFd<'_>) -> Result<bool, ReadError> {
        let mut watched = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::from_borrowed_fd(output, PollFlags::empty()), // only that its other end is closed
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(ReadError::new(&self.directory, error.into())),
        }
        if watched[1].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return Ok(false);
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(self.inotify.as_fd(), &mut buffer);
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
        while let Ok(event) = events.next() {
            if event.events().intersects(gone) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn find(&self, name: &str) -> Result<Option<File>, ReadError> {
        read::open(&self.directory.join(name))
    }

    fn turn_to(&mut self, file: File) {
        self.lines.end();
        self.file = Some(file);
    }

    fn read(&mut self) -> Result<(), ReadError> {
        if let Some(file) = &mut self.file {
            self.lines.read(file).map_err(|error| ReadError::new(&self.directory.join(CURRENT), error))?;
        }
        Ok(())
    }
}

fn same(one: Option<&File>, other: &File) -> bool {
    let inode = |file: &File| file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    one.is_some_and(|one| inode(one).is_some_and(|place| Some(place) == inode(other)))
}
