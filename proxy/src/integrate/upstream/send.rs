//! One request over one connection, and once more where that is safe.

use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use hyper_util::rt::TokioIo;

use crate::accept::{Incoming, WireError};
use crate::body::Body;
use crate::integrate::upstream::lease::Lease;
use crate::integrate::upstream::{Place, Pool, Upstream};
use crate::rejection::Rejection;

/// A connection to a backend that has left HTTP.
pub type Tunnel = TokioIo<hyper::upgrade::Upgraded>;

impl Upstream {
    /// Sends a request in origin form, with its `Host`, and awaits the answer's head.
    ///
    /// A connection that turns out dead is replaced once by a fresh one: when the codec hands the request back,
    /// because nothing of it was sent; or when `again` can make it a second time, which the caller allows for
    /// idempotent requests without a body only.
    ///
    /// # Errors
    /// When there is no connection, or it broke before the answer's head was there.
    pub async fn send(
        &self,
        pool: &Rc<Pool>,
        mut request: Request<Body>,
        again: impl Fn() -> Option<Request<Body>>,
    ) -> Result<Response<Body>, Rejection> {
        let mut fresh = false;
        loop {
            let idle = if fresh { None } else { pool.take() };
            let (place, reused) = match idle {
                Some(sender) => (Place::Http1(sender), true),
                // Boxed, because making a connection takes room that most requests would only carry around.
                None => Box::pin(self.place(pool, fresh)).await?,
            };
            let (answer, lease) = match place {
                Place::Http1(mut sender) => {
                    frame(&mut request);
                    (sender.try_send_request(request).await, Lease::Http1 { sender, pool: Rc::clone(pool) })
                }
                Place::Http2(stream) => {
                    let request = for_http2(pool, request);
                    (stream.sender().try_send_request(request).await, Lease::Http2(stream))
                }
            };
            let mut error = match answer {
                Ok(response) => return Ok(receive(response, lease)),
                Err(error) => error,
            };
            let unsent = error.take_message();
            request = match unsent.map(|request| from_http2(pool, request)).or_else(&again) {
                Some(request) if reused && !fresh => request,
                Some(_) | None => return Err(broken(&error.into_error())),
            };
            fresh = true;
        }
    }
}

/// The other end of an answer that leaves HTTP.
///
/// # Errors
/// When the backend has gone.
pub async fn tunnel(response: &mut Response<Body>) -> Result<Tunnel, WireError> {
    hyper::upgrade::on(response).await.map(TokioIo::new)
}

/// Makes the framing explicit where the codec would guess from the method.
fn frame(request: &mut Request<Body>) {
    if request.headers().contains_key(CONTENT_LENGTH) {
        return;
    }
    let may_have_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if request.body().is_end_stream() {
        // Servers may insist on knowing that a POST has no body.
        if may_have_body {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if !may_have_body {
        match request.body().length() {
            Some(length) => request.headers_mut().insert(CONTENT_LENGTH, length.into()),
            None => request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
    }
}

/// In HTTP/2 the authority is in the URI, and nothing is said about the connection.
fn for_http2(pool: &Pool, mut request: Request<Body>) -> Request<Body> {
    let uri = std::mem::take(request.uri_mut());
    *request.uri_mut() = pool.absolute(uri);
    let headers = request.headers_mut();
    headers.remove(HOST);
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    request
}

/// Undoes [`for_http2`] for a request that was not sent: its next connection may be HTTP/1.1.
fn from_http2(pool: &Pool, mut request: Request<Body>) -> Request<Body> {
    if request.uri().authority().is_some() {
        let uri = std::mem::take(request.uri_mut());
        *request.uri_mut() = uri.into_parts().path_and_query.map(Into::into).unwrap_or_default();
        request.headers_mut().insert(HOST, pool.host.clone());
    }
    request
}

/// The answer, whose body keeps its connection if it has not come in yet. Small answers have: then the connection
/// goes back at once.
fn receive(response: Response<Incoming>, lease: Lease) -> Response<Body> {
    response.map(|incoming| match lease {
        Lease::Http1 { sender, pool } if sender.is_ready() => {
            pool.put(sender);
            Body::wire(incoming)
        }
        Lease::Http1 { .. } | Lease::Http2(_) => Body::wire(incoming).lent(lease),
    })
}

/// A connection broke with a request on it.
fn broken(error: &WireError) -> Rejection {
    let mut text = format!("the backend broke off: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Rejection::IntegrationFailure(text)
}
