//! Integrations HTTP and HTTP_PROXY: an endpoint asked by Amazon's rules.
//!
//! `timeoutInMillis` runs from the end of the client's body to the answer's head, and again for every silence
//! within the answer. Amazon's runs to the answer's end, but Amazon holds the whole answer back; here it streams,
//! and the time a slow client takes to read it is not the backend's.

use std::borrow::Cow;
use std::rc::Rc;

use bundle::mapping::Source;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::body::{Body, BodyError, BodyFault};
use crate::context;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::mapping::headers::{proxied, proxied_to_client};
use crate::integrate::mapping::parameters::{MAX_BODY, Setter, Values, collect, lossy, set_headers, within};
use crate::integrate::mapping::uri::{destination, render};
use crate::integrate::trace::{self, API_ID, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::http::{Endpoint, Http, HttpProxy};
use crate::live::mapping::uri::Origin;
use crate::live::selection::{self, Value};
use crate::rejection::Rejection;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// HTTP_PROXY: the backend sees the client's request, and the client the backend's answer.
///
/// # Errors
/// When the endpoint cannot be asked, or does not answer.
pub async fn proxy(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: Option<&Rc<Pool>>,
    proxy: &HttpProxy,
) -> Result<Response<Body>, Rejection> {
    let HttpProxy { endpoint, parameters } = proxy;
    let collected = collect_if(endpoint.wants_body, exchange).await?;
    let pool = &pool_for(core, exchange, pool, endpoint, collected.as_deref())?;
    let id = trace::trace_id(core, exchange);
    let body = within(MAX_BODY as u64, exchange).await?;
    let head = |exchange: &Exchange| {
        let values = Values { exchange, body: collected.as_deref() };
        let mut headers = HeaderMap::with_capacity(exchange.headers.len() + parameters.headers.len() + 7);
        headers.insert(HOST, pool.host.clone());
        for (name, value) in &exchange.headers {
            if proxied(name, value) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(&TRACE_ID, id.clone());
        headers.insert(&API_ID, endpoint.api_id.clone());
        trace::forward(exchange, &mut headers);
        set_headers(parameters, &values, &mut headers)?;
        let path = render(&endpoint.uri, &values, exchange.query(), &parameters.queries)?;
        Ok(Head { path, headers })
    };
    let mut response = ask(core, exchange, call(exchange, pool, endpoint), body, head).await?;
    proxied_to_client(response.headers_mut());
    Ok(response)
}

/// HTTP: request and answer are made from the definition's mappings.
///
/// # Errors
/// When the endpoint cannot be asked, does not answer, or no response is defined for what it says.
pub async fn map(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: Option<&Rc<Pool>>,
    http: &Http,
) -> Result<Response<Body>, Rejection> {
    let Http { endpoint, parameters, templates, responses, wants_answer, agent } = http;
    let collected = collect_if(endpoint.wants_body, exchange).await?;
    let content_type = exchange.headers.get(CONTENT_TYPE).map(|value| lossy(value).into_owned());
    let body = match templates.select(content_type.as_deref())? {
        None => within(MAX_BODY as u64, exchange).await?,
        Some(template) => {
            let input = collect(exchange).await?;
            Body::full(template.render(exchange, &input)?)
        }
    };
    let pool = &pool_for(core, exchange, pool, endpoint, collected.as_deref())?;
    let id = trace::trace_id(core, exchange);
    let head = |exchange: &Exchange| {
        let values = Values { exchange, body: collected.as_deref() };
        let mut headers = HeaderMap::with_capacity(parameters.headers.len() + 8);
        headers.insert(HOST, pool.host.clone());
        headers.insert(ACCEPT, JSON);
        headers.insert(USER_AGENT, agent.clone());
        headers.insert(CONTENT_TYPE, exchange.headers.get(CONTENT_TYPE).cloned().unwrap_or(JSON));
        headers.insert(&TRACE_ID, id.clone());
        headers.insert(&API_ID, endpoint.api_id.clone());
        set_headers(parameters, &values, &mut headers)?;
        Ok(Head { path: render(&endpoint.uri, &values, None, &parameters.queries)?, headers })
    };
    let answer = ask(core, exchange, call(exchange, pool, endpoint), body, head).await?;
    let status = answer.status();
    let selected = responses.select(i64::from(status.as_u16())).ok_or_else(|| {
        Rejection::Configuration(format!(
            "No match for output mapping and no default output mapping configured. Endpoint Response Status Code: \
             {status}",
            status = status.as_u16()
        ))
    })?;
    let mut response = respond(exchange, selected, *wants_answer, answer).await?;
    response.headers_mut().insert(&TRACE_ID, id);
    Ok(response)
}

/// The client's answer from the backend's.
async fn respond(
    exchange: &Exchange,
    selected: &selection::Response,
    wants_answer: bool,
    answer: Response<Body>,
) -> Result<Response<Body>, Rejection> {
    let (parts, mut body) = answer.into_parts();
    let accept = exchange.headers.get(ACCEPT).map(lossy);
    let template = selected.templates.select(accept.as_deref());
    let collected = if wants_answer || template.is_some() {
        let bytes = body.collect(MAX_BODY).await.map_err(broken)?;
        body = Body::full(bytes.clone());
        Some(bytes)
    } else {
        None
    };
    let mut content_type = JSON;
    if let Some((media_type, template)) = template {
        body = Body::full(template.render(exchange, collected.as_deref().unwrap_or_default())?);
        if media_type.contains('/') {
            content_type = HeaderValue::try_from(media_type).unwrap_or(JSON);
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = selected.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    for (name, value) in &selected.headers {
        let mut set = Setter::new(headers, name);
        match value {
            Value::Ready(value) => set.add(value.clone()),
            Value::From(source) => match source {
                Source::Header(from) => {
                    parts
                        .headers
                        .get_all(from)
                        .iter()
                        .next_back()
                        .cloned()
                        .into_iter()
                        .for_each(|value| set.add(value));
                }
                Source::MultiHeader(from) => {
                    parts.headers.get_all(from).iter().cloned().for_each(|value| set.add(value))
                }
                Source::Body(_) => {
                    let text = collected.as_deref().map(String::from_utf8_lossy).unwrap_or(Cow::Borrowed(""));
                    set.add(header(name, &text)?);
                }
                Source::Context(variable) => {
                    if let Some(value) = context::lookup(exchange, variable) {
                        set.add(header(name, &value)?);
                    }
                }
                Source::Static(text) => set.add(header(name, text)?),
                // Stage variables are known at load; the request's are refused there.
                Source::StageVariable(_) | Source::Path(_) | Source::Query(_) | Source::MultiQuery(_) => {}
            },
        }
    }
    Ok(response)
}

fn header(name: &http::HeaderName, text: &str) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Rejection::Configuration(format!("a value mapped to the header {name} is none")))
}

/// An answer's body that was needed could not be read.
fn broken(error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(BodyFault::Silent) => Rejection::IntegrationTimeout,
        BodyError::Fault(fault @ (BodyFault::TooLarge | BodyFault::Aborted)) => {
            Rejection::IntegrationFailure(fault.to_string())
        }
        BodyError::Wire(error) => Rejection::IntegrationFailure(error.to_string()),
    }
}

/// The body as text, if a mapping needs it.
async fn collect_if(wanted: bool, exchange: &mut Exchange) -> Result<Option<String>, Rejection> {
    if !wanted {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&collect(exchange).await?).into_owned()))
}

/// The pool known at load, or the one of a host that the request names.
fn pool_for(
    core: &Core,
    exchange: &Exchange,
    known: Option<&Rc<Pool>>,
    endpoint: &Endpoint,
    body: Option<&str>,
) -> Result<Rc<Pool>, Rejection> {
    match (known, &endpoint.uri.origin) {
        (Some(pool), _) => Ok(Rc::clone(pool)),
        (None, Origin::Fixed(destination)) => core.upstream.pool(destination),
        (None, Origin::Rendered { scheme, authority, verification }) => {
            let values = Values { exchange, body };
            core.upstream.pool(&destination(scheme, authority, verification, &values)?)
        }
    }
}

fn call<'a>(exchange: &Exchange, pool: &'a Rc<Pool>, endpoint: &Endpoint) -> Call<'a> {
    let method: Method = endpoint.method.clone().unwrap_or_else(|| exchange.method.clone());
    let timeout = endpoint.timeout;
    Call { pool, method, timeout, idle: timeout, max_body: Some(MAX_BODY as u64) }
}
