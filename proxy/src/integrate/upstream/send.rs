//! One request over one connection, and once more where that is safe.

use std::rc::Rc;

use http::Response;

use crate::accept::WireError;
use crate::body::Body;
use crate::integrate::upstream::balance::{Choice, Left};
use crate::integrate::upstream::http1::{Failed, Tunnel};
use crate::integrate::upstream::lease::Lease;
use crate::integrate::upstream::pool::Stream;
use crate::integrate::upstream::{Outbound, Place, Pool, Upstream};
use crate::rejection::Rejection;

impl Upstream {
    /// Sends a request and awaits the answer's head.
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
        mut request: Outbound,
        again: impl Fn() -> Option<Outbound>,
    ) -> Result<Response<Body>, Rejection> {
        let service = pool;
        let mut choice = Choice::new(self, service);
        let mut fresh = false;
        loop {
            let pool = choice.pool(service);
            let idle = if fresh { None } else { pool.take() };
            let (place, reused) = match idle {
                Some(connection) => (Place::Http1(connection), true),
                // Boxed, because making a connection takes room that most requests would only carry around.
                None => {
                    let reaching = choice.reaching(service);
                    let place = Box::pin(self.place(pool, fresh)).await;
                    reaching.ended(place.is_ok());
                    match place {
                        Ok(place) => place,
                        // Nothing has been sent: another pod may do.
                        Err(Rejection::IntegrationFailure(_)) if choice.another(self, service, Left::NotReached) => {
                            continue;
                        }
                        Err(rejection) => return Err(rejection),
                    }
                }
            };
            let (unsent, broken) = match place {
                Place::Http1(connection) => match connection.ask(pool, &mut request).await {
                    Ok(response) => return Ok(response),
                    // The backend has answered; it would answer so again.
                    Err(Failed { fault, sent: true }) if !fault.is_end() => return Err(broken(&fault)),
                    Err(Failed { fault, sent }) => ((!sent).then_some(request), broken(&fault)),
                },
                // Boxed for the same reason: most backends speak HTTP/1.1.
                Place::Http2(stream) => match Box::pin(ask_http2(pool, stream, request)).await {
                    Ok(response) => return Ok(response),
                    Err((unsent, error)) => (unsent, broken(&error)),
                },
            };
            request = match unsent.or_else(&again) {
                Some(request) if reused && !fresh => request,
                // Of several pods one may be ending just now.
                Some(request) if choice.another(self, service, Left::Broken) => request,
                Some(_) | None => return Err(broken),
            };
            if reused && !fresh {
                choice.another(self, service, Left::Stale);
            }
            fresh = true;
        }
    }
}

/// The other end of an answer that leaves HTTP; `None` if it does not.
pub fn tunnel(response: Response<Body>) -> Option<Box<Tunnel>> {
    response.into_body().into_tunnel()
}

/// One request on an HTTP/2 connection; handed back if nothing of it was sent.
async fn ask_http2(
    pool: &Pool,
    stream: Stream,
    request: Outbound,
) -> Result<Response<Body>, (Option<Outbound>, WireError)> {
    match stream.sender().try_send_request(request.into_http2(pool)).await {
        Ok(response) => Ok(response.map(|incoming| Body::wire(incoming).lent(Lease::new(stream)))),
        Err(mut error) => {
            let unsent = error.take_message().map(|request| Outbound::from_http2(request, pool));
            Err((unsent, error.into_error()))
        }
    }
}

/// A connection broke with a request on it.
fn broken(error: &dyn std::error::Error) -> Rejection {
    let mut text = format!("the backend broke off: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    Rejection::IntegrationFailure(text)
}
