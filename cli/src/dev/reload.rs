//! Files to what is served, remembering what did not change and what last compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bundle::{BundleSet, Digest, StageKey};
use compile::world::Attached;
use compile::{Contract, Finding, Gateway, ObjectKey, Reason, StageInputs, Unit, World};
use proxy::live::Broken;

use super::deploy::Round;
use crate::collect::files::Files;
use crate::collect::{Collected, Collector, Places};
use crate::deployments::Deployments;
use crate::lint::origin;
use crate::print::{self, Diagnostic, Level};

/// Compiles, and remembers.
pub(super) struct Reloader {
    paths: Vec<PathBuf>,
    collector: Collector,
    gateway: Gateway,
    pub(super) deployments: Deployments,
    /// Units of the last time, by the digest of their inputs.
    pub(super) units: HashMap<Digest, Arc<Unit>>,
    /// The last unit of each Stage that compiled.
    good: BTreeMap<StageKey, Arc<Unit>>,
    /// Contracts of deployments that are served and are not in the files.
    pub(super) kept: HashMap<(ObjectKey, u64), Arc<Contract>>,
    /// What was served last.
    set: BundleSet,
}

/// What came of a reload.
pub(super) struct Outcome {
    pub(super) set: BundleSet,
    /// The set is another one than before.
    pub(super) changed: bool,
    /// What is served of every Stage.
    pub(super) units: Vec<Arc<Unit>>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }

    /// Whether the first load may be served: everything compiles, but for templates and selection patterns. Amazon
    /// looks at them only when a request needs them, so their routes alone answer 500.
    pub(super) fn is_servable(&self) -> bool {
        let mut errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error);
        let late = [Reason::InvalidTemplate, Reason::InvalidPattern].map(Reason::as_str);
        errors.all(|error| late.contains(&error.reason.as_str()))
    }

    /// Adds what the proxy cannot serve.
    pub(super) fn broken(&mut self, broken: &[Broken]) {
        for Broken { stage, route, message } in broken {
            let route = if route.is_empty() { String::new() } else { format!("{route}: ") };
            let message = format!("{route}{message}");
            self.diagnostics.push(of_stage(stage, Level::Warning, "NotServable", message));
        }
    }
}

/// A Stage's compiled form with how it came about.
pub(super) struct Compiled {
    pub(super) unit: Arc<Unit>,
    /// The deployment, where its contract is not the one in the files.
    pub(super) other: Option<u64>,
    /// It is live; false while nothing was deployed by hand.
    pub(super) live: bool,
}

impl Reloader {
    pub(super) fn new(paths: Vec<PathBuf>, gateway: Gateway, deployments: Deployments) -> Self {
        Self {
            paths,
            collector: Collector::default(),
            gateway,
            deployments,
            units: HashMap::new(),
            good: BTreeMap::new(),
            kept: HashMap::new(),
            set: BundleSet::default(),
        }
    }

    /// Compiles what the files hold. A Stage that does not compile goes on as it last did.
    pub(super) fn reload(&mut self, files: &Files) -> Outcome {
        let Collected { world, places, mut diagnostics } = self.collector.collect(files, &self.paths);
        let mut attached = compile::attach(&world, &self.gateway);
        let mut by_api: BTreeMap<ObjectKey, Vec<StageInputs>> = BTreeMap::new();
        for inputs in std::mem::take(&mut attached.stages) {
            by_api.entry(inputs.contract.api.clone()).or_default().push(inputs);
        }
        let (mut memo, mut kept) = (HashMap::new(), HashMap::new());
        let mut compiled = Vec::new();
        for (api, stages) in by_api {
            let mut round = Round { world: &world, places: &places, diagnostics: &mut diagnostics };
            let contract = attached.contracts.get(&api);
            let Some((contract, decision, records)) = contract.and_then(|contract| {
                let (decision, records) = self.decide(contract, &stages, &mut round)?;
                Some((contract, decision, records))
            }) else {
                continue;
            };
            for ((inputs, decided), record) in stages.into_iter().zip(decision.stages).zip(records) {
                compiled.push(self.stage(inputs, decided, record, contract, &mut memo, &mut kept, &mut round));
            }
        }
        (self.units, self.kept) = (memo, kept);
        let units = self.serve(&compiled, &world);
        let callers = compile::callers(&world, &self.gateway);
        let served = units.iter().map(|unit| &**unit);
        let linked = compile::link(served, callers, &self.gateway, &world.reference_grants);
        describe(&compiled, &attached, &linked.findings, &places, &mut diagnostics);
        print::in_order(&mut diagnostics);
        let changed = self.set != linked.set;
        self.set = linked.set.clone();
        Outcome { set: linked.set, changed, units, diagnostics }
    }

    /// What is served of every Stage: what compiled, else what last did, else what there is.
    fn serve(&mut self, compiled: &[Compiled], world: &World) -> Vec<Arc<Unit>> {
        self.good.retain(|key, unit| {
            let stage = ObjectKey::new(key.namespace.clone(), key.name.clone());
            world.stages.contains_key(&stage) && world.api_definitions.contains_key(&unit.api)
        });
        let mut units = Vec::with_capacity(compiled.len());
        for Compiled { unit, .. } in compiled.iter().filter(|compiled| compiled.live) {
            if unit.compiled {
                self.good.insert(unit.key.clone(), Arc::clone(unit));
            }
            units.push(Arc::clone(self.good.get(&unit.key).unwrap_or(unit)));
        }
        units
    }
}

/// Findings of the compiler with their places.
fn describe(
    compiled: &[Compiled],
    attached: &Attached,
    linked: &[Finding],
    places: &Places,
    diagnostics: &mut Vec<Diagnostic>,
) {
    // What is wrong in the files is said even while nobody serves it.
    let free: BTreeSet<&ObjectKey> =
        compiled.iter().filter(|one| one.other.is_none()).map(|compiled| &compiled.unit.api).collect();
    for (_, contract) in attached.contracts.iter().filter(|(api, _)| !free.contains(api)) {
        for finding in compile::check_api(contract) {
            diagnostics.push(places.locate(&finding, origin(attached, &finding)));
        }
    }
    for finding in attached.findings.iter().chain(linked) {
        diagnostics.push(places.locate(finding, origin(attached, finding)));
    }
    for Compiled { unit, other, .. } in compiled {
        for finding in &unit.findings {
            let mut diagnostic = places.locate(finding, origin(attached, finding));
            if let (Some(number), true) = (other, finding.object.kind == "ApiDefinition") {
                // It is about a document that is no longer in the files.
                diagnostic.place = None;
                diagnostic.object = Some(format!("{}, deployment {number}", finding.object));
            }
            diagnostics.push(diagnostic);
        }
    }
}

pub(super) fn of_stage(stage: &StageKey, level: Level, reason: &str, message: String) -> Diagnostic {
    Diagnostic {
        place: None,
        level,
        reason: reason.to_owned(),
        message,
        object: Some(format!("Stage {stage}")),
        pointer: None,
        help: None,
    }
}
