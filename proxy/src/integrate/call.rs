//! Asking a backend: bounds of the body, time, and what the record says about it.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{Method, Response};

use crate::body::{Body, BodyFault};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::mapping::parameters::of_client;
use crate::integrate::upstream::deadline::{Progress, in_time};
use crate::integrate::upstream::{Fields, Outbound, Pool};
use crate::rejection::Rejection;
use crate::turn;

/// How to ask a backend.
pub struct Call<'a> {
    pub pool: &'a Rc<Pool>,
    pub method: Method,
    /// Until the answer's head.
    pub timeout: Duration,
    /// Longest silence of an answer, and of an upload that is on its way at the same time.
    pub idle: Duration,
    /// Largest request body; `None` for none. What says its length is refused by `parameters::within` before.
    pub max_body: Option<u64>,
}

/// What a request for a backend begins with.
pub struct Head {
    pub path: PathAndQuery,
    pub headers: Fields,
}

/// Sends a request and awaits the answer's head. The rest of the answer may take any time, as long as the backend is
/// never silent for longer than `idle`. `head` makes the request's head; it is called again for a second attempt,
/// which is rare, while keeping a copy would cost every request.
///
/// # Errors
/// What `head` says, 413, the client's going away, 504, or that there is nobody to ask.
pub async fn ask(
    core: &Core,
    exchange: &mut Exchange,
    call: Call<'_>,
    mut body: Body,
    head: impl Fn(&Exchange) -> Result<Head, Rejection>,
) -> Result<Response<Body>, Rejection> {
    let Call { pool, method, timeout, idle, max_body } = call;
    let fault = body.bound(max_body.unwrap_or(u64::MAX));
    let upload = if body.is_empty() {
        None
    } else {
        let (progress, watch) = Progress::new();
        body = body.watched(watch);
        body.share(Rc::clone(&progress));
        Some(progress)
    };
    let repeatable = upload.is_none() && is_idempotent(&method);
    let first = request(&method, head(exchange)?, body);
    let again = || match repeatable {
        true => head(exchange).ok().map(|head| request(&method, head, Body::empty())),
        false => None,
    };

    turn::others_first().await;
    let began = Instant::now();
    let answer = {
        let sending = pin!(core.upstream.send(pool, first, again));
        in_time(&core.upstream.timers, (began, timeout), idle, upload.as_deref(), sending).await
    };
    exchange.record.integration_latency = Some(began.elapsed());
    let mut response = match answer {
        None => return Err(Rejection::IntegrationTimeout),
        Some(Ok(response)) => response,
        Some(Err(rejection)) => return Err(to_blame(fault, rejection)),
    };
    exchange.record.integration_status = Some(response.status().as_u16());
    let answer = response.body_mut();
    answer.set_patience(idle);
    if let Some(progress) = upload.filter(|upload| !upload.has_ended()) {
        answer.share(progress);
    }
    Ok(response)
}

fn request(method: &Method, head: Head, body: Body) -> Outbound {
    Outbound { method: method.clone(), path: head.path, headers: head.headers, body }
}

/// Sending the same twice does what sending it once does (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// A call that failed because the client's body did is the client's failure.
fn to_blame(fault: Option<Rc<Cell<Option<BodyFault>>>>, rejection: Rejection) -> Rejection {
    fault.and_then(|fault| fault.get()).map_or(rejection, of_client)
}
