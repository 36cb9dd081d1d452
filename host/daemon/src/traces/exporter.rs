//! The thread that sends traces, and what it does while the collector does not take them: it tries again at growing pauses, says
//! so once and then rarely, and says so when it is over.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::post::{Answer, post};
use super::{Destination, NOTE, Shared, otlp};
use crate::metrics::Fate;
use ruleward_reconcile::trace::Trace;

/// Nice value of the thread: everything else on the node goes first.
const NICE: i32 = 10;
/// How long traces are gathered, so that several go in one request.
const GATHER: Duration = Duration::from_millis(500);
/// Longest request, connection and answer included.
const REQUEST: Duration = Duration::from_secs(10);
/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a trouble that goes on is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// Characters of a reason that is not ours.
const LONGEST_REASON: usize = 200;

/// The thread's own state.
pub struct Exporter {
    shared: Arc<Shared>,
    trouble: Option<Trouble>,
}

/// The collector does not take what it is sent.
struct Trouble {
    pause: Duration,
    told: Instant,
    /// Spans that were dropped or refused when it began.
    lost: u64,
    to: Arc<Destination>,
}

impl Exporter {
    /// Starts the thread; it ends when everything is closed.
    ///
    /// # Errors
    /// If the system has no thread or descriptor to give.
    pub fn start(shared: Arc<Shared>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            // Of this thread alone. Where it is refused, traces are sent all the same.
            let _ = rustix::process::nice(NICE);
            let exporter = Self { shared: Arc::clone(&shared), trouble: None };
            runtime.block_on(exporter.run());
            let mut queue = shared.queue();
            queue.running = false;
            shared.ended.notify_all();
        })?;
        Ok(())
    }

    async fn run(mut self) {
        loop {
            let closing = self.wait().await;
            while let Some((batch, to)) = self.take() {
                let Some(pause) = self.send(batch, &to).await else { continue };
                if closing {
                    return; // that was the last try
                }
                if self.rest(pause, &to).await {
                    break;
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Waits for traces, and a little for more of them. True: it is being closed.
    async fn wait(&self) -> bool {
        loop {
            let (closing, to) = {
                let queue = self.shared.queue();
                (queue.closing.is_some(), queue.to.clone().filter(|_| !queue.waiting.is_empty()))
            };
            match to {
                _ if closing => return true,
                Some(to) => {
                    self.rest(GATHER, &to).await;
                    return self.shared.queue().closing.is_some();
                }
                None => self.shared.news.notified().await,
            }
        }
    }

    /// Waits so long, while nothing is closed and they are to go to the same collector. Whether that was over before.
    async fn rest(&self, pause: Duration, to: &Arc<Destination>) -> bool {
        let goes_on = || {
            let queue = self.shared.queue();
            queue.closing.is_none() && queue.to.as_ref().is_some_and(|now| Arc::ptr_eq(now, to))
        };
        let over = async {
            while goes_on() {
                self.shared.news.notified().await;
            }
        };
        timeout(pause, over).await.is_ok()
    }

    fn take(&self) -> Option<(Vec<Trace>, Arc<Destination>)> {
        let mut queue = self.shared.queue();
        let to = queue.to.clone()?;
        let batch = queue.take();
        (!batch.is_empty()).then_some((batch, to))
    }

    /// Sends one request. Gives the pause before the next one, if it was not taken.
    async fn send(&mut self, batch: Vec<Trace>, to: &Arc<Destination>) -> Option<Duration> {
        let spans = batch.iter().map(Trace::count).sum::<usize>();
        let body = otlp::encode(&to.resource, &batch, otlp::random);
        let (refused, reason) = match post(&to.endpoint, body, REQUEST).await {
            Answer::Taken(rejected) => rejected.unwrap_or_default(),
            Answer::Refused(reason) => (spans as u64, reason),
            Answer::Later(reason, at_least) => {
                self.shared.queue().put_back(batch, &self.shared);
                let pause = self.fails(to, &reason);
                return Some(at_least.map_or(pause, |least| least.max(pause)));
            }
        };
        let refused = usize::try_from(refused).unwrap_or(spans).min(spans);
        self.shared.queue().sending = 0;
        self.shared.count(Fate::Sent, spans - refused);
        self.shared.count(Fate::Refused, refused);
        if refused > 0 {
            self.fails(to, &format!("{refused} of {spans} spans were refused: {reason}"));
        } else {
            self.works(to);
        }
        None
    }

    fn lost(&self) -> u64 {
        let counted = self.shared.board.metrics().traces();
        counted.count(Fate::Dropped) + counted.count(Fate::Refused)
    }

    fn works(&mut self, to: &Destination) {
        if let Some(trouble) = self.trouble.take() {
            let lost = self.lost().saturating_sub(trouble.lost);
            tracing::info!("{} takes traces again; {lost} spans are lost", to.endpoint);
            self.shared.board.note(NOTE, None);
        }
    }

    /// Gives the pause before the next request.
    fn fails(&mut self, to: &Arc<Destination>, reason: &str) -> Duration {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let now = Instant::now();
        let trouble = match self.trouble.take().filter(|trouble| Arc::ptr_eq(&trouble.to, to)) {
            Some(Trouble { pause, told, lost, .. }) => {
                let again = now.saturating_duration_since(told) >= TOLD_AGAIN;
                if again {
                    tracing::warn!("{} still does not take traces: {reason}", to.endpoint);
                }
                Trouble {
                    pause: (pause * 2).min(LONGEST_PAUSE),
                    told: if again { now } else { told },
                    lost,
                    to: Arc::clone(to),
                }
            }
            None => {
                let text = format!("{} does not take traces: {reason}", to.endpoint);
                tracing::warn!("{text}; sending is tried again, and rules are not affected");
                self.shared.board.note(NOTE, Some(text));
                Trouble { pause: FIRST_PAUSE, told: now, lost: self.lost(), to: Arc::clone(to) }
            }
        };
        self.trouble.insert(trouble).pause
    }
}
