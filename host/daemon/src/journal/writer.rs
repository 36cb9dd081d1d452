//! The thread that writes the journal, and what it does while the disk does not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::actor::Parent;

use super::{FIRST_PAUSE, Journal, JournalFile, LONGEST_PAUSE, MOST_PACES, Pace, Waiting, read};
use ruleward_files::private_dir::PrivateError;
use ruleward_report::{Incident, timestamp};

/// First pause after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Characters of a control group's path in an incident that is too long.
const SHORT_WORDS: usize = 100;

/// Says that incidents can't be written, and why; `None` when they can.
pub type Note = Box<dyn Fn(Option<String>) + Send>;

/// The thread's own state.
pub struct Writer {
    directory: PathBuf,
    size: u64,
    journal: Journal,
    note: Note,
    /// None while the disk does not do what it should.
    file: Option<JournalFile>,
    trouble: Option<Trouble>,
    told_lost: u64,
}

struct Trouble {
    retry_at: Instant,
    pause: Duration,
    since: SystemTime,
}

type Batch = BTreeMap<u64, Waiting>;

impl Writer {
    pub fn new(directory: PathBuf, size: u64, journal: Journal, note: Note) -> Self {
        Self { directory, size, journal, note, file: None, trouble: None, told_lost: 0 }
    }

    /// Writes until the journal is closed. The file is made at once, so that a reader sees that there is a daemon.
    pub fn run(mut self) {
        self.write(Batch::new());
        loop {
            let (batch, closing) = self.take();
            self.write(batch);
            if closing {
                let mut queue = self.journal.queue();
                queue.closed = true;
                self.journal.shared.changed.notify_all();
                return;
            }
        }
    }

    /// Waits for what is due.
    fn take(&self) -> (Batch, bool) {
        let mut queue = self.journal.queue();
        loop {
            if queue.closing {
                queue.bytes = 0;
                return (std::mem::take(&mut queue.waiting), true);
            }
            let now = Instant::now();
            let not_before = self.trouble.as_ref().map_or(now, |trouble| trouble.retry_at);
            let next = match &self.trouble {
                Some(trouble) => Some(trouble.retry_at),
                None => queue.waiting.values().map(|waiting| waiting.due).min(),
            };
            if next.is_some_and(|next| next <= now) && not_before <= now {
                // After a failure all of it: it shows best whether the disk is well again.
                let all = self.trouble.is_some();
                let due: Batch = queue.waiting.extract_if(.., |_, waiting| all || waiting.due <= now).collect();
                queue.bytes -= due.values().map(|waiting| waiting.bytes).sum::<usize>();
                return (due, false);
            }
            let changed = &self.journal.shared.changed;
            queue = match next.map(|next| next.saturating_duration_since(now)) {
                Some(left) => changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write(&mut self, batch: Batch) {
        let lines: Vec<Vec<u8>> = batch.values().map(|waiting| line(&waiting.incident, self.size)).collect();
        match self.append(&lines) {
            Ok(()) => {
                self.wrote(&batch);
                self.works();
            }
            Err(error) => {
                self.put_back(batch);
                self.file = None;
                self.fails(&error.to_string());
            }
        }
    }

    /// What has changed meanwhile is newer.
    fn put_back(&self, batch: Batch) {
        let queue = &mut *self.journal.queue();
        for (id, waiting) in batch {
            if !queue.waiting.contains_key(&id) {
                queue.put(id, waiting);
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
                let queue = &mut *self.journal.queue();
                queue.last_id = queue.last_id.max(last_id);
                empty.insert(file)
            }
        };
        file.append(lines)
    }

    fn wrote(&self, batch: &Batch) {
        let queue = &mut *self.journal.queue();
        let now = Instant::now();
        for id in batch.keys() {
            let pause = queue.paces.get(id).map_or(FIRST_PAUSE, |pace| (pace.pause * 2).min(LONGEST_PAUSE));
            queue.paces.insert(*id, Pace { written: now, pause });
        }
        queue.paces.retain(|_, pace| now.saturating_duration_since(pace.written) < LONGEST_PAUSE * 2);
        while queue.paces.len() > MOST_PACES {
            queue.paces.pop_first();
        }
    }

    fn works(&mut self) {
        let lost = self.journal.queue().lost;
        if self.trouble.take().is_some() {
            tracing::info!("incidents are written to {} again", self.directory.display());
            (self.note)(
                (lost > 0).then(|| format!("the journal of incidents lacks {lost}: the disk failed for too long")),
            );
            self.told_lost = lost;
        } else if lost > self.told_lost {
            self.told_lost = lost;
            tracing::warn!("the journal lacks {lost} incidents: its disk could not keep up");
            (self.note)(Some(format!("the journal of incidents lacks {lost}: the disk could not keep up")));
        }
    }

    fn fails(&mut self, error: &str) {
        let (since, pause) = match &self.trouble {
            Some(trouble) => (trouble.since, (trouble.pause * 2).min(LONGEST_RETRY)),
            None => {
                tracing::error!("incidents can't be written and stay in memory until they can be: {error}");
                (SystemTime::now(), FIRST_RETRY)
            }
        };
        self.trouble = Some(Trouble { retry_at: Instant::now() + pause, pause, since });
        let since = timestamp(since);
        (self.note)(Some(format!(
            "incidents can't be written since {since} and stay in memory until they can be: {error}"
        )));
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
