//! Counters and histograms: written by one core each, gathered at scrape.
//!
//! A request finds its numbers by its route's index, without a look-up by label: [`StageMeters`] has a cell per
//! route, filled by the first request for it on this core. Behind the cells is the [`table`], which every core
//! shares and which outlives reloads.

mod collect;
pub mod connection;
pub mod meter;
pub mod table;

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Encoder, TextEncoder};

use crate::live::{Live, Stage};
use crate::observe::metrics::meter::{Counter, Gauge, Histogram};
use crate::observe::metrics::table::{RouteMeters, StageLabels, Table};

/// Every core's numbers, and those of the process.
pub struct Registry {
    numbers: Arc<Numbers>,
    gather: prometheus::Registry,
}

/// What a scrape reads.
#[derive(Default)]
pub(crate) struct Numbers {
    pub(crate) cores: Mutex<Vec<Arc<CoreMeters>>>,
    pub(crate) table: Table,
    reloads: AtomicU64,
    bundles_rejected: AtomicU64,
    live_routes: AtomicU64,
    /// Log lines that the writer of the access log lost.
    log_lost: Mutex<Option<Arc<AtomicU64>>>,
}

/// Numbers of a core that belong to no route.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CoreMeters {
    pub in_flight: Gauge,
    pub panics: Counter,
    pub log_dropped: Counter,
    pub accepted: Counter,
    pub turned_away: Counter,
    pub handshaking: Gauge,
    pub open: Gauge,
    pub handshake_failures: Counter,
    /// Locked when a reason comes up for the first time, and at scrape.
    pub(crate) rejections: Mutex<Vec<(&'static str, Arc<Counter>)>>,
}

impl Default for Registry {
    fn default() -> Self {
        let numbers = Arc::new(Numbers::default());
        let gather = prometheus::Registry::new();
        let registry = Self { numbers: Arc::clone(&numbers), gather };
        registry.register(Box::new(collect::Gatherer::new(numbers)));
        registry
    }
}

impl Registry {
    /// Adds another source of numbers. Its names must not be taken.
    pub fn register(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.gather.register(collector) {
            tracing::error!(%error, "numbers are left out of /metrics");
        }
    }

    /// A set of bundles has been made live: its routes keep their numbers, those of what is gone are dropped after
    /// [`table::LINGER`].
    pub fn loaded(&self, live: &Live) {
        let routes: usize = live.stages.iter().map(|stage| stage.routes.len()).sum();
        self.numbers.live_routes.store(routes as u64, Ordering::Relaxed);
        self.numbers.reloads.fetch_add(1, Ordering::Relaxed);
        self.numbers.table.loaded(live, Instant::now());
    }

    /// A bundle could not be read; what was live stays.
    pub fn bundle_rejected(&self) {
        self.numbers.bundles_rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything as Prometheus text.
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.gather.gather(), &mut out) {
            tracing::error!(%error, "numbers cannot be written as text");
        }
        out
    }

    /// A core's own numbers.
    pub(crate) fn core(&self) -> Arc<CoreMeters> {
        let core = Arc::new(CoreMeters::default());
        lock(&self.numbers.cores).push(Arc::clone(&core));
        core
    }

    /// Where the writer of the access log counts.
    pub(crate) fn count_lost_lines(&self, lost: Arc<AtomicU64>) {
        *lock(&self.numbers.log_lost) = Some(lost);
    }

    /// The cells of a stage's routes on one core.
    pub(crate) fn stage(&self, core: usize, stage: &Stage) -> StageMeters {
        StageMeters {
            core,
            numbers: Arc::clone(&self.numbers),
            routes: (0..=stage.routes.len()).map(|_| OnceCell::new()).collect(),
            overhead: OnceCell::new(),
        }
    }

    /// The numbers of requests that lead to no stage, and the gateway's own part of them.
    pub(crate) fn nowhere(&self, core: usize) -> (Arc<RouteMeters>, Arc<Histogram>) {
        let labels = StageLabels::default();
        (self.numbers.table.route(core, &labels, "", ""), self.numbers.table.overhead(core, &labels))
    }
}

/// Counters and histograms of one stage's routes on one core.
pub struct StageMeters {
    core: usize,
    numbers: Arc<Numbers>,
    /// By the index of the stage's routes; the last is for requests that no route matches. A cell is a pointer: a
    /// route costs nothing else until it is called.
    routes: Box<[OnceCell<Arc<RouteMeters>>]>,
    overhead: OnceCell<Arc<Histogram>>,
}

impl StageMeters {
    /// The numbers of a route of `stage`, or of what none matches.
    pub(crate) fn route(&self, stage: &Stage, index: Option<usize>) -> Option<&RouteMeters> {
        let unmatched = self.routes.len().saturating_sub(1);
        let cell = self.routes.get(index.unwrap_or(unmatched))?;
        Some(cell.get_or_init(|| {
            let route = index.and_then(|index| stage.routes.get(index));
            let (resource, verb) = route.map_or(("", ""), |route| (&*route.resource, &*route.verb));
            self.numbers.table.route(self.core, &StageLabels::of(stage), resource, verb)
        }))
    }

    /// The gateway's own part of the stage's requests.
    pub(crate) fn overhead(&self, stage: &Stage) -> &Histogram {
        self.overhead.get_or_init(|| self.numbers.table.overhead(self.core, &StageLabels::of(stage)))
    }
}

/// Locks what no panic can leave half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
