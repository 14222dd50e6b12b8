//! Integrations HTTP and HTTP_PROXY: an endpoint asked by Amazon's rules.
//!
//! `timeoutInMillis` runs from the end of the client's body to the answer's head, and again for every silence
//! within the answer. Amazon's runs to the answer's end, but Amazon holds the whole answer back; HTTP_PROXY's streams
//! here, and the time a slow client takes to read it is not the backend's.

use std::rc::Rc;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::configured;
use crate::integrate::custom::{prepare, respond};
use crate::integrate::mapping::document::{Document, NotJson};
use crate::integrate::mapping::headers::{proxied, proxied_to_client};
use crate::integrate::mapping::http_api::{change_request, change_response};
use crate::integrate::mapping::parameters::{MAX_BODY, Values, collect, set_headers, within};
use crate::integrate::mapping::uri::{destination, render};
use crate::integrate::trace::{self, API_ID, TRACE_ID};
use crate::integrate::upstream::Pool;
use crate::live::http::{Endpoint, Http, HttpProxy};
use crate::live::mapping::Wants;
use crate::live::mapping::uri::Origin;
use crate::live::selection::Selector;
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
    let HttpProxy { endpoint, parameters, changes } = proxy;
    let document = document_if(parameters.wants, exchange).await?;
    let values = Values { exchange, document: document.as_ref(), overridden: None };
    let pool = &pool_for(core, pool, endpoint, &values)?;
    let id = trace::trace_id(core, exchange);
    let body = within(MAX_BODY as u64, exchange).await?;
    let head = |exchange: &Exchange| {
        let values = Values { exchange, document: document.as_ref(), overridden: None };
        let mut headers = HeaderMap::with_capacity(exchange.headers.len() + parameters.headers.len() + 7);
        headers.insert(HOST, pool.host.clone());
        for (name, value) in &exchange.headers {
            if proxied(name, value) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(&TRACE_ID, id.clone());
        headers.insert(&API_ID, endpoint.api_id.clone());
        headers.extend(trace::forward(exchange));
        set_headers(parameters, &values, &mut headers)?;
        let mut path = render(&endpoint.uri, &values, exchange.query(), &parameters.queries)?;
        if let Some(changes) = changes {
            path = change_request(changes, &values, &mut headers, path)?;
        }
        Ok(Head { path, headers: headers.into() })
    };
    let mut response = ask(core, exchange, call(exchange, pool, endpoint), body, head).await?;
    proxied_to_client(response.headers_mut());
    match changes {
        Some(changes) => change_response(changes, exchange, response).await,
        None => Ok(response),
    }
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
    let Http { endpoint, custom, agent } = http;
    let mut mapped = prepare(exchange, custom).await?;
    let body = std::mem::take(&mut mapped.body);
    let pool = &pool_for(core, pool, endpoint, &mapped.values(exchange))?;
    let id = trace::trace_id(core, exchange);
    let head = |exchange: &Exchange| {
        let values = mapped.values(exchange);
        let parameters = &custom.parameters;
        let mut headers = HeaderMap::with_capacity(parameters.headers.len() + 8);
        headers.insert(HOST, pool.host.clone());
        headers.insert(ACCEPT, JSON);
        headers.insert(USER_AGENT, agent.clone());
        headers.insert(CONTENT_TYPE, exchange.headers.get(CONTENT_TYPE).cloned().unwrap_or(JSON));
        headers.insert(&TRACE_ID, id.clone());
        headers.insert(&API_ID, endpoint.api_id.clone());
        set_headers(parameters, &values, &mut headers)?;
        Ok(Head { path: render(&endpoint.uri, &values, None, &parameters.queries)?, headers: headers.into() })
    };
    let answer = ask(core, exchange, call(exchange, pool, endpoint), body, head).await?;
    let selector = Selector::Status(i64::from(answer.status().as_u16()));
    let mut response = respond(exchange, custom, mapped, selector, answer).await?;
    response.headers_mut().insert(&TRACE_ID, id);
    Ok(response)
}

/// The body, if a mapping needs it.
async fn document_if(wants: Wants, exchange: &mut Exchange) -> Result<Option<Document>, Rejection> {
    if wants == Wants::Nothing {
        return Ok(None);
    }
    let document = Document::read(collect(exchange).await?, wants);
    document.map(Some).map_err(|NotJson| Rejection::InvalidJsonBody)
}

/// The configured pool, or the one of a host that the request names.
fn pool_for(
    core: &Core,
    known: Option<&Rc<Pool>>,
    endpoint: &Endpoint,
    values: &Values<'_>,
) -> Result<Rc<Pool>, Rejection> {
    match &endpoint.uri.origin {
        Origin::Fixed(_) => configured(known).cloned(),
        Origin::Rendered { scheme, authority, verification } => {
            core.upstream.pool_of_request(&destination(scheme, authority, verification, values)?)
        }
    }
}

fn call<'a>(exchange: &Exchange, pool: &'a Rc<Pool>, endpoint: &Endpoint) -> Call<'a> {
    let method: Method = endpoint.method.clone().unwrap_or_else(|| exchange.method.clone());
    let timeout = endpoint.timeout;
    Call { pool, method, timeout, idle: timeout, max_body: Some(MAX_BODY as u64) }
}
