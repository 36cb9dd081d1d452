//! Writes incidents, and says so while the disk takes none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ruleward_core::actor::Parent;
use ruleward_files::private_dir::PrivateError;
use ruleward_report::{Incident, timestamp};

use super::file::JournalFile;
use super::queue::{Batch, Queue};
use super::read;
use crate::retry::Retry;
use crate::writer::{Kept, Note, Shared};

/// Characters of a control group's path in an incident that is too long.
const SHORT_WORDS: usize = 100;

/// The thread's own state.
pub struct Writer {
    directory: PathBuf,
    size: u64,
    shared: Arc<Shared>,
    note: Note,
    /// None while the disk does not do what it should.
    file: Option<JournalFile>,
    retry: Retry,
    told_lost: u64,
}

impl Writer {
    pub fn new(directory: &Path, size: u64, shared: Arc<Shared>, note: Note) -> Self {
        Self { directory: directory.to_owned(), size, shared, note, file: None, retry: Retry::default(), told_lost: 0 }
    }

    /// Whether the last write failed.
    pub fn in_trouble(&self) -> bool {
        self.retry.in_trouble()
    }

    /// When there is something to write.
    pub fn due(&self, queue: &Queue) -> Option<Instant> {
        self.retry.next(queue.next_due())
    }

    /// Writes these; those that the disk does not take go back.
    pub fn write(&mut self, batch: Batch) {
        let lines: Vec<Vec<u8>> = batch.values().map(|waiting| line(&waiting.incident, self.size)).collect();
        match self.append(&lines) {
            Ok(()) => {
                self.shared.inbox().journal.wrote(&batch);
                self.works();
            }
            Err(error) => {
                self.shared.inbox().journal.put_back(batch);
                self.file = None;
                self.fails(&error);
            }
        }
    }

    fn append(&mut self, lines: &[Vec<u8>]) -> Result<(), PrivateError> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let file = JournalFile::open(&self.directory, self.size)?;
                // What could not be read at the start may be readable now.
                let last_id = read::last_id(&self.directory);
                self.shared.inbox().journal.knows(last_id);
                empty.insert(file)
            }
        };
        file.append(lines)
    }

    fn works(&mut self) {
        let lost = self.shared.inbox().journal.lost;
        if self.retry.succeeded() {
            tracing::info!("incidents are written to {} again", self.directory.display());
            self.note(
                (lost > 0).then(|| format!("the journal of incidents lacks {lost}: the disk failed for too long")),
            );
            self.told_lost = lost;
        } else if lost > self.told_lost {
            self.told_lost = lost;
            tracing::warn!("the journal lacks {lost} incidents: its disk could not keep up");
            self.note(Some(format!("the journal of incidents lacks {lost}: the disk could not keep up")));
        }
    }

    fn fails(&mut self, error: &PrivateError) {
        let (since, first) = self.retry.failed();
        if first {
            tracing::error!("incidents can't be written and stay in memory until they can be: {error}");
        }
        let since = timestamp(since);
        self.note(Some(format!(
            "incidents can't be written since {since} and stay in memory until they can be: {error}"
        )));
    }

    fn note(&self, text: Option<String>) {
        (self.note)(Kept::Journal, text);
    }
}

/// One line of JSON that leaves room for others in a file of `size` bytes.
fn line(incident: &Incident, size: u64) -> Vec<u8> {
    let json = |incident: &Incident| {
        let mut line = serde_json::to_vec(incident).unwrap_or_default(); // plain data: it can't fail
        line.push(b'\n');
        line
    };
    let whole = json(incident);
    if whole.len() as u64 <= size / 4 {
        return whole;
    }
    let mut short = incident.clone();
    (short.added, short.removed) = (Vec::new(), Vec::new());
    short.detail = cut(&short.detail) + " (too long for the journal, rules left out)";
    short.how = cut(&short.how);
    // Names, ids and counts stay.
    for one in &mut short.actors {
        let actor = &mut one.actor;
        (actor.executable, actor.command_line) = (None, None);
        actor.cgroup = actor.cgroup.as_deref().map(|cgroup| cgroup.chars().take(SHORT_WORDS).collect());
        actor.parent =
            actor.parent.take().map(|parent| Box::new(Parent { command_line: None, parent: None, ..*parent }));
    }
    json(&short)
}

/// The first thousand characters.
fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
}
