//! When conditions are written, and what is told about a change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bundle::object::Subject;
use bundle::{Digest, StageKey};
use compile::world::{api_of, check_plan};
use compile::{ObjectKey, World};
use crds::Stage;
use k8s_openapi::jiff::Timestamp;

use super::Operator;
use crate::history::Deployments;
use crate::report::{self, StageFacts, serves};

/// A Stage's status is written at most once in this time.
const EVERY: Duration = Duration::from_secs(2);
/// A change settles for so long before it is reported: most are loaded by then, and one write says it all.
const SETTLE: Duration = Duration::from_millis(250);

/// What is to be looked at, since when.
#[derive(Default)]
pub(super) struct Reports {
    stages: BTreeMap<ObjectKey, Instant>,
    apis: BTreeSet<ObjectKey>,
    plans: BTreeSet<ObjectKey>,
    gateways: BTreeSet<String>,
    /// When a Stage's status was written last.
    written: BTreeMap<ObjectKey, Instant>,
}

impl Reports {
    pub(super) fn stage(&mut self, key: &ObjectKey) {
        self.stages.entry(key.clone()).or_insert_with(Instant::now);
    }

    pub(super) fn api(&mut self, key: &ObjectKey) {
        self.apis.insert(key.clone());
    }

    pub(super) fn plans<'a>(&mut self, keys: impl IntoIterator<Item = &'a ObjectKey>) {
        self.plans.extend(keys.into_iter().cloned());
    }

    /// What proxies of a gateway have loaded has changed.
    pub(super) fn gateway(&mut self, name: &str) {
        self.gateways.insert(name.to_owned());
    }

    pub(super) fn everything(&mut self, world: &World) {
        for key in world.stages.keys() {
            self.stage(key);
        }
    }

    /// Stages that are due.
    fn due(&mut self, now: Instant) -> Vec<ObjectKey> {
        let written = &self.written;
        let due = |key: &ObjectKey, since: Instant| {
            let settled = now.duration_since(since) >= SETTLE;
            settled && written.get(key).is_none_or(|at| now.duration_since(*at) >= EVERY)
        };
        let keys: Vec<ObjectKey> =
            self.stages.iter().filter(|(key, since)| due(key, **since)).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.stages.remove(key);
        }
        keys
    }
}

impl Operator {
    /// Writes statuses that differ.
    pub(super) fn report(&mut self) {
        for gateway in std::mem::take(&mut self.reports.gateways) {
            let of_gateway = |stage: &Stage| stage.spec.gateway.as_deref().unwrap_or("default") == gateway;
            let keys: Vec<ObjectKey> = self
                .cluster
                .world
                .stages
                .iter()
                .filter(|(_, stage)| of_gateway(stage))
                .map(|(key, _)| key.clone())
                .collect();
            for key in keys {
                self.reports.stage(&key);
            }
        }
        let (ready, hosts) = (self.ready_pods(), self.host_digests());
        for key in self.reports.due(Instant::now()) {
            self.report_stage(&key, &ready, &hosts);
        }
        for key in std::mem::take(&mut self.reports.apis) {
            self.report_api(&key);
        }
        for key in std::mem::take(&mut self.reports.plans) {
            self.report_plan(&key);
        }
    }

    /// Names of ready pods, by gateway.
    fn ready_pods(&self) -> BTreeMap<String, Vec<String>> {
        let mut ready: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((gateway, key), _) in self.pods.iter().filter(|(_, pod)| pod.ready) {
            ready.entry(gateway.clone()).or_default().push(key.name.clone());
        }
        ready
    }

    /// Digests of hosts as they are delivered, by gateway and host.
    fn host_digests(&self) -> BTreeMap<(String, String), Digest> {
        let host = |wanted: &crate::deliver::Wanted| match &wanted.subject {
            Subject::Host(host) => Some(((wanted.gateway.clone(), host.clone()), wanted.content.digest().clone())),
            Subject::Stage(_) | Subject::Plan(_) | Subject::Keys(_) => None,
        };
        self.wanted.values().filter_map(host).collect()
    }

