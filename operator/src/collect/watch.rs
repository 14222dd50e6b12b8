//! Watches: each a task that tells the operator's loop what changed.

use std::collections::HashSet;
use std::pin::pin;

use bundle::object::{GATEWAY_LABEL, INDEX_TYPE, Index};
use compile::ObjectKey;
use compile::world::ApiKeys;
use crds::reference_grant::ReferenceGrant;
use crds::usage_plan::API_KEY_TYPE;
use crds::{ApiDefinition, Stage, UsagePlan};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod as KubePod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event as WatchEvent};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Kind;
use super::grants::follow;
use super::patience::Patience;
use super::unreadable::Unreadable;
use crate::acknowledge::Loaded;
use crate::config::{Config, GatewayConfig};

/// What the operator's loop is told.
#[derive(Debug)]
pub enum Event {
    /// Something is there, has changed, or is gone.
    Change(Change),
    /// This watch has told everything there is.
    Synced(Source),
    /// This operator leads from now on, or does no longer.
    Leads(bool),
    /// What a proxy has loaded changed.
    Loaded {
        /// Name of the gateway.
        gateway: String,
        /// Name of the pod.
        pod: String,
        /// What it said; `None`: it does not answer.
        loaded: Option<Loaded>,
    },
    /// The status of an object could not be written.
    Unwritten(&'static str, ObjectKey),
    /// The configuration file has changed.
    Config(Config),
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source(String);

/// Something is there, has changed, or is gone (`None`).
#[derive(Debug)]
pub enum Change {
    /// An ApiDefinition.
    ApiDefinition(ObjectKey, Option<Box<ApiDefinition>>),
    /// A Stage.
    Stage(ObjectKey, Option<Box<Stage>>),
    /// A UsagePlan.
    UsagePlan(ObjectKey, Option<Box<UsagePlan>>),
    /// A Secret of API keys.
    ApiKeys(ObjectKey, Option<Box<ApiKeys>>),
    /// A ReferenceGrant.
    ReferenceGrant(ObjectKey, Option<Box<ReferenceGrant>>),
    /// An object that does not parse.
    Unreadable(ObjectKey, Box<Unreadable>),
    /// Metadata of a ConfigMap or Secret.
    Meta(Kind, ObjectKey, Option<Box<ObjectMeta>>),
    /// An index Secret in a namespace of bundles: its gateway, its resource version, what it says.
    Index(ObjectKey, Option<Box<KnownIndex>>),
    /// A pod of a gateway.
    Pod(String, ObjectKey, Option<Pod>),
}

/// An index Secret as it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownIndex {
    /// The gateway it is for.
    pub gateway: String,
    /// Its resource version.
    pub version: String,
    /// What it says; `None`: it cannot be read, and is written anew.
    pub index: Option<Index>,
}

/// A pod of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Ready, and not ending.
    pub ready: bool,
    /// It is ending.
    pub ending: bool,
}

/// The watches that run.
pub struct Watches {
    /// Of resources; they do not depend on the configuration.
    resources: Vec<(Source, JoinHandle<()>)>,
    /// Of bundles and pods.
    tasks: Vec<(Source, JoinHandle<()>)>,
    /// Those whose first listing is not complete.
    pub pending: HashSet<Source>,
}

impl Watches {
    /// Starts everything.
    pub fn start(
        client: &Client,
        config: &Config,
        namespaces: &[String],
        events: &mpsc::UnboundedSender<Event>,
    ) -> Self {
        let mut watches = Self { resources: Vec::new(), tasks: Vec::new(), pending: HashSet::new() };
        let scopes: Vec<Option<&str>> = match namespaces {
            [] => vec![None],
            some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
        };
        for scope in scopes {
            watches.parsed::<ApiDefinition>(client, scope, "ApiDefinition", events, Change::ApiDefinition);
            watches.parsed::<Stage>(client, scope, "Stage", events, Change::Stage);
            watches.parsed::<UsagePlan>(client, scope, "UsagePlan", events, Change::UsagePlan);
            watches.metadata::<ConfigMap>(client, scope, Kind::ConfigMap, events);
            watches.metadata::<Secret>(client, scope, Kind::Secret, events);
            watches.api_keys(client, scope, events);
            watches.grants(client, scope, events);
        }
        watches.resources = std::mem::take(&mut watches.tasks);
        watches.restart(client, config, namespaces, events);
        watches
    }

