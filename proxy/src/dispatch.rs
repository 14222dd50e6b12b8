//! From a request to a route: host and base path → stage → method and path.

pub mod path;
pub mod pattern;
pub mod trie;

use std::rc::Rc;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::rejection::Rejection;

/// Sets `exchange.path` and `exchange.routed`.
///
/// # Errors
/// When the path is refused, or nothing is there.
pub fn dispatch(core: &Rc<Core>, exchange: &mut Exchange) -> Result<(), Rejection> {
    let _ = (core, exchange);
    unimplemented!()
}
