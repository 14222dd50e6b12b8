//! What is known of the cluster, changed in place, and what must be looked at again because of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bundle::object::{Index, Subject};
use bundle::{Digest, HostBundle, StageKey, Stamped};
use compile::deploy::Problem;
use compile::world::{api_of, config_maps_of, secrets_of};
use compile::{Contract, Finding, ObjectKey, Unit, World};
use crds::annotation::{DEPLOY, PROMOTE_CANARY, ROLLBACK_TO};
use crds::stage::Deployment;
use crds::{ApiDefinition, ApiDefinitionSpec, ApiDefinitionStatus, Stage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::collect::{Change, Held, PodState};

/// Label of a snapshot: its API.
pub const API_LABEL: &str = "stagegate.dev/api";
/// Label of a snapshot: its number.
pub const DEPLOYMENT_LABEL: &str = "stagegate.dev/deployment";
/// Annotation of a snapshot: digest of the contract.
pub const DIGEST: &str = "stagegate.dev/digest";
/// Annotation of a snapshot: when it was taken.
pub const CREATED: &str = "stagegate.dev/created";
/// Annotation of a snapshot: for people.
pub const DESCRIPTION: &str = "stagegate.dev/description";
/// Annotation of a snapshot: who took it.
pub const BY: &str = "stagegate.dev/by";
/// Annotation of a snapshot: number of ConfigMaps that hold it, where it is more than this one.
pub const PARTS: &str = "stagegate.dev/parts";

/// An ApiDefinition. Its document is in its contract and nowhere else.
#[derive(Debug)]
pub struct Api {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Who changed the spec last.
    pub by: Option<String>,
    /// The spec; the document was taken out once the contract was read.
    pub spec: ApiDefinitionSpec,
    /// What is written in it.
    pub status: ApiDefinitionStatus,
    /// The contract; `None` until it was read.
    pub contract: Option<Arc<Contract>>,
    /// The contract must be read again.
    pub stale: bool,
}

/// A deployment, as its metadata tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// For status.
    pub entry: Deployment,
    /// Digest of the contract.
    pub digest: Digest,
    /// Number of ConfigMaps, where it is not one.
    pub parts: usize,
}

/// What a Stage serves and how that came about.
#[derive(Debug, Default)]
pub struct Served {
    /// Digest of the inputs of `unit`.
    pub inputs: Option<Digest>,
    /// The unit of the newest inputs.
    pub unit: Option<Arc<Unit>>,
    /// What is served: the last unit that compiled.
    pub good: Option<Arc<Unit>>,
    /// `good` is what the operator found delivered; it must not be written again.
    pub found: bool,
    /// What to remember in the index.
    pub pin: Option<String>,
    /// Wishes that cannot be fulfilled.
    pub problems: Vec<Problem>,
    /// A snapshot that could not be read, a wish that waits.
    pub trouble: Option<String>,
    /// Value of the annotation `deploy` that was acted upon last.
    pub handled_deploy: Option<String>,
    /// A newer deployment waits.
    pub waiting: bool,
    /// The live number as it was decided.
    pub live: Option<u64>,
    /// No gateway is called what the Stage says.
    pub unknown_gateway: bool,
    /// The bundle could not be written.
    pub undelivered: Option<String>,
}

/// What a gateway's hosts are.
#[derive(Debug, Default)]
pub struct Hosts {
    /// By name.
    pub bundles: BTreeMap<String, Stamped<HostBundle>>,
    /// Conflicts.
    pub findings: Vec<Finding>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct State {
    /// ApiDefinitions.
    pub apis: BTreeMap<ObjectKey, Api>,
    /// Stages, plans, and the bodies that are referenced.
    pub world: World,
    /// Versions of ConfigMaps.
    pub config_maps: HashMap<ObjectKey, String>,
    /// Versions of Secrets.
    pub secrets: HashMap<ObjectKey, String>,
    /// Versions of the bodies in `world`.
    pub bodies: HashMap<(Body, ObjectKey), String>,
    /// Deployments by API.
    pub deployments: BTreeMap<ObjectKey, BTreeMap<u64, Known>>,
    /// Secrets in bundle namespaces.
    pub held: BTreeMap<ObjectKey, Held>,
    /// Stages by key.
    pub served: BTreeMap<StageKey, Served>,
    /// Hosts by gateway.
    pub hosts: BTreeMap<String, Hosts>,
    /// Contracts of deployments that are not the current one.
    pub kept: HashMap<(ObjectKey, u64), Arc<Contract>>,
    /// Pods of proxies, by gateway.
    pub pods: BTreeMap<String, BTreeMap<String, PodState>>,
    /// What must be looked at again.
    pub dirty: BTreeSet<ObjectKey>,
    /// Hosts must be linked again.
    pub relink: bool,
    /// Statuses that must be looked at again.
    pub unreported: BTreeSet<Subjected>,
    /// Watchers that have not told everything yet.
    pub unsynced: usize,
}

/// Bodies that are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// Of a ConfigMap.
    ConfigMap,
    /// Of a Secret.
    Secret,
}

