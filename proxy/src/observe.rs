//! What happened: access log and metrics, always, also when the client left early.

pub mod metrics;

use std::rc::Rc;
use std::sync::Arc;

use http::Response;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::{Client, Exchange};
use crate::live::Stage;
use crate::options::Options;
use crate::proxy::Shared;

/// A core's access log and metrics.
pub struct Observer {}

/// Counters and histograms of one stage's routes on one core.
pub struct StageMeters {}

impl Observer {
    pub fn new(core: usize, options: &Options, shared: &Shared) -> Self {
        let _ = (core, options, shared);
        Self {}
    }

    /// A client connection was accepted.
    pub fn connection_opened(&self) {}

    /// A client connection has ended.
    pub fn connection_closed(&self) {}

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {}

    /// The codec or the port refused a client before there was a request.
    pub fn refused(&self, status: u16, reason: &'static str, client: &Client) {
        let _ = (status, reason, client);
    }

    /// Hands on what is buffered.
    pub fn flush(&self) {}

    /// The meters of a stage; the same ones for the same routes after a reload.
    pub fn stage(&self, stage: &Arc<Stage>) -> StageMeters {
        let _ = stage;
        StageMeters {}
    }
}

/// Attaches a watch to the answer's body, which counts and logs when it has ended.
pub fn watch(core: &Rc<Core>, exchange: Exchange, response: Response<Body>) -> Response<Body> {
    let _ = (core, exchange);
    response
}
