//! A trace in the SDK's words.

use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use ruleward_reconcile::trace::{Attributes, Span, Trace, Value};

/// Who we are.
pub fn resource(node_name: Option<&str>) -> Resource {
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut attributes = vec![
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("host.name", host_name),
    ];
    attributes.extend(node_name.map(|name| KeyValue::new("k8s.node.name", name.to_owned())));
    Resource::builder_empty().with_attributes(attributes).build()
}

/// The spans, the root last: a collector that has it has all.
pub fn of(trace: Trace) -> Vec<SpanData> {
    let Trace { root, ended, events, events_left_out, spans } = trace;
    let (ids, last) = (RandomIdGenerator::default(), root.ended);
    let trace_id = ids.new_trace_id();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build();
    let time = |at: Instant| -> SystemTime { ended - last.saturating_duration_since(at) };
    let data = |span: Span, id: SpanId, parent_span_id: SpanId| SpanData {
        span_context: SpanContext::new(trace_id, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name,
        start_time: time(span.began),
        end_time: time(span.ended),
        attributes: key_values(span.attributes),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.problem.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    };
    let root_id = ids.new_span_id();
    let span_ids: Vec<SpanId> = spans.iter().map(|_| ids.new_span_id()).collect();
    let parent = |span: &Span| span.parent.and_then(|parent| span_ids.get(parent)).copied().unwrap_or(root_id);
    let mut all: Vec<SpanData> = spans
        .into_iter()
        .zip(&span_ids)
        .map(|(span, id)| {
            let parent = parent(&span);
            data(span, *id, parent)
        })
        .collect();
    let mut root = data(root, root_id, SpanId::INVALID);
    let events =
        events.into_iter().map(|event| Event::new(event.name, time(event.at), key_values(event.attributes), 0));
    root.events.events = events.collect();
    root.events.dropped_count = events_left_out;
    all.push(root);
    all
}

fn key_values(attributes: Attributes) -> Vec<KeyValue> {
    let value = |value| match value {
        Value::Text(text) => text.into(),
        Value::Number(number) => number.into(),
        Value::Real(number) => opentelemetry::Value::from(number),
        Value::Truth(truth) => truth.into(),
    };
    attributes.into_iter().map(|(key, of)| KeyValue::new(key, value(of))).collect()
}
