//! What stands behind a route, one file per kind.

pub mod aws;
pub mod backend;
pub mod call;
pub mod custom;
pub mod http;
pub mod lambda;
pub mod mapping;
pub mod mock;
pub mod payload;
pub mod trace;
pub mod tunnel;
pub mod upstream;

use std::rc::Rc;

use ::http::Response;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::upstream::Pool;
use crate::live::Action;
use crate::rejection::Rejection;

/// Answers by the route's integration.
///
/// # Errors
/// When it cannot be asked, or does not answer.
pub async fn integrate(core: &Rc<Core>, exchange: &mut Exchange) -> Result<Response<Body>, Rejection> {
    let routed = exchange.routed.as_ref().ok_or(Rejection::NoSuchStage)?;
    let index = routed.route.ok_or(Rejection::NoSuchMethod)?;
    // The stage stays as it is for this request, whatever is loaded meanwhile.
    let stage = Rc::clone(&routed.stage);
    let route = stage.live.routes.get(index).ok_or(Rejection::NoSuchMethod)?;
    let known = stage.pools.get(index).and_then(Option::as_ref);
    // One that could not be had at load, for there were too many, may be had now; or this says why not.
    let late = if known.is_none() { core.upstream.pool_of(route)? } else { None };
    let pool = known.or(late.as_ref());
    // What passes a body through is awaited in place; the others work longer than a box takes to make, and each would
    // make the state of every request larger.
    match &route.action {
        Action::Refuse(refusal) => {
            Err(Rejection::RouteRefused { reason: refusal.reason.clone(), message: refusal.message.clone() })
        }
        Action::Mock(mock) => Box::pin(mock::answer(exchange, mock)).await,
        Action::Http(http) => Box::pin(http::map(core, exchange, pool, http)).await,
        Action::HttpProxy(proxy) => http::proxy(core, exchange, pool, proxy).await,
        Action::AwsService(service) => Box::pin(aws::service::invoke(core, exchange, configured(pool)?, service)).await,
        Action::AwsAction(action) => Box::pin(aws::action::invoke(core, exchange, configured(pool)?, action)).await,
        Action::Backend(backend) => backend::forward(core, exchange, configured(pool)?, backend).await,
        Action::LambdaProxy(proxy) => Box::pin(lambda::proxy(core, exchange, configured(pool)?, proxy)).await,
        Action::Lambda(custom) => Box::pin(lambda::map(core, exchange, configured(pool)?, custom)).await,
    }
}

/// The pool of a backend that no request names.
fn configured(pool: Option<&Rc<Pool>>) -> Result<&Rc<Pool>, Rejection> {
    pool.ok_or_else(|| Rejection::Configuration("the route has no backend".to_owned()))
}

#[cfg(test)]
mod tests;
