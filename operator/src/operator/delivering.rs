//! What shall be in the cluster, and what is written and removed so that it is.

use std::collections::BTreeSet;

use bundle::host::Certificate;
use bundle::object::Subject;
use bundle::{Digest, HostBundle, StageKey, Stamped};
use compile::ObjectKey;
use futures_util::stream::{self, StreamExt};

use super::Operator;
use crate::collect::KnownIndex;
use crate::deliver::{Content, DeliverError, Wanted, read_back, remove};
use crate::program::{Program, closed, leads_to, stage_object, stages_behind};

/// Writes to the API server at a time.
const WRITES: usize = 16;

impl Operator {
    /// What shall be in the cluster of the Stages of these APIs, and of no Stage any more.
    pub(super) fn want_stages(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let stays = |wanted: &Wanted| match &wanted.subject {
            Subject::Stage(key) => self.programs.contains_key(key),
            Subject::Host(_) => true,
        };
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|_, wanted| stays(wanted));
        for (key, program) in self.programs.iter().filter(|(_, program)| dirty.contains(&program.unit.api)) {
            let Some(stage) = self.cluster.world.stages.get(&ObjectKey::new(&key.namespace, &key.name)) else {
                continue;
            };
            let (Some(object), Some(gateway)) = (self.object(key, stage), self.gateway_of(stage)) else { continue };
            let Some(bundle) = program.bundle().filter(|bundle| bundle.deployment > 0) else { continue };
            wanted.insert(
                object,
                Wanted {
                    gateway: gateway.name.clone(),
                    subject: Subject::Stage(key.clone()),
                    deployment: Some(bundle.deployment),
                    pin: program.decision.pin.clone(),
                    content: Content::Stage(bundle.clone()),
                },
            );
        }
        self.wanted = wanted;
    }

    /// Hosts with their certificates.
    pub(super) async fn want_hosts(&mut self) -> anyhow::Result<()> {
        let linked = std::mem::take(&mut self.hosts.bundles);
        let mut wanted = Vec::with_capacity(linked.len());
        let mut failed = None;
        for ((name, host), bundle) in &linked {
            let Some(gateway) = self.config.gateway(name) else { continue };
            let subject = Subject::Host(host.clone());
            let object = ObjectKey::new(&gateway.bundle_namespace, subject.object_name(name));
            let content = match &bundle.certificate {
                Certificate::Pem { .. } => bundle.clone(),
                Certificate::Local => match self.certificates.for_host(gateway, bundle).await {
                    Ok(certificate) => Stamped::new(HostBundle { certificate, ..HostBundle::clone(bundle) }),
                    Err(error) => {
                        tracing::error!(host, %error, "a host has no certificate");
                        failed = Some(error);
                        continue;
                    }
                },
            };
            let content = Content::Host(content);
            wanted.push((object, Wanted { gateway: name.clone(), subject, deployment: None, pin: None, content }));
        }
        self.hosts.bundles = linked;
        self.wanted.retain(|_, wanted| matches!(wanted.subject, Subject::Stage(_)) || failed.is_some());
        self.wanted.extend(wanted);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Writes what differs, and removes what nobody wants.
    pub(super) async fn deliver(&mut self) {
        let is_host = |wanted: &Wanted| matches!(wanted.subject, Subject::Host(_));
        // Stages first: a host may name one that is new, and leads nowhere if that could not be written.
        let unwritten = self.write(|_, wanted| !is_host(wanted)).await;
        let blind = self.blind();
        let mut held = BTreeSet::new();
        for (key, wanted) in self.wanted.iter().filter(|(_, wanted)| is_host(wanted)) {
            let Content::Host(host) = &wanted.content else { continue };
            let differs = self.indexes.get(key).is_some_and(|known| !wanted.is_delivered(known));
            if unwritten.iter().any(|stage| leads_to(host, stage)) || (differs && self.is_blind(key, &blind).await) {
                held.insert(key.clone());
            }
        }
        let hosts = self.wanted.keys().filter(|key| !held.contains(*key)).cloned().collect::<BTreeSet<_>>();
        self.write(|key, wanted| is_host(wanted) && hosts.contains(key)).await;
        self.deliver_beside().await;
        self.remove_unwanted(&blind).await;
        for (key, program) in &self.programs {
            let Some(stage) = self.cluster.world.stages.get(&ObjectKey::new(&key.namespace, &key.name)) else {
                continue;
            };
            let live = self.delivered_number(key, stage);
            let handled = program.decision.handled_deploy.as_ref();
            // A word is acted upon when what it asked for is delivered.
            if let Some(handled) = handled.filter(|_| live.is_some() && live == program.decision.live) {
                self.handled.insert(key.clone(), handled.clone());
            }
        }
    }

    /// Writes those that differ; Stages that could not be.
    async fn write(&mut self, which: impl Fn(&ObjectKey, &Wanted) -> bool) -> BTreeSet<StageKey> {
        let differs = |(key, wanted): &(&ObjectKey, &Wanted)| {
            which(key, wanted) && self.indexes.get(*key).is_none_or(|known| !wanted.is_delivered(known))
        };
        let writes: Vec<(&ObjectKey, &Wanted)> = self.wanted.iter().filter(differs).collect();
        let client = &self.client;
        let written: Vec<_> = stream::iter(writes)
            .map(|(key, wanted)| {
                let known = self.indexes.get(key);
                async move { (key.clone(), wanted.subject.clone(), wanted.write(client, key, known).await) }
            })
            .buffered(WRITES)
            .collect()
            .await;
        let mut failed = BTreeSet::new();
        for (key, subject, outcome) in written {
            self.vitals.writes.with_label_values(&[subject.kind()]).inc();
            let error = match outcome {
                Ok(known) => {
                    self.undelivered.remove(&key);
                    self.indexes.insert(key.clone(), known);
                    None
                }
                Err(error) => Some(error),
            };
            if let Subject::Stage(stage) = &subject {
                self.reports.stage(&ObjectKey::new(&stage.namespace, &stage.name));
            }
            let Some(error) = error else { continue };
            self.retry(&subject);
            if let Subject::Stage(stage) = &subject {
                failed.insert(stage.clone());
            }
            // After a conflict the watch tells what it is now, and the next pass goes by that.
            if !matches!(error, DeliverError::Conflict) {
                tracing::warn!(%subject, %error, "a bundle cannot be written");
                self.vitals.errors.with_label_values(&["deliver"]).inc();
                self.undelivered.insert(key, error.to_string());
            }
        }
        failed
    }

    /// Stages that are served and about whose hosts nothing is known: not compiled since the start, or not to be.
    fn blind(&self) -> BTreeSet<StageKey> {
        let stage = |known: &KnownIndex| match &known.index.as_ref()?.subject {
            Subject::Stage(stage) => Some(stage.clone()),
            Subject::Host(_) => None,
        };
        let known = self.indexes.values().filter_map(stage).filter(|stage| self.has_stage(stage));
        known.filter(|stage| self.programs.get(stage).is_none_or(|program| program.read_back)).collect()
    }

    /// Whether a delivered host leads to one of those; then it stays as it is.
    async fn is_blind(&self, key: &ObjectKey, blind: &BTreeSet<StageKey>) -> bool {
        if blind.is_empty() {
            return false;
        }
        match read_back::<HostBundle>(&self.client, key).await {
            Ok(Some(host)) => blind.iter().any(|stage| leads_to(&host, stage)),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%key, %error, "a host stays as it is");
                true
            }
        }
    }

    fn retry(&mut self, subject: &Subject) {
        let api = match subject {
            Subject::Stage(key) => self.programs.get(key).map(|program| program.unit.api.clone()),
            // Any does: hosts are looked at in every pass.
            Subject::Host(_) => self.programs.values().next().map(|program| program.unit.api.clone()),
        };
        if let Some(api) = api {
            self.again.later(api);
        }
    }

    /// Bundles of sidecars, beside their Stages.
    async fn deliver_beside(&mut self) {
        for gateway in self.config.gateways.clone() {
            for sidecar in &gateway.sidecars {
                let key = StageKey { namespace: sidecar.namespace.clone(), name: sidecar.stage.clone() };
                let object = ObjectKey::new(&gateway.bundle_namespace, stage_object(&key, &gateway));
                let Some(wanted) = self.wanted.get(&object) else { continue };
                let claims = self.programs.get(&key).into_iter().flat_map(Program::closed_to_sidecars);
                let closed: Vec<_> = claims.map(closed).collect();
                let digest = Digest::of_value(&(wanted.content.digest(), &closed));
                if self.beside.get(&key) == Some(&digest) {
                    continue;
                }
                let stage = ObjectKey::new(&key.namespace, &key.name);
                match wanted.write_beside(&self.client, &stage, &closed).await {
                    Ok(()) => {
                        self.undelivered.remove(&object);
                        self.beside.insert(key, digest);
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
    }

    /// Removes bundles of Stages and hosts that are gone. What only cannot be compiled or read stays.
    async fn remove_unwanted(&mut self, blind: &BTreeSet<StageKey>) {
        // While something waits for another try, what it needs is not known.
        let settled = self.again.is_empty() && !self.hosts_due;
        let served = |namespace: &str| {
            self.settings.namespaces.is_empty() || self.settings.namespaces.iter().any(|one| one == namespace)
        };
        let unwanted = |key: &ObjectKey, known: &KnownIndex| {
            // Another operator's, or of a gateway that is configured no longer, is not ours to remove.
            if self.config.gateway(&known.gateway).is_none() {
                return false;
            }
            match known.index.as_ref().map(|index| &index.subject) {
                Some(Subject::Stage(stage)) => {
                    let moved = !self.wanted.contains_key(key)
                        && self.programs.get(stage).is_some_and(|program| program.bundle().is_some());
                    served(&stage.namespace) && (!self.has_stage(stage) || (settled && moved))
                }
                Some(Subject::Host(_)) => settled && !self.wanted.contains_key(key),
                // Somebody newer wrote it.
                None => false,
            }
        };
        let candidates = self.indexes.iter().filter(|(key, known)| unwanted(key, known));
        let candidates: Vec<(ObjectKey, KnownIndex)> =
            candidates.map(|(key, known)| (key.clone(), known.clone())).collect();
        for (key, known) in candidates {
            let of_host = known.index.as_ref().is_some_and(|index| matches!(index.subject, Subject::Host(_)));
            if of_host
                && (self.is_blind(&key, blind).await
                    || !self.settings.namespaces.is_empty() && self.is_foreign(&key).await)
            {
                continue;
            }
            match remove(&self.client, &key, &known).await {
                Ok(()) => self.vitals.writes.with_label_values(&["removal"]).inc(),
                Err(error) => {
                    tracing::warn!(%key, %error, "a bundle that nobody needs cannot be removed");
                    continue;
                }
            }
            self.indexes.remove(&key);
        }
    }

    /// Whether a delivered host leads to a Stage of a namespace that this operator does not serve.
    async fn is_foreign(&self, key: &ObjectKey) -> bool {
        let ours = |stage: &StageKey| self.settings.namespaces.contains(&stage.namespace);
        match read_back::<HostBundle>(&self.client, key).await {
            Ok(Some(host)) => !stages_behind(&host).all(ours),
            Ok(None) => false,
            Err(_) => true,
        }
    }
}
