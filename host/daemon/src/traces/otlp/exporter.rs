//! What the processor's thread sends spans with, and what it does while the collector does not take
//! them: it tries again at growing pauses, says so once and then rarely, and says so when it is
//! over.

use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::client::{Answer, Client};
use super::{Endpoint, MOST_SENT, MOST_WAITING, NOTE, Shared, spans};
use crate::metrics::Fate;

/// Nice value of the thread: everything else on the node goes first.
const NICE: i32 = 10;
/// First pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a trouble that goes on is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// Characters of a reason that is not ours.
const LONGEST_REASON: usize = 200;

/// A collector, and who we are to it.
#[derive(Debug)]
pub struct Destination {
    endpoint: Endpoint,
    node_name: Option<String>,
    client: Arc<Client>,
    exporter: opentelemetry_otlp::SpanExporter,
}

impl Destination {
    pub fn new(endpoint: Endpoint, node_name: Option<&str>) -> Result<Self, ExporterBuildError> {
        let client = Arc::new(Client::new(endpoint.clone()));
        // All that the variables `OTEL_*` could say is said here, or is not listened to by the
        // client.
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&client) as Arc<dyn opentelemetry_http::HttpClient>)
            .with_endpoint(format!("http://{}{}", endpoint.host(), endpoint.path()))
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        exporter.set_resource(&spans::resource(node_name));
        Ok(Self { endpoint, node_name: node_name.map(ToOwned::to_owned), client, exporter })
    }

    pub fn is(&self, endpoint: &Endpoint, node_name: Option<&str>) -> bool {
        self.endpoint == *endpoint && self.node_name.as_deref() == node_name
    }
}

/// Sends to the collector that is configured at that moment.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<Shared>,
    runtime: Runtime,
    at_low_priority: Once,
    trouble: Mutex<Option<Trouble>>,
}

/// The collector does not take what it is sent.
#[derive(Debug)]
struct Trouble {
    pause: Duration,
    told: Instant,
    /// Spans that were dropped or refused when it began.
    lost: u64,
    to: Arc<Destination>,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // Of the processor's thread alone. Where it is refused, traces are sent all the same.
        self.at_low_priority.call_once(|| {
            let _ = rustix::process::nice(NICE);
        });
        let (spans, weight) = (batch.len(), batch.iter().map(|span| 1 + span.events.len()).sum::<usize>());
        if self.runtime.block_on(self.deliver(batch)) {
            let mut state = self.shared.state();
            state.spans = state.spans.saturating_sub(spans);
            state.weight = state.weight.saturating_sub(weight);
        }
        Ok(()) // all that there is to say is said
    }
}

impl Exporter {
    pub fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { shared, runtime, at_low_priority: Once::new(), trouble: Mutex::default() })
    }

    /// Tries until these spans came to something. False: they did not, and this is the end.
    async fn deliver(&self, batch: Vec<SpanData>) -> bool {
        let spans = batch.len();
        loop {
            let (to, closing, weight) = {
                let state = self.shared.state();
                (state.to.clone(), state.closing.is_some(), state.weight)
            };
            let Some(to) = to else {
                self.shared.count(Fate::Dropped, spans);
                return true;
            };
            let sent = to.exporter.export(batch.clone()).await;
            let (refused, reason) = match to.client.take_answer().ok_or(sent) {
                Ok(Answer::Taken(rejected)) => rejected.unwrap_or_default(),
                Ok(Answer::Refused(reason)) => (spans, reason),
                Ok(Answer::Later(reason, at_least)) => {
                    let pause = self.fails(&to, &reason);
                    if closing {
                        return false; // that was the last try
                    }
                    // These are the oldest: of an outage the end tells more.
                    if weight > MOST_WAITING - MOST_SENT {
                        self.shared.count(Fate::Dropped, spans);
                        return true;
                    }
                    self.rest(at_least.map_or(pause, |least| least.max(pause)), &to).await;
                    continue;
                }
                Err(never_asked) => (spans, format!("{never_asked:?}")),
            };
            let refused = refused.min(spans);
            self.shared.count(Fate::Sent, spans - refused);
            self.shared.count(Fate::Refused, refused);
            if refused > 0 {
                self.fails(&to, &format!("{refused} of {spans} spans were refused: {reason}"));
            } else {
                self.works(&to);
            }
            return true;
        }
    }

    /// Waits so long, while this is not the end and they are to go to the same collector.
    async fn rest(&self, pause: Duration, to: &Arc<Destination>) {
        let goes_on = || {
            let state = self.shared.state();
            state.closing.is_none() && state.to.as_ref().is_some_and(|now| Arc::ptr_eq(now, to))
        };
        let over = async {
            while goes_on() {
                self.shared.news.notified().await;
            }
        };
        let _ = timeout(pause, over).await;
    }

    fn lost(&self) -> u64 {
        let counted = self.shared.store.metrics().traces();
        counted.count(Fate::Dropped) + counted.count(Fate::Refused)
    }

    fn works(&self, to: &Destination) {
        if let Some(trouble) = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let lost = self.lost().saturating_sub(trouble.lost);
            tracing::info!("{} takes traces again; {lost} spans are lost", to.endpoint);
            self.shared.store.note(NOTE, None);
        }
    }

    /// Gives the pause before the next request.
    fn fails(&self, to: &Arc<Destination>, reason: &str) -> Duration {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let now = Instant::now();
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = match known.take().filter(|trouble| Arc::ptr_eq(&trouble.to, to)) {
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
                self.shared.store.note(NOTE, Some(text));
                Trouble { pause: FIRST_PAUSE, told: now, lost: self.lost(), to: Arc::clone(to) }
            }
        };
        known.insert(trouble).pause
    }
}
