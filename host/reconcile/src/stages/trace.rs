//! Leaves the trace of a step that has ended.

use ruleward_core::schedule;
use ruleward_report::plain::plain;
use ruleward_report::{Incident, Outcome};

use crate::effect::Effect;
use crate::pass::Pass;
use crate::reconciler::Reconciler;
use crate::trace::{MOST_EVENTS, Span, Trace};
use crate::traced::{DRIFT, attributes, drift};

impl Reconciler {
    /// Leaves the trace of a pass that has ended. One that read nothing, asked nobody and found nothing wrong leaves none.
    pub(crate) fn trace(&mut self, pass: &mut Pass) {
        let Some((spans, left_out)) = pass.recorder.take() else { return };
        let report = &pass.report;
        if spans.is_empty() && !matches!(report.outcome, Outcome::Failed | Outcome::Refused) {
            return;
        }
        let ended = self.runtime.now();
        let name = if pass.cause == DRIFT { "repair" } else { "check" };
        let mut root = Span::new(name, pass.started, ended);
        root.attributes = attributes(report, pass.cause);
        root.attributes
            .extend(self.kernel.sync.generation().map(|generation| ("ruleward.generation", generation.into())));
        if left_out > 0 {
            root.attributes.push(("ruleward.check.spans_left_out", left_out.into()));
        }
        if report.scheduled() == schedule::Outcome::Failed {
            root.problem = Some(report.problems.iter().map(|problem| plain(problem)).collect::<Vec<_>>().join("; "));
        }
        let seen = spans.iter().find(|span| span.name == "observe").map_or(ended, |span| span.ended);
        // What the kernel told of was told before the pass began; all else was found by looking.
        let at = |incident: &Incident| if incident.latency_ms.is_some() { pass.started } else { seen };
        let events = report.incidents.iter().take(MOST_EVENTS).map(|incident| drift(incident, at(incident)));
        let left_out = report.incidents.len().saturating_sub(MOST_EVENTS);
        let trace = Trace {
            root,
            ended: self.runtime.wall_clock(),
            events: events.collect(),
            events_left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            spans,
        };
        self.effect(Effect::LeaveTrace(Box::new(trace)));
    }
}
