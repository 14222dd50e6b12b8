//! Calling a function.

use std::rc::Rc;
use std::time::Duration;

use bundle::ApiKind;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use tokio::time::Instant;

use crate::body::{Body, BodyError, BodyFault};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::aws;
use crate::integrate::aws::call::SignedCall;
use crate::integrate::aws::sign::Scope;
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::lambda::JSON;
use crate::integrate::lambda::gate::Permit;
use crate::integrate::lambda::stream::MAX_SILENCE;
use crate::integrate::trace::TRACE_ID;
use crate::integrate::upstream::Pool;
use crate::live::lambda::{Callee, Function, SERVICE};
use crate::rejection::Rejection;

/// Largest event, Lambda's limit: 6 MB.
pub const MAX_EVENT: usize = 6 << 20;
/// Largest event of an asynchronous call, Lambda's limit: 1 MB.
pub const MAX_ASYNCHRONOUS_EVENT: usize = 1 << 20;
/// Largest result: Lambda's limit is 6 MB, and a little for the envelope.
const MAX_RESULT: usize = (6 << 20) + 1024;
/// Most of a refusal that is said in the log.
const MAX_SAID: usize = 512;

pub static INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
static FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

/// A call of a function.
pub struct Invocation {
    pub event: Bytes,
    /// What a definition maps. `X-Amz-Invocation-Type` among them says whether the result is waited for.
    pub headers: HeaderMap,
    pub trace_id: HeaderValue,
    /// What the function writes comes as it is written.
    pub stream: bool,
}

/// What came of a call.
pub enum Invoked {
    Whole(Outcome, Response<Bytes>),
    /// The answer begins; the call goes on until it is dropped.
    Stream(Answer),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result: any JSON, or nothing if nobody waits for it.
    Result,
    /// The function failed: an object with `errorMessage`.
    Failed,
    /// The function's host did not call it.
    Refused,
}

/// A streamed answer in the framing of event streams, and the place of its call.
pub struct Answer {
    pub body: Body,
    pub permit: Permit,
}

/// Calls a function, and waits for its result: no longer than its timeout, with the time it waits for its turn.
///
/// # Errors
/// 500 for an event that is too large, 503, 504, or that there is nobody to call.
pub async fn invoke(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    function: &Function,
    invocation: Invocation,
) -> Result<Invoked, Rejection> {
    let Invocation { event, headers, trace_id, stream } = invocation;
    let asynchronous = headers.get(&INVOCATION_TYPE).is_some_and(|kind| kind == "Event");
    let most = if asynchronous { MAX_ASYNCHRONOUS_EVENT } else { MAX_EVENT };
    if event.len() > most {
        // The gateway takes larger bodies, so the client has done nothing wrong.
        return Err(Rejection::Configuration(format!("the event has {} bytes, more than {most}", event.len())));
    }
    let deadline = Instant::now() + function.timeout;
    let entered = tokio::time::timeout_at(deadline, core.gates.enter(&function.key)).await;
    let permit = entered.map_err(|_elapsed| Rejection::IntegrationTimeout)??;
    let headers = head(function, headers, trace_id);
    let timeout = deadline.saturating_duration_since(Instant::now());
    let mut response = send(core, exchange, pool, function, headers, event, timeout).await?;
    if stream && response.status().is_success() {
        response.body_mut().set_patience(MAX_SILENCE);
        return Ok(Invoked::Stream(Answer { body: response.into_body(), permit }));
    }
    let outcome = match response.status().is_success() {
        false => Outcome::Refused,
        true if response.headers().contains_key(&FUNCTION_ERROR) => Outcome::Failed,
        true => Outcome::Result,
    };
    let (parts, body) = response.into_parts();
    let result = tokio::time::timeout_at(deadline, body.collect(MAX_RESULT)).await;
    let result = result.map_err(|_elapsed| Rejection::IntegrationTimeout)?.map_err(|error| broken(exchange, error))?;
    drop(permit);
    Ok(Invoked::Whole(outcome, Response::from_parts(parts, result)))
}

/// The headers of a call: a definition's may replace ours, except for those of the connection.
fn head(function: &Function, mapped: HeaderMap, trace_id: HeaderValue) -> HeaderMap {
    let mut headers = mapped;
    headers.entry(ACCEPT).or_insert(JSON);
    headers.insert(CONTENT_TYPE, JSON);
    headers.entry(USER_AGENT).or_insert_with(|| function.agent.clone());
    headers.insert(&TRACE_ID, trace_id);
    headers
}

