//! The daemon: checks when the schedule says so, on request, on SIGHUP and when something has changed, until it is told
//! to stop.
//!
//! [`ruleward_core::schedule`] decides when; a thread of its own ([`worker`]) runs one check at a time; this loop only
//! passes on what happens, so sockets and signals are always served. Stopping leaves the rules in force. A check that
//! fails in whatever way is tried again; the only failure that ends the daemon is a first check without permission.

mod clock;
mod journal;
pub mod worker;

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::schedule::{Action, Event, Reason, Schedule};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::reload::{News, ReloadHandle};
use crate::serve::control::{self, Ask};
use crate::serve::notify::{self, notify};
use crate::serve::socket::{Access, Socket};
use crate::serve::{CONTROL_SOCKET, STATUS_SOCKET, status};
use crate::status_store::{self, LONGEST_LOOK, StatusStore};
use clock::Clock;
use journal::Journal;
use ruleward_report::heartbeat::Stuck;
use ruleward_report::{ErrorClass, Report};
use worker::{Done, Open, Worker};

/// How long a running kernel call may take after the daemon was told to stop.
pub const STOP_TIME: Duration = Duration::from_secs(10);

/// How many requests wait for the loop; more than the control socket lets in.
const ASKS: usize = 64;

/// Somebody who wants a check that begins from now on.
struct Requester {
    /// Where its report goes; nowhere after a signal.
    answer: Option<oneshot::Sender<Arc<Report>>>,
    /// Everything is to be read again before.
    reload: bool,
}

/// Runs the daemon until it is told to stop. The caller holds the runtime lock.
///
/// # Errors
/// A report that says why it could not start, or why it ended by itself.
pub fn run(
    (runtime_directory, access): (&Path, Access),
    refresh: Duration,
    store: &StatusStore,
    open: Open,
    reload: ReloadHandle,
) -> Result<(), Box<Report>> {
    let internal = |what: &str, error: std::io::Error| {
        Box::new(Report::failure(ErrorClass::Internal, format!("can't start {what}: {error}")))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| internal("the event loop", error))?;
    let result = runtime.block_on(async {
        let (sender, asks) = mpsc::channel(ASKS);
        listen_to_signals(&sender).map_err(|error| internal("listening to signals", error))?;
        let socket = |name: &str| {
            Socket::listen(&runtime_directory.join(name), access).map_err(|error| Box::new(Report::from(error)))
        };
        let (status, control) = (socket(STATUS_SOCKET)?, socket(CONTROL_SOCKET)?);
        if let Some(note) = &status.note {
            tracing::warn!("{note}");
            store.note("sockets", Some(note.clone()));
        }
        tokio::spawn(status::serve(status, store.clone()));
        tokio::spawn(control::serve(control, sender));
        if let Some(limit) = notify::watchdog_limit() {
            tokio::spawn(notify::feed_watchdog(store.clone(), limit));
        }
        let worker = Worker::start(open, store.clone()).map_err(|error| internal("the checking thread", error))?;
        let clock = Clock::start().map_err(|error| internal("a timer", error))?;
        Daemon::new(refresh, store.clone(), worker, asks, reload, clock).run().await
    });
    runtime.shutdown_background();
    result
}

