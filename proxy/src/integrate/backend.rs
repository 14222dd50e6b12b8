//! Integration `backend`: a reverse proxy by RFC 9110.
//!
//! The url's host is what the backend gets as `Host`; what the client asked for is in `X-Forwarded-Host`. `Via` is
//! not added. Informational answers (1xx) of a backend stay here; `Expect: 100-continue` is answered by our own side
//! when the backend begins to take the body.

use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_TYPE, HOST, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::mapping::headers::{is_hop_by_hop, is_named_by_connection, is_signature, strip_hop_by_hop};
use crate::integrate::mapping::parameters::within;
use crate::integrate::trace::{self, FORWARDED_HOST, TRACE_ID};
use crate::integrate::tunnel;
use crate::integrate::upstream::{Fields, Pool};
use crate::live::backend::Backend;
use crate::rejection::Rejection;

/// Hands the request to the backend and its answer to the client.
///
/// # Errors
/// When the backend cannot be asked, or does not answer.
pub async fn forward(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    backend: &Backend,
) -> Result<Response<Body>, Rejection> {
    if let Some(upgrade) = exchange.upgrade.take() {
        return Box::pin(tunnel::open(core, exchange, pool, backend, upgrade)).await;
    }
    let id = trace::trace_id(core, exchange);
    let max_body = (!is_grpc(&exchange.headers)).then_some(backend.max_body);
    let mut body = within(max_body.unwrap_or(u64::MAX), exchange).await?;
    if max_body.is_none() {
        // A stream of messages may pause for longer than an upload.
        body.set_patience(backend.idle_timeout);
    }
    let call = Call {
        pool,
        method: exchange.method.clone(),
        timeout: backend.response_header_timeout,
        idle: backend.idle_timeout,
        max_body,
    };
    let head = |exchange: &Exchange| {
        let mut headers = end_to_end(exchange, pool, &id);
        if exchange.steering.te && wants_trailers(&exchange.headers) {
            // In HTTP/1.1 `TE` concerns this connection only and has to say so.
            headers.push(TE, HeaderValue::from_static("trailers"));
            headers.push(CONNECTION, HeaderValue::from_static("te"));
        }
        Ok(Head { path: path(exchange, backend)?, headers })
    };
    let mut response = ask(core, exchange, call, body, head).await?;
    strip_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// The client's headers that are meant for the backend, and what the backend must know about the client.
pub fn end_to_end(exchange: &Exchange, pool: &Pool, trace_id: &HeaderValue) -> Fields {
    let mut headers = Fields::with_capacity(exchange.headers.len() + 8);
    headers.push(HOST, pool.host.clone());
    let connection = exchange.steering.connection;
    for (name, value) in &exchange.headers {
        if passes(name, value) && !(connection && is_named_by_connection(&exchange.headers, name)) {
            headers.push(name.clone(), value.clone());
        }
    }
    headers.push(TRACE_ID.clone(), trace_id.clone());
    if let Some(host) = authority(exchange) {
        headers.push(FORWARDED_HOST.clone(), host);
    }
    for (name, value) in trace::forward(exchange) {
        headers.push(name, value);
    }
    headers
}

/// Whether a client's header is for the backend as it is, if `Connection` does not name it.
fn passes(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        // Made anew.
        "host" | "x-amzn-trace-id" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-port"
        | "x-forwarded-proto" => false,
        // Answered by our own side.
        "expect" => false,
        "authorization" => !is_signature(value),
        _ => !is_hop_by_hop(name),
    }
}

/// The host asked for, with its port.
fn authority(exchange: &Exchange) -> Option<HeaderValue> {
    match exchange.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => exchange.headers.get(HOST).cloned(),
    }
}

/// The backend's path: its own, then the request's below the stage, escapes as received; and the query.
///
/// # Errors
/// When they make no path together.
pub fn path(exchange: &Exchange, backend: &Backend) -> Result<PathAndQuery, Rejection> {
    let path = exchange.resource_path();
    let query = exchange.query();
    let mut whole = String::with_capacity(backend.base.len() + path.len() + query.map_or(0, |query| query.len() + 1));
    whole.push_str(&backend.base);
    whole.push_str(path);
    if let Some(query) = query {
        whole.push('?');
        whole.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(whole))
        .map_err(|_| Rejection::Configuration("the backend's path is not valid for this request".into()))
}

/// Whether the client understands trailers.
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

/// gRPC's streams have no bound but time.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The verb of the request that asks for a tunnel: extended CONNECT becomes HTTP/1.1's GET.
pub fn tunnel_method(exchange: &Exchange, extended: bool) -> Method {
    if extended { Method::GET } else { exchange.method.clone() }
}