    fn report_stage(
        &mut self,
        key: &ObjectKey,
        ready: &BTreeMap<String, Vec<String>>,
        digests: &BTreeMap<(String, String), Digest>,
    ) {
        if self.report_unreadable("Stage", key) {
            return;
        }
        let Some(stage) = self.cluster.world.stages.get(key).cloned() else {
            self.reports.written.remove(key);
            return;
        };
        let none = Deployments::new();
        let status = {
            let own = StageKey { namespace: key.namespace.clone(), name: key.name.clone() };
            let gateway = self.gateway_of(&stage);
            let program = self.programs.get(&own);
            let object = gateway
                .map(|gateway| ObjectKey::new(&gateway.bundle_namespace, crate::program::stage_object(&own, gateway)));
            let index =
                object.as_ref().and_then(|object| self.indexes.get(object)).and_then(|known| known.index.as_ref());
            let name = gateway.map_or("", |gateway| gateway.name.as_str());
            let hosts: Vec<(String, Digest)> = self
                .hosts
                .of_stage(name, &own)
                .filter_map(|host| Some((host.to_owned(), digests.get(&(name.to_owned(), host.to_owned()))?.clone())))
                .collect();
            let loads = |pod: &str| {
                let loaded = self.loaded.get(&(name.to_owned(), pod.to_owned()));
                loaded.zip(index).is_some_and(|(loaded, index)| serves(loaded, (&own, &index.digest), &hosts))
            };
            let pods = ready.get(name).into_iter().flatten();
            let api = api_of(key, &stage);
            let facts = StageFacts {
                stage: &stage,
                program,
                gateway,
                api: self.cluster.world.api_definitions.contains_key(&api),
                deployments: self.histories.get(&api).unwrap_or(&none),
                linked: self
                    .hosts
                    .findings
                    .iter()
                    .filter(|finding| finding.object.namespace == key.namespace && finding.object.name == key.name)
                    .collect(),
                live: self.delivered_number(&own, &stage),
                former: index.and_then(|index| index.of_another(&stage.spec.api_ref.name)),
                handled_deploy: self.handled.get(&own).map(String::as_str),
                proxies: pods.map(|pod| (pod.as_str(), loads(pod))).collect(),
                sidecar: gateway.is_some_and(|gateway| {
                    gateway
                        .sidecars
                        .iter()
                        .any(|sidecar| sidecar.namespace == own.namespace && sidecar.stage == own.name)
                }),
                failing: self.failing.get(&api).and_then(|stages| stages.get(&own)),
                undelivered: object.as_ref().and_then(|object| self.undelivered.get(object)).map(String::as_str),
            };
            report::stage(&facts, Timestamp::now())
        };
        if stage.status.as_ref() == Some(&status) {
            return;
        }
        self.reports.written.insert(key.clone(), Instant::now());
        self.scribe.stage(stage, status);
    }

    /// Says of an object that it cannot be read, if it is so: what is known of it is older.
    fn report_unreadable(&mut self, kind: &'static str, key: &ObjectKey) -> bool {
        let Some(unreadable) = self.cluster.unreadable.get(&(kind, key.clone())) else { return false };
        if let Some(conditions) = report::unreadable(unreadable, Timestamp::now()) {
            self.reports.written.insert(key.clone(), Instant::now());
            self.scribe.unreadable(unreadable.clone(), conditions);
        }
        true
    }

    fn report_api(&mut self, key: &ObjectKey) {
        if self.report_unreadable("ApiDefinition", key) {
            return;
        }
        let Some(api) = self.cluster.world.api_definitions.get(key).cloned() else { return };
        let Some(contract) = self.contracts.get(key).cloned() else { return };
        let none = Deployments::new();
        let deployments = self.histories.get(key).unwrap_or(&none);
        let status = report::api_definition(&api, &contract, deployments, Timestamp::now());
        if api.status.as_ref() != Some(&status) {
            self.scribe.api_definition(api, status);
        }
    }

    fn report_plan(&mut self, key: &ObjectKey) {
        if self.report_unreadable("UsagePlan", key) {
            return;
        }
        let Some(plan) = self.cluster.world.usage_plans.get(key).cloned() else { return };
        // Not resolved yet: what was said stands.
        let Some((keys, callers)) = self.callers.of_plan(key) else { return };
        let own = check_plan(&self.cluster.world, key, &plan);
        let status = report::usage_plan(&plan, own.iter().chain(callers), keys, Timestamp::now());
        if plan.status.as_ref() != Some(&status) {
            self.scribe.usage_plan(plan, status);
        }
    }
}
