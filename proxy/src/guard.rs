//! The policies, in one list, in Amazon's order.

use std::rc::Rc;

use bundle::route::Refusal;

use crate::core::Core;
use crate::exchange::{Exchange, Routed};
use crate::live::Action;
use crate::live::host::Host;
use crate::rejection::Rejection;

/// Lets a request pass, or not.
///
/// # Errors
/// The first policy's that refuses.
pub async fn guard(core: &Rc<Core>, exchange: &mut Exchange) -> Result<(), Rejection> {
    let _ = core;
    // Nothing is served that dispatch found no route for.
    let route = exchange.routed.as_ref().and_then(Routed::route).ok_or(Rejection::NoSuchMethod)?;
    match &route.action {
        Action::Refuse(refusal) => Err(refused(refusal)),
        Action::Mock(_)
        | Action::Http(_)
        | Action::HttpProxy(_)
        | Action::AwsService(_)
        | Action::AwsAction(_)
        | Action::Backend(_)
        | Action::LambdaProxy(_)
        | Action::Lambda(_) => Ok(()),
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
