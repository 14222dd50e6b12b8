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
use http::{HeaderValue, Method, Response};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::lambda::event::Source;
use crate::integrate::lambda::invoke::{Invoked, Kind, invoke};
use crate::integrate::mapping::parameters::collect;
use crate::integrate::trace::{self, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::lambda::{Function, LambdaProxy};
use crate::rejection::Rejection;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// AWS_PROXY: the function sees the request as an event, and its result is the client's answer.
///
/// # Errors
/// When the function cannot be called, fails, or answers what is no answer.
pub async fn proxy(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: Option<&Rc<Pool>>,
    proxy: &LambdaProxy,
) -> Result<Response<Body>, Rejection> {
    let LambdaProxy { function, payload, stream } = proxy;
    check_verb(exchange, function)?;
    let body = collect(exchange).await?;
    let trace_id = trace::trace_id(core, exchange);
    let Some(source) = Source::of(exchange, &trace_id, &body) else { return Err(Rejection::NoSuchMethod) };
    let event = source.write(*payload);
    let kind = if *stream { Kind::Stream } else { Kind::Wait };
    let kind_of_api = source.stage.kind;
    let answered = match invoke(core, exchange, pool, function, &trace_id, event.into(), kind).await? {
        Invoked::Result(result) => answer::read(exchange, *payload, result),
        Invoked::Failed(_) => Err("the function failed".to_owned()),
        Invoked::Stream(answer) => stream::begin(answer, function.timeout).await?,
    };
    let mut response = answered.map_err(|why| malformed(kind_of_api, &why))?;
    if kind_of_api == ApiKind::Rest {
        response.headers_mut().insert(&TRACE_ID, trace_id);
    }
    Ok(response)
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