/// An object with a status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subjected {
    /// An ApiDefinition.
    Api(ObjectKey),
    /// A Stage.
    Stage(ObjectKey),
}

impl State {
    /// Takes in a change. What is about pods and statuses is left to the caller.
    pub fn apply(&mut self, change: Change, default_tls: &BTreeSet<ObjectKey>) {
        match change {
            Change::ApiDefinition(key, object) => self.api(key, object),
            Change::Stage(key, object) => self.stage(key, object),
            Change::UsagePlan(key, plan) => {
                match plan {
                    Some(plan) => self.world.usage_plans.insert(key, Arc::new(*plan)),
                    None => self.world.usage_plans.remove(&key),
                };
            }
            Change::ConfigMap(key, metadata) => self.config_map(key, metadata),
            Change::Secret(key, version) => {
                let same = self.secrets.get(&key) == version.as_ref();
                match version {
                    Some(version) => self.secrets.insert(key.clone(), version),
                    None => self.secrets.remove(&key),
                };
                if same {
                    return;
                }
                self.relink |= default_tls.contains(&key);
                let users = self.world.stages.iter().filter(|(stage, object)| {
                    stage.namespace == key.namespace && secrets_of(&object.spec).any(|name| name == key.name)
                });
                self.dirty.extend(users.map(|(stage, object)| api_of(stage, object)));
            }
            Change::Bundle(key, held) => self.bundle(key, held),
            Change::Synced => self.unsynced = self.unsynced.saturating_sub(1),
            Change::Malformed { .. } | Change::Pod { .. } | Change::Loaded(_) | Change::Reported(_) => {}
        }
    }

    fn api(&mut self, key: ObjectKey, object: Option<Box<(ApiDefinition, Option<String>)>>) {
        let Some(object) = object else {
            self.apis.remove(&key);
            self.dirty.insert(key);
            return;
        };
        let (ApiDefinition { metadata, spec, status }, by) = *object;
        let status = status.unwrap_or_default();
        self.unreported.insert(Subjected::Api(key.clone()));
        if let Some(api) = self.apis.get_mut(&key) {
            let same = (&api.metadata.uid, api.metadata.generation) == (&metadata.uid, metadata.generation);
            if same && metadata.generation.is_some() {
                (api.metadata, api.status, api.by) = (metadata, status, by);
                return;
            }
        }
        // What was read of it before stays until the new one is read, in the same pass.
        let contract = self.apis.get(&key).and_then(|api| api.contract.clone());
        self.apis.insert(key.clone(), Api { metadata, by, spec, status, contract, stale: true });
        self.dirty.insert(key);
    }

    fn stage(&mut self, key: ObjectKey, object: Option<Box<Stage>>) {
        let served = StageKey { namespace: key.namespace.clone(), name: key.name.clone() };
        let Some(object) = object else {
            if let Some(old) = self.world.stages.remove(&key) {
                self.dirty.insert(api_of(&key, &old));
            }
            self.served.remove(&served);
            self.relink = true;
            return;
        };
        self.unreported.insert(Subjected::Stage(key.clone()));
        let wishes = |stage: &Stage| {
            let annotations = stage.metadata.annotations.as_ref();
            [ROLLBACK_TO, DEPLOY, PROMOTE_CANARY].map(|name| annotations.and_then(|all| all.get(name)).cloned())
        };
        let new = Arc::new(*object);
        let entry = self.served.entry(served).or_default();
        if entry.handled_deploy.is_none() {
            entry.handled_deploy = new.status.as_ref().and_then(|status| status.handled_deploy.clone());
        }
        let old = self.world.stages.insert(key.clone(), Arc::clone(&new));
        if let Some(old) = old {
            let same = old.metadata.uid == new.metadata.uid && old.spec == new.spec && wishes(&old) == wishes(&new);
            if same {
                return;
            }
            self.dirty.insert(api_of(&key, &old));
        }
        self.dirty.insert(api_of(&key, &new));
    }

