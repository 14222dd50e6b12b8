//! One pass: decide, compile, link; then what differs is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bundle::object::Index;
use bundle::{StageBundle, StageKey};
use compile::deploy::{Decision, ProblemKind, StageDecision, Take};
use compile::world::{attach_stage, config_maps_of, secrets_of};
use compile::{CanaryInputs, Contract, ObjectKey, Unit};
use crds::Stage;
use k8s_openapi::jiff::Timestamp;

use super::Operator;
use crate::collect::Kind;
use crate::config::GatewayConfig;
use crate::deliver::read_back;
use crate::deploy::{Staged, author, decision, stages_of};
use crate::history;
use crate::program::{Program, stage_object};
use crate::report::Failure;
use crate::told;

impl Operator {
    /// Works off what is dirty.
    pub(super) async fn pass(&mut self) {
        let (dirty, full) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.full));
        // A cluster without any API has leftovers to remove all the same.
        if dirty.is_empty() && !full && !self.callers.is_due() {
            return;
        }
        let began = Instant::now();
        for api in &dirty {
            self.again.done(api);
            self.failing.remove(api);
            if let Err(error) = self.api(api).await {
                self.failed(api, &error);
                let stages: Vec<StageKey> = self.stages(api).into_iter().map(|(key, _)| key).collect();
                for key in stages {
                    self.reports.stage(&ObjectKey::new(&key.namespace, &key.name));
                    self.failing.entry(api.clone()).or_default().insert(key, Failure::Retried(told::of_any(&error)));
                }
            }
        }
        let gone: Vec<StageKey> = self.programs.keys().filter(|key| !self.has_stage(key)).cloned().collect();
        for key in gone {
            self.programs.remove(&key);
            self.handled.remove(&key);
        }
        self.want_stages(&dirty);
        self.want_callers();
        if self.hosts.link(&self.programs, &self.config, &self.cluster.world.reference_grants) {
            self.reports.everything(&self.cluster.world);
            self.hosts_due = true;
        }
        // A follower makes no certificates; what it linked is due when it leads.
        if self.may_write() && self.hosts_due {
            self.hosts_due = false;
            if let Err(error) = self.want_hosts().await {
                tracing::warn!(%error, "certificates are tried again");
                self.vitals.errors.with_label_values(&["certificates"]).inc();
                self.hosts_due = true;
                dirty.iter().for_each(|api| self.again.later(api.clone()));
            }
        }
        let compiled = began.elapsed();
        if self.may_write() {
            self.deliver().await;
        } else if self.leads {
            // The Lease is late. Once it is renewed what is due is written, if nobody else leads by then.
            dirty.iter().for_each(|api| self.again.later(api.clone()));
        }
        tracing::debug!(apis = dirty.len(), ?compiled, all = ?began.elapsed(), "passed");
        self.forget();
        let served = self.programs.values().filter_map(|program| program.served.as_ref());
        self.vitals.stages.set(served.clone().count() as i64);
        self.vitals.routes.set(served.map(|unit| unit.routes as i64).sum());
    }

    pub(super) fn has_stage(&self, key: &StageKey) -> bool {
        let key = ObjectKey::new(&key.namespace, &key.name);
        self.cluster.world.stages.contains_key(&key) || self.cluster.unreadable.contains_key(&("Stage", key))
    }

    /// The Stages of an API.
    fn stages(&self, api: &ObjectKey) -> Vec<(StageKey, Arc<Stage>)> {
        stages_of(api, &self.cluster.world.stages)
            .map(|(key, stage)| {
                (StageKey { namespace: key.namespace.clone(), name: key.name.clone() }, Arc::clone(stage))
            })
            .collect()
    }

    /// An API is tried again.
    fn failed(&mut self, api: &ObjectKey, error: &anyhow::Error) {
        tracing::warn!(%api, %error, "an API is tried again");
        self.vitals.errors.with_label_values(&["compile"]).inc();
        self.again.later(api.clone());
    }

    /// Decides about one API and compiles its Stages. What fails of one Stage, or of the next deployment, holds up
    /// nothing else.
    async fn api(&mut self, api: &ObjectKey) -> anyhow::Result<()> {
        let contract = self.contract(api).await?;
        let stages = self.stages(api);
        let secrets: BTreeSet<ObjectKey> = stages
            .iter()
            .flat_map(|(_, stage)| secrets_of(&stage.spec).map(|name| ObjectKey::new(&api.namespace, name)))
            .collect();
        let secrets: Vec<ObjectKey> = secrets.into_iter().collect();
        self.cluster.fetch(&self.client, Kind::Secret, &secrets).await?;
        let mut decided = self.decide(api, contract.as_deref(), &stages);
        let mut failing = BTreeMap::new();
        if let Some((take, contract)) = decided.take.take().filter(|_| self.leads).zip(contract.as_ref())
            && let Err(error) = self.take(contract, &take).await
        {
            self.failed(api, &error);
            let waits = decided.stages.iter().filter(|stage| stage.live == Some(take.number));
            let why = format!("deployment {} cannot be taken: {}", take.number, told::of_any(&error));
            failing.extend(waits.map(|stage| (stage.key.clone(), Failure::Retried(why.clone()))));
            decided = self.decide_without(api, &stages);
        }
        for (decision, (key, stage)) in decided.stages.into_iter().zip(&stages) {
            let failure = match self.stage(api, key, stage, decision, contract.as_ref()).await {
                Ok(failure) => failure,
                Err(error) => {
                    self.failed(api, &error);
                    Some(Failure::Retried(told::of_any(&error)))
                }
            };
            failing.extend(failure.map(|failure| (key.clone(), failure)));
        }
        if !failing.is_empty() {
            self.failing.insert(api.clone(), failing);
        }
        // A Stage that cannot be read may need any of them.
        let sweep = if self.cluster.is_unreadable(&api.namespace) { BTreeSet::new() } else { decided.sweep };
        for number in sweep {
            if let Err(error) = self.sweep_deployment(api, number).await {
                self.failed(api, &error);
            }
        }
        self.reports.api(api);
        Ok(())
    }

    /// What the Stages serve while the next deployment cannot be taken: as if nothing were to be deployed.
    fn decide_without(&self, api: &ObjectKey, stages: &[(StageKey, Arc<Stage>)]) -> Decision {
        let mut decided = self.decide(api, None, stages);
        for stage in &mut decided.stages {
            // There is something; why it is not deployed is told otherwise.
            stage.problems.retain(|problem| problem.kind != ProblemKind::NothingToDeploy);
        }
        decided
    }

    async fn take(&mut self, contract: &Contract, take: &Take) -> anyhow::Result<()> {
        anyhow::ensure!(self.may_write(), "another operator leads");
        let object = self.cluster.world.api_definitions.get(&contract.api);
        let by = object.and_then(|object| author(object)).map(str::to_owned);
        let created = Timestamp::from_second(Timestamp::now().as_second())?.to_string();
        let Some(meta) = history::take(&self.client, contract, take, by.as_deref(), &created).await? else {
            // Another operator's: the watch tells, and what its taker made of it decides. Or one of somebody's own.
            anyhow::bail!(
                "there is a ConfigMap `{}` already, which is no deployment that is known",
                history::name(&contract.api.name, take.number)
            );
        };
        self.vitals.deployments.inc();
        self.vitals.writes.with_label_values(&["deployment"]).inc();
        self.histories.entry(contract.api.clone()).or_default().insert(take.number, meta);
        Ok(())
    }

    /// Removes a deployment that nobody needs.
    async fn sweep_deployment(&mut self, api: &ObjectKey, number: u64) -> anyhow::Result<()> {
        let known = self.histories.get(api).and_then(|known| known.get(&number)).cloned();
        let Some(meta) = known.filter(|_| self.may_write()) else { return Ok(()) };
        history::remove(&self.client, api, number, &meta).await?;
        self.vitals.writes.with_label_values(&["deployment"]).inc();
        self.histories.entry(api.clone()).or_default().remove(&number);
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
            .map(|(key, stage)| Staged {
                key,
                stage,
                index: self.delivered(key, stage),
                handled_deploy: self.handled.get(key),
            })
            .collect();
        decision(contract, deployments, &staged)
    }

    /// What the index Secret of a Stage says.
    pub(super) fn delivered(&self, key: &StageKey, stage: &Stage) -> Option<&Index> {
        let object = self.object(key, stage)?;
        self.indexes.get(&object)?.index.as_ref()
    }

    /// Number of the deployment of the Stage's API that is delivered.
    pub(super) fn delivered_number(&self, key: &StageKey, stage: &Stage) -> Option<u64> {
        let index = self.delivered(key, stage)?;
        index.deployment.filter(|_| index.of_another(&stage.spec.api_ref.name).is_none())
    }

    pub(super) fn object(&self, key: &StageKey, stage: &Stage) -> Option<ObjectKey> {
        let gateway = self.gateway_of(stage)?;
        Some(ObjectKey::new(&gateway.bundle_namespace, stage_object(key, gateway)))
    }

    pub(super) fn gateway_of(&self, stage: &Stage) -> Option<&GatewayConfig> {
        self.config.gateway(stage.spec.gateway.as_deref().unwrap_or("default"))
    }

    /// Compiles one Stage for what was decided. What another try does not mend, if there is any.
    async fn stage(
        &mut self,
        api: &ObjectKey,
        key: &StageKey,
        stage: &Stage,
        decision: StageDecision,
        current: Option<&Arc<Contract>>,
    ) -> anyhow::Result<Option<Failure>> {
        let object = ObjectKey::new(&key.namespace, &key.name);
        self.reports.stage(&object);
        // A gateway that is not configured: what its proxies serve stays as it is.
        let Some(gateway) = self.gateway_of(stage).map(GatewayConfig::compiler) else { return Ok(None) };
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
            return Ok(number.map(Failure::SnapshotMissing));
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
        let moved =
            self.delivered(key, stage).is_some_and(|index| index.of_another(&stage.spec.api_ref.name).is_some());
        let before = self.programs.get(key);
        let (served, read_back) = before.map(|before| (before.served.clone(), before.read_back)).unwrap_or_default();
        let mut program = Program::compile(before, &inputs, decision);
        if number.is_none() && moved {
            // What is deployed of its former API goes on until something of this one is.
            program.read_back = read_back || served.is_none();
            program.served = match served {
                Some(served) => Some(served),
                None => self.last(key, stage, &program.unit).await?,
            };
        } else if number.is_none() {
            program.served = None;
        } else if !program.unit.compiled && before.is_none_or(|before| before.served.is_none()) {
            // After a restart, what was delivered is what last compiled.
            if let Some(last) = self.last(key, stage, &program.unit).await? {
                program.served = Some(last);
                program.read_back = true;
            }
        }
        self.programs.insert(key.clone(), program);
        Ok(None)
    }

    /// The unit of the bundle that is in the cluster.
    async fn last(&self, key: &StageKey, stage: &Stage, unit: &Unit) -> anyhow::Result<Option<Arc<Unit>>> {
        let Some(object) = self.object(key, stage).filter(|object| self.indexes.contains_key(object)) else {
            return Ok(None);
        };
        let of = self.delivered(key, stage).and_then(|index| index.api.clone());
        let api = of.map_or_else(|| unit.api.clone(), |api| ObjectKey::new(&key.namespace, api));
        match read_back::<StageBundle>(&self.client, &object).await {
            Ok(bundle) => Ok(bundle.map(|bundle| Arc::new(Unit { bundle: Some(bundle), api, ..unit.clone() }))),
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
}