/// Sends a call: signed to Amazon's Lambda, as it is to whom the Stage names.
async fn send(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    function: &Function,
    mut headers: HeaderMap,
    event: Bytes,
    timeout: Duration,
) -> Result<Response<Body>, Rejection> {
    let path = function.path.clone();
    match &function.callee {
        Callee::Stage(_) => {
            headers.insert(HOST, pool.host.clone());
            // Taken by the only attempt: a POST is not sent twice.
            let headers = std::cell::Cell::new(headers);
            let head = |_: &Exchange| Ok(Head { path: path.clone(), headers: headers.take().into() });
            let call = Call { pool, method: Method::POST, timeout, idle: timeout, max_body: None };
            let response = ask(core, exchange, call, Body::full(event), head).await?;
            aws::call::note_request_id(exchange, response.headers());
            Ok(response)
        }
        Callee::Amazon { endpoint: _, region, role } => {
            let stage =
                exchange.routed.as_ref().map(|routed| Rc::clone(&routed.stage)).ok_or(Rejection::NoSuchStage)?;
            let scope = Scope { service: SERVICE, region };
            let signed = SignedCall {
                pool,
                scope,
                role: role.as_deref(),
                method: Method::POST,
                path,
                headers,
                body: event,
                timeout,
            };
            aws::call::send(core, exchange, &stage.live.aws, signed).await
        }
    }
}

/// Why the function's host did not call it, as an answer.
pub fn refused(response: &Response<Bytes>) -> Rejection {
    let status = response.status().as_u16();
    let said = response.body().get(..MAX_SAID).unwrap_or(response.body());
    let text = format!("Lambda invocation failed with status: {status}: {}", String::from_utf8_lossy(said));
    match status {
        // It is there and has too much to do, or is not well.
        429 | 500.. => Rejection::IntegrationFailure(text),
        _ => Rejection::Configuration(text),
    }
}

/// A result broke off, or is too large.
fn broken(exchange: &Exchange, error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(BodyFault::Silent) => Rejection::IntegrationTimeout,
        BodyError::Fault(BodyFault::TooLarge) => {
            let text = format!("the function's result has more than {MAX_RESULT} bytes");
            match exchange.routed.as_ref().map(|routed| routed.stage.live.kind) {
                Some(ApiKind::Rest) | None => Rejection::MalformedFunctionAnswer(text),
                Some(ApiKind::Http) => Rejection::IntegrationFailure(text),
            }
        }
        BodyError::Fault(BodyFault::Aborted) => Rejection::IntegrationFailure(BodyFault::Aborted.to_string()),
        BodyError::Wire(error) => Rejection::IntegrationFailure(error.to_string()),
        BodyError::Answer(fault) => Rejection::IntegrationFailure(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lambda_refuses() {
        let refused = |status: u16| {
            let mut response = Response::new(Bytes::from_static(b"why"));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            refused(&response)
        };
        let text = |status| format!("Lambda invocation failed with status: {status}: why");
        for status in [429, 500, 503] {
            assert_eq!(refused(status), Rejection::IntegrationFailure(text(status)));
        }
        for status in [400, 403, 404, 413] {
            assert_eq!(refused(status), Rejection::Configuration(text(status)));
        }
    }

    #[test]
    fn a_result_that_is_too_large_is_an_answer_of_the_apis_kind() {
        use crate::fixture::{core, default_host, mock, request, set, stage};
        for (kind, status) in [(ApiKind::Rest, 502), (ApiKind::Http, 500)] {
            let mut bundle = stage("prod", &[mock("GET /a")]);
            bundle.api.kind = kind;
            let (core, _) = core(&set(vec![bundle], vec![default_host("example.com", &["prod"])]));
            let mut exchange = request("GET", "/prod/a", &[]);
            crate::dispatch::dispatch(&core, &mut exchange).unwrap();
            assert_eq!(broken(&exchange, BodyFault::TooLarge.into()).answer().status, status);
        }
    }

    #[test]
    fn a_definitions_headers_join_the_calls() {
        let call = bundle::integration::FunctionCall {
            uri: "f".to_owned(),
            method: None,
            credentials: None,
            timeout_ms: 1000,
        };
        let function = crate::live::Scope::with_test_scope(|scope| Function::parse(&call, false, scope).unwrap());
        let mut mapped = HeaderMap::new();
        mapped.insert(&INVOCATION_TYPE, HeaderValue::from_static("Event"));
        mapped.insert(USER_AGENT, HeaderValue::from_static("mine"));
        mapped.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let headers = head(&function, mapped, HeaderValue::from_static("Root=1"));
        for (name, value) in
            [("x-amz-invocation-type", "Event"), ("user-agent", "mine"), ("content-type", "application/json")]
        {
            assert_eq!(headers[name], value);
        }
        assert_eq!((&headers["x-amzn-trace-id"], &headers["accept"]), (&HeaderValue::from_static("Root=1"), &JSON));
    }
}
