//! Calling a function.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::body::{Body, BodyError, BodyFault};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::lambda::JSON;
use crate::integrate::lambda::gate::Permit;
use crate::integrate::lambda::stream::MAX_SILENCE;
use crate::integrate::trace::TRACE_ID;
use crate::integrate::upstream::Pool;
use crate::live::lambda::{Callee, Function};
use crate::rejection::Rejection;

/// Largest event, Lambda's limit: 6 MB.
pub const MAX_EVENT: usize = 6 << 20;
/// Largest event of an asynchronous call, Lambda's limit: 1 MB.
pub const MAX_ASYNCHRONOUS_EVENT: usize = 1 << 20;
/// Largest result: Lambda's limit is 6 MB, and a little for the envelope.
const MAX_RESULT: usize = (6 << 20) + 1024;

static INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
static FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its result is waited for.
    Wait,
    /// It is called some time, and nobody waits.
    Asynchronous,
    /// It is only asked whether it could be called.
    DryRun,
    /// What it writes comes as it is written.
    Stream,
}

/// What came of a call.
#[derive(Debug)]
pub enum Invoked {
    /// Its result: any JSON, or nothing of a call that nobody waits for.
    Result(Bytes),
    /// It failed: an object with `errorMessage`.
    Failed(Bytes),
    /// Its answer begins; the call goes on until the permit is dropped.
    Stream(Answer),
}

/// A streamed answer in the framing of event streams, and the place of its call.
#[derive(Debug)]
pub struct Answer {
    pub body: Body,
    pub permit: Permit,
}

/// Calls a function, and waits for its result: no longer than its timeout, with the time it waits for its turn.
///
/// # Errors
/// 413, 504, that there is nobody to call, or that the function's host refuses.
pub async fn invoke(
    core: &Core,
    exchange: &mut Exchange,
    pool: Option<&Rc<Pool>>,
    function: &Function,
    trace_id: &HeaderValue,
    event: Bytes,
    kind: Kind,
) -> Result<Invoked, Rejection> {
    if event.len() > if kind == Kind::Asynchronous { MAX_ASYNCHRONOUS_EVENT } else { MAX_EVENT } {
        return Err(Rejection::RequestTooLarge);
    }
    let Callee::Stage(_) = &function.callee else {
        return Err(Rejection::Configuration("nobody answers for the function: see the Stage's functions".to_owned()));
    };
    let pool = pool.ok_or_else(|| Rejection::Configuration("the function's address is not valid".to_owned()))?;
    let deadline = tokio::time::Instant::now() + function.timeout;
    let entered = tokio::time::timeout_at(deadline, core.gates.enter(&function.key)).await;
    let permit = entered.map_err(|_elapsed| Rejection::IntegrationTimeout)??;
    let head = |_: &Exchange| {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(HOST, pool.host.clone());
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, function.agent.clone());
        headers.insert(&TRACE_ID, trace_id.clone());
        match kind {
            Kind::Wait | Kind::Stream => {}
            Kind::Asynchronous => drop(headers.insert(&INVOCATION_TYPE, HeaderValue::from_static("Event"))),
            Kind::DryRun => drop(headers.insert(&INVOCATION_TYPE, HeaderValue::from_static("DryRun"))),
        }
        Ok(Head { path: function.path.clone(), headers })
    };
    let timeout = deadline.saturating_duration_since(tokio::time::Instant::now());
    let idle = if kind == Kind::Stream { MAX_SILENCE } else { timeout };
    let call = Call { pool, method: Method::POST, timeout, idle, max_body: None };
    let response = ask(core, exchange, call, Body::full(event), head).await?;
    let failed = response.headers().contains_key(&FUNCTION_ERROR);
    if !response.status().is_success() {
        return Err(refused(response, timeout).await);
    }
    if kind == Kind::Stream {
        return Ok(Invoked::Stream(Answer { body: response.into_body(), permit }));
    }
    // The head came in time; what is left of it is the body's.
    let result = tokio::time::timeout_at(deadline, response.into_body().collect(MAX_RESULT)).await;
    let result = result.map_err(|_elapsed| Rejection::IntegrationTimeout)?.map_err(broken)?;
    drop(permit);
    Ok(if failed { Invoked::Failed(result) } else { Invoked::Result(result) })
}

/// Most of a refusal that is read, for the log.
const MAX_REFUSAL: usize = 4 << 10;

/// The function's host does not call it.
async fn refused(response: Response<Body>, timeout: Duration) -> Rejection {
    let status = response.status().as_u16();
    let said = tokio::time::timeout(timeout, response.into_body().collect(MAX_REFUSAL)).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    let text = format!("Lambda invocation failed with status: {status}: {}", String::from_utf8_lossy(&said));
    match status {
        413 => Rejection::RequestTooLarge,
        // It is there and has too much to do, or is not well.
        429 | 500.. => Rejection::IntegrationFailure(text),
        _ => Rejection::Configuration(text),
    }
}

/// A result broke off, or is too large.
fn broken(error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(BodyFault::Silent) => Rejection::IntegrationTimeout,
        BodyError::Fault(BodyFault::TooLarge) => {
            Rejection::MalformedFunctionAnswer(format!("the function's result has more than {MAX_RESULT} bytes"))
        }
        BodyError::Fault(BodyFault::Aborted) => Rejection::IntegrationFailure(BodyFault::Aborted.to_string()),
        BodyError::Wire(error) => Rejection::IntegrationFailure(error.to_string()),
    }
}
