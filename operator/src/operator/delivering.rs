//! What shall be in the cluster, and what is written and removed so that it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bundle::host::Certificate;
use bundle::object::Subject;
use bundle::{Digest, HostBundle, StageKey, Stamped};
use compile::ObjectKey;
use compile::world::api_of;
use futures_util::stream::{self, StreamExt};

use super::Operator;
use super::callers::namespace_of;
use crate::collect::KnownIndex;
use crate::config::GatewayConfig;
use crate::deliver::{Content, DeliverError, ReadBackError, Wanted, read_back, remove};
use crate::format::Choice;
use crate::program::{leads_to, stages_behind};

/// Writes to the API server at a time.
const WRITES: usize = 16;

impl Operator {
    /// What shall be in the cluster of the Stages of these APIs, and of no Stage any more.
    pub(super) fn want_stages(&mut self, dirty: &BTreeSet<ObjectKey>) {
        let stays = |wanted: &Wanted| match &wanted.subject {
            Subject::Stage(key) => self.programs.contains_key(key),
            Subject::Host(_) | Subject::Plan(_) | Subject::Keys(_) => true,
        };
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.retain(|_, wanted| stays(wanted));
        let mut objects = BTreeMap::new();
        for (key, program) in self.programs.iter().filter(|(_, program)| dirty.contains(&program.unit.api)) {
            let Some(stage) = self.cluster.world.stages.get(&ObjectKey::new(&key.namespace, &key.name)) else {
                continue;
            };
            let (Some(object), Some(gateway)) = (self.object(key, stage), self.gateway_of(stage)) else { continue };
            let Some(bundle) = program.bundle().filter(|bundle| bundle.deployment > 0) else { continue };
            objects.insert(key, object.clone());
            // What was asked for counts as done only with what it brought about: while that does not compile, the index
            // goes on saying what it said of what is served.
            let done = program.decision.live == Some(bundle.deployment);
            let before = self.delivered(key, stage).filter(|_| !done);
            let decided = &program.decision;
            let word = decided.handled_deploy.as_ref().map(|word| Digest::of(word.as_bytes()));
            wanted.insert(
                object,
                Wanted {
                    gateway: gateway.name.clone(),
                    subject: Subject::Stage(key.clone()),
                    deployment: Some(bundle.deployment),
                    api: program.served.as_ref().map(|unit| unit.api.name.clone()),
                    pin: if done { decided.pin.clone() } else { before.and_then(|index| index.pin.clone()) },
                    handled_deploy: if done { word } else { before.and_then(|index| index.handled_deploy.clone()) },
                    certificate: None,
                    content: Content::Stage(bundle),
                },
            );
        }
        // A Stage that is another gateway's now may have its bundle in another namespace.
        wanted.retain(|object, wanted| match &wanted.subject {
            Subject::Stage(key) => objects.get(key).is_none_or(|now| now == object),
            Subject::Host(_) | Subject::Plan(_) | Subject::Keys(_) => true,
        });
        self.wanted = wanted;
    }

    /// Hosts with their certificates.
    pub(super) async fn want_hosts(&mut self) -> anyhow::Result<()> {
        let linked = std::mem::take(&mut self.hosts.bundles);
        let mut wanted = Vec::with_capacity(linked.len());
        let mut failed = None;
        // Asked for once, not once per host.
        let mut of_gateways = HashMap::new();
        for ((name, host), bundle) in &linked {
            let Some(gateway) = self.config.gateway(name) else { continue };
            let subject = Subject::Host(host.clone());
            let object = ObjectKey::new(&gateway.bundle_namespace, subject.object_name(name));
            match self.certified(gateway.clone(), &object, bundle, &mut of_gateways).await {
                Ok((content, certificate)) => {
                    let (deployment, api, pin, handled_deploy) = (None, None, None, None);
                    let (gateway, content) = (name.clone(), Content::Host(content));
                    wanted.push((
                        object,
                        Wanted { gateway, subject, deployment, api, pin, handled_deploy, certificate, content },
                    ));
                }
                Err(error) => {
                    tracing::error!(host, %error, "a host has no certificate");
                    failed = Some(error);
                }
            }
        }
        self.hosts.bundles = linked;
        self.wanted.retain(|_, wanted| !matches!(wanted.subject, Subject::Host(_)) || failed.is_some());
        self.wanted.extend(wanted);
        failed.map_or(Ok(()), Err)
    }

