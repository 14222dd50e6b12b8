//! What is in the cluster: watches, and the bodies of what is referenced.
//!
//! Every watch runs in a task of its own and tells the operator's loop. An object that does not parse is told as such;
//! what it last was stays. ConfigMaps and Secrets are watched by their metadata; bodies are fetched when something
//! refers to them, so that memory follows what is used. Only Secrets of API keys come whole, and nothing but the
//! digests of the keys is kept of them.

mod grants;
mod patience;
mod unreadable;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use compile::world::ApiKeys;
use compile::{ObjectKey, World};
use crds::reference_grant::ReferenceGrant;
use crds::{ApiDefinition, Stage, UsagePlan};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

pub use unreadable::Unreadable;
pub use watch::{Change, Event, KnownIndex, Pod, Source, Watches};

/// The cluster as the operator knows it.
#[derive(Default)]
pub struct Cluster {
    /// What is compiled. Of ConfigMaps and Secrets only what something refers to.
    pub world: World,
    /// Resource versions of all ConfigMaps and Secrets.
    versions: BTreeMap<(Kind, ObjectKey), String>,
    /// Resource versions of the bodies in `world`.
    fetched: BTreeMap<(Kind, ObjectKey), String>,
    /// Objects that do not parse, by kind.
    pub unreadable: BTreeMap<(&'static str, ObjectKey), Unreadable>,
}

/// What is watched by its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Cluster {
    /// Whether anything in a namespace cannot be read.
    pub fn is_unreadable(&self, namespace: &str) -> bool {
        self.unreadable.keys().any(|(_, key)| key.namespace == namespace)
    }

    /// An ApiDefinition is there, or is not.
    pub fn api_definition(&mut self, key: &ObjectKey, object: Option<ApiDefinition>) {
        set(&mut self.world.api_definitions, key, object);
        self.unreadable.remove(&("ApiDefinition", key.clone()));
    }

    /// Forgets the document of an ApiDefinition, which is large and known elsewhere.
    pub fn forget_document(&mut self, key: &ObjectKey) {
        if let Some(object) = self.world.api_definitions.get_mut(key).filter(|object| object.spec.openapi.is_some()) {
            Arc::make_mut(object).spec.openapi = None;
        }
    }

    /// A Stage is there, or is not. The one before.
    pub fn stage(&mut self, key: &ObjectKey, object: Option<Stage>) -> Option<Arc<Stage>> {
        self.unreadable.remove(&("Stage", key.clone()));
        set(&mut self.world.stages, key, object)
    }

    /// A UsagePlan is there, or is not.
    pub fn usage_plan(&mut self, key: &ObjectKey, object: Option<UsagePlan>) {
        set(&mut self.world.usage_plans, key, object);
        self.unreadable.remove(&("UsagePlan", key.clone()));
    }

    /// A Secret of API keys is there, or is not. True when it is another than before.
    pub fn api_keys(&mut self, key: &ObjectKey, keys: Option<ApiKeys>) -> bool {
        let known = self.world.api_keys.get(key).map(|keys| &**keys);
        if known == keys.as_ref() {
            return false;
        }
        set(&mut self.world.api_keys, key, keys);
        true
    }

    /// A ReferenceGrant is there, or is not. The one before, and true if it says something else.
    pub fn reference_grant(
        &mut self,
        key: &ObjectKey,
        object: Option<ReferenceGrant>,
    ) -> (Option<Arc<ReferenceGrant>>, bool) {
        let before = set(&mut self.world.reference_grants, key, object);
        let changed = before.as_ref() != self.world.reference_grants.get(key);
        (before, changed)
    }

    /// A ConfigMap or Secret has this resource version, or is gone. True when its body was in use.
    pub fn version(&mut self, kind: Kind, key: &ObjectKey, version: Option<String>) -> bool {
        let at = (kind, key.clone());
        match version {
            Some(version) => drop(self.versions.insert(at.clone(), version)),
            None => drop(self.versions.remove(&at)),
        }
        let known = self.fetched.get(&at);
        known.is_some() && known != self.versions.get(&at)
    }

    /// Brings the bodies of these up to date.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn fetch(&mut self, client: &Client, kind: Kind, keys: &[ObjectKey]) -> Result<(), kube::Error> {
        for key in keys {
            let at = (kind, key.clone());
            let (wanted, known) = (self.versions.get(&at), self.fetched.get(&at));
            // What nobody has told of yet may be there all the same: a Stage can be faster than its Secret's event.
            if known.is_some() && wanted == known {
                continue;
            }
            let version = match kind {
                Kind::ConfigMap => {
                    let object =
                        Api::<ConfigMap>::namespaced(client.clone(), &key.namespace).get_opt(&key.name).await?;
                    let version = object.as_ref().and_then(|object| object.metadata.resource_version.clone());
                    set(&mut self.world.config_maps, key, object);
                    version
                }
                Kind::Secret => {
                    let object = Api::<Secret>::namespaced(client.clone(), &key.namespace).get_opt(&key.name).await?;
                    let version = object.as_ref().and_then(|object| object.metadata.resource_version.clone());
                    set(&mut self.world.secrets, key, object);
                    version
                }
            };
            // An empty version stands for "was not there": then its appearance is a change.
            self.fetched.insert(at, version.unwrap_or_default());
        }
        Ok(())
    }

    /// Forgets bodies that nothing refers to.
    pub fn retain(&mut self, used: impl Fn(Kind, &ObjectKey) -> bool) {
        self.fetched.retain(|(kind, key), _| used(*kind, key));
        self.world.config_maps.retain(|key, _| used(Kind::ConfigMap, key));
        self.world.secrets.retain(|key, _| used(Kind::Secret, key));
    }
}

fn set<T>(map: &mut BTreeMap<ObjectKey, Arc<T>>, key: &ObjectKey, object: Option<T>) -> Option<Arc<T>> {
    match object {
        Some(object) => map.insert(key.clone(), Arc::new(object)),
        None => map.remove(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_use_is_a_change() {
        let mut cluster = Cluster::default();
        let key = ObjectKey::new("shop", "tls");
        assert!(!cluster.version(Kind::Secret, &key, Some("1".to_owned())), "nobody has asked for it");
        cluster.fetched.insert((Kind::Secret, key.clone()), "1".to_owned());
        assert!(!cluster.version(Kind::Secret, &key, Some("1".to_owned())), "the same again");
        assert!(cluster.version(Kind::Secret, &key, Some("2".to_owned())));
        assert!(cluster.version(Kind::Secret, &key, None), "gone");
        // What was looked for and was not there appears.
        cluster.fetched.insert((Kind::Secret, key.clone()), String::new());
        assert!(cluster.version(Kind::Secret, &key, Some("3".to_owned())));
        cluster.retain(|_, _| false);
        assert!(!cluster.version(Kind::Secret, &key, Some("4".to_owned())));
    }
}
