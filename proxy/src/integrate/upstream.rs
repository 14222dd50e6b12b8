//! Connections to backends: one set of pools per core.

use std::rc::Rc;
use std::sync::Arc;

use crate::live::Route;
use crate::options::Options;
use crate::proxy::Shared;

/// A core's connections to backends.
pub struct Upstream {}

/// Connections to one endpoint.
pub struct Pool {}

impl Upstream {
    /// No connections yet.
    pub fn new(options: Arc<Options>, shared: Arc<Shared>) -> Self {
        let _ = (options, shared);
        Self {}
    }

    /// The pool of a route's backend, where that is known at load.
    pub fn pool_of(&self, route: &Route) -> Option<Rc<Pool>> {
        let _ = route;
        None
    }
}
