//! What one worker thread owns. Nothing here is shared with another core; a request borrows it through an `Rc`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bundle::StageKey;

use crate::accept::request::Ids;
use crate::integrate::aws::credentials::Credentialed;
use crate::integrate::aws::credentials::environment::Environment;
use crate::integrate::lambda::gate::Gates;
use crate::integrate::upstream::Upstream;
use crate::live::api_key::Callers;
use crate::live::{self, Live};
use crate::observe::Observer;
use crate::options::Options;
use crate::proxy::Shared;

/// What one worker thread owns.
pub struct Core {
    pub index: usize,
    pub options: Arc<Options>,
    pub shared: Arc<Shared>,
    live: RefCell<Rc<CoreLive>>,
    /// Generation of `live`; compared on each request.
    generation: Cell<u64>,
    /// Names of requests.
    pub ids: Ids,
    /// Connections to backends.
    pub upstream: Upstream,
    /// Calls of functions in flight.
    pub gates: Gates,
    /// Credentials for AWS services.
    pub aws: Credentialed,
    /// Access log and metrics of this core.
    pub observer: Observer,
}

/// The core's view of what is live.
#[derive(Default)]
pub struct CoreLive {
    pub live: Arc<Live>,
    /// By the index of `Live::stages`.
    pub stages: Vec<Rc<CoreStage>>,
    /// `live.callers`, counted by this core alone; it stays while callers do not change.
    pub callers: Rc<Arc<Callers>>,
}

/// The core's view of one stage: what is shared, and what only this core touches.
pub struct CoreStage {
    pub live: Arc<live::Stage>,
    /// By the index of `live.routes`: counters and histograms.
    pub meters: crate::observe::StageMeters,
    /// By the index of `live.routes`: the pool of the route's backend, where that is known at load.
    pub pools: Vec<Option<Rc<crate::integrate::upstream::Pool>>>,
    /// What serves the canary's share.
    pub canary: Option<Rc<CoreStage>>,
}

impl Core {
    /// A core with nothing loaded.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(index: usize, options: Arc<Options>, shared: Arc<Shared>) -> Result<Rc<Self>, getrandom::Error> {
        let upstream = Upstream::new(Arc::clone(&options));
        let observer = Observer::new(index, &options, &shared);
        Ok(Rc::new(Self {
            index,
            options,
            shared,
            live: RefCell::default(),
            generation: Cell::new(0),
            ids: Ids::new()?,
            upstream,
            gates: Gates::default(),
            aws: Credentialed::new(Environment::of_process()),
            observer,
        }))
    }

    /// What is live now. Rebuilt when the shared `Live` was swapped; stages that did not change keep everything.
    pub fn live(&self) -> Rc<CoreLive> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation.get() {
            let live = self.shared.live.load_full();
            let old = Rc::clone(&self.live.borrow());
            let known: HashMap<&StageKey, &Rc<CoreStage>> =
                old.stages.iter().map(|stage| (&stage.live.key, stage)).collect();
            let stages = live
                .stages
                .iter()
                .map(|stage| match known.get(&stage.key) {
                    Some(core) if Arc::ptr_eq(&core.live, stage) => Rc::clone(core),
                    _ => self.stage(stage),
                })
                .collect();
            let callers = if Arc::ptr_eq(&old.callers, &live.callers) {
                Rc::clone(&old.callers)
            } else {
                Rc::new(Arc::clone(&live.callers))
            };
            *self.live.borrow_mut() = Rc::new(CoreLive { live, stages, callers });
            self.generation.set(generation);
        }
        Rc::clone(&self.live.borrow())
    }

    fn stage(&self, stage: &Arc<live::Stage>) -> Rc<CoreStage> {
        Rc::new(CoreStage {
            meters: self.observer.stage(stage),
            pools: stage.routes.iter().map(|route| self.upstream.pool_of(route).ok().flatten()).collect(),
            canary: stage.canary.as_ref().map(|canary| self.stage(&canary.stage)),
            live: Arc::clone(stage),
        })
    }

    /// What serves this request of a stage: the stage, or its canary.
    pub fn draw(&self, stage: &Rc<CoreStage>) -> Rc<CoreStage> {
        match (&stage.canary, &stage.live.canary) {
            (Some(core), Some(canary)) if canary.takes(self.ids.number() as u32) => Rc::clone(core),
            _ => Rc::clone(stage),
        }
    }
}