    /// Starts what depends on the configuration, instead of what was started for another.
    pub fn restart(
        &mut self,
        client: &Client,
        config: &Config,
        namespaces: &[String],
        events: &mpsc::UnboundedSender<Event>,
    ) {
        for (source, task) in self.tasks.drain(..) {
            task.abort();
            // It will never say that it has told everything; nobody may wait for it.
            self.pending.remove(&source);
        }
        let watches = self;
        for namespace in config.bundle_namespaces() {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let stream = watcher::watcher(api, watcher::Config::default().labels(GATEWAY_LABEL));
            watches.spawn(
                format!("bundles in {namespace}"),
                stream,
                events,
                |key, secret: Option<Secret>| match secret {
                    Some(secret) => index_of(&secret).map(|known| Change::Index(key, Some(Box::new(known)))),
                    None => Some(Change::Index(key, None)),
                },
            );
        }
        for gateway in &config.gateways {
            watches.pods(client, gateway, events);
        }
        // In namespaced mode certificates of gateways may be elsewhere.
        let elsewhere: HashSet<&str> = config
            .gateways
            .iter()
            .filter_map(|gateway| Some(gateway.default_tls.as_ref()?.namespace.as_str()))
            .filter(|one| !namespaces.is_empty() && !namespaces.iter().any(|known| known == one))
            .collect();
        for namespace in elsewhere {
            watches.metadata::<Secret>(client, Some(namespace), Kind::Secret, events);
        }
    }

    /// Whether everything there is has been told.
    pub fn synced(&self) -> bool {
        self.pending.is_empty()
    }

    fn pods(&mut self, client: &Client, gateway: &GatewayConfig, events: &mpsc::UnboundedSender<Event>) {
        let api: Api<KubePod> = Api::namespaced(client.clone(), &gateway.namespace);
        let stream = watcher::watcher(api, watcher::Config::default().labels(&gateway.selector.text()));
        let name = gateway.name.clone();
        self.spawn(format!("pods of {name}"), stream, events, move |key, pod: Option<KubePod>| {
            Some(Change::Pod(name.clone(), key, pod.as_ref().map(pod_of)))
        });
    }

    /// Watches resources of our own. Each object is parsed by itself, so that one that does not parse hurts no other.
    fn parsed<K>(
        &mut self,
        client: &Client,
        scope: Option<&str>,
        kind: &'static str,
        events: &mpsc::UnboundedSender<Event>,
        change: impl Fn(ObjectKey, Option<Box<K>>) -> Change + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match scope {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let stream = watcher::watcher(api, watcher::Config::default());
        self.spawn(format!("{kind}s in {}", scope.unwrap_or("all namespaces")), stream, events, move |key, object| {
            let Some(object) = object else { return Some(change(key, None)) };
            Some(match parse::<K>(object) {
                Ok(object) => change(key, Some(Box::new(object))),
                Err((object, error)) => Change::Unreadable(key, Box::new(Unreadable::of(kind, &object, error))),
            })
        });
    }

    /// Watches Secrets of API keys, whose type never changes. The keys are forgotten here.
    fn api_keys(&mut self, client: &Client, scope: Option<&str>, events: &mpsc::UnboundedSender<Event>) {
        let api: Api<Secret> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let wanted = watcher::Config::default().fields(&format!("type={API_KEY_TYPE}"));
        let name = format!("API keys in {}", scope.unwrap_or("all namespaces"));
        self.spawn(name, watcher::watcher(api, wanted), events, |key, secret: Option<Secret>| {
            Some(Change::ApiKeys(key, secret.as_ref().and_then(ApiKeys::read).map(Box::new)))
        });
    }

    fn metadata<K>(&mut self, client: &Client, scope: Option<&str>, kind: Kind, events: &mpsc::UnboundedSender<Event>)
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let api: Api<PartialObjectMeta<K>> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let stream = watcher::watcher(api, watcher::Config::default());
        let name = format!("{kind:?}s in {}", scope.unwrap_or("all namespaces"));
        self.spawn(name, stream, events, move |key, object: Option<PartialObjectMeta<K>>| {
            Some(Change::Meta(
                kind,
                key,
                object.map(|object| {
                    let mut metadata = object.metadata;
                    metadata.managed_fields = None;
                    Box::new(metadata)
                }),
            ))
        });
    }

    /// ReferenceGrants, whose kind need not be served.
    fn grants(&mut self, client: &Client, scope: Option<&str>, events: &mpsc::UnboundedSender<Event>) {
        let source = Source(format!("ReferenceGrants in {}", scope.unwrap_or("all namespaces")));
        self.pending.insert(source.clone());
        let following = follow(client.clone(), scope.map(str::to_owned), source.clone(), events.clone());
        self.tasks.push((source, tokio::spawn(following)));
    }

