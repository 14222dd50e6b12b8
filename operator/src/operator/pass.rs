//! One pass over what changed: read, decide, take deployments, compile, deliver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bundle::aws::Credentials;
use bundle::object::Subject;
use bundle::{Digest, StageKey, Stamped};
use compile::deploy::{Candidate, Decision, Situation, StageDecision, StageView, Take, decide};
use compile::world::{attach_stage, config_maps_of, secrets_of};
use compile::{CanaryInputs, Contract, ObjectKey, Unit, compile_stage};
use crds::Stage;
use crds::annotation::{DEPLOY, PROMOTE_CANARY, ROLLBACK_TO};
use crds::stage::DeployPolicy;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use tokio::time::Instant;

use super::Operator;
use crate::deliver::{self, DeliverError, Write};
use crate::deploy;
use crate::state::{Body, Subjected};

/// Requests to the API server at the same time.
const PARALLEL: usize = 16;
/// Numbers tried when another leader takes them at the same time.
const ATTEMPTS: usize = 5;

/// What a Stage was decided to serve, with the Stage.
struct Decided {
    key: ObjectKey,
    stage: Arc<Stage>,
    decision: StageDecision,
}

impl Operator {
    /// Whether there was something to do.
    pub(super) async fn pass(&mut self) -> bool {
        let dirty = std::mem::take(&mut self.state.dirty);
        if dirty.is_empty() && !self.state.relink {
            return false;
        }
        let lead = self.leads();
        self.fetch_bodies(&dirty).await;
        for api in &dirty {
            self.read(api);
        }
        let decided = self.decide(&dirty, lead).await;
        self.fetch_contracts(&decided).await;
        let mut stages = Vec::new();
        for (api, decided) in decided {
            for one in decided {
                stages.push(self.compile(&api, one).await);
            }
        }
        let dirty_stages = dirty.iter().flat_map(|api| self.state.stages_of(api)).map(|(key, _)| Subjected::Stage(key));
        let unreported: Vec<Subjected> = dirty_stages.chain(dirty.iter().cloned().map(Subjected::Api)).collect();
        self.state.unreported.extend(unreported);
        self.forget_contracts(&dirty);
        if !lead || !self.leads() {
            return true;
        }
        self.deliver_stages(&stages).await;
        if std::mem::take(&mut self.state.relink) {
            self.link().await;
            self.deliver_hosts().await;
            self.sweep_bundles().await;
        }
        true
    }