    /// A host with a certificate, and the Secret that is from: the host's own; while that is missing what it was last;
    /// else the gateway's, else one of the local CA.
    async fn certified(
        &mut self,
        gateway: GatewayConfig,
        object: &ObjectKey,
        host: &Stamped<HostBundle>,
        of_gateways: &mut HashMap<String, Option<Certificate>>,
    ) -> anyhow::Result<(Stamped<HostBundle>, Option<String>)> {
        let secret = self.hosts.certificates.get(&(gateway.name.clone(), host.host.clone())).cloned();
        let with = |certificate| Stamped::new(HostBundle { certificate, ..HostBundle::clone(host) });
        if let Certificate::Pem { .. } = host.certificate {
            return Ok((host.clone(), secret.map(|secret| secret.to_string())));
        }
        if let Some(secret) = secret
            && let Some((certificate, from)) = self.last_certificate(object, &secret.namespace).await?
        {
            return Ok((with(certificate), Some(from)));
        }
        if !of_gateways.contains_key(&gateway.name) {
            of_gateways.insert(gateway.name.clone(), self.certificates.of_gateway(&gateway).await?);
        }
        let certificate = match of_gateways.get(&gateway.name).cloned().flatten() {
            Some(certificate) => certificate,
            None => self.certificates.for_host(host).await?,
        };
        Ok((with(certificate), None))
    }

    /// The certificate that a host was last given from a Secret of this namespace, and which Secret that was.
    async fn last_certificate(
        &self,
        object: &ObjectKey,
        namespace: &str,
    ) -> anyhow::Result<Option<(Certificate, String)>> {
        let of_namespace = |from: &&String| from.split_once('/').is_some_and(|(of, _)| of == namespace);
        if let Some((Content::Host(host), from)) = self
            .wanted
            .get(object)
            .and_then(|wanted| Some((&wanted.content, wanted.certificate.as_ref().filter(of_namespace)?)))
        {
            return Ok(Some((host.certificate.clone(), from.clone())));
        }
        let index = self.indexes.get(object).and_then(|known| known.index.as_ref());
        let Some(from) = index.and_then(|index| index.certificate.as_ref()).filter(of_namespace) else {
            return Ok(None);
        };
        match read_back::<HostBundle>(&self.client, object).await {
            Ok(Some(host)) => Ok(Some((host.certificate.clone(), from.clone()))),
            Ok(None) => Ok(None),
            Err(ReadBackError::Kube(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%object, %error, "the last certificate of a host cannot be read back");
                Ok(None)
            }
        }
    }