    /// Runs one watch. `change` makes of an object, or of its end, what the loop is told.
    fn spawn<K>(
        &mut self,
        name: String,
        stream: impl Stream<Item = watcher::Result<WatchEvent<K>>> + Send + 'static,
        events: &mpsc::UnboundedSender<Event>,
        change: impl Fn(ObjectKey, Option<K>) -> Option<Change> + Send + 'static,
    ) where
        K: kube::ResourceExt + Send + 'static,
    {
        let source = Source(name);
        self.pending.insert(source.clone());
        let events = events.clone();
        let told_by = source.clone();
        let task = tokio::spawn(async move {
            tell(stream, &told_by, &events, change, &mut HashSet::new(), |_| false).await;
        });
        self.tasks.push((source, task));
    }
}

/// Tells what a watch sees, until an error means that it is over (then true) or nobody listens (then false). `known` is
/// what was told to be there.
pub(super) async fn tell<K: kube::ResourceExt>(
    stream: impl Stream<Item = watcher::Result<WatchEvent<K>>>,
    told_by: &Source,
    events: &mpsc::UnboundedSender<Event>,
    change: impl Fn(ObjectKey, Option<K>) -> Option<Change>,
    known: &mut HashSet<ObjectKey>,
    is_over: impl Fn(&watcher::Error) -> bool,
) -> bool {
    let mut stream = pin!(stream.backoff(Patience::default()));
    let mut listed: HashSet<ObjectKey> = HashSet::new();
    let mut failing = false;
    while let Some(event) = stream.next().await {
        let mut told = Vec::new();
        match event {
            Ok(WatchEvent::Init) => listed.clear(),
            Ok(WatchEvent::InitApply(object)) => {
                let key = key_of(&object);
                listed.insert(key.clone());
                told.extend(change(key, Some(object)).map(Event::Change));
            }
            Ok(WatchEvent::InitDone) => {
                for gone in known.difference(&listed) {
                    told.extend(change(gone.clone(), None).map(Event::Change));
                }
                *known = std::mem::take(&mut listed);
                told.push(Event::Synced(told_by.clone()));
            }
            Ok(WatchEvent::Apply(object)) => {
                let key = key_of(&object);
                known.insert(key.clone());
                told.extend(change(key, Some(object)).map(Event::Change));
            }
            Ok(WatchEvent::Delete(object)) => {
                let key = key_of(&object);
                known.remove(&key);
                told.extend(change(key, None).map(Event::Change));
            }
            Err(error) if is_over(&error) => {
                tracing::warn!(watch = told_by.0, %error, "a watch is over");
                return true;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(watch = told_by.0, %error, "a watch is interrupted; what it told stays");
                }
                continue;
            }
        }
        if std::mem::replace(&mut failing, false) {
            tracing::info!(watch = told_by.0, "the watch goes on");
        }
        for event in told {
            if events.send(event).is_err() {
                return false;
            }
        }
    }
    false
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in self.tasks.iter().chain(&self.resources) {
            task.abort();
        }
    }
}

fn parse<K: DeserializeOwned>(mut object: DynamicObject) -> Result<K, (Box<DynamicObject>, String)> {
    object.metadata.managed_fields = object.metadata.managed_fields.map(|fields| {
        // Who wrote the spec last is all that is wanted of them.
        let of_spec = |entry: &ManagedFieldsEntry| {
            entry.subresource.is_none()
                && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some())
        };
        let mut newest: Vec<_> = fields.into_iter().filter(of_spec).collect();
        newest.sort_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        newest.drain(..newest.len().saturating_sub(1));
        newest.into_iter().map(|entry| ManagedFieldsEntry { fields_v1: None, ..entry }).collect()
    });
    // The whole object once more, as text.
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let read = serde_json::to_value(&object).and_then(serde_json::from_value);
    read.map_err(|error| (Box::new(object), error.to_string()))
}

fn key_of(object: &impl kube::ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// `None` for part Secrets, which their index stands for.
fn index_of(secret: &Secret) -> Option<KnownIndex> {
    if secret.type_.as_deref() != Some(INDEX_TYPE) {
        return None;
    }
    let data = secret.data.as_ref();
    let index = Index::read(|key| data?.get(key).map(|bytes| bytes.0.as_slice())).ok();
    Some(KnownIndex {
        gateway: secret.metadata.labels.as_ref()?.get(GATEWAY_LABEL)?.clone(),
        version: secret.metadata.resource_version.clone()?,
        index,
    })
}

fn pod_of(pod: &KubePod) -> Pod {
    let status = pod.status.as_ref();
    let ending = pod.metadata.deletion_timestamp.is_some();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .is_some_and(|all| all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
    // One that has ended keeps its object for a while.
    let over =
        status.and_then(|status| status.phase.as_deref()).is_some_and(|phase| matches!(phase, "Failed" | "Succeeded"));
    let address = status.and_then(|status| status.pod_ip.clone());
    Pod { address, ready: ready && !ending && !over, ending: ending || over }
}
