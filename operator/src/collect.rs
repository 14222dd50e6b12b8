//! What there is in the cluster, as changes.

use std::collections::HashSet;
use std::fmt::Debug;

use bundle::object::{Index, KIND_LABEL};
use compile::ObjectKey;
use crds::{ApiDefinition, Stage, UsagePlan};
use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use crate::acknowledge::Loaded;
use crate::config::Config;
use crate::report::Reported;

/// Something that changed.
#[derive(Debug)]
pub enum Change {
    /// An ApiDefinition, and who changed its spec last.
    ApiDefinition(ObjectKey, Option<Box<(ApiDefinition, Option<String>)>>),
    /// A Stage.
    Stage(ObjectKey, Option<Box<Stage>>),
    /// A UsagePlan.
    UsagePlan(ObjectKey, Option<Box<UsagePlan>>),
    /// An object of ours that cannot be read; what it last was stays.
    Malformed {
        /// Its kind.
        kind: &'static str,
        /// Which one.
        key: ObjectKey,
        /// Its identity.
        uid: String,
        /// Why.
        message: String,
    },
    /// Metadata of a ConfigMap.
    ConfigMap(ObjectKey, Option<Box<ObjectMeta>>),
    /// Resource version of a Secret.
    Secret(ObjectKey, Option<String>),
    /// A Secret that holds a bundle or a part of one.
    Bundle(ObjectKey, Option<Box<Held>>),
    /// A proxy's pod.
    Pod {
        /// Its gateway.
        gateway: String,
        /// Which one.
        name: String,
        /// What of it matters; `None`: it is gone.
        pod: Option<PodState>,
    },
    /// One of the watchers has told everything once.
    Synced,
    /// What a proxy has loaded.
    Loaded(Loaded),
    /// A status was written, or not.
    Reported(Reported),
}

/// A Secret in a bundle namespace.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its version.
    pub version: u64,
    /// Name of the gateway it is for.
    pub gateway: String,
    /// What it says; `None`: it is a part.
    pub index: Option<Index>,
}

/// A proxy's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Identity.
    pub uid: String,
    /// Where it is.
    pub address: String,
    /// It counts.
    pub ready: bool,
}

/// Follows everything; the number of watchers, each of which says [`Change::Synced`] once.
pub fn start(
    client: &Client,
    namespaces: &[String],
    config: &Config,
    changes: &Sender<Change>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> usize {
    let mut count = 0;
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    for scope in &scopes {
        tasks.spawn(own::<ApiDefinition>(client, *scope, changes, |key, object| {
            Change::ApiDefinition(key, object.map(Box::new))
        }));
        tasks.spawn(own::<Stage>(client, *scope, changes, |key, object| {
            Change::Stage(key, object.map(|(stage, _)| Box::new(stage)))
        }));
        tasks.spawn(own::<UsagePlan>(client, *scope, changes, |key, object| {
            Change::UsagePlan(key, object.map(|(plan, _)| Box::new(plan)))
        }));
        let maps: Api<PartialObjectMeta<ConfigMap>> = scoped(client, *scope);
        tasks.spawn(follow(
            watcher(maps, watcher::Config::default()),
            changes.clone(),
            |key, object: Option<PartialObjectMeta<ConfigMap>>| {
                Change::ConfigMap(key, object.map(|object| Box::new(slim(object.metadata))))
            },
        ));
        let secrets: Api<PartialObjectMeta<Secret>> = scoped(client, *scope);
        tasks.spawn(follow(
            watcher(secrets, watcher::Config::default()),
            changes.clone(),
            |key, object: Option<PartialObjectMeta<Secret>>| {
                Change::Secret(key, object.map(|object| object.metadata.resource_version.unwrap_or_default()))
            },
        ));
        count += 5;
    }
    let places: HashSet<&str> = config.gateways.iter().map(|gateway| gateway.bundle_namespace.as_str()).collect();
    for place in places {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), place);
        let with = watcher::Config::default().labels(KIND_LABEL);
        tasks.spawn(follow(watcher(secrets, with), changes.clone(), |key, secret: Option<Secret>| {
            Change::Bundle(key, secret.map(|secret| Box::new(held(&secret))))
        }));
        count += 1;
    }
    for gateway in &config.gateways {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &gateway.namespace);
        let name = gateway.name.clone();
        let with = watcher::Config::default().labels(&gateway.pods());
        tasks.spawn(follow(watcher(pods, with), changes.clone(), move |key, pod: Option<Pod>| Change::Pod {
            gateway: name.clone(),
            name: key.name,
            pod: pod.as_ref().and_then(pod_state),
        }));
        count += 1;
    }
    // Secrets that gateways name elsewhere are followed one by one, with whatever right there is.
    for tls in config.gateways.iter().filter_map(|gateway| gateway.default_tls.as_ref()) {
        if namespaces.is_empty() || namespaces.contains(&tls.namespace) {
            continue;
        }
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), &tls.namespace);
        let with = watcher::Config::default().fields(&format!("metadata.name={}", tls.secret_name));
        tasks.spawn(follow(
            watcher(secrets, with),
            changes.clone(),
            |key, object: Option<PartialObjectMeta<Secret>>| {
                Change::Secret(key, object.map(|object| object.metadata.resource_version.unwrap_or_default()))
            },
        ));
        count += 1;
    }
    count
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// An object and who changed its spec last.
type Own<K> = (K, Option<String>);

