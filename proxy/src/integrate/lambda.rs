//! Lambda functions: whatever speaks their Invoke API.
//!
//! `event` makes what a proxy function gets and `answer` reads what it says; `invoke` calls it within `gate`'s bounds;
//! `stream` unpacks answers that come while the function writes them.

pub mod gate;
pub mod invoke;

mod answer;
mod event;
mod json;
mod request;
pub mod stream;

use std::rc::Rc;

use bundle::ApiKind;
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::custom::{prepare, respond};
use crate::integrate::lambda::event::Source;
use crate::integrate::lambda::invoke::{Invocation, Invoked, Outcome, invoke, refused};
use crate::integrate::mapping::parameters::{collect, set_headers};
use crate::integrate::trace::{self, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::lambda::{Function, Lambda, LambdaProxy};
use crate::live::selection::Selector;
use crate::rejection::Rejection;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// AWS_PROXY: the function sees the request as an event, and its result is the client's answer.
///
/// # Errors
/// When the function cannot be called, fails, or answers what is no answer.
pub async fn proxy(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    proxy: &LambdaProxy,
) -> Result<Response<Body>, Rejection> {
    let LambdaProxy { function, payload, stream } = proxy;
    check_verb(exchange, function)?;
    let body = collect(exchange).await?;
    let trace_id = trace::trace_id(core, exchange);
    let Some(source) = Source::of(exchange, &trace_id, &body) else { return Err(Rejection::NoSuchMethod) };
    let kind = source.stage.kind;
    let event = source.write(*payload).into();
    let invocation = Invocation { event, headers: HeaderMap::new(), trace_id: trace_id.clone(), stream: *stream };
    let answered = match invoke(core, exchange, pool, function, invocation).await? {
        Invoked::Stream(answer) => stream::begin(answer, function.timeout).await?,
        Invoked::Whole(Outcome::Result, result) => answer::read(exchange, *payload, result.into_body()),
        Invoked::Whole(Outcome::Failed, _) => Err("the function failed".to_owned()),
        Invoked::Whole(Outcome::Refused, refusal) => return Err(refused(&refusal)),
    };
    let mut response = answered.map_err(|why| malformed(kind, &why))?;
    exchange.record.function_status = Some(response.status().as_u16());
    if kind == ApiKind::Rest {
        response.headers_mut().insert(&TRACE_ID, trace_id);
    }
    Ok(response)
}

/// AWS with a function: event and answer are made from the definition's mappings. Which answer, the `errorMessage` of a
/// function that failed decides; so does what its host says when it refuses to call it.
///
/// # Errors
/// When the function cannot be called, or no response is defined for what it says.
pub async fn map(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    lambda: &Lambda,
) -> Result<Response<Body>, Rejection> {
    let Lambda { function, custom } = lambda;
    check_verb(exchange, function)?;
    let mut mapped = prepare(exchange, custom).await?;
    let event = mapped.collect().await?;
    let mut headers = HeaderMap::new();
    set_headers(&custom.parameters, &mapped.values(exchange), &mut headers)?;
    let trace_id = trace::trace_id(core, exchange);
    let invocation = Invocation { event, headers, trace_id: trace_id.clone(), stream: false };
    let (outcome, result) = match invoke(core, exchange, pool, function, invocation).await? {
        Invoked::Whole(outcome, result) => (outcome, result),
        // Only a proxy's answers stream.
        Invoked::Stream(_) => return Err(Rejection::Configuration("a mapped answer cannot stream".to_owned())),
    };
    let message = match outcome {
        Outcome::Result => None,
        Outcome::Failed | Outcome::Refused => Some(error_message(result.body())),
    };
    let selector = message.as_deref().map_or(Selector::Default, Selector::Text);
    let mut response = respond(exchange, custom, mapped, selector, result.map(Body::full)).await?;
    response.headers_mut().insert(&TRACE_ID, trace_id);
    Ok(response)
}

/// What a function says went wrong; empty if it says nothing.
fn error_message(result: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Failure {
        #[serde(rename = "errorMessage")]
        message: Option<String>,
    }
    serde_json::from_slice(result).ok().and_then(|Failure { message }| message).unwrap_or_default()
}

/// Functions are called with POST; a definition that says otherwise fails, as recorded.
fn check_verb(exchange: &Exchange, function: &Function) -> Result<(), Rejection> {
    match function.method.as_ref().unwrap_or(&exchange.method) {
        &Method::POST => Ok(()),
        verb => Err(Rejection::Configuration(format!("a function is called with POST, not with {verb}"))),
    }
}

/// What a function says is no answer: a REST API's 502, which nothing customises, or an HTTP API's 500.
fn malformed(kind: ApiKind, why: &str) -> Rejection {
    let text = format!("Malformed Lambda proxy response: {why}");
    match kind {
        ApiKind::Rest => Rejection::MalformedFunctionAnswer(text),
        ApiKind::Http => Rejection::IntegrationFailure(text),
    }
}
