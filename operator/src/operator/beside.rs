//! Bundles beside their Stages, for sidecars: Secrets that are written again if somebody else alters them, and removed
//! with their Stage or their entry in the configuration.

use std::collections::{BTreeMap, HashMap};

use bundle::object::Subject;
use bundle::{Digest, StageKey, WRITTEN};
use compile::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Operator;
use crate::deliver::{BESIDE, SIDECAR_LABEL, remove};
use crate::format::unseen;
use crate::program::{Program, closed, stage_object};

/// Secrets for sidecars.
#[derive(Default)]
pub(super) struct Beside {
    /// What was written of each Stage, and the Secret's resource version.
    written: HashMap<StageKey, (Digest, String)>,
    /// Those that are there: their gateway and resource version.
    there: BTreeMap<ObjectKey, (String, String)>,
}

impl Beside {
    /// What was written is to be written again.
    pub(super) fn forget(&mut self) {
        self.written.clear();
    }

    /// A Secret is there, or is gone. True if it is one that this operator wrote otherwise.
    pub(super) fn note(&mut self, key: &ObjectKey, metadata: Option<&ObjectMeta>) -> bool {
        let Some(stage) = stage_of(key) else { return false };
        let version = metadata.and_then(|metadata| metadata.resource_version.as_ref());
        let gateway = metadata.and_then(|metadata| metadata.labels.as_ref()?.get(SIDECAR_LABEL));
        match gateway.zip(version) {
            Some((gateway, version)) => drop(self.there.insert(key.clone(), (gateway.clone(), version.clone()))),
            None => drop(self.there.remove(key)),
        }
        let altered = self.written.get(&stage).is_some_and(|(_, written)| Some(written) != version);
        if altered {
            self.written.remove(&stage);
        }
        altered
    }
}

/// The Stage whose Secret has this name.
fn stage_of(key: &ObjectKey) -> Option<StageKey> {
    let name = key.name.strip_suffix(BESIDE)?.to_owned();
    Some(StageKey { namespace: key.namespace.clone(), name })
}

impl Operator {
    /// Writes those that differ, and removes those that nobody wants.
    pub(super) async fn deliver_beside(&mut self) {
        for gateway in self.config.gateways.clone() {
            for sidecar in &gateway.sidecars {
                let key = StageKey { namespace: sidecar.namespace.clone(), name: sidecar.stage.clone() };
                let object = ObjectKey::new(&gateway.bundle_namespace, stage_object(&key, &gateway));
                let Some(wanted) = self.wanted.get(&object).filter(|wanted| wanted.gateway == gateway.name) else {
                    continue;
                };
                let callers = self.callers_of(&key, &gateway.name);
                let digests = std::iter::once(wanted).chain(callers.iter().copied());
                let digests: Vec<_> = digests.map(|wanted| wanted.content.digest()).collect();
                let claims = self.programs.get(&key).into_iter().flat_map(Program::closed_to_sidecars);
                let closed: Vec<_> = claims.map(closed).collect();
                let digest = Digest::of_value(&(digests, &closed));
                if self.beside.written.get(&key).is_some_and(|(written, _)| *written == digest) {
                    continue;
                }
                if !self.may_write() {
                    return;
                }
                let stage = ObjectKey::new(&key.namespace, &key.name);
                match wanted.write_beside(&self.client, &stage, &callers, &closed, unseen(WRITTEN)).await {
                    Ok(version) => {
                        self.vitals.writes.with_label_values(&["sidecar"]).inc();
                        self.undelivered.remove(&object);
                        self.beside.written.insert(key, (digest, version));
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
        self.remove_beside().await;
    }

    async fn remove_beside(&mut self) {
        let unwanted = |key: &ObjectKey, gateway: &str| {
            // Another operator's, or of a gateway that is configured no longer, is not ours to remove.
            let Some((gateway, stage)) = self.config.gateway(gateway).zip(stage_of(key)) else { return false };
            let listed = gateway
                .sidecars
                .iter()
                .any(|sidecar| sidecar.namespace == stage.namespace && sidecar.stage == stage.name);
            !(listed && self.has_stage(&stage))
        };
        let there = self.beside.there.iter().filter(|(key, (gateway, _))| unwanted(key, gateway));
        let gone: Vec<(ObjectKey, String)> = there.map(|(key, (_, version))| (key.clone(), version.clone())).collect();
        for (key, version) in gone {
            if !self.may_write() {
                return;
            }
            match remove(&self.client, &key, &version).await {
                Ok(()) => self.vitals.writes.with_label_values(&["removal"]).inc(),
                // Told once: the right to do so may have gone with the entry. The next event of it tries again.
                Err(error) => tracing::warn!(%key, %error, "a sidecar's Secret that nobody needs cannot be removed"),
            }
            self.beside.there.remove(&key);
            if let Some(stage) = stage_of(&key) {
                self.beside.written.remove(&stage);
            }
        }
    }
}
