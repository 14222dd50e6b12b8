//! What the client gets: the one table from `Rejection` to status, error type and body.

use std::rc::Rc;

use http::Response;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::rejection::Rejection;

/// An integration's answer with the headers every answer has.
pub fn finish(exchange: &Exchange, response: Response<Body>) -> Response<Body> {
    let _ = exchange;
    response
}

/// A rejection's answer.
pub fn reject(core: &Rc<Core>, exchange: &mut Exchange, rejection: Rejection) -> Response<Body> {
    let _ = (core, exchange, rejection);
    unimplemented!()
}
