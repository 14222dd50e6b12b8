//! One pass: decide, compile, link; then what differs is delivered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bundle::object::Index;
use bundle::{StageBundle, StageKey};
use compile::deploy::{Decision, StageDecision};
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

impl Operator {
    /// Works off what is dirty.
    pub(super) async fn pass(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        // A cluster without any API has leftovers to remove all the same.
        if dirty.is_empty() && !std::mem::take(&mut self.full) && !self.callers.is_due() {
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
        self.want_callers();
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

    pub(super) fn has_stage(&self, key: &StageKey) -> bool {
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

    pub(super) fn delivered_number(&self, key: &StageKey, stage: &Stage) -> Option<u64> {
        self.delivered(key, stage)?.deployment
    }

    pub(super) fn object(&self, key: &StageKey, stage: &Stage) -> Option<ObjectKey> {
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
}
