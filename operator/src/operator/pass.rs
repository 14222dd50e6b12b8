//! One pass: decide, compile, link, deliver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundle::host::Certificate;
use bundle::object::{Index, Subject};
use bundle::{HostBundle, StageKey, Stamped};
use compile::deploy::{Decision, StageDecision};
use compile::world::{attach_stage, config_maps_of, secrets_of};
use compile::{CanaryInputs, Contract, ObjectKey, Unit};
use crds::Stage;
use futures_util::stream::{self, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::DeleteParams;

use super::Operator;
use crate::collect::Kind;
use crate::config::GatewayConfig;
use crate::deliver::{Content, DeliverError, Wanted, read_back};
use crate::deploy::{Staged, author, decision, stages_of};
use crate::history;
use crate::program::{Program, stage_object};

/// Writes to the API server at a time.
const WRITES: usize = 16;
/// Deployments stay so long after their ApiDefinition and every Stage are gone.
const ORPHANS_STAY: Duration = Duration::from_secs(24 * 3600);
/// Parts of bundles stay so long after their index names others.
const PARTS_STAY: Duration = Duration::from_secs(600);

impl Operator {
    /// Works off what is dirty.
    pub(super) async fn pass(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return;
        }
        let began = Instant::now();
        for api in &dirty {
            if let Err(error) = self.api(api).await {
                tracing::warn!(%api, %error, "an API is tried again");
                self.vitals.errors.with_label_values(&["compile"]).inc();
                self.again.insert(api.clone());
            }
        }
        let gone: Vec<StageKey> = self.programs.keys().filter(|key| !self.has_stage(key)).cloned().collect();
        for key in gone {
            self.programs.remove(&key);
            self.handled.remove(&key);
        }
        self.want_stages(&dirty);
        if self.hosts.link(&self.programs, &self.config) {
            self.reports.everything(&self.cluster.world);
            self.hosts_due = true;
        }
        // A follower makes no certificates; what it linked is due when it leads.
        if self.leads && self.hosts_due {
            self.hosts_due = false;
            if let Err(error) = self.want_hosts().await {
                tracing::warn!(%error, "certificates are tried again");
                self.vitals.errors.with_label_values(&["certificates"]).inc();
                self.hosts_due = true;
                self.again.extend(dirty.iter().cloned());
            }
        }
        let compiled = began.elapsed();
        if self.leads {
            self.deliver().await;
        }
        tracing::debug!(apis = dirty.len(), ?compiled, all = ?began.elapsed(), "passed");
        self.forget();
        let served = self.programs.values().filter_map(|program| program.served.as_ref());
        self.vitals.stages.set(served.clone().count() as i64);
        self.vitals.routes.set(served.map(|unit| unit.routes as i64).sum());
    }

    fn has_stage(&self, key: &StageKey) -> bool {
        let key = ObjectKey::new(&key.namespace, &key.name);
        self.cluster.world.stages.contains_key(&key) || self.cluster.unreadable.contains_key(&("Stage", key))
    }

    /// Decides about one API and compiles its Stages.
    async fn api(&mut self, api: &ObjectKey) -> anyhow::Result<()> {
        let contract = self.contract(api).await?;
        let stages: Vec<(StageKey, Arc<Stage>)> = stages_of(api, &self.cluster.world.stages)
            .map(|(key, stage)| {
                (StageKey { namespace: key.namespace.clone(), name: key.name.clone() }, Arc::clone(stage))
            })
            .collect();
        let secrets: BTreeSet<ObjectKey> = stages
            .iter()
            .flat_map(|(_, stage)| secrets_of(&stage.spec).map(|name| ObjectKey::new(&api.namespace, name)))
            .collect();
        let secrets: Vec<ObjectKey> = secrets.into_iter().collect();
        self.cluster.fetch(&self.client, Kind::Secret, &secrets).await?;
        let mut decided = self.decide(api, contract.as_deref(), &stages);
        if let Some(take) = decided.take.take().filter(|_| self.leads) {
            let Some(contract) = &contract else { return Ok(()) };
            let object = self.cluster.world.api_definitions.get(api);
            let by = object.and_then(|object| author(object)).map(str::to_owned);
            let created = Timestamp::from_second(Timestamp::now().as_second())?.to_string();
            match history::take(&self.client, contract, &take, by.as_deref(), &created).await? {
                Some(meta) => {
                    self.vitals.deployments.inc();
                    self.vitals.writes.with_label_values(&["deployment"]).inc();
                    self.histories.entry(api.clone()).or_default().insert(take.number, meta);
                }
                // What its taker made of it decides; the watch tells.
                None => {
                    self.again.insert(api.clone());
                    return Ok(());
                }
            }
        }
        for (decision, (key, stage)) in std::mem::take(&mut decided.stages).into_iter().zip(&stages) {
            self.stage(api, key, stage, decision, contract.as_ref()).await?;
        }
        if self.leads {
            for number in decided.sweep {
                let Some(meta) = self.histories.get(api).and_then(|known| known.get(&number)).cloned() else {
                    continue;
                };
                history::remove(&self.client, api, number, &meta).await?;
                self.vitals.writes.with_label_values(&["deployment"]).inc();
                self.histories.entry(api.clone()).or_default().remove(&number);
            }
        }
        self.reports.api(api);
        Ok(())
    }

    /// The contract of an ApiDefinition as it is now.
    async fn contract(&mut self, api: &ObjectKey) -> anyhow::Result<Option<Arc<Contract>>> {
        let Some(object) = self.cluster.world.api_definitions.get(api).cloned() else {
            self.contracts.remove(api);
            return Ok(None);
        };
        if let Some(contract) = self.contracts.get(api) {
            return Ok(Some(Arc::clone(contract)));
        }
        let maps: Vec<ObjectKey> =
            config_maps_of(&object.spec).map(|name| ObjectKey::new(&api.namespace, name)).collect();
        self.cluster.fetch(&self.client, Kind::ConfigMap, &maps).await?;
        let contract = Arc::new(Contract::read(api, &object.spec, &self.cluster.world.config_maps));
        self.contracts.insert(api.clone(), Arc::clone(&contract));
        // The contract has the document now, and a changed object brings another.
        self.cluster.forget_document(api);
        Ok(Some(contract))
    }

    fn decide(&self, api: &ObjectKey, contract: Option<&Contract>, stages: &[(StageKey, Arc<Stage>)]) -> Decision {
        let none = history::Deployments::new();
        let deployments = self.histories.get(api).unwrap_or(&none);
        let staged: Vec<Staged<'_>> = stages
            .iter()
            .map(|(key, stage)| {
                let reported = stage.status.as_ref().and_then(|status| status.handled_deploy.as_deref());
                let handled_deploy = self.handled.get(key).map(String::as_str).or(reported);
                Staged { key, stage, index: self.delivered(key, stage), handled_deploy }
            })
            .collect();
        decision(contract, deployments, &staged)
    }

    /// What the index Secret of a Stage says.
    fn delivered(&self, key: &StageKey, stage: &Stage) -> Option<&Index> {
        let object = self.object(key, stage)?;
        self.indexes.get(&object)?.index.as_ref()
    }

    fn object(&self, key: &StageKey, stage: &Stage) -> Option<ObjectKey> {
        let gateway = self.gateway_of(stage)?;
        Some(ObjectKey::new(&gateway.bundle_namespace, stage_object(key, gateway)))
    }

    pub(super) fn gateway_of(&self, stage: &Stage) -> Option<&GatewayConfig> {
        self.config.gateway(stage.spec.gateway.as_deref().unwrap_or("default"))
    }

    /// Compiles one Stage for what was decided.
    async fn stage(
        &mut self,
        api: &ObjectKey,
        key: &StageKey,
        stage: &Stage,
        decision: StageDecision,
        current: Option<&Arc<Contract>>,
    ) -> anyhow::Result<()> {
        let object = ObjectKey::new(&key.namespace, &key.name);
        self.reports.stage(&object);
        let Some(gateway) = self.gateway_of(stage).map(GatewayConfig::compiler) else {
            self.programs.remove(key);
            return Ok(());
        };
        // Nothing deployed: compiled for what there is to say about it, and not served.
        let number = decision.live;
        let contract = match number {
            Some(number) => self.deployed(api, number, current).await?,
            None => current.cloned(),
        };
        let Some(contract) = contract else {
            self.programs.remove(key);
            return Ok(());
        };
        let canary = match decision.canary {
            Some(deployment) => self.deployed(api, deployment, current).await?.map(|contract| (deployment, contract)),
            None => None,
        };
        let mut inputs = attach_stage(&self.cluster.world, &object, stage, &contract, &gateway);
        inputs.deployment = number.unwrap_or(0);
        inputs.canary = match canary {
            Some((deployment, contract)) => CanaryInputs::Share { deployment, contract },
            None if decision.promoted => CanaryInputs::Promoted,
            None => CanaryInputs::None,
        };
        if let Some(handled) = &decision.handled_deploy {
            self.handled.insert(key.clone(), handled.clone());
        }
        let before = self.programs.get(key);
        let generation = stage.metadata.generation.unwrap_or(0);
        let mut program = Program::compile(before, &inputs, decision, generation, None);
        if number.is_none() {
            program.served = None;
        } else if !program.unit.compiled && before.is_none_or(|before| before.served.is_none()) {
            // After a restart, what was delivered is what last compiled.
            if let Some(last) = self.last(key, stage, &program.unit).await? {
                program.served = Some(last);
            }
        }
        self.programs.insert(key.clone(), program);
        Ok(())
    }

    /// The unit of the bundle that is in the cluster.
    async fn last(&self, key: &StageKey, stage: &Stage, unit: &Unit) -> anyhow::Result<Option<Arc<Unit>>> {
        let Some(object) = self.object(key, stage).filter(|object| self.indexes.contains_key(object)) else {
            return Ok(None);
        };
        match read_back(&self.client, &object).await {
            Ok(bundle) => Ok(bundle.map(|bundle| Arc::new(Unit { bundle: Some(bundle), ..unit.clone() }))),
            Err(crate::deliver::ReadBackError::Kube(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(stage = %key, %error, "the delivered bundle cannot be read back");
                Ok(None)
            }
        }
    }

    /// The contract of a deployment: the current one if that is it.
    async fn deployed(
        &mut self,
        api: &ObjectKey,
        number: u64,
        current: Option<&Arc<Contract>>,
    ) -> anyhow::Result<Option<Arc<Contract>>> {
        let meta = self.histories.get(api).and_then(|known| known.get(&number)).cloned();
        let Some(meta) = meta else {
            // A follower has not taken it; a snapshot that was deleted by hand cannot be compiled.
            return Ok(current.cloned());
        };
        if let Some(current) = current.filter(|current| current.digest == meta.digest) {
            return Ok(Some(Arc::clone(current)));
        }
        let at = (api.clone(), number);
        if let Some(kept) = self.kept.get(&at) {
            return Ok(Some(Arc::clone(kept)));
        }
        let contract = Arc::new(history::contract(&self.client, api, number, &meta).await?);
        self.kept.insert(at, Arc::clone(&contract));
        Ok(Some(contract))
    }

    /// What shall be in the cluster of the Stages of these APIs, and of no Stage any more.
    fn want_stages(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let stays = |wanted: &Wanted| match &wanted.subject {
            Subject::Stage(key) => self.programs.contains_key(key),
            Subject::Host(_) => true,
        };
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|_, wanted| stays(wanted));
        for (key, program) in self.programs.iter().filter(|(_, program)| dirty.contains(&program.unit.api)) {
            let Some(stage) = self.cluster.world.stages.get(&ObjectKey::new(&key.namespace, &key.name)) else {
                continue;
            };
            let (Some(object), Some(gateway)) = (self.object(key, stage), self.gateway_of(stage)) else { continue };
            let Some(bundle) = program.bundle().filter(|bundle| bundle.deployment > 0) else { continue };
            wanted.insert(
                object,
                Wanted {
                    gateway: gateway.name.clone(),
                    subject: Subject::Stage(key.clone()),
                    deployment: Some(bundle.deployment),
                    pin: program.decision.pin.clone(),
                    content: Content::Stage(bundle.clone()),
                },
            );
        }
        self.wanted = wanted;
    }

    /// Hosts with their certificates.
    async fn want_hosts(&mut self) -> anyhow::Result<()> {
        let linked = std::mem::take(&mut self.hosts.bundles);
        let mut wanted = Vec::with_capacity(linked.len());
        let mut failed = None;
        for ((name, host), bundle) in &linked {
            let Some(gateway) = self.config.gateway(name) else { continue };
            let subject = Subject::Host(host.clone());
            let object = ObjectKey::new(&gateway.bundle_namespace, subject.object_name(name));
            let content = match &bundle.certificate {
                Certificate::Pem { .. } => bundle.clone(),
                Certificate::Local => match self.certificates.for_host(gateway, bundle).await {
                    Ok(certificate) => Stamped::new(HostBundle { certificate, ..HostBundle::clone(bundle) }),
                    Err(error) => {
                        tracing::error!(host, %error, "a host has no certificate");
                        failed = Some(error);
                        continue;
                    }
                },
            };
            let content = Content::Host(content);
            wanted.push((object, Wanted { gateway: name.clone(), subject, deployment: None, pin: None, content }));
        }
        self.hosts.bundles = linked;
        self.wanted.retain(|_, wanted| matches!(wanted.subject, Subject::Stage(_)) || failed.is_some());
        self.wanted.extend(wanted);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Writes what differs, and removes what nobody wants.
    async fn deliver(&mut self) {
        let differs = |(key, wanted): &(&ObjectKey, &Wanted)| {
            self.indexes.get(*key).is_none_or(|known| !wanted.is_delivered(known))
        };
        // Stages first: a host may name one that is new.
        let mut writes: Vec<(&ObjectKey, &Wanted)> = self.wanted.iter().filter(differs).collect();
        writes.sort_by_key(|(_, wanted)| matches!(wanted.subject, Subject::Host(_)));
        let client = &self.client;
        let written: Vec<_> = stream::iter(writes)
            .map(|(key, wanted)| {
                let known = self.indexes.get(key);
                async move { (key.clone(), wanted.subject.clone(), wanted.write(client, key, known).await) }
            })
            .buffered(WRITES)
            .collect()
            .await;
        for (key, subject, outcome) in written {
            self.vitals.writes.with_label_values(&[subject.kind()]).inc();
            match outcome {
                Ok(known) => {
                    self.undelivered.remove(&key);
                    self.indexes.insert(key, known);
                }
                // The watch tells what it is now, and the next pass goes by that.
                Err(DeliverError::Conflict) => self.retry(&subject),
                Err(error) => {
                    tracing::warn!(%subject, %error, "a bundle cannot be written");
                    self.vitals.errors.with_label_values(&["deliver"]).inc();
                    self.undelivered.insert(key, error.to_string());
                    self.retry(&subject);
                }
            }
            if let Subject::Stage(stage) = subject {
                self.reports.stage(&ObjectKey::new(&stage.namespace, &stage.name));
            }
        }
        self.deliver_beside().await;
        self.remove_unwanted().await;
    }

    fn retry(&mut self, subject: &Subject) {
        match subject {
            Subject::Stage(key) => self.again.extend(self.programs.get(key).map(|program| program.unit.api.clone())),
            Subject::Host(_) => {
                self.again.extend(self.programs.values().next().map(|program| program.unit.api.clone()))
            }
        }
    }

    /// Bundles of sidecars, beside their Stages.
    async fn deliver_beside(&mut self) {
        for gateway in self.config.gateways.clone() {
            for sidecar in &gateway.sidecars {
                let key = StageKey { namespace: sidecar.namespace.clone(), name: sidecar.stage.clone() };
                let object = ObjectKey::new(&gateway.bundle_namespace, stage_object(&key, &gateway));
                let Some(wanted) = self.wanted.get(&object) else { continue };
                let digest = wanted.content.digest().clone();
                if self.beside.get(&key) == Some(&digest) {
                    continue;
                }
                let stage = ObjectKey::new(&key.namespace, &key.name);
                match wanted.write_beside(&self.client, &stage).await {
                    Ok(()) => drop(self.beside.insert(key, digest)),
                    Err(error) => {
                        tracing::warn!(stage = %key, %error, "the bundle of a sidecar cannot be written");
                        self.vitals.errors.with_label_values(&["deliver"]).inc();
                        self.undelivered.insert(object, error.to_string());
                        self.retry(&Subject::Stage(key));
                    }
                }
            }
        }
    }

    /// Removes bundles of Stages and hosts that are gone. What only cannot be compiled or read stays.
    async fn remove_unwanted(&mut self) {
        // While something waits for another try, what it needs is not known.
        if !self.again.is_empty() || self.hosts_due {
            return;
        }
        let unwanted = |key: &ObjectKey, known: &crate::collect::KnownIndex| {
            let about = known.index.as_ref().map(|index| &index.subject);
            match about {
                Some(Subject::Stage(stage)) => {
                    let moved = !self.wanted.contains_key(key)
                        && self.programs.contains_key(stage)
                        && self.programs.get(stage).is_some_and(|program| program.bundle().is_some());
                    moved || !self.has_stage(stage)
                }
                Some(Subject::Host(_)) => !self.wanted.contains_key(key),
                // Unreadable, and nobody writes it anew.
                None => !self.wanted.contains_key(key),
            }
        };
        let remove: Vec<ObjectKey> =
            self.indexes.iter().filter(|(key, known)| unwanted(key, known)).map(|(key, _)| key.clone()).collect();
        for key in remove {
            let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.client.clone(), &key.namespace);
            match secrets.delete(&key.name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(%key, %error, "a bundle that nobody needs cannot be removed");
                    continue;
                }
                Ok(_) => self.vitals.writes.with_label_values(&["removal"]).inc(),
            }
            self.indexes.remove(&key);
        }
    }

    /// Forgets what nothing refers to any more.
    fn forget(&mut self) {
        let served: BTreeSet<(ObjectKey, u64)> = self
            .programs
            .values()
            .flat_map(|program| {
                let api = program.unit.api.clone();
                [program.decision.live, program.decision.canary]
                    .into_iter()
                    .flatten()
                    .map(move |number| (api.clone(), number))
            })
            .collect();
        self.kept.retain(|at, _| served.contains(at));
        let world = &self.cluster.world;
        let mut used: BTreeSet<(Kind, ObjectKey)> = BTreeSet::new();
        for (key, api) in &world.api_definitions {
            used.extend(config_maps_of(&api.spec).map(|name| (Kind::ConfigMap, ObjectKey::new(&key.namespace, name))));
        }
        for (key, stage) in &world.stages {
            used.extend(secrets_of(&stage.spec).map(|name| (Kind::Secret, ObjectKey::new(&key.namespace, name))));
        }
        self.cluster.retain(|kind, key| used.contains(&(kind, key.clone())));
    }

    /// What is left over: deployments of APIs that are gone, parts of bundles that no index names, certificates that end.
    pub(super) async fn sweep(&mut self) {
        if self.certificates.due(Timestamp::now()) {
            self.hosts.invalidate();
            self.everything();
        }
        let world = &self.cluster.world;
        let is_orphan = |api: &&ObjectKey| {
            !world.api_definitions.contains_key(*api) && stages_of(api, &world.stages).next().is_none()
        };
        let orphans: Vec<ObjectKey> = self.histories.keys().filter(is_orphan).cloned().collect();
        self.orphaned.retain(|api, _| orphans.contains(api));
        for api in orphans {
            let since = *self.orphaned.entry(api.clone()).or_insert_with(Instant::now);
            if since.elapsed() < ORPHANS_STAY {
                continue;
            }
            for (number, meta) in self.histories.get(&api).cloned().unwrap_or_default() {
                if let Err(error) = history::remove(&self.client, &api, number, &meta).await {
                    tracing::warn!(%api, number, %error, "a deployment that nobody needs cannot be removed");
                }
            }
        }
        for namespace in self.config.bundle_namespaces().into_iter().map(str::to_owned).collect::<Vec<_>>() {
            if let Err(error) = self.sweep_parts(&namespace).await {
                tracing::warn!(namespace, %error, "parts of bundles cannot be swept");
            }
        }
    }

    async fn sweep_parts(&mut self, namespace: &str) -> Result<(), kube::Error> {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.client.clone(), namespace);
        let parts = kube::api::ListParams::default().labels(&format!("{}=part", bundle::object::KIND_LABEL));
        let listed = secrets.list_metadata(&parts).await?;
        let named: BTreeSet<&String> =
            self.indexes.values().filter_map(|known| known.index.as_ref()).flat_map(|index| &index.parts).collect();
        let unnamed: BTreeSet<(String, String)> = listed
            .into_iter()
            .filter_map(|part| part.metadata.name)
            .filter(|name| !named.contains(name))
            .map(|name| (namespace.to_owned(), name))
            .collect();
        self.unnamed.retain(|at, _| at.0 != namespace || unnamed.contains(at));
        for at in unnamed {
            // A proxy may be reading it, by an index that was just replaced.
            let since = *self.unnamed.entry(at.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= PARTS_STAY {
                secrets.delete(&at.1, &DeleteParams::default()).await.map(drop)?;
            }
        }
        Ok(())
    }
}
