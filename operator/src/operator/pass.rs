//! One pass: decide, compile, link, deliver.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundle::host::Certificate;
use bundle::object::{Index, Subject};
use bundle::{HostBundle, StageBundle, StageKey, Stamped};
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
use crate::collect::KnownIndex;
use crate::config::GatewayConfig;
use crate::deliver::{Content, DeliverError, Wanted, read_back, remove};
use crate::deploy::{Staged, author, decision, stages_of};
use crate::history;
use crate::program::{Program, leads_to, stage_object, stages_behind};

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
        // A cluster without any API has leftovers to remove all the same.
        if dirty.is_empty() && !std::mem::take(&mut self.full) {
            return;
        }
        let began = Instant::now();
        for api in &dirty {
            self.again.done(api);
            if let Err(error) = self.api(api).await {
                tracing::warn!(%api, %error, "an API is tried again");
                self.vitals.errors.with_label_values(&["compile"]).inc();
                self.again.later(api.clone());
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
                dirty.iter().for_each(|api| self.again.later(api.clone()));
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
                    anyhow::bail!("deployment {} was taken by somebody else", take.number);
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

    fn delivered_number(&self, key: &StageKey, stage: &Stage) -> Option<u64> {
        self.delivered(key, stage)?.deployment
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
        // A gateway that is not configured: what its proxies serve stays as it is.
        let Some(gateway) = self.gateway_of(stage).map(GatewayConfig::compiler) else { return Ok(()) };
        // Nothing deployed: compiled for what there is to say about it, and not served.
        let number = decision.live;
        let contract = match number {
            Some(number) => {
                let delivered = self.delivered_number(key, stage);
                self.deployed(api, number, delivered, current).await?
            }
            None => current.cloned(),
        };
        let Some(contract) = contract else {
            // Its snapshot is gone. What is delivered of it goes on.
            let delivered = self.delivered(key, stage).is_some();
            match self.programs.get_mut(key) {
                Some(program) if delivered => program.decision = decision,
                Some(_) => drop(self.programs.remove(key)),
                None => {}
            }
            return Ok(());
        };
        let canary = match decision.canary {
            Some(deployment) => {
                self.deployed(api, deployment, None, current).await?.map(|contract| (deployment, contract))
            }
            None => None,
        };
        let mut inputs = attach_stage(&self.cluster.world, &object, stage, &contract, &gateway);
        inputs.deployment = number.unwrap_or(0);
        inputs.canary = match canary {
            Some((deployment, contract)) => CanaryInputs::Share { deployment, contract },
            None if decision.promoted => CanaryInputs::Promoted,
            None => CanaryInputs::None,
        };
        let before = self.programs.get(key);
        let mut program = Program::compile(before, &inputs, decision);
        if number.is_none() {
            program.served = None;
        } else if !program.unit.compiled && before.is_none_or(|before| before.served.is_none()) {
            // After a restart, what was delivered is what last compiled.
            if let Some(last) = self.last(key, stage, &program.unit).await? {
                program.served = Some(last);
                program.read_back = true;
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
        match read_back::<StageBundle>(&self.client, &object).await {
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
        delivered: Option<u64>,
        current: Option<&Arc<Contract>>,
    ) -> anyhow::Result<Option<Arc<Contract>>> {
        let known = self.histories.get(api);
        let Some(meta) = known.and_then(|known| known.get(&number)).cloned() else {
            // A follower has not taken what is next. A snapshot that somebody deleted is not what is there now.
            let newest = known.and_then(|known| known.last_key_value()).map_or(0, |(newest, _)| *newest);
            let next = number == newest + 1 && delivered != Some(number);
            return Ok(current.filter(|_| next).cloned());
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
        let is_host = |wanted: &Wanted| matches!(wanted.subject, Subject::Host(_));
        // Stages first: a host may name one that is new, and leads nowhere if that could not be written.
        let unwritten = self.write_all(|wanted| !is_host(wanted)).await;
        let blind = self.blind();
        let mut held = BTreeSet::new();
        for (key, wanted) in self.wanted.iter().filter(|(_, wanted)| is_host(wanted)) {
            let Content::Host(host) = &wanted.content else { continue };
            let differs = self.indexes.get(key).is_some_and(|known| !wanted.is_delivered(known));
            if unwritten.iter().any(|stage| leads_to(host, stage)) || (differs && self.is_blind(key, &blind).await) {
                held.insert(key.clone());
            }
        }
        let hosts = self.wanted.keys().filter(|key| !held.contains(*key)).cloned().collect::<BTreeSet<_>>();
        self.write_some(|key, wanted| is_host(wanted) && hosts.contains(key)).await;
        self.deliver_beside().await;
        self.remove_unwanted(&blind).await;
        for (key, program) in &self.programs {
            let Some(stage) = self.cluster.world.stages.get(&ObjectKey::new(&key.namespace, &key.name)) else {
                continue;
            };
            let live = self.delivered_number(key, stage);
            let handled = program.decision.handled_deploy.as_ref();
            // A word is acted upon when what it asked for is delivered.
            if let Some(handled) = handled.filter(|_| live.is_some() && live == program.decision.live) {
                self.handled.insert(key.clone(), handled.clone());
            }
        }
    }

    async fn write_all(&mut self, which: impl Fn(&Wanted) -> bool) -> BTreeSet<StageKey> {
        self.write_some(|_, wanted| which(wanted)).await
    }

    /// Writes those that differ; Stages that could not be.
    async fn write_some(&mut self, which: impl Fn(&ObjectKey, &Wanted) -> bool) -> BTreeSet<StageKey> {
        let differs = |(key, wanted): &(&ObjectKey, &Wanted)| {
            which(key, wanted) && self.indexes.get(*key).is_none_or(|known| !wanted.is_delivered(known))
        };
        let writes: Vec<(&ObjectKey, &Wanted)> = self.wanted.iter().filter(differs).collect();
        let client = &self.client;
        let written: Vec<_> = stream::iter(writes)
            .map(|(key, wanted)| {
                let known = self.indexes.get(key);
                async move { (key.clone(), wanted.subject.clone(), wanted.write(client, key, known).await) }
            })
            .buffered(WRITES)
            .collect()
            .await;
        let mut failed = BTreeSet::new();
        for (key, subject, outcome) in written {
            self.vitals.writes.with_label_values(&[subject.kind()]).inc();
            let error = match outcome {
                Ok(known) => {
                    self.undelivered.remove(&key);
                    self.indexes.insert(key.clone(), known);
                    None
                }
                Err(error) => Some(error),
            };
            if let Subject::Stage(stage) = &subject {
                self.reports.stage(&ObjectKey::new(&stage.namespace, &stage.name));
            }
            let Some(error) = error else { continue };
            self.retry(&subject);
            if let Subject::Stage(stage) = &subject {
                failed.insert(stage.clone());
            }
            // After a conflict the watch tells what it is now, and the next pass goes by that.
            if !matches!(error, DeliverError::Conflict) {
                tracing::warn!(%subject, %error, "a bundle cannot be written");
                self.vitals.errors.with_label_values(&["deliver"]).inc();
                self.undelivered.insert(key, error.to_string());
            }
        }
        failed
    }

    /// Stages that are served and about whose hosts nothing is known: not compiled since the start, or not to be.
    fn blind(&self) -> BTreeSet<StageKey> {
        let stage = |known: &KnownIndex| match &known.index.as_ref()?.subject {
            Subject::Stage(stage) => Some(stage.clone()),
            Subject::Host(_) => None,
        };
        let known = self.indexes.values().filter_map(stage).filter(|stage| self.has_stage(stage));
        known.filter(|stage| self.programs.get(stage).is_none_or(|program| program.read_back)).collect()
    }

    /// Whether a delivered host leads to one of those; then it stays as it is.
    async fn is_blind(&self, key: &ObjectKey, blind: &BTreeSet<StageKey>) -> bool {
        if blind.is_empty() {
            return false;
        }
        match read_back::<HostBundle>(&self.client, key).await {
            Ok(Some(host)) => blind.iter().any(|stage| leads_to(&host, stage)),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%key, %error, "a host stays as it is");
                true
            }
        }
    }

    fn retry(&mut self, subject: &Subject) {
        let api = match subject {
            Subject::Stage(key) => self.programs.get(key).map(|program| program.unit.api.clone()),
            // Any does: hosts are looked at in every pass.
            Subject::Host(_) => self.programs.values().next().map(|program| program.unit.api.clone()),
        };
        if let Some(api) = api {
            self.again.later(api);
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
                    Ok(()) => {
                        self.undelivered.remove(&object);
                        self.beside.insert(key, digest);
                    }
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
    async fn remove_unwanted(&mut self, blind: &BTreeSet<StageKey>) {
        // While something waits for another try, what it needs is not known.
        let settled = self.again.is_empty() && !self.hosts_due;
        let served = |namespace: &str| {
            self.settings.namespaces.is_empty() || self.settings.namespaces.iter().any(|one| one == namespace)
        };
        let unwanted = |key: &ObjectKey, known: &KnownIndex| {
            // Another operator's, or of a gateway that is configured no longer, is not ours to remove.
            if self.config.gateway(&known.gateway).is_none() {
                return false;
            }
            match known.index.as_ref().map(|index| &index.subject) {
                Some(Subject::Stage(stage)) => {
                    let moved = !self.wanted.contains_key(key)
                        && self.programs.get(stage).is_some_and(|program| program.bundle().is_some());
                    served(&stage.namespace) && (!self.has_stage(stage) || (settled && moved))
                }
                Some(Subject::Host(_)) => settled && !self.wanted.contains_key(key),
                // Somebody newer wrote it.
                None => false,
            }
        };
        let candidates = self.indexes.iter().filter(|(key, known)| unwanted(key, known));
        let candidates: Vec<(ObjectKey, KnownIndex)> =
            candidates.map(|(key, known)| (key.clone(), known.clone())).collect();
        for (key, known) in candidates {
            let of_host = known.index.as_ref().is_some_and(|index| matches!(index.subject, Subject::Host(_)));
            if of_host
                && (self.is_blind(&key, blind).await
                    || !self.settings.namespaces.is_empty() && self.is_foreign(&key).await)
            {
                continue;
            }
            match remove(&self.client, &key, &known).await {
                Ok(()) => self.vitals.writes.with_label_values(&["removal"]).inc(),
                Err(error) => {
                    tracing::warn!(%key, %error, "a bundle that nobody needs cannot be removed");
                    continue;
                }
            }
            self.indexes.remove(&key);
        }
    }

    /// Whether a delivered host leads to a Stage of a namespace that this operator does not serve.
    async fn is_foreign(&self, key: &ObjectKey) -> bool {
        let ours = |stage: &StageKey| self.settings.namespaces.contains(&stage.namespace);
        match read_back::<HostBundle>(&self.client, key).await {
            Ok(Some(host)) => !stages_behind(&host).all(ours),
            Ok(None) => false,
            Err(_) => true,
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
        let unreadable = &self.cluster.unreadable;
        let is_orphan = |api: &&ObjectKey| {
            let in_namespace = |key: &ObjectKey| key.namespace == api.namespace;
            !world.api_definitions.contains_key(*api)
                && stages_of(api, &world.stages).next().is_none()
                // One that cannot be read may be the one that needs them.
                && !unreadable.keys().any(|(_, key)| in_namespace(key))
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