    /// Fetches the bodies that these APIs and their Stages refer to, as far as they are other ones than before.
    async fn fetch_bodies(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let mut wanted: BTreeSet<(Body, ObjectKey)> = BTreeSet::new();
        for api in dirty {
            if let Some(object) = self.state.apis.get(api) {
                let names = config_maps_of(&object.spec);
                wanted.extend(names.map(|name| (Body::ConfigMap, ObjectKey::new(&*api.namespace, name))));
            }
            for (key, stage) in self.state.stages_of(api) {
                let names = secrets_of(&stage.spec);
                wanted.extend(names.map(|name| (Body::Secret, ObjectKey::new(&*key.namespace, name))));
            }
        }
        let mut fetch = Vec::new();
        for (body, key) in wanted {
            let version = match body {
                Body::ConfigMap => self.state.config_maps.get(&key),
                Body::Secret => self.state.secrets.get(&key),
            };
            match version {
                None => self.keep(body, key, None),
                Some(version) if self.state.bodies.get(&(body, key.clone())) == Some(version) => {}
                Some(_) => fetch.push((body, key)),
            }
        }
        if fetch.is_empty() {
            return;
        }
        let client = self.client.clone();
        let results: Vec<_> = futures_util::stream::iter(fetch)
            .map(|(body, key)| {
                let client = client.clone();
                async move {
                    let result = match body {
                        Body::ConfigMap => {
                            let api: Api<ConfigMap> = Api::namespaced(client, &key.namespace);
                            api.get_opt(&key.name).await.map(|object| object.map(Fetched::ConfigMap))
                        }
                        Body::Secret => {
                            let api: Api<Secret> = Api::namespaced(client, &key.namespace);
                            api.get_opt(&key.name).await.map(|object| object.map(Fetched::Secret))
                        }
                    };
                    (body, key, result)
                }
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (body, key, result) in results {
            match result {
                Ok(object) => self.keep(body, key, object),
                Err(error) => {
                    tracing::warn!(%key, %error, "an object that is referred to cannot be read; it is tried again");
                    self.metrics.failures.inc();
                    self.later(dirty.iter().filter(|api| api.namespace == key.namespace).cloned(), false);
                }
            }
        }
    }

    fn keep(&mut self, body: Body, key: ObjectKey, object: Option<Fetched>) {
        let version = match object {
            Some(Fetched::ConfigMap(mut map)) => {
                map.metadata.managed_fields = None;
                let version = map.metadata.resource_version.clone();
                self.state.world.config_maps.insert(key.clone(), Arc::new(map));
                version
            }
            Some(Fetched::Secret(mut secret)) => {
                secret.metadata.managed_fields = None;
                let version = secret.metadata.resource_version.clone();
                self.state.world.secrets.insert(key.clone(), Arc::new(secret));
                version
            }
            None => {
                match body {
                    Body::ConfigMap => drop(self.state.world.config_maps.remove(&key)),
                    Body::Secret => drop(self.state.world.secrets.remove(&key)),
                }
                None
            }
        };
        match version {
            Some(version) => drop(self.state.bodies.insert((body, key), version)),
            None => drop(self.state.bodies.remove(&(body, key))),
        }
    }

    /// Reads an API's contract anew, if it changed.
    fn read(&mut self, key: &ObjectKey) {
        let Some(api) = self.state.apis.get_mut(key).filter(|api| api.stale) else { return };
        api.stale = false;
        let inline = api.spec.openapi.take();
        let mut spec = api.spec.clone();
        spec.openapi = inline;
        let contract = Contract::take(key, spec, &self.state.world.config_maps);
        // Equal content keeps what was compiled of it.
        let same = api.contract.as_ref().is_some_and(|old| {
            old.digest == contract.digest
                && old.description == contract.description
                && old.findings == contract.findings
        });
        if !same {
            api.contract = Some(Arc::new(contract));
        }
    }

    /// Decides for each API, and takes the deployments that are due.
    async fn decide(&mut self, dirty: &BTreeSet<ObjectKey>, lead: bool) -> Vec<(ObjectKey, Vec<Decided>)> {
        let mut decided = Vec::new();
        let mut open: Vec<ObjectKey> = dirty.iter().cloned().collect();
        for _ in 0..ATTEMPTS {
            let mut takes = Vec::new();
            for api in open.drain(..) {
                let (decision, stages) = self.decide_one(&api);
                let contract = self.state.apis.get(&api).and_then(|object| object.contract.clone());
                match (decision.take, contract) {
                    (Some(take), Some(contract)) if lead => {
                        let by = self.state.apis.get(&api).and_then(|object| object.by.clone());
                        takes.push((api, contract, take, by, stages));
                    }
                    // The leader takes it; it is looked at again when it is there.
                    (Some(_), _) => {}
                    (None, _) => {
                        if lead && !decision.sweep.is_empty() {
                            self.sweep(&api, &decision.sweep);
                        }
                        decided.push((api, stages));
                    }
                }
            }
            if takes.is_empty() || !self.leads() {
                return decided;
            }
            let client = self.client.clone();
            let results: Vec<_> = futures_util::stream::iter(takes)
                .map(|(api, contract, take, by, stages)| {
                    let client = client.clone();
                    async move {
                        let result = deploy::take(&client, &contract, &take, by.as_deref()).await;
                        (api, contract, take, stages, result)
                    }
                })
                .buffer_unordered(PARALLEL)
                .collect()
                .await;
            for (api, contract, take, stages, result) in results {
                match result {
                    Ok(known) => {
                        let mine = known.digest == contract.digest;
                        self.state.know(&api, take.number, known);
                        self.state.dirty.remove(&api);
                        if mine {
                            self.metrics.deployments.inc();
                            tracing::info!(%api, number = take.number, "a deployment was taken");
                            // What is beyond the history limit now is seen at the next look.
                            let (decision, _) = self.decide_one(&api);
                            self.sweep(&api, &decision.sweep);
                            decided.push((api, stages));
                        } else {
                            open.push(api);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%api, number = take.number, %error, "a deployment cannot be taken; it is tried again");
                        self.metrics.failures.inc();
                        self.later([api], false);
                    }
                }
            }
        }
        self.later(open, false);
        decided
    }

    fn decide_one(&self, api: &ObjectKey) -> (Decision, Vec<Decided>) {
        let stages = self.state.stages_of(api);
        let keys: Vec<StageKey> = stages.iter().map(|(key, _)| stage_key(key)).collect();
        let contract = self.state.apis.get(api).and_then(|object| object.contract.as_ref());
        let known = self.state.deployments.get(api);
        let digests: BTreeMap<u64, Digest> =
            known.into_iter().flatten().map(|(number, known)| (*number, known.digest.clone())).collect();
        let views = stages.iter().zip(&keys).map(|((_, stage), key)| self.view(key, stage)).collect();
        let mut decision = decide(&Situation {
            contract: contract.map(|contract| Candidate {
                digest: &contract.digest,
                description: contract.description.as_deref(),
                sound: contract.is_sound(),
            }),
            deployments: &digests,
            stages: views,
        });
        let stages = stages
            .into_iter()
            .zip(std::mem::take(&mut decision.stages))
            .map(|((key, stage), decision)| Decided { key, stage, decision })
            .collect();
        (decision, stages)
    }

    fn view<'a>(&'a self, key: &'a StageKey, stage: &'a Stage) -> StageView<'a> {
        let annotation = |name: &str| stage.metadata.annotations.as_ref()?.get(name).map(String::as_str);
        let index = self.index_of(key).map(|(_, _, index)| index);
        StageView {
            key,
            policy: stage.spec.deploy_policy.unwrap_or(DeployPolicy::Automatic),
            history_limit: stage.spec.history_limit,
            canary: stage.spec.canary.as_ref().map(|canary| canary.deployment),
            rollback_to: annotation(ROLLBACK_TO),
            deploy: annotation(DEPLOY),
            promote_canary: annotation(PROMOTE_CANARY),
            live: index.and_then(|index| index.deployment),
            pin: index.and_then(|index| index.pin.as_deref()),
            handled_deploy: self.state.served.get(key).and_then(|served| served.handled_deploy.as_deref()),
        }
    }

