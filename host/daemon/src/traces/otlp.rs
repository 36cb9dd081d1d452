//! Traces as OTLP has them in JSON: an `ExportTraceServiceRequest` of opentelemetry-proto, with the exceptions that OTLP makes from
//! protobuf's JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in hexadecimal digits, enums as numbers.
//! Numbers of 64 bits are text, as protobuf has it. What is empty is left out.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};

use ruleward_reconcile::trace::{Attributes, Span, Trace, Value};

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<OtlpSpan<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpSpan<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    #[serde(serialize_with = "as_text")]
    start_time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    end_time_unix_nano: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<OtlpEvent<'a>>,
    #[serde(skip_serializing_if = "is_none")]
    dropped_events_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpEvent<'a> {
    #[serde(serialize_with = "as_text")]
    time_unix_nano: u64,
    name: &'a str,
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
struct Status<'a> {
    message: &'a str,
    code: u8,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::enum_variant_names, reason = "these are protobuf's names")]
enum AnyValue<'a> {
    StringValue(&'a str),
    BoolValue(bool),
    #[serde(serialize_with = "as_text")]
    IntValue(i64),
    DoubleValue(f64),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

fn as_text<S: Serializer>(number: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&number.to_string())
}

/// The body of a request that exports `traces`. `random` makes ids, none of them 0.
pub fn encode<'a>(
    resource: &'a Attributes,
    traces: impl IntoIterator<Item = &'a Trace>,
    mut random: impl FnMut() -> u64,
) -> Vec<u8> {
    let mut spans = Vec::new();
    for trace in traces {
        add(&mut spans, trace, &mut random);
    }
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: Resource { attributes: key_values(resource) },
            scope_spans: [ScopeSpans {
                scope: Scope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
                spans,
            }],
        }],
    };
    serde_json::to_vec(&request).unwrap_or_default() // plain data: it can't fail
}

fn add<'a>(spans: &mut Vec<OtlpSpan<'a>>, trace: &'a Trace, random: &mut impl FnMut() -> u64) {
    let trace_id = hex(&[random(), random()]);
    let root_id = hex(&[random()]);
    let ids: Vec<String> = trace.spans.iter().map(|_| hex(&[random()])).collect();
    let time = |at: Instant| {
        let at = trace.ended - trace.root.ended.saturating_duration_since(at);
        nanoseconds(at)
    };
    let span = |span: &'a Span, id: &str, parent: Option<&String>| OtlpSpan {
        trace_id: trace_id.clone(),
        span_id: id.to_owned(),
        parent_span_id: parent.cloned(),
        name: &span.name,
        kind: INTERNAL,
        start_time_unix_nano: time(span.began),
        end_time_unix_nano: time(span.ended),
        attributes: key_values(&span.attributes),
        events: Vec::new(),
        dropped_events_count: 0,
        status: span.problem.as_deref().map(|message| Status { message, code: ERROR }),
    };
    let events = trace.events.iter().map(|event| OtlpEvent {
        time_unix_nano: time(event.at),
        name: event.name,
        attributes: key_values(&event.attributes),
    });
    spans.push(OtlpSpan {
        events: events.collect(),
        dropped_events_count: trace.events_left_out,
        ..span(&trace.root, &root_id, None)
    });
    for (child, id) in trace.spans.iter().zip(&ids) {
        let parent = child.parent.and_then(|parent| ids.get(parent)).unwrap_or(&root_id);
        spans.push(span(child, id, Some(parent)));
    }
}

fn key_values(attributes: &Attributes) -> Vec<KeyValue<'_>> {
    let value = |value| match value {
        &Value::Number(number) => AnyValue::IntValue(number),
        // JSON has no infinity.
        &Value::Real(number) if number.is_finite() => AnyValue::DoubleValue(number),
        Value::Real(_) => AnyValue::StringValue("infinite"),
        &Value::Truth(truth) => AnyValue::BoolValue(truth),
        Value::Text(text) => AnyValue::StringValue(text),
    };
    attributes.iter().map(|(key, of)| KeyValue { key, value: value(of) }).collect()
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn hex(numbers: &[u64]) -> String {
    numbers.iter().fold(String::new(), |mut text, number| {
        let _ = write!(text, "{number:016x}"); // into a string: it can't fail
        text
    })
}

/// A number for an id: nobody guesses it, and it is not 0. The standard library takes its keys from the system.
pub fn random() -> u64 {
    RandomState::new().hash_one(()).max(1)
}

/// How many spans a collector that took the request did not take, with its reason. None: all were taken, or it said nothing that
/// is understood.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        partial_success: Option<Partial>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Partial {
        rejected_spans: serde_json::Value,
        error_message: String,
    }
    let partial = serde_json::from_slice::<Answer>(answer).ok()?.partial_success?;
    // Text, as protobuf has it, or a number, as some write it.
    let count = partial.rejected_spans.as_u64().or_else(|| partial.rejected_spans.as_str()?.parse().ok());
    count.filter(|count| *count > 0).map(|count| (count, partial.error_message))
}
