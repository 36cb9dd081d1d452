//! Which path is answered with what.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};

use super::connection::Body;
use super::{Context, health, page, rules};
use crate::metrics::{self, Format};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("live.js");

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to a request for `path`.
pub async fn to(request: &Request<Incoming>, context: &Context) -> Response<Body> {
    let store = &context.store;
    match request.uri().path() {
        "/" => html(page::whole(&store.status(), store).into_string()),
        "/rules" => {
            let query = request.uri().query().unwrap_or_default();
            html(rules::page(store, &context.counters, query).await.into_string())
        }
        "/style.css" => with_type(StatusCode::OK, "text/css; charset=utf-8", STYLE),
        "/live.js" => with_type(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
        "/favicon.ico" => with_type(StatusCode::NO_CONTENT, "image/x-icon", ""),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = Format::accepted(accept);
            with_type(StatusCode::OK, format.content_type(), metrics::render(store, format))
        }
        "/status.json" => {
            let text = serde_json::to_string(&store.status()).unwrap_or_default();
            with_type(StatusCode::OK, "application/json", text)
        }
        "/livez" => health_answer(&health::live(store)),
        "/readyz" => health_answer(&health::ready(store)),
        _ => plain(StatusCode::NOT_FOUND, "there is / /rules /metrics /livez /readyz /status.json\n"),
    }
}

/// No place for one more stream.
pub fn busy() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many streams of events; try again later\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
    response
}

/// A few words.
pub fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn health_answer(health: &health::Health) -> Response<Body> {
    let status = if health.good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, health.text.clone())
}

fn html(text: String) -> Response<Body> {
    with_type(StatusCode::OK, "text/html; charset=utf-8", text)
}

fn with_type(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    head(&mut response, content_type);
    response
}

/// The headers that all answers have.
pub fn head(response: &mut Response<Body>, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
}
