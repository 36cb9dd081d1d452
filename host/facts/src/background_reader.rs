//! Reads the resources on a thread of their own, and waits for it no longer than it may take: a file system that does not
//! answer, such as one from a server that is gone, holds up no check. What was read last then counts.
//!
//! A thread that hangs in the kernel can't be ended. As long as one does, no other is started for the same folder, and nobody waits for it again:
//! whether it has come back is asked at the next reading.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::FactsError;
use super::resources::{ResourceSet, ResourcesError, read_resources};

/// Longer than the most and largest resources take on a busy node; less than half the time of the watchdog.
const PATIENCE: Duration = Duration::from_secs(10);

type Resources = Result<ResourceSet, ResourcesError>;

/// Reads resources.
#[derive(Debug, Default)]
pub struct Reader {
    pending: Option<Pending>,
}

/// A reading that has not ended yet.
#[derive(Debug)]
struct Pending {
    folder: PathBuf,
    since: Instant,
    ends: Receiver<Resources>,
    thread: JoinHandle<()>,
}

/// What was read, and whether it is as old as the reading that had been given up before.
#[derive(Debug)]
pub struct Read {
    /// The resources.
    pub resources: ResourceSet,
    /// It began at an earlier call: what has changed since may be missing.
    pub late: bool,
}

impl Reader {
    /// Reads the resources in `folder`.
    ///
    /// # Errors
    /// [`FactsError::Resources`], and [`FactsError::NoAnswer`] if it does not end.
    pub fn read(&mut self, folder: &Path) -> Result<Read, FactsError> {
        let path = folder.to_owned();
        self.read_with(folder, PATIENCE, move || read_resources(&path))
    }

    fn read_with(
        &mut self,
        folder: &Path,
        patience: Duration,
        work: impl FnOnce() -> Resources + Send + 'static,
    ) -> Result<Read, FactsError> {
        let earlier = self.pending.take().filter(|pending| pending.folder == folder);
        let (late, pending) = match earlier {
            Some(pending) => (true, pending),
            None => (false, start(folder, work).map_err(FactsError::NoThread)?),
        };
        let ended = if late {
            pending.ends.try_recv().map_err(|error| error == TryRecvError::Empty)
        } else {
            pending.ends.recv_timeout(patience).map_err(|error| error == RecvTimeoutError::Timeout)
        };
        match ended {
            Ok(resources) => Ok(Read { resources: resources?, late }),
            Err(true) => {
                let no_answer = FactsError::NoAnswer { folder: folder.to_owned(), since: pending.since.elapsed() };
                self.pending = Some(pending);
                Err(no_answer)
            }
            // A fault is the calling thread's to report.
            Err(false) => match pending.thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => Err(FactsError::NoThread(std::io::Error::other("it ended without an answer"))),
            },
        }
    }
}

fn start(folder: &Path, work: impl FnOnce() -> Resources + Send + 'static) -> std::io::Result<Pending> {
    let (end, ends) = channel();
    let thread = std::thread::Builder::new().name("resources".to_owned()).spawn(move || {
        let _ = end.send(work()); // nobody waits any more
    })?;
    Ok(Pending { folder: folder.to_owned(), since: Instant::now(), ends, thread })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn none() -> Resources {
        Ok(ResourceSet { resources: Vec::new(), notes: Vec::new() })
    }

    #[test]
    fn a_folder_that_does_not_answer_is_left_and_taken_up_when_it_does() {
        let (folder, other) = (Path::new("/resources"), Path::new("/other"));
        let (answer, answers) = channel::<()>();
        let mut reader = Reader::default();
        let hangs = move || {
            answers.recv().unwrap();
            none()
        };
        let error = reader.read_with(folder, SHORT, hangs).unwrap_err();
        assert!(matches!(error, FactsError::NoAnswer { .. }), "{error}");
        // Nobody is sent after it, and nobody waits.
        let error = reader.read_with(folder, Duration::MAX, || panic!("a second one")).unwrap_err();
        assert!(error.to_string().contains("/resources"), "{error}");
        answer.send(()).unwrap();
        let read = loop {
            match reader.read_with(folder, SHORT, || panic!("a second one")) {
                Err(FactsError::NoAnswer { .. }) => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        assert!(read.late, "it may be from before a change");
        assert!(!reader.read_with(folder, Duration::MAX, none).unwrap().late);
        // Another folder is another question.
        let (_held, never) = channel::<()>();
        let never = Mutex::new(never);
        let hangs = move || {
            let _ = never.lock().unwrap().recv();
            none()
        };
        reader.read_with(folder, SHORT, hangs).unwrap_err();
        assert!(!reader.read_with(other, Duration::MAX, none).unwrap().late);
    }

    #[test]
    fn a_fault_is_the_callers() {
        let fault = || Reader::default().read_with(Path::new("/x"), Duration::MAX, || panic!("a fault"));
        let panic = std::panic::catch_unwind(fault).map(drop).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a fault"));
    }
}
