//! `status --watch`: the screen of `status` again and again, until the reader has had enough.
//!
//! On a terminal it has a screen of its own, which gives back what was there before, however it ends. What does not fit is
//! left out at the bottom, where it matters least. When the daemon does not answer the last screen stays, under a line that
//! says so. For programs it is one JSON object a line, each time when anything but the time to the next check has changed.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::terminal::{self, width, wrapped};
use crate::serve::client::{self, ClientError};
use ruleward_report::output::Output;
use ruleward_report::screen;
use ruleward_report::status::Status;
use ruleward_report::terminal::colours;
use ruleward_report::text::Style;
use ruleward_report::timestamp;

/// Pause between two looks.
const PACE: Duration = Duration::from_secs(1);
/// What gives the terminal back: the cursor, and the screen that was there.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

type Answer = Result<Status, ClientError>;

/// Shows how the daemon in `directory` is doing until told to end; gives the exit code.
///
/// # Errors
/// If the system has no thread or signals to give, or nobody reads any more.
pub fn watch(directory: &Path, output: Output) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, answers) = mpsc::channel(1);
    let directory = directory.to_owned();
    std::thread::Builder::new().name("status".to_owned()).spawn(move || look(&directory, &sender))?;
    let result = runtime
        .block_on(async { if output.is_json() { lines(answers, output).await } else { show(answers, output).await } });
    match result {
        // A reader that went away has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        other => other,
    }
}

/// A thread of its own: a daemon that hangs must not hold up the screen.
fn look(directory: &Path, sender: &mpsc::Sender<Answer>) {
    while sender.blocking_send(client::status(directory)).is_ok() {
        std::thread::sleep(PACE);
    }
}

async fn lines(mut answers: mpsc::Receiver<Answer>, output: Output) -> io::Result<u8> {
    let (mut end, mut told_to_end) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut last, mut complaint) = (None, None);
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(0),
            _ = told_to_end.recv() => return Ok(0),
            answer = answers.recv() => match answer {
                Some(Ok(status)) => {
                    complaint = None;
                    let timeless = Status { next_check_in_ms: None, ..status.clone() };
                    if last.as_ref() != Some(&timeless) {
                        output.stream(&status, |_| String::new())?;
                        last = Some(timeless);
                    }
                }
                Some(Err(error)) => {
                    let text = error.to_string();
                    if complaint.as_ref() != Some(&text) {
                        output.complain(&format!("ruleward: {text}\n"));
                        (complaint, last) = (Some(text), None);
                    }
                }
                None => return Ok(0),
            }
        }
    }
}

/// A screen of its own, given back when this goes.
struct OwnScreen;

impl OwnScreen {
    fn enter() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Self)
    }
}

impl Drop for OwnScreen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

async fn show(mut answers: mpsc::Receiver<Answer>, output: Output) -> io::Result<u8> {
    if !io::stdout().is_terminal() {
        output.complain("ruleward: --watch shows a screen and needs a terminal; programs say --output json\n");
        return Ok(super::USAGE);
    }
    let (mut end, mut told_to_end) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (mut hangup, mut resized) = (signal(SignalKind::hangup())?, signal(SignalKind::window_change())?);
    let mut view = View { style: Style { colours: colours(true) }, last: None, lost: None };
    let mut tick = tokio::time::interval(PACE);
    let _own = OwnScreen::enter()?;
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(0),
            _ = told_to_end.recv() => return Ok(0),
            _ = hangup.recv() => return Ok(0),
            _ = resized.recv() => {}
            _ = tick.tick() => {}
            answer = answers.recv() => match answer {
                Some(answer) => view.take(answer, Instant::now()),
                None => return Ok(0),
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(view.frame(SystemTime::now(), Instant::now(), terminal::size()).as_bytes())?;
        out.flush()?;
    }
}

/// What is known.
struct View {
    style: Style,
    /// The last answer, and when it came.
    last: Option<(Status, SystemTime)>,
    /// Since when there is none, and why.
    lost: Option<(Instant, String)>,
}

impl View {
    fn take(&mut self, answer: Answer, now: Instant) {
        match answer {
            Ok(status) => (self.last, self.lost) = (Some((status, SystemTime::now())), None),
            Err(error) => {
                let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
                self.lost = Some((since, error.to_string()));
            }
        }
    }

    fn text(&self, now: SystemTime, clock: Instant) -> String {
        let mut text = String::new();
        if let Some((since, why)) = &self.lost {
            let time = clock.saturating_duration_since(*since).as_secs();
            text.push_str(&self.style.bad(&format!("NO ANSWER for {time} s: {}", ruleward_report::plain::plain(why))));
            text.push('\n');
            if let Some((_, at)) = &self.last {
                let line = format!("What follows is of {}; rules stay in force without a daemon.", timestamp(*at));
                text.push_str(&self.style.head(&line));
                text.push_str("\n\n");
            }
        }
        match (&self.last, &self.lost) {
            (Some((status, _)), None) => text.push_str(&screen::status(status, now, self.style)),
            // As it was then: nothing in it grows older.
            (Some((status, at)), Some(_)) => text.push_str(&screen::status(status, *at, self.style)),
            (None, None) => text.push_str("Asking the daemon ...\n"),
            (None, Some(_)) => {}
        }
        text
    }

    /// All that is to be sent to a terminal of `columns` and `rows`.
    fn frame(&self, now: SystemTime, clock: Instant, (columns, rows): (usize, usize)) -> String {
        let text = wrapped(&self.text(now, clock), columns);
        let mut frame = String::from("\x1b[H");
        let mut left = rows.saturating_sub(1).max(1);
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let needs = width(line).div_ceil(columns.max(1)).max(1);
            let is_last = lines.peek().is_none();
            if needs > left || (needs == left && !is_last) {
                frame.push_str("... more does not fit; enlarge the window\x1b[K");
                break;
            }
            left -= needs;
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        frame + "\x1b[J"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status_store::StatusStore;

    fn view() -> View {
        let mut view = View { style: Style { colours: true }, last: None, lost: None };
        view.take(Ok(StatusStore::new("worker-7", Duration::from_secs(90)).status()), Instant::now());
        view
    }

    #[test]
    fn a_lost_daemon_is_said_first_and_the_last_screen_stays() {
        let mut view = view();
        let began = Instant::now();
        view.take(Err(ClientError::NoDaemon("/run/ruleward/status.sock".into())), began);
        view.take(Err(ClientError::NoDaemon("/run/ruleward/status.sock".into())), began + Duration::from_secs(1));
        let text = view.text(SystemTime::now(), began + Duration::from_secs(5));
        assert!(text.contains("NO ANSWER for 5 s: no daemon answers"), "{text}");
        assert!(text.contains("NOT IN SYNC YET"), "{text}");
        view.take(Ok(view.last.clone().unwrap().0), Instant::now());
        assert!(!view.text(SystemTime::now(), Instant::now()).contains("NO ANSWER"));
    }

    #[test]
    fn what_does_not_fit_is_left_out_at_the_bottom() {
        let view = view();
        let frame = |size| view.frame(SystemTime::now(), Instant::now(), size);
        let whole = frame((200, 100));
        assert!(whole.contains("Daemon") && !whole.contains("enlarge"), "{whole}");
        let small = frame((40, 6));
        assert!(small.contains("NOT IN SYNC YET") && small.contains("enlarge"), "{small}");
        let lines = small.split("\x1b[K");
        let rows: usize = lines.map(|line| width(line.trim_start_matches("\r\n")).div_ceil(40)).sum();
        assert!(rows <= 6, "{rows}: {small:?}");
    }
}
