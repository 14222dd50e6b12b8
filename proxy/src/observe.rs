//! What happened: access log and metrics, always, also when the client left early.

pub(crate) mod clock;
pub mod flight;
pub(crate) mod json;
pub(crate) mod line;
pub mod log;
pub mod metrics;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Response;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::{Client, Exchange};
use crate::live::Stage;
use crate::observe::flight::InFlight;
use crate::observe::line::Line;
use crate::observe::log::CoreLog;
use crate::observe::metrics::connection::Connection;
use crate::observe::metrics::meter::{Counter, Histogram};
use crate::observe::metrics::table::{RouteMeters, class_index};
use crate::observe::metrics::{CoreMeters, lock};
use crate::options::Options;
use crate::proxy::Shared;

pub use crate::observe::metrics::StageMeters;

/// A core's access log and metrics.
pub struct Observer {
    core: usize,
    shared: Arc<Shared>,
    meters: Arc<CoreMeters>,
    /// This core's counters of `meters.rejections`, found without its lock. A dozen or two: reasons are literals.
    rejections: RefCell<Vec<(&'static str, Arc<Counter>)>>,
    /// Numbers of requests that lead to no stage.
    nowhere: (Arc<RouteMeters>, Arc<Histogram>),
    log: Option<CoreLog>,
}

/// Takes a request in: from here on it is counted and logged, whatever becomes of it.
pub fn begin(core: &Rc<Core>, exchange: Box<Exchange>) -> InFlight {
    InFlight::new(Rc::clone(core), exchange)
}

/// Attaches a watch to the answer's body, which counts and logs when it has ended.
pub fn watch(exchange: InFlight, response: Response<Body>) -> Response<Body> {
    exchange.answered(response)
}

/// Hands log lines to the writer while there are few of them; one such task per core.
pub async fn keep_flushing(core: Rc<Core>) {
    if let Some(log) = &core.observer.log {
        log.keep_flushing().await;
    }
}

impl Observer {
    pub fn new(core: usize, options: &Options, shared: &Arc<Shared>) -> Self {
        if let Some(lost) = shared.access_log.lost() {
            shared.metrics.count_lost_lines(lost);
        }
        Self {
            core,
            meters: shared.metrics.core(),
            rejections: RefCell::default(),
            nowhere: shared.metrics.nowhere(core),
            log: if options.access_log { shared.access_log.core() } else { None },
            shared: Arc::clone(shared),
        }
    }

    /// The meters of a stage; the same ones for the same routes after a reload.
    pub fn stage(&self, stage: &Arc<Stage>) -> StageMeters {
        self.shared.metrics.stage(self.core, stage)
    }

    /// Counts a connection that this core has accepted, for as long as the guard lives.
    pub fn connection(&self) -> Connection {
        Connection::accepted(Arc::clone(&self.meters))
    }

    /// Counts a connection that was closed at once, because as many as may be were open.
    pub fn turned_away(&self) {
        self.meters.turned_away.add(1);
    }

    /// Counts a panic in a request.
    pub fn panicked(&self) {
        self.meters.panics.add(1);
    }

    /// Counts and logs what the codec refused before there was a request.
    pub fn refused(&self, status: u16, reason: &'static str, client: &Client) {
        self.rejected(reason);
        if let Some(class) = self.nowhere.0.classes.get(class_index(Some(status))) {
            class.add(1);
        }
        self.log(|| Line {
            status: Some(status),
            reason: Some(reason),
            ..Line::of(SystemTime::now(), client.peer.ip(), Duration::ZERO)
        });
    }

    /// Hands the log lines that have gathered to the writer. False if it is behind: then again, a little later.
    pub fn flush(&self) -> bool {
        self.log.as_ref().is_none_or(CoreLog::flush)
    }

    fn log<'a>(&self, line: impl FnOnce() -> Line<'a>) {
        if let Some(log) = &self.log {
            log.line(&line(), &self.meters.log_dropped);
        }
    }

    fn rejected(&self, reason: &'static str) {
        let mut known = self.rejections.borrow_mut();
        let counter = match known.iter().position(|(known, _)| *known == reason) {
            Some(index) => index,
            None => {
                let counter = Arc::<Counter>::default();
                lock(&self.meters.rejections).push((reason, Arc::clone(&counter)));
                known.push((reason, counter));
                known.len() - 1
            }
        };
        if let Some((_, counter)) = known.get(counter) {
            counter.add(1);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