    fn config_map(&mut self, key: ObjectKey, metadata: Option<Box<ObjectMeta>>) {
        match metadata {
            Some(metadata) => {
                if let Some((api, number, known)) = known(&key.namespace, &metadata) {
                    self.know(&api, number, known);
                    return;
                }
                let version = metadata.resource_version.unwrap_or_default();
                if self.config_maps.insert(key.clone(), version.clone()) == Some(version) {
                    return;
                }
            }
            None => {
                // The name of a snapshot tells what it was.
                if let Some((api, number)) = key.name.rsplit_once("-deployment-")
                    && let Ok(number) = number.parse::<u64>()
                {
                    let api = ObjectKey::new(key.namespace.clone(), api);
                    if let Some(all) = self.deployments.get_mut(&api)
                        && all.remove(&number).is_some()
                    {
                        self.dirty.insert(api);
                    }
                }
                if self.config_maps.remove(&key).is_none() {
                    return;
                }
            }
        }
        for (api, object) in &mut self.apis {
            if api.namespace == key.namespace && config_maps_of(&object.spec).any(|name| name == key.name) {
                object.stale = true;
                self.dirty.insert(api.clone());
            }
        }
    }

    /// Remembers a deployment.
    pub fn know(&mut self, api: &ObjectKey, number: u64, known: Known) {
        let old = self.deployments.entry(api.clone()).or_default().insert(number, known.clone());
        if old.is_none_or(|old| old.digest != known.digest) {
            self.dirty.insert(api.clone());
        }
    }

    fn bundle(&mut self, key: ObjectKey, held: Option<Box<Held>>) {
        let old = self.held.get(&key);
        let touched = |held: &Held, state: &mut BTreeSet<ObjectKey>, world: &World, relink: &mut bool| match &held.index
        {
            Some(Index { subject: Subject::Stage(stage), .. }) => {
                let stage = ObjectKey::new(stage.namespace.clone(), stage.name.clone());
                match world.stages.get(&stage) {
                    Some(object) => drop(state.insert(api_of(&stage, object))),
                    None => *relink = true,
                }
            }
            Some(Index { subject: Subject::Host(_), .. }) | None => *relink = true,
        };
        match held {
            // An echo of what we wrote, or older than that.
            Some(new) if old.is_some_and(|old| old.version >= new.version) => {}
            Some(new) => {
                if old.is_none_or(|old| old.index != new.index) {
                    touched(&new, &mut self.dirty, &self.world, &mut self.relink);
                }
                self.held.insert(key, *new);
            }
            None => {
                if let Some(old) = self.held.remove(&key) {
                    touched(&old, &mut self.dirty, &self.world, &mut self.relink);
                }
            }
        }
    }

    /// Stages of an API.
    pub fn stages_of(&self, api: &ObjectKey) -> Vec<(ObjectKey, Arc<Stage>)> {
        let mine = self
            .world
            .stages
            .iter()
            .filter(|(key, stage)| key.namespace == api.namespace && stage.spec.api_ref.name == api.name);
        mine.map(|(key, stage)| (key.clone(), Arc::clone(stage))).collect()
    }

    /// The index of a Stage, wherever it is delivered.
    pub fn index_of(&self, stage: &StageKey) -> Option<(&ObjectKey, &Held, &Index)> {
        let name = Subject::Stage(stage.clone()).object_name("");
        self.held.iter().filter(|(key, _)| key.name == name).find_map(|(key, held)| {
            let index = held.index.as_ref()?;
            matches!(&index.subject, Subject::Stage(other) if other == stage).then_some((key, held, index))
        })
    }
}

/// What the metadata of a snapshot tells.
pub fn known(namespace: &str, metadata: &ObjectMeta) -> Option<(ObjectKey, u64, Known)> {
    let labels = metadata.labels.as_ref()?;
    let (api, number) = (labels.get(API_LABEL)?, labels.get(DEPLOYMENT_LABEL)?.parse().ok()?);
    if metadata.name.as_deref() != Some(&format!("{api}-deployment-{number}")) {
        return None;
    }
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let digest = annotation(DIGEST).unwrap_or_default();
    let entry = Deployment {
        number,
        digest: digest.clone(),
        created: annotation(CREATED).unwrap_or_default(),
        description: annotation(DESCRIPTION),
        by: annotation(BY),
    };
    let parts = annotation(PARTS).and_then(|parts| parts.parse().ok()).unwrap_or(1);
    // A digest that is none equals no other.
    let digest = serde_json::from_value(digest.into()).unwrap_or_else(|_| Digest::of(b""));
    Some((ObjectKey::new(namespace, api.clone()), number, Known { entry, digest, parts }))
}
