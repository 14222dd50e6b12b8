//! What nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bundle::object::{GATEWAY_LABEL, Subject};
use compile::ObjectKey;
use compile::world::{config_maps_of, secrets_of};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::DeleteParams;

use super::Operator;
use crate::collect::Kind;
use crate::deploy::stages_of;
use crate::history;

/// Deployments stay so long after their ApiDefinition and every Stage are gone.
const ORPHANS_STAY: Duration = Duration::from_secs(24 * 3600);
/// Parts of bundles stay so long after their index names others, unless every proxy has moved on before.
const PARTS_STAY: Duration = Duration::from_secs(600);

impl Operator {
    /// Forgets what nothing refers to any more.
    pub(super) fn forget(&mut self) {
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
        if !self.may_write() {
            return;
        }
        if self.certificates.due(Timestamp::now()) {
            self.hosts.invalidate();
            self.everything();
        }
        let world = &self.cluster.world;
        let is_orphan = |api: &&ObjectKey| {
            !world.api_definitions.contains_key(*api)
                && stages_of(api, &world.stages).next().is_none()
                // One that cannot be read may be the one that needs them.
                && !self.cluster.is_unreadable(&api.namespace)
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
        let unnamed: BTreeMap<(String, String), String> = listed
            .into_iter()
            .filter_map(|part| Some((part.metadata.name?, part.metadata.labels?.remove(GATEWAY_LABEL)?)))
            .filter(|(name, _)| !named.contains(name))
            .map(|(name, gateway)| ((namespace.to_owned(), name), gateway))
            .collect();
        self.unnamed.retain(|at, _| at.0 != namespace || unnamed.contains_key(at));
        for (at, gateway) in unnamed {
            // A proxy may be reading it, by an index that was just replaced.
            let since = *self.unnamed.entry(at.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= PARTS_STAY || self.has_moved_on(&gateway) {
                secrets.delete(&at.1, &DeleteParams::default()).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// Whether every proxy of a gateway has loaded what the indexes say. Without any proxy nobody knows.
    fn has_moved_on(&self, gateway: &str) -> bool {
        let mut pods = self.pods.iter().filter(|((name, _), pod)| name == gateway && !pod.ending).peekable();
        let indexes = self.indexes.values().filter(|known| known.gateway == gateway);
        let indexes: Vec<_> = indexes.filter_map(|known| known.index.as_ref()).collect();
        pods.peek().is_some()
            && pods.all(|((_, key), _)| {
                let loaded = self.loaded.get(&(gateway.to_owned(), key.name.clone()));
                loaded.is_some_and(|loaded| {
                    indexes.iter().all(|index| match &index.subject {
                        Subject::Stage(stage) => loaded.stages.get(stage) == Some(&index.digest),
                        Subject::Host(host) => loaded.hosts.get(host) == Some(&index.digest),
                        // They are split long before they would have parts.
                        Subject::Plan(_) | Subject::Keys(_) => true,
                    })
                })
            })
    }
}
