//! Starting, loading and stopping a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bundle::BundleSet;

use crate::live::{Broken, Live};
use crate::options::Options;

/// What all cores share. Read on the hot path: only `generation` and `draining`.
pub struct Shared {
    pub live: ArcSwap<Live>,
    /// Counts swaps of `live`.
    pub generation: AtomicU64,
    pub draining: AtomicBool,
    /// Counters and histograms of every core, gathered at scrape.
    pub metrics: crate::observe::metrics::Registry,
    /// Where the lines of the access log go; closed last.
    pub access_log: crate::observe::log::AccessLog,
    /// The latest state of loading, for the admin port.
    pub status: crate::admin::Status,
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Routes that this proxy cannot serve.
    pub broken: Vec<Broken>,
    pub routes: usize,
}

/// A running proxy.
pub struct Proxy {
    options: Arc<Options>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Makes a set of bundles live. Startup is the first load.
    pub fn load(&self, set: &BundleSet) -> LoadReport {
        let (live, broken) = Live::parse(set, &self.shared.live.load());
        let routes = live.stages.iter().map(|stage| stage.routes.len()).sum();
        self.shared.metrics.loaded(&live);
        let live = Arc::new(live);
        self.shared.live.store(Arc::clone(&live));
        self.shared.generation.fetch_add(1, Ordering::Release);
        self.shared.status.loaded(&live, &broken);
        let _ = &self.options;
        LoadReport { broken, routes }
    }
}
