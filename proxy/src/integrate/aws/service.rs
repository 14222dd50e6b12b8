//! Integrations of type AWS, except for Lambda's: a mapped request, signed, and the service's answer, mapped.

use std::rc::Rc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::aws::call::{SignedCall, send};
use crate::integrate::aws::sign::Scope;
use crate::integrate::custom::{prepare, respond};
use crate::integrate::mapping::parameters::set_headers;
use crate::integrate::mapping::uri::render;
use crate::integrate::trace::{self, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::aws::service::Service;
use crate::live::selection::Selector;
use crate::rejection::Rejection;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Asks the service. What it refuses is an answer like any other and selects a response by its status.
///
/// # Errors
/// When the request cannot be made or signed, the service does not answer, or no response is defined for what it says.
pub async fn invoke(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    service: &Service,
) -> Result<Response<Body>, Rejection> {
    let Service { destination: _, uri, method, signing_name, region, role, timeout, headers, custom } = service;
    let mut mapped = prepare(exchange, custom).await?;
    let body = mapped.collect().await?;
    let id = trace::trace_id(core, exchange);
    let values = mapped.values(exchange);
    let mut headers = headers.clone();
    headers.insert(ACCEPT, JSON);
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, exchange.headers.get(CONTENT_TYPE).cloned().unwrap_or(JSON));
    }
    headers.insert(&TRACE_ID, id.clone());
    set_headers(&custom.parameters, &values, &mut headers)?;
    let call = SignedCall {
        pool,
        scope: Scope { service: signing_name, region },
        role: role.as_deref(),
        method: method.clone().unwrap_or_else(|| exchange.method.clone()),
        path: render(uri, &values, None, &custom.parameters.queries)?,
        headers,
        body,
        timeout: *timeout,
    };
    let stage = exchange.routed.as_ref().map(|routed| Rc::clone(&routed.stage)).ok_or(Rejection::NoSuchStage)?;
    let answer = send(core, exchange, &stage.live.aws, call).await?;
    let selector = Selector::Status(i64::from(answer.status().as_u16()));
    let mut response = respond(exchange, custom, mapped, selector, answer).await?;
    response.headers_mut().insert(&TRACE_ID, id);
    Ok(response)
}