    fn sweep(&mut self, api: &ObjectKey, numbers: &BTreeSet<u64>) {
        for number in numbers {
            let known = self.state.deployments.get(api).and_then(|all| all.get(number));
            let parts = known.map_or(1, |known| known.parts);
            tokio::spawn(deploy::remove(self.client.clone(), api.clone(), *number, parts));
        }
    }

    /// Reads the deployments that are served and are not what the ApiDefinition says now.
    async fn fetch_contracts(&mut self, decided: &[(ObjectKey, Vec<Decided>)]) {
        let mut fetch = BTreeMap::new();
        for (api, stages) in decided {
            let numbers = stages.iter().flat_map(|one| [one.decision.live, one.decision.canary]).flatten();
            for number in numbers {
                let known = self.state.deployments.get(api).and_then(|all| all.get(&number));
                if let (None, Some(known)) = (self.contract(api, number), known) {
                    fetch.insert((api.clone(), number), known.clone());
                }
            }
        }
        let client = self.client.clone();
        let results: Vec<_> = futures_util::stream::iter(fetch)
            .map(|((api, number), known)| {
                let client = client.clone();
                async move {
                    let result = deploy::read(&client, &api, number, &known).await;
                    (api, number, result)
                }
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (api, number, result) in results {
            match result {
                Ok(contract) => drop(self.state.kept.insert((api, number), Arc::new(contract))),
                Err(error) => {
                    tracing::warn!(%api, number, %error, "a deployment cannot be read");
                    self.metrics.failures.inc();
                    if matches!(error, deploy::DeployError::Kube(_)) {
                        self.later([api], false);
                    }
                }
            }
        }
    }

    /// The contract of a deployment, if it is at hand.
    fn contract(&self, api: &ObjectKey, number: u64) -> Option<Arc<Contract>> {
        let digest = &self.state.deployments.get(api)?.get(&number)?.digest;
        let current = self.state.apis.get(api).and_then(|object| object.contract.as_ref());
        let current = current.filter(|contract| contract.digest == *digest && contract.is_sound());
        current.or_else(|| self.state.kept.get(&(api.clone(), number))).cloned()
    }

    fn forget_contracts(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let mut used: BTreeSet<(ObjectKey, u64)> = BTreeSet::new();
        for api in dirty {
            for (key, stage) in self.state.stages_of(api) {
                let served = self.state.served.get(&stage_key(&key));
                let canary = stage.spec.canary.as_ref().map(|canary| canary.deployment);
                used.extend(
                    [served.and_then(|served| served.live), canary].into_iter().flatten().map(|n| (api.clone(), n)),
                );
            }
        }
        let apis = &self.state.apis;
        self.state.kept.retain(|key, contract| {
            let current = apis.get(&key.0).and_then(|object| object.contract.as_ref());
            !dirty.contains(&key.0)
                || (used.contains(key) && !current.is_some_and(|now| now.digest == contract.digest && now.is_sound()))
        });
    }

    /// Compiles one Stage, unless it has seen the very same.
    async fn compile(&mut self, api: &ObjectKey, one: Decided) -> StageKey {
        let Decided { key: object, stage, decision } = one;
        let StageDecision { key, live, canary, promoted, pin, handled_deploy, waiting, problems } = decision;
        let current = self.state.apis.get(api).and_then(|object| object.contract.clone());
        let base = live.map(|number| (number, self.contract(api, number)));
        let mut trouble = None;
        let mut unreadable = |number: u64| {
            trouble.get_or_insert(format!("deployment {number} of {api} cannot be read; what was served goes on"));
        };
        let contract = match &base {
            Some((_, Some(contract))) => Some(Arc::clone(contract)),
            Some((number, None)) => {
                unreadable(*number);
                None
            }
            None => current,
        };
        let canary = match canary.map(|number| (number, self.contract(api, number))) {
            Some((deployment, Some(contract))) => CanaryInputs::Share { deployment, contract },
            Some((number, None)) => {
                unreadable(number);
                CanaryInputs::None
            }
            None if promoted => CanaryInputs::Promoted,
            None => CanaryInputs::None,
        };
        let name = stage.spec.gateway.as_deref().unwrap_or("default");
        let gateway = self.gateway(name).cloned();
        let before = self.state.served.get(&key);
        let mut compiled = None;
        if let (Some(contract), None) = (&contract, &trouble) {
            let settings = gateway.as_ref().or(self.config.gateways.first());
            let settings = settings.map_or_else(compile::Gateway::dev, crate::config::Gateway::compile);
            let mut inputs = attach_stage(&self.state.world, &object, &stage, contract, &settings);
            inputs.deployment = live.unwrap_or(0);
            inputs.canary = canary;
            let digest = inputs.digest();
            let lends = gateway.as_ref().is_some_and(|it| it.aws_credential_namespaces.contains(&object.namespace));
            compiled = match before.filter(|before| before.inputs.as_ref() == Some(&digest)) {
                Some(before) => before.unit.clone().map(|unit| (digest, unit)),
                None => {
                    self.metrics.compiled.inc();
                    let unit = compile_stage(&inputs);
                    Some((digest, Arc::new(if lends { unit } else { without_environment(unit) })))
                }
            };
        }
        let usable = gateway.is_some() && live.is_some();
        let unsound = usable && compiled.as_ref().is_some_and(|(_, unit)| !unit.compiled);
        let missing = (compiled.is_none() || unsound) && before.is_none_or(|before| before.good.is_none());
        // What a compiler that is newer refuses was delivered by an older one: that goes on.
        let found = match (missing && live.is_some(), self.index_of(&key).map(|(at, ..)| at)) {
            (true, Some(at)) => deliver::found(&self.client, &at).await,
            _ => None,
        };
        let served = self.state.served.entry(key.clone()).or_default();
        let old = served.good.clone();
        served.problems = problems;
        served.trouble = trouble;
        served.waiting = waiting;
        served.live = live;
        served.unknown_gateway = gateway.is_none();
        served.undelivered = None;
        if let Some((digest, unit)) = compiled {
            served.inputs = Some(digest);
            served.unit = Some(Arc::clone(&unit));
            if usable && unit.compiled {
                served.found = false;
                served.good = Some(unit);
                served.pin = pin;
                served.handled_deploy = handled_deploy;
            } else if usable && served.good.is_none() {
                served.found = found.is_some();
                served.pin = pin;
                served.good = Some(match found {
                    Some(bundle) => Arc::new(Unit { bundle: Some(bundle), ..(*unit).clone() }),
                    None => unit,
                });
            }
        } else if contract.is_none() && live.is_none() {
            served.unit = None;
            served.inputs = None;
        }
        if joined(old.as_deref()) != joined(served.good.as_deref()) {
            self.state.relink = true;
        }
        key
    }

    /// Writes the bundles of these Stages that are others than what is delivered.
    async fn deliver_stages(&mut self, stages: &[StageKey]) {
        let mut writes = Vec::new();
        let mut aside = Vec::new();
        for key in stages {
            let Some(served) = self.state.served.get(key).filter(|served| !served.found) else { continue };
            let Some(unit) = &served.good else { continue };
            let (Some(bundle), Some(gateway)) = (&unit.bundle, self.gateway(&unit.gateway)) else { continue };
            let subject = Subject::Stage(key.clone());
            let at = ObjectKey::new(gateway.bundle_namespace.clone(), subject.object_name(&gateway.name));
            let held = self.state.held.get(&at);
            let same = held.is_some_and(|held| {
                let index = held.index.as_ref();
                held.gateway == gateway.name
                    && index.is_some_and(|index| {
                        index.digest == bundle.digest
                            && index.deployment == Some(bundle.deployment)
                            && index.pin == served.pin
                    })
            });
            let sidecar = gateway.is_sidecar(key);
            if same && !sidecar {
                continue;
            }
            let (index, payload) = match deliver::pack(bundle, subject, Some(bundle.deployment), served.pin.clone()) {
                Ok(packed) => packed,
                Err(error) => {
                    aside.push((key.clone(), error.to_string()));
                    continue;
                }
            };
            if sidecar {
                let written = deliver::sidecar(&self.client, key, &gateway.name, index.clone(), payload.clone()).await;
                if let Err(error) = written {
                    tracing::warn!(stage = %key, %error, "the bundle of a sidecar cannot be written");
                    aside.push((key.clone(), error.to_string()));
                }
            }
            if !same {
                let (gateway, replaces) = (gateway.name.clone(), held.map(|held| held.version));
                writes.push((key.clone(), Write { key: at, gateway, index, replaces, payload }));
            }
        }
        for (key, error) in aside {
            if let Some(served) = self.state.served.get_mut(&key) {
                served.undelivered = Some(error);
            }
        }
        let client = self.client.clone();
        let mut results = std::pin::pin!(
            futures_util::stream::iter(writes)
                .map(|(stage, write)| {
                    let client = client.clone();
                    async move {
                        let key = write.key.clone();
                        (stage, key, deliver::write(&client, write).await)
                    }
                })
                .buffer_unordered(PARALLEL)
        );
        while let Some((stage, at, result)) = results.next().await {
            let api =
                self.state.served.get(&stage).and_then(|served| served.good.as_ref()).map(|unit| unit.api.clone());
            match result {
                Ok((at, held)) => {
                    self.metrics.delivered.inc();
                    self.delivered.insert(stage.clone(), Instant::now());
                    let old = self.state.held.get(&at).and_then(|held| held.index.clone());
                    let new = held.index.clone();
                    self.hold(at, held);
                    self.announce(&stage, old.as_ref(), new.as_ref());
                }
                Err(DeliverError::Conflict) => {
                    match deliver::look(&self.client, &at).await {
                        Ok(Some(held)) => self.hold(at, held),
                        Ok(None) => drop(self.state.held.remove(&at)),
                        Err(error) => tracing::warn!(%stage, %error, "the bundle cannot be read"),
                    }
                    self.later(api, false);
                }
                Err(error) => {
                    tracing::warn!(%stage, %error, "the bundle cannot be written; it is tried again");
                    self.metrics.failures.inc();
                    if let Some(served) = self.state.served.get_mut(&stage) {
                        served.undelivered = Some(error.to_string());
                    }
                    self.later(api, false);
                }
            }
        }
    }

    /// Remembers a Secret that was written or read, unless the watch was faster.
    pub(super) fn hold(&mut self, at: ObjectKey, held: crate::collect::Held) {
        if self.state.held.get(&at).is_none_or(|known| known.version < held.version) {
            self.state.held.insert(at, held);
        }
    }
}

enum Fetched {
    ConfigMap(ConfigMap),
    Secret(Secret),
}

pub(super) fn stage_key(key: &ObjectKey) -> StageKey {
    StageKey { namespace: key.namespace.clone(), name: key.name.clone() }
}

/// What of a unit decides about hosts: while it is the same they need not be linked again.
fn joined(unit: Option<&Unit>) -> Option<impl PartialEq + '_> {
    let unit = unit?;
    let served = unit.bundle.is_some();
    Some((&unit.api, &unit.stage_name, &unit.gateway, &unit.hosts, unit.default_host, &unit.created, served))
}

/// The namespace may not use the proxies' own AWS credentials: calls that would need them fail.
fn without_environment(mut unit: Unit) -> Unit {
    let missing = || Credentials::Missing { secret: "of the gateway: it lends this namespace none".to_owned() };
    let Some(bundle) = &unit.bundle else { return unit };
    if bundle.aws.credentials != Credentials::Environment {
        return unit;
    }
    let mut content = (*bundle.content).clone();
    content.aws.credentials = missing();
    if let Some(canary) = &mut content.canary {
        canary.stage.aws.credentials = missing();
    }
    unit.bundle = Some(Stamped::new(content));
    unit
}
