//! A signed call.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::aws::credentials::keys;
use crate::integrate::aws::sign::{Scope, Unsigned, sign};
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::upstream::{Destination, Outbound, Pool};
use crate::live::aws::Aws;
use crate::rejection::Rejection;

/// Largest answer that holds credentials.
const MAX_ANSWER: usize = 64 << 10;

/// Where services name a request; S3 and the older ones do it in the second.
static REQUEST_IDS: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-requestid"), HeaderName::from_static("x-amz-request-id")];

/// A call as it will be sent, but for its signature.
pub struct SignedCall<'a> {
    pub pool: &'a Rc<Pool>,
    /// What the signature is good for.
    pub scope: Scope<'a>,
    /// The role to assume before.
    pub role: Option<&'a str>,
    pub method: Method,
    pub path: PathAndQuery,
    /// Without `Host`, which is the pool's.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Until the answer's head, and for every silence within the answer.
    pub timeout: Duration,
}

/// Signs a call with the keys of the stage's caller, or of a role, sends it, and awaits the answer's head.
///
/// # Errors
/// When there are no keys, or the service cannot be asked or does not answer.
pub async fn send(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    aws: &Aws,
    signed: SignedCall<'_>,
) -> Result<Response<Body>, Rejection> {
    let SignedCall { pool, scope, role, method, path, mut headers, body, timeout } = signed;
    headers.insert(HOST, pool.host.clone());
    let keys = keys(core, aws, role).await?;
    let head = |_: &Exchange| {
        let mut headers = headers.clone();
        let request = Unsigned { method: &method, path: &path, body: &body };
        // A second attempt is signed anew: time has passed.
        sign(&keys, scope, request, &mut headers, SystemTime::now())?;
        Ok(Head { path: path.clone(), headers: headers.into() })
    };
    let call = Call { pool, method: method.clone(), timeout, idle: timeout, max_body: None };
    let response = ask(core, exchange, call, Body::full(body.clone()), head).await?;
    note_request_id(exchange, response.headers());
    Ok(response)
}

/// Notes what a service calls the request that it has answered, which its own logs know it by.
pub fn note_request_id(exchange: &mut Exchange, answer: &HeaderMap) {
    exchange.record.endpoint_request_id = REQUEST_IDS.iter().find_map(|name| answer.get(name)).cloned();
}

/// One request outside of any client's, and its whole answer.
pub(super) async fn exchange_once(
    core: &Rc<Core>,
    destination: &Destination,
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Bytes), String> {
    let pool = core.upstream.pool(destination).map_err(|_| "too many endpoints are in use".to_owned())?;
    let request = Outbound { method, path, headers: headers.into(), body: Body::full(body) };
    let sent = core.upstream.send(&pool, request, || None).await;
    let response = sent.map_err(|_| format!("{} cannot be reached", destination.authority()))?;
    let (parts, body) = response.into_parts();
    let body = body.collect(MAX_ANSWER).await.map_err(|error| error.to_string())?;
    Ok((parts.status, body))
}
