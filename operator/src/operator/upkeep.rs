//! What is done now and then: things that nobody needs any more go.

use std::collections::BTreeSet;
use std::time::Duration;

use bundle::object::{Index, Subject};
use compile::ObjectKey;
use compile::world::{api_of, config_maps_of, secrets_of};
use tokio::time::Instant;

use super::Operator;
use crate::state::Body;
use crate::{deliver, deploy};

/// Parts stay for proxies that have not read the newer index yet.
const PARTS: Duration = Duration::from_secs(600);
/// Deployments stay for an API that was deleted by mistake.
const ORPHANS: Duration = Duration::from_secs(24 * 3600);

impl Operator {
    pub(super) async fn keep_up(&mut self) {
        self.sweep_parts().await;
        self.sweep_orphans().await;
        self.forget_bodies();
        self.state.relink |= self.ca.as_ref().is_some_and(|ca| ca.is_due());
    }

    /// Removes parts that no index has named for ten minutes.
    async fn sweep_parts(&mut self) {
        let named: BTreeSet<ObjectKey> = self
            .state
            .held
            .iter()
            .filter_map(|(key, held)| Some((key, held.index.as_ref()?)))
            .flat_map(|(key, index)| index.parts.iter().map(|part| ObjectKey::new(key.namespace.clone(), part.clone())))
            .collect();
        let now = Instant::now();
        self.unreferenced.retain(|key, _| !named.contains(key) && self.state.held.contains_key(key));
        let mut due = Vec::new();
        for (key, held) in &self.state.held {
            let ours = self.gateway(&held.gateway).is_some();
            if ours && key.name.starts_with("sg-part-") && !named.contains(key) {
                match self.unreferenced.get(key) {
                    Some(since) if now - *since >= PARTS => due.push((key.clone(), held.version)),
                    Some(_) => {}
                    None => drop(self.unreferenced.insert(key.clone(), now)),
                }
            }
        }
        for (key, version) in due {
            if let Err(error) = deliver::remove(&self.client, &key, version).await {
                tracing::warn!(%key, %error, "a part of an older bundle cannot be removed");
            }
        }
    }

    /// Removes the deployments of APIs that have been gone for a day, and with them every Stage that named them.
    async fn sweep_orphans(&mut self) {
        let used: BTreeSet<ObjectKey> = self.state.world.stages.iter().map(|(key, stage)| api_of(key, stage)).collect();
        let now = Instant::now();
        let mut due = Vec::new();
        for (api, numbers) in &self.state.deployments {
            if self.state.apis.contains_key(api) || used.contains(api) || numbers.is_empty() {
                self.orphans.remove(api);
            } else if now - *self.orphans.entry(api.clone()).or_insert(now) >= ORPHANS {
                due.extend(numbers.iter().map(|(number, known)| (api.clone(), *number, known.parts)));
            }
        }
        for (api, number, parts) in due {
            deploy::remove(self.client.clone(), api, number, parts).await;
        }
    }

    /// Forgets bodies that nobody refers to.
    fn forget_bodies(&mut self) {
        let mut used: BTreeSet<(Body, ObjectKey)> = BTreeSet::new();
        for (key, api) in &self.state.apis {
            let names = config_maps_of(&api.spec);
            used.extend(names.map(|name| (Body::ConfigMap, ObjectKey::new(key.namespace.clone(), name))));
        }
        for (key, stage) in &self.state.world.stages {
            let names = secrets_of(&stage.spec);
            used.extend(names.map(|name| (Body::Secret, ObjectKey::new(key.namespace.clone(), name))));
        }
        self.state.bodies.retain(|body, _| used.contains(body));
        self.state.world.config_maps.retain(|key, _| used.contains(&(Body::ConfigMap, key.clone())));
        self.state.world.secrets.retain(|key, _| used.contains(&(Body::Secret, key.clone())));
    }

    /// Removes bundles of Stages that are gone or served elsewhere, and of hosts that nobody claims.
    pub(super) async fn sweep_bundles(&mut self) {
        let mut due = Vec::new();
        for (key, held) in &self.state.held {
            let (Some(gateway), Some(index)) = (self.gateway(&held.gateway), &held.index) else { continue };
            let Index { subject, .. } = index;
            let needed = match subject {
                Subject::Stage(stage) => {
                    let namespaces = &self.settings.namespaces;
                    let ours = namespaces.is_empty() || namespaces.contains(&stage.namespace);
                    let there = self.state.world.stages.contains_key(&ObjectKey::new(&*stage.namespace, &*stage.name));
                    let good = self.state.served.get(stage).and_then(|served| served.good.as_ref());
                    let here = good.is_none_or(|unit| {
                        unit.gateway == gateway.name
                            || self.gateway(&unit.gateway).is_some_and(|other| other.bundle_namespace == key.namespace)
                    });
                    !ours || (there && here)
                }
                Subject::Host(host) => {
                    self.state.hosts.get(&gateway.name).is_none_or(|hosts| hosts.bundles.contains_key(host))
                }
            };
            if !needed {
                due.push((key.clone(), held.version, subject.clone()));
            }
        }
        for (key, version, subject) in due {
            match deliver::remove(&self.client, &key, version).await {
                Ok(()) => tracing::info!(%subject, "a bundle that nobody needs was removed"),
                Err(error) => {
                    tracing::warn!(%subject, %error, "a bundle that nobody needs cannot be removed");
                    self.later([], true);
                }
            }
        }
    }
}
