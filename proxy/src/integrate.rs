//! What stands behind a route, one file per kind.

pub mod backend;
pub mod http;
pub mod mapping;
pub mod mock;
pub mod upstream;

use std::rc::Rc;

use ::http::Response;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::rejection::Rejection;

/// Answers by the route's integration.
///
/// # Errors
/// When it cannot be asked, or does not answer.
pub async fn integrate(core: &Rc<Core>, exchange: &mut Exchange) -> Result<Response<Body>, Rejection> {
    let _ = (core, exchange);
    unimplemented!()
}