    /// Writes what differs, and removes what nobody wants.
    pub(super) async fn deliver(&mut self) {
        let is_host = |wanted: &Wanted| matches!(wanted.subject, Subject::Host(_));
        // What nobody wants any more is not missed either.
        self.undelivered.retain(|key, _| self.wanted.contains_key(key));
        // Stages first: a host may name one that is new, and leads nowhere if that could not be written.
        let unwritten = self.write(|_, wanted| !is_host(wanted)).await;
        let blind = self.blind();
        let mut held = BTreeSet::new();
        for (key, wanted) in self.wanted.iter().filter(|(_, wanted)| is_host(wanted)) {
            let Content::Host(host) = &wanted.content else { continue };
            let choice = self.format(&wanted.gateway);
            let differs = self.indexes.get(key).is_some_and(|known| !wanted.is_delivered(known, &choice));
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
        let mut writes: Vec<(&ObjectKey, &Wanted, u32)> = Vec::new();
        for (key, wanted) in self.wanted.iter().filter(|(key, wanted)| which(key, wanted)) {
            let choice = self.format(&wanted.gateway);
            if self.indexes.get(key).is_some_and(|known| wanted.is_delivered(known, &choice)) {
                // Also when the answer to its writing was lost, and the watch tells that it was written.
                if let (Some(_), Subject::Stage(stage)) = (self.undelivered.remove(key), &wanted.subject) {
                    self.reports.stage(&ObjectKey::new(&stage.namespace, &stage.name));
                }
                continue;
            }
            match choice {
                Choice::Write { format, .. } => writes.push((key, wanted, format)),
                // Tried again when the proxies say something else.
                Choice::Nothing(why) => drop(self.undelivered.insert(key.clone(), why)),
            }
        }
        let (client, tenure) = (&self.client, &self.tenure);
        let written: Vec<_> = stream::iter(writes)
            .map(|(key, wanted, format)| {
                let known = self.indexes.get(key);
                async move {
                    let outcome = match tenure.holds() {
                        true => wanted.write(client, key, known, format).await,
                        false => Err(DeliverError::Deposed),
                    };
                    (key.clone(), wanted.subject.clone(), outcome)
                }
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
            if !matches!(error, DeliverError::Conflict | DeliverError::Deposed) {
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
            Subject::Host(_) | Subject::Plan(_) | Subject::Keys(_) => None,
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

    pub(super) fn retry(&mut self, subject: &Subject) {
        let api = match subject {
            Subject::Stage(key) => self.programs.get(key).map(|program| program.unit.api.clone()),
            // Any does: hosts are looked at in every pass.
            Subject::Host(_) => self.programs.values().next().map(|program| program.unit.api.clone()),
            Subject::Plan(_) | Subject::Keys(_) => {
                self.callers.retry(namespace_of(subject).unwrap_or_default());
                None
            }
        };
        if let Some(api) = api {
            self.again.later(api);
        }
    }

    /// Removes bundles of Stages and hosts that are gone. What only cannot be compiled or read stays.
    async fn remove_unwanted(&mut self, blind: &BTreeSet<StageKey>) {
        let world = &self.cluster.world;
        // While a Stage's API waits for another try, what it needs is not known: what leads to it stays.
        let waiting = world.stages.iter().filter(|(key, stage)| self.again.waits(&api_of(key, stage)));
        let waiting = waiting.map(|(key, _)| StageKey { namespace: key.namespace.clone(), name: key.name.clone() });
        let unknown: BTreeSet<StageKey> = waiting.chain(blind.iter().cloned()).collect();
        let unwritten = self.unwritten_callers();
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
                    let settled = !self.hosts_due && !unknown.contains(stage);
                    served(&stage.namespace) && (!self.has_stage(stage) || (settled && moved))
                }
                Some(Subject::Host(_)) => !self.hosts_due && !self.wanted.contains_key(key),
                Some(subject @ (Subject::Plan(_) | Subject::Keys(_))) => {
                    let namespace = namespace_of(subject).unwrap_or_default();
                    served(namespace) && !self.wanted.contains_key(key) && !unwritten.contains(namespace)
                }
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
                && (self.is_blind(&key, &unknown).await
                    || !self.settings.namespaces.is_empty() && self.is_foreign(&key).await)
            {
                continue;
            }
            if !self.may_write() {
                return;
            }
            match remove(&self.client, &key, &known.version).await {
                Ok(()) => self.vitals.writes.with_label_values(&["removal"]).inc(),
                Err(error) => {
                    tracing::warn!(%key, %error, "a bundle that nobody needs cannot be removed");
                    // It may let in whom it should no longer.
                    if let Some(namespace) = known.index.as_ref().and_then(|index| namespace_of(&index.subject)) {
                        self.callers.retry(namespace);
                    }
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
