//! Files to what is served, remembering what did not change and what last compiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bundle::{BundleSet, Digest, StageKey};
use compile::world::Attached;
use compile::{Contract, Finding, Gateway, ObjectKey, StageInputs, Unit, World};
use crds::annotation;
use crds::stage::DeployPolicy;
use proxy::live::Broken;
use time::OffsetDateTime;

use crate::collect::files::Files;
use crate::collect::{Collected, Collector, Places};
use crate::deployments::{Deployments, HISTORY_LIMIT};
use crate::lint::origin;
use crate::print::{self, Diagnostic, Level};

/// Compiles, and remembers.
pub(super) struct Reloader {
    paths: Vec<PathBuf>,
    collector: Collector,
    gateway: Gateway,
    deployments: Deployments,
    /// Units of the last time, by the digest of their inputs.
    units: HashMap<Digest, Arc<Unit>>,
    /// The last unit of each Stage that compiled.
    good: BTreeMap<StageKey, Arc<Unit>>,
    /// Contracts of deployments that are pinned.
    pinned: HashMap<(ObjectKey, u64), Arc<Contract>>,
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
struct Compiled {
    unit: Arc<Unit>,
    /// The contract is not the one in the files.
    pinned: Option<u64>,
    contract: Arc<Contract>,
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
            pinned: HashMap::new(),
            set: BundleSet::default(),
        }
    }

    /// Compiles what the files hold. A Stage that does not compile goes on as it last did.
    pub(super) fn reload(&mut self, files: &Files) -> Outcome {
        let Collected { world, places, mut diagnostics } = self.collector.collect(files, &self.paths);
        let mut attached = compile::attach(&world, &self.gateway);
        let mut memo = HashMap::new();
        let mut compiled = Vec::new();
        for inputs in std::mem::take(&mut attached.stages) {
            compiled.extend(self.stage(inputs, &world, &places, &mut memo, &mut diagnostics));
        }
        self.units = memo;
        self.take(&compiled, &world, &mut diagnostics);
        let units = self.serve(&compiled, &world);
        let linked = compile::link(units.iter().map(|unit| &**unit), &self.gateway);
        describe(&compiled, &attached, &linked.findings, &places, &mut diagnostics);
        print::in_order(&mut diagnostics);
        let changed = self.set != linked.set;
        self.set = linked.set.clone();
        Outcome { set: linked.set, changed, units, diagnostics }
    }

    /// One Stage: which deployment, then the compiler, unless it has seen the very same.
    fn stage(
        &mut self,
        mut inputs: StageInputs,
        world: &World,
        places: &Places,
        memo: &mut HashMap<Digest, Arc<Unit>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Compiled> {
        let key = inputs.key.clone();
        if inputs.spec.deploy_policy == Some(DeployPolicy::Manual) {
            let message = "`deployPolicy: Manual` is not honoured here: every change is deployed";
            let place = places.of_stage(&key, "/spec/deployPolicy");
            diagnostics
                .push(Diagnostic { place, ..of_stage(&key, Level::Warning, "NotServedYet", message.to_owned()) });
        }
        let newest = self.number(&inputs.contract, diagnostics);
        let pin = match self.pin(&inputs, world, newest) {
            Ok(pin) => pin,
            Err(message) => {
                let pointer = format!("/metadata/annotations/{}", annotation::ROLLBACK_TO.replace('/', "~1"));
                let place = places.of_stage(&key, &pointer);
                diagnostics.push(Diagnostic { place, ..of_stage(&key, Level::Error, "UnknownDeployment", message) });
                // A pin that leads nowhere changes nothing.
                let unit = Arc::clone(self.good.get(&key)?);
                return Some(Compiled { unit, pinned: None, contract: inputs.contract });
            }
        };
        inputs.deployment = newest;
        if let Some((number, contract)) = &pin {
            inputs.deployment = *number;
            inputs.contract = Arc::clone(contract);
        }
        let digest = inputs.digest();
        let known = memo.get(&digest).or_else(|| self.units.get(&digest)).cloned();
        let unit = known.unwrap_or_else(|| Arc::new(compile::compile_stage(&inputs)));
        memo.insert(digest, Arc::clone(&unit));
        Some(Compiled { unit, pinned: pin.map(|(number, _)| number), contract: inputs.contract })
    }

    fn number(&mut self, contract: &Contract, diagnostics: &mut Vec<Diagnostic>) -> u64 {
        self.deployments.number(contract).unwrap_or_else(|error| {
            diagnostics.push(unkept(&contract.api, &error.to_string()));
            1
        })
    }

    /// The deployment that an annotation pins the Stage to.
    fn pin(
        &mut self,
        inputs: &StageInputs,
        world: &World,
        newest: u64,
    ) -> Result<Option<(u64, Arc<Contract>)>, String> {
        let key = &inputs.key;
        let stage = world.stages.get(&ObjectKey::new(key.namespace.clone(), key.name.clone()));
        let wish = stage.and_then(|stage| stage.metadata.annotations.as_ref()?.get(annotation::ROLLBACK_TO));
        let api = &inputs.contract.api;
        let number = match wish.map(|wish| wish.trim()) {
            None => {
                self.deployments.set_pin(key, None).map_err(|error| error.to_string())?;
                return Ok(None);
            }
            // Resolved once: newer deployments do not move it.
            Some("previous") => match self.deployments.pin(key) {
                Some(number) => number,
                None => {
                    let live = self.good.get(key).and_then(|unit| Some(unit.bundle.as_ref()?.deployment));
                    let live = live.unwrap_or(newest);
                    let number = self.deployments.before(api, live);
                    let number = number.ok_or_else(|| format!("there is no deployment of {api} before {live}"))?;
                    self.deployments.set_pin(key, Some(number)).map_err(|error| error.to_string())?;
                    number
                }
            },
            Some(number) => {
                self.deployments.set_pin(key, None).map_err(|error| error.to_string())?;
                number.parse().map_err(|_| format!("`{number}` is neither a deployment's number nor `previous`"))?
            }
        };
        let kept = (api.clone(), number);
        if let Some(contract) = self.pinned.get(&kept) {
            return Ok(Some((number, Arc::clone(contract))));
        }
        // The newest may not have been taken yet: a pin to it is what is in the files.
        let contract = if number == newest {
            Arc::clone(&inputs.contract)
        } else {
            let contract = self.deployments.contract(api, number).map_err(|error| error.to_string())?;
            self.pinned.insert(kept, Arc::clone(&contract));
            contract
        };
        Ok(Some((number, contract)))
    }

    /// Takes a deployment of every API that compiles, and forgets the oldest.
    fn take(&mut self, compiled: &[Compiled], world: &World, diagnostics: &mut Vec<Diagnostic>) {
        let now = rfc3339(OffsetDateTime::now_utc());
        let apis: BTreeSet<&ObjectKey> = compiled.iter().map(|compiled| &compiled.unit.api).collect();
        let mut in_use: BTreeMap<ObjectKey, BTreeSet<u64>> = BTreeMap::new();
        for compiled in compiled {
            let live = compiled.unit.bundle.as_ref().map(|bundle| bundle.deployment);
            let numbers = in_use.entry(compiled.unit.api.clone()).or_default();
            numbers.extend(live.into_iter().chain(compiled.pinned));
            numbers.extend(self.good.get(&compiled.unit.key).and_then(|unit| Some(unit.bundle.as_ref()?.deployment)));
        }
        self.pinned.retain(|(api, number), _| in_use.get(api).is_some_and(|numbers| numbers.contains(number)));
        for api in apis {
            let free = compiled.iter().find(|one| one.unit.api == *api && one.pinned.is_none() && one.unit.compiled);
            let taken = match free {
                Some(compiled) => self.deployments.take(&compiled.contract, &now).map(drop),
                None => Ok(()),
            };
            let of_api = |stage: &&Arc<crds::Stage>| stage.spec.api_ref.name == api.name;
            let limits = world.stages.iter().filter(|(key, _)| key.namespace == api.namespace).map(|(_, stage)| stage);
            let limit = limits.filter(of_api).map(|stage| stage.spec.history_limit.unwrap_or(HISTORY_LIMIT)).max();
            let kept = in_use.remove(api).unwrap_or_default();
            let swept = taken.and_then(|()| self.deployments.sweep(api, limit.unwrap_or(HISTORY_LIMIT), &kept));
            if let Err(error) = swept {
                diagnostics.push(unkept(api, &error.to_string()));
            }
        }
    }

    /// What is served of every Stage: what compiled, else what last did, else what there is.
    fn serve(&mut self, compiled: &[Compiled], world: &World) -> Vec<Arc<Unit>> {
        self.good.retain(|key, unit| {
            let stage = ObjectKey::new(key.namespace.clone(), key.name.clone());
            world.stages.contains_key(&stage) && world.api_definitions.contains_key(&unit.api)
        });
        let mut units = Vec::with_capacity(compiled.len());
        for Compiled { unit, .. } in compiled {
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
        compiled.iter().filter(|one| one.pinned.is_none()).map(|compiled| &compiled.unit.api).collect();
    for (_, contract) in attached.contracts.iter().filter(|(api, _)| !free.contains(api)) {
        for finding in compile::check_api(contract) {
            diagnostics.push(places.locate(&finding, origin(attached, &finding)));
        }
    }
    for finding in attached.findings.iter().chain(linked) {
        diagnostics.push(places.locate(finding, origin(attached, finding)));
    }
    for Compiled { unit, pinned, .. } in compiled {
        for finding in &unit.findings {
            let mut diagnostic = places.locate(finding, origin(attached, finding));
            if let (Some(number), true) = (pinned, finding.object.kind == "ApiDefinition") {
                // It is about a document that is no longer in the files.
                diagnostic.place = None;
                diagnostic.object = Some(format!("{}, deployment {number}", finding.object));
            }
            diagnostics.push(diagnostic);
        }
    }
}

fn of_stage(stage: &StageKey, level: Level, reason: &str, message: String) -> Diagnostic {
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

fn unkept(api: &ObjectKey, error: &str) -> Diagnostic {
    Diagnostic {
        place: None,
        level: Level::Warning,
        reason: "DeploymentNotKept".to_owned(),
        message: format!("the deployment cannot be kept under --state: {error}"),
        object: Some(format!("ApiDefinition {api}")),
        pointer: None,
        help: None,
    }
}

/// `2026-01-31T12:00:00Z`.
fn rfc3339(time: OffsetDateTime) -> String {
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_as_kubernetes_writes_it() {
        let time = OffsetDateTime::from_unix_timestamp(1_767_225_599).unwrap();
        assert_eq!(rfc3339(time), "2025-12-31T23:59:59Z");
    }
}