fn listen_to_signals(asks: &mpsc::Sender<Ask>) -> std::io::Result<()> {
    for (kind, stops) in
        [(SignalKind::terminate(), true), (SignalKind::interrupt(), true), (SignalKind::hangup(), false)]
    {
        let mut signals = signal(kind)?;
        let asks = asks.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let ask = if stops { Ask::Stop } else { Ask::Reload(None) };
                if asks.send(ask).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// The loop with what it keeps.
struct Daemon {
    store: StatusStore,
    worker: Worker,
    asks: mpsc::Receiver<Ask>,
    clock: Clock,
    schedule: Schedule,
    /// Why the running check runs; none runs if `None`.
    running: Option<Reason>,
    /// When to look at the schedule again.
    wake: Duration,
    /// Those whom the running check serves: they asked before it began.
    served: Vec<Requester>,
    /// Those who asked since; they want a check that begins after that.
    waiting: Vec<Requester>,
    /// Those for whom files are being looked at first, with their tickets.
    looking: Vec<(u64, Requester)>,
    /// When to see whether that still goes on.
    patience: tokio::time::Instant,
    /// Whether somebody asked since the running check began.
    asked: bool,
    /// What has changed since the running check began: the newest configuration, and whether facts may have.
    changed: (u64, bool),
    reload: ReloadHandle,
    journal: Journal,
    ready: bool,
    /// The last check's report, if the checks may give it again.
    last: Weak<Report>,
    /// What systemd was told last.
    told: String,
}

impl Daemon {
    fn new(
        refresh: Duration,
        store: StatusStore,
        worker: Worker,
        asks: mpsc::Receiver<Ask>,
        reload: ReloadHandle,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            worker,
            asks,
            clock,
            schedule: Schedule::new(refresh),
            running: None,
            wake: Duration::ZERO,
            served: Vec::new(),
            waiting: Vec::new(),
            looking: Vec::new(),
            patience: tokio::time::Instant::now(),
            asked: false,
            changed: (0, false),
            reload,
            journal: Journal::default(),
            ready: false,
            last: Weak::new(),
            told: String::new(),
        }
    }

    async fn run(mut self) -> Result<(), Box<Report>> {
        self.step(Event::Started)?;
        loop {
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(Ask::Check(answer)) => self.take_request(Requester { answer, reload: false })?,
                    Some(Ask::Reload(answer)) => self.take_request(Requester { answer, reload: true })?,
                    Some(Ask::Stop) | None => break,
                },
                done = self.worker.reports.recv() => match done {
                    Some(Done::Check(report)) => self.checked(report)?,
                    Some(Done::Repair(report)) => self.repaired(&report)?,
                    None => return Err(no_worker()),
                },
                Some(news) = self.reload.news.recv() => self.hear(news)?,
                () = tokio::time::sleep_until(self.patience), if !self.looking.is_empty() => self.on_watch_timeout()?,
                () = self.clock.reaches(self.wake), if self.running.is_none() => self.step(Event::Woken)?,
            }
        }
        self.stop().await;
        Ok(())
    }

    fn step(&mut self, event: Event) -> Result<(), Box<Report>> {
        let (schedule, action) = self.schedule.clone().step(event, self.clock.now());
        self.schedule = schedule;
        match action {
            Action::WaitUntil(at) => {
                self.wake = at;
                let left = at.saturating_sub(self.clock.now());
                self.store.next_check(Instant::now().checked_add(left));
            }
            Action::Check(reason) => {
                self.running = Some(reason);
                (self.asked, self.changed) = (false, (0, false));
                self.served.append(&mut self.waiting);
                self.store.next_check(None);
                if !self.worker.order(reason) {
                    return Err(no_worker());
                }
            }
        }
        Ok(())
    }

    /// Files are looked at first, so that the check knows of everything that was there when it was asked for.
    fn take_request(&mut self, requester: Requester) -> Result<(), Box<Report>> {
        if requester.reload && self.ready {
            notify::reloading();
        }
        match self.reload.look(requester.reload) {
            Some(ticket) => {
                if self.looking.is_empty() {
                    self.patience = tokio::time::Instant::now() + LONGEST_LOOK;
                }
                self.looking.push((ticket, requester));
                Ok(())
            }
            None => {
                self.waiting.push(requester);
                self.ask()
            }
        }
    }

    /// A look that does not end keeps nobody from a check, which says so. One that loads components may take its time.
    fn on_watch_timeout(&mut self) -> Result<(), Box<Report>> {
        self.patience = tokio::time::Instant::now() + LONGEST_LOOK;
        if self.store.unseen().is_none() {
            return Ok(());
        }
        self.waiting.extend(self.looking.drain(..).map(|(_, requester)| requester));
        self.ask()
    }

    /// Somebody wants a check that begins from now on.
    fn ask(&mut self) -> Result<(), Box<Report>> {
        if self.running.is_some() {
            self.asked = true;
            return Ok(());
        }
        self.step(Event::Asked)
    }

    fn hear(&mut self, news: News) -> Result<(), Box<Report>> {
        match news {
            News::Looked(ticket) => {
                let done = self.looking.extract_if(.., |(own, _)| *own <= ticket);
                self.waiting.extend(done.map(|(_, requester)| requester));
                self.ask()
            }
            News::Changed { configured, refresh } => {
                self.schedule = self.schedule.clone().with_refresh(refresh, self.clock.now());
                if self.running.is_some() {
                    let (newest, facts) = self.changed;
                    self.changed = (newest.max(configured), facts || configured == 0);
                    return Ok(());
                }
                if self.reload.is_taken(configured) { self.step(Event::Woken) } else { self.step(Event::Changed) }
            }
        }
    }

    fn checked(&mut self, mut report: Arc<Report>) -> Result<(), Box<Report>> {
        let reason = self.running.take().unwrap_or(Reason::Refresh);
        let unseen = self.store.unseen();
        if Weak::as_ptr(&self.last) == Arc::as_ptr(&report) && unseen.is_none() {
            self.store.checked_again(SystemTime::now());
            self.journal.tell_again(reason);
        } else {
            self.store.checked(&report, SystemTime::now());
            self.last = Arc::downgrade(&report);
            if let Some(stuck) = unseen {
                report = Arc::new(without_watcher(&report, stuck));
                self.last = Weak::new(); // what comes after it is news
            }
            self.journal.tell(reason, &report);
            self.tell_systemd(&report);
        }
        if reason == Reason::Start && report.class == ErrorClass::Permission {
            return Err(Box::new(Arc::unwrap_or_clone(report)));
        }
        let reloaded = self.served.iter().any(|requester| requester.reload);
        let reloads = self.waiting.iter().chain(self.looking.iter().map(|(_, requester)| requester));
        let reloads_again = reloads.into_iter().any(|requester| requester.reload);
        if (report.has_settled() && !self.ready) || (self.ready && reloaded && !reloads_again) {
            self.ready = true;
            notify(notify::READY);
        }
        let outcome = report.scheduled();
        for requester in self.served.drain(..) {
            if let Some(answer) = requester.answer {
                let _ = answer.send(Arc::clone(&report)); // gone meanwhile
            }
        }
        drop(report);
        self.step(Event::Checked(outcome))?;
        // The next check may have been due at once; then it serves those who asked.
        let (configured, facts) = self.changed;
        let changed = facts || (configured > 0 && !self.reload.is_taken(configured));
        match (self.running.is_none(), self.asked, changed) {
            (true, true, _) => self.step(Event::Asked),
            (true, false, true) => self.step(Event::Changed),
            _ => Ok(()),
        }
    }

    /// Drift was undone as it happened.
    fn repaired(&mut self, report: &Report) -> Result<(), Box<Report>> {
        self.last = Weak::new();
        self.store.repaired(report, SystemTime::now());
        self.journal.tell_repair(report);
        self.tell_systemd(report);
        // A running check reads everything anyway, and its end moves the schedule on.
        if self.running.is_some() { Ok(()) } else { self.step(Event::Repaired(report.scheduled())) }
    }

    /// One line for `systemctl status`, when it changes.
    fn tell_systemd(&mut self, report: &Report) {
        let line = notify::status_line(report);
        if line != self.told {
            notify(&line);
            self.told = line;
        }
    }

    /// Waits for the running kernel call; not for ever, and not if told a second time.
    async fn stop(mut self) {
        notify("STOPPING=1");
        self.store.stop();
        tracing::info!("stopping; rules stay in force");
        if self.running.is_none() {
            return;
        }
        let told_again = async {
            while let Some(ask) = self.asks.recv().await {
                if matches!(ask, Ask::Stop) {
                    return;
                }
            }
        };
        tokio::select! {
            _ = self.worker.reports.recv() => {}
            () = told_again => tracing::warn!("second signal to stop: not waiting for the running check"),
            () = tokio::time::sleep(STOP_TIME) => {
                tracing::warn!("the running check did not end within {} s: not waiting for it", STOP_TIME.as_secs());
            }
        }
    }
}

/// What a check reports to those who asked for it while files can't be looked at.
fn without_watcher(report: &Report, stuck: Stuck) -> Report {
    let mut report = report.clone();
    report.problems.push(status_store::unseen(stuck));
    if report.class == ErrorClass::None {
        report.class = ErrorClass::Temporary; // who asked for a reload did not get one
    }
    report
}

fn no_worker() -> Box<Report> {
    Box::new(Report::failure(
        ErrorClass::Internal,
        "the checking thread is gone; rules stay in force; start the daemon again",
    ))
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
