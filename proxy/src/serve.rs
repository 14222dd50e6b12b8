//! The story of a request.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use http::{Response, Version};

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::rejection::Rejection;
use crate::{dispatch, guard, integrate, observe, reply, turn};

/// Answers one request: always, whatever happens on the way. A panic is this request's 500.
pub async fn serve(core: &Rc<Core>, mut exchange: Box<Exchange>) -> Response<Body> {
    exchange.trust(core.options.trusted_hops);
    let mut exchange = observe::begin(core, exchange);
    let outcome = AssertUnwindSafe(answer(core, &mut exchange)).catch_unwind().await;
    let response = match outcome {
        Ok(Ok(response)) => reply::finish(&exchange, response),
        Ok(Err(rejection)) => reply::reject(&mut exchange, rejection),
        Err(_panic) => {
            core.observer.panicked();
            reply::reject(&mut exchange, Rejection::Panicked)
        }
    };
    if exchange.version < Version::HTTP_2 {
        // HTTP/2 gathers what its streams have to say by itself.
        turn::others_first().await;
    }
    observe::watch(exchange, response)
}

/// The steps, in order. Each may end the request with a rejection.
async fn answer(core: &Rc<Core>, exchange: &mut Exchange) -> Result<Response<Body>, Rejection> {
    dispatch::dispatch(core, exchange)?;
    if reply::cors::is_preflight(exchange) {
        return Ok(reply::cors::preflight(exchange));
    }
    guard::guard(core, exchange).await?;
    integrate::integrate(core, exchange).await
}
