//! The numbers of stages and routes, by the labels they are shown under; one set per core, added at scrape.
//!
//! **Bound.** At most [`MAX_ROUTES`] routes have numbers of their own, whatever the number of cores: those that are
//! called first. The others of a stage are counted together under `route="other"`. What no route matches is
//! `route=""`, what leads to no stage has empty labels throughout.
//!
//! **Life.** Numbers are found by labels, so they survive a reload. What a swap removes stays for [`LINGER`], so that
//! requests in flight are counted and Prometheus sees the last of them, and is dropped by the first load or scrape
//! after that; when it comes back earlier, it counts on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bundle::Digest;

use crate::live::{Live, Stage};
use crate::observe::metrics::lock;
use crate::observe::metrics::meter::{Counter, Histogram};

/// Routes with numbers of their own.
pub const MAX_ROUTES: usize = 1000;

/// How long numbers stay after their stage or route has gone; longer than anyone's scrape interval.
pub const LINGER: Duration = Duration::from_secs(5 * 60);

/// What the routes beyond [`MAX_ROUTES`] are shown as.
const OTHER: &str = "other";

/// Numbers of one route on one core. Aligned, so that no two cores write to one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RouteMeters {
    /// By [`class_index`].
    pub classes: [Counter; CLASSES.len()],
    /// Until the end of the answer's body.
    pub duration: Histogram,
    /// Until the backend's response headers.
    pub integration: Histogram,
}

/// Labels of `RouteMeters::classes`. `none`: the client left before there was an answer.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Index of a status in `RouteMeters::classes`.
pub fn class_index(status: Option<u16>) -> usize {
    match status {
        Some(status @ 100..600) => usize::from(status / 100) - 1,
        // A codec writes no other status.
        Some(_) => 4,
        None => 5,
    }
}

/// What a stage is shown as.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageLabels {
    pub namespace: String,
    pub api: String,
    pub stage: String,
}

impl StageLabels {
    /// A stage's labels: (namespace, API, stage name) is unique among live stages. A canary's name ends in `/canary`.
    pub fn of(stage: &Stage) -> Self {
        let namespace = stage.key.namespace.clone();
        let canary = if stage.canary_request == Some(true) { "/canary" } else { "" };
        Self { namespace, api: stage.api_name.to_string(), stage: format!("{}{canary}", stage.name) }
    }
}

/// The numbers of stages and routes.
#[derive(Default)]
pub(crate) struct Table(Mutex<State>);

#[derive(Default)]
struct State {
    stages: BTreeMap<StageLabels, StageSeries>,
    /// Routes that count towards [`MAX_ROUTES`].
    routes: usize,
}

#[derive(Default)]
struct StageSeries {
    /// What was live when `routes` were last compared with it.
    digest: Option<Digest>,
    gone: Option<Instant>,
    overhead: PerCore<Histogram>,
    /// By resource and verb.
    routes: BTreeMap<(Box<str>, Box<str>), RouteSeries>,
}

#[derive(Default)]
struct RouteSeries {
    gone: Option<Instant>,
    meters: PerCore<RouteMeters>,
}

/// One of a kind per core that has asked for it.
type PerCore<T> = Vec<(usize, Arc<T>)>;

/// A copy of the table's pointers, for a scrape: reading the numbers holds up no core.
pub(crate) struct StageView {
    pub(crate) labels: StageLabels,
    pub(crate) overhead: PerCore<Histogram>,
    pub(crate) routes: Vec<RouteView>,
}

/// One route of a [`StageView`].
pub(crate) struct RouteView {
    pub(crate) resource: Box<str>,
    pub(crate) verb: Box<str>,
    pub(crate) meters: PerCore<RouteMeters>,
}

impl Table {
    /// A core's numbers of a route.
    pub(crate) fn route(&self, core: usize, labels: &StageLabels, resource: &str, verb: &str) -> Arc<RouteMeters> {
        let state = &mut *lock(&self.0);
        let routes = &mut state.stages.entry(labels.clone()).or_default().routes;
        let mut key = (resource.into(), verb.into());
        if is_counted(resource) && !routes.contains_key(&key) {
            if state.routes < MAX_ROUTES {
                state.routes += 1;
            } else {
                key = (OTHER.into(), OTHER.into());
            }
        }
        of_core(&mut routes.entry(key).or_default().meters, core)
    }

    /// A core's numbers of the gateway's own part in a stage.
    pub(crate) fn overhead(&self, core: usize, labels: &StageLabels) -> Arc<Histogram> {
        of_core(&mut lock(&self.0).stages.entry(labels.clone()).or_default().overhead, core)
    }

    /// Compares with what is live now.
    pub(crate) fn loaded(&self, live: &Live, now: Instant) {
        let state = &mut *lock(&self.0);
        let stages: HashMap<StageLabels, &Arc<Stage>> =
            live.all_stages().map(|stage| (StageLabels::of(stage), stage)).collect();
        for (labels, series) in &mut state.stages {
            match stages.get(labels) {
                Some(stage) => series.compare(stage, now),
                // What leads nowhere always does.
                None if labels.stage.is_empty() => {}
                None => {
                    series.gone.get_or_insert(now);
                }
            }
        }
        state.sweep(now);
    }

    /// What there is to show.
    pub(crate) fn view(&self, now: Instant) -> Vec<StageView> {
        let mut state = lock(&self.0);
        state.sweep(now);
        let route = |((resource, verb), route): (&(Box<str>, Box<str>), &RouteSeries)| RouteView {
            resource: resource.clone(),
            verb: verb.clone(),
            meters: route.meters.clone(),
        };
        let stage = |(labels, series): (&StageLabels, &StageSeries)| StageView {
            labels: labels.clone(),
            overhead: series.overhead.clone(),
            routes: series.routes.iter().map(route).collect(),
        };
        state.stages.iter().map(stage).collect()
    }
}

impl State {
    /// Drops what has been gone for long.
    fn sweep(&mut self, now: Instant) {
        let over = |gone: Option<Instant>| gone.is_some_and(|gone| now.duration_since(gone) >= LINGER);
        self.stages.retain(|_, stage| !over(stage.gone));
        for stage in self.stages.values_mut() {
            stage.routes.retain(|_, route| !over(route.gone));
        }
        let counted = |stage: &StageSeries| stage.routes.keys().filter(|(resource, _)| is_counted(resource)).count();
        self.routes = self.stages.values().map(counted).sum();
    }
}

impl StageSeries {
    /// Marks routes that `stage` has no longer.
    fn compare(&mut self, stage: &Stage, now: Instant) {
        self.gone = None;
        if self.digest.as_ref() == Some(&stage.digest) {
            return;
        }
        self.digest = Some(stage.digest.clone());
        let live: HashSet<(&str, &str)> = stage.routes.iter().map(|route| (&*route.resource, &*route.verb)).collect();
        for ((resource, verb), route) in &mut self.routes {
            if !is_counted(resource) || live.contains(&(&**resource, &**verb)) {
                route.gone = None;
            } else {
                route.gone.get_or_insert(now);
            }
        }
    }
}

/// True for a route; false for what gathers requests of none, or of many.
fn is_counted(resource: &str) -> bool {
    !resource.is_empty() && resource != OTHER
}

/// This core's, made if there is none.
fn of_core<T: Default>(all: &mut PerCore<T>, core: usize) -> Arc<T> {
    if let Some((_, own)) = all.iter().find(|(owner, _)| *owner == core) {
        return Arc::clone(own);
    }
    let own = Arc::<T>::default();
    all.push((core, Arc::clone(&own)));
    own
}
