//! The policies, in one list, in Amazon's order.

mod api_key;
mod validation;

use std::rc::Rc;

use bundle::route::Refusal;
use http::header::CONTENT_ENCODING;

use crate::compression;
use crate::core::Core;
use crate::exchange::{Exchange, Routed};
use crate::live::Action;
use crate::live::host::Host;
use crate::live::validation::Validation;
use crate::rejection::Rejection;

/// Lets a request pass, or not.
///
/// # Errors
/// The first policy's that refuses.
pub async fn guard(core: &Core, exchange: &mut Exchange) -> Result<(), Rejection> {
    // Nothing is served that dispatch found no route for.
    let route = exchange.routed.as_ref().and_then(Routed::route).ok_or(Rejection::NoSuchMethod)?;
    if let Some(refusal) = route.action.refusal() {
        return Err(refused(refusal));
    }
    // Before anything is read of the request's body: whoever may not call costs no more than this.
    if route.api_key {
        api_key::check(core, exchange)?;
    }
    // The last ones, because they read the body.
    if unpacks(exchange) {
        // Apart from the request's own state, which others need not carry.
        Box::pin(compression::decode(exchange)).await?;
    }
    validate(exchange).await
}

/// Whether a packed body is unpacked: where the API has compression. Our own `backend` gets what was sent, unless its
/// body must be read here.
fn unpacks(exchange: &Exchange) -> bool {
    let Some(routed) = exchange.routed.as_ref().filter(|routed| routed.stage.live.minimum_compression_size.is_some())
    else {
        return false;
    };
    exchange.headers.contains_key(CONTENT_ENCODING)
        && routed.route().is_some_and(|route| {
            !matches!(route.action, Action::Backend(_)) || route.validation.as_ref().is_some_and(Validation::wants_body)
        })
}

async fn validate(exchange: &mut Exchange) -> Result<(), Rejection> {
    let Some(routed) = exchange.routed.as_ref() else { return Ok(()) };
    if routed.route().is_none_or(|route| route.validation.is_none()) {
        return Ok(());
    }
    let (stage, index) = (Rc::clone(&routed.stage), routed.route);
    match index.and_then(|index| stage.live.routes.get(index)?.validation.as_ref()) {
        Some(validation) => Box::pin(validation::validate(exchange, validation)).await,
        None => Ok(()),
    }
}

/// Lets a request to a host pass, or not: under every path, so before the path is looked at.
///
/// # Errors
/// When the host is refused.
pub fn host(host: &Host) -> Result<(), Rejection> {
    host.refuse.as_ref().map_or(Ok(()), |refusal| Err(refused(refusal)))
}

fn refused(refusal: &Refusal) -> Rejection {
    let Refusal { reason, message } = refusal.clone();
    Rejection::RouteRefused { reason, message }
}
