//! What becomes of the spans of traces.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The collector took it.
    Sent,
    /// The collector did not want it.
    Refused,
    /// There was no room for it while the collector did not take any.
    Dropped,
}

impl Fate {
    const ALL: [Self; 3] = [Self::Sent, Self::Refused, Self::Dropped];

    fn label(self) -> Ended {
        let outcome = match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        };
        Ended { outcome }
    }
}

/// The counter.
#[derive(Debug)]
pub struct TraceMetrics {
    spans: Family<Ended, Counter>,
}

impl TraceMetrics {
    /// All at zero, in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self { spans: Family::default() };
        Fate::ALL.iter().for_each(|fate| drop(new.spans.get_or_create(&fate.label())));
        registry.register("trace_spans", "Spans of traces, by what became of them", new.spans.clone());
        new
    }

    /// So many spans came to this.
    pub fn ended(&self, fate: Fate, spans: u64) {
        self.spans.get_or_create(&fate.label()).inc_by(spans);
    }

    /// How many came to this so far.
    pub fn count(&self, fate: Fate) -> u64 {
        self.spans.get_or_create(&fate.label()).get()
    }
}