/// Follows one of our own kinds as untyped objects, so that one that cannot be read hides no other.
fn own<K>(
    client: &Client,
    namespace: Option<&str>,
    changes: &Sender<Change>,
    make: fn(ObjectKey, Option<Own<K>>) -> Change,
) -> impl Future<Output = ()> + Send + use<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + 'static,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    follow(watcher(api, watcher::Config::default()), changes.clone(), move |key, object: Option<DynamicObject>| {
        let Some(mut object) = object else { return make(key, None) };
        let by = changed_by(object.metadata.managed_fields.as_deref().unwrap_or_default());
        object.metadata = slim(object.metadata);
        let uid = object.metadata.uid.clone().unwrap_or_default();
        match serde_json::to_value(object).and_then(serde_json::from_value::<K>) {
            Ok(object) => make(key, Some((object, by))),
            Err(error) => {
                let kind = kind_of(&K::kind(&()));
                Change::Malformed { kind, key, uid, message: error.to_string() }
            }
        }
    })
}

fn kind_of(kind: &str) -> &'static str {
    match kind {
        "ApiDefinition" => "ApiDefinition",
        "Stage" => "Stage",
        _ => "UsagePlan",
    }
}

/// The field manager that changed the spec last.
fn changed_by(entries: &[ManagedFieldsEntry]) -> Option<String> {
    let spec = entries.iter().filter(|entry| {
        entry.subresource.is_none() && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some())
    });
    spec.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

/// Metadata without what nobody here reads and may be as large as the object itself.
fn slim(mut metadata: ObjectMeta) -> ObjectMeta {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    metadata
}

/// Follows one kind: everything, then each change. What is gone after a gap is told too.
async fn follow<K: Resource + Clone + Debug>(
    events: impl futures_util::Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    changes: Sender<Change>,
    make: impl Fn(ObjectKey, Option<K>) -> Change + Send,
) {
    let key = |object: &K| {
        let meta = object.meta();
        ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    };
    let mut known: HashSet<ObjectKey> = HashSet::new();
    let mut before: HashSet<ObjectKey> = HashSet::new();
    let mut synced = false;
    let events = events
        .backoff(Backoff::default())
        .inspect_err(|error| tracing::warn!(%error, "a watch failed; it is tried again"));
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let mut send = Vec::new();
        match event {
            Err(_) => continue,
            Ok(watcher::Event::Init) => before = std::mem::take(&mut known),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                let key = key(&object);
                before.remove(&key);
                known.insert(key.clone());
                send.push(make(key, Some(object)));
            }
            Ok(watcher::Event::Delete(object)) => {
                let key = key(&object);
                known.remove(&key);
                send.push(make(key, None));
            }
            Ok(watcher::Event::InitDone) => {
                send.extend(std::mem::take(&mut before).into_iter().map(|key| make(key, None)));
                if !std::mem::replace(&mut synced, true) {
                    send.push(Change::Synced);
                }
            }
        }
        for change in send {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}

/// Short waits: an API server that comes back is noticed within seconds.
#[derive(Clone, Debug, Default)]
struct Backoff(u32);

impl Iterator for Backoff {
    type Item = std::time::Duration;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = (self.0 + 1).min(6);
        let jitter = fastrand::u64(0..100);
        Some(std::time::Duration::from_millis((50 << self.0) + jitter))
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

pub(crate) fn held(secret: &Secret) -> Held {
    let labels = secret.metadata.labels.as_ref();
    let data = |key: &str| secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice());
    Held {
        version: version(&secret.metadata),
        gateway: labels.and_then(|labels| labels.get(bundle::object::GATEWAY_LABEL)).cloned().unwrap_or_default(),
        index: Index::read(data).ok(),
    }
}

/// The resource version as a number: later ones are greater.
pub(crate) fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn pod_state(pod: &Pod) -> Option<PodState> {
    let status = pod.status.as_ref()?;
    let ending = pod.metadata.deletion_timestamp.is_some();
    let ready =
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    Some(PodState { uid: pod.metadata.uid.clone()?, address: status.pod_ip.clone()?, ready: ready && !ending })
}
