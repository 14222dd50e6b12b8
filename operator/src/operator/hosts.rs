//! Hosts: what crosses Stages. Linked again only when something that decides about them changed.

use std::collections::{BTreeMap, BTreeSet};

use bundle::host::Certificate;
use bundle::object::Subject;
use bundle::{HostBundle, Stamped};
use compile::{Linked, ObjectKey, link};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::Operator;
use crate::certificates::{self, LocalCa, leaf_name};
use crate::config::Gateway;
use crate::deliver::{self, DeliverError, Write};
use crate::state::{Hosts, Subjected};

/// Requests to the API server at the same time.
const PARALLEL: usize = 16;

impl Operator {
    pub(super) async fn link(&mut self) {
        for gateway in self.config.gateways.clone() {
            let units: Vec<_> = self.state.served.values().filter_map(|served| served.good.clone()).collect();
            let Linked { set, findings } = link(units.iter().map(|unit| &**unit), &gateway.compile());
            let default = self.default_certificate(&gateway).await;
            let mut bundles = BTreeMap::new();
            for host in set.hosts {
                let name = host.host.clone();
                if let Some(host) = self.certified(&gateway, host, default.as_ref()).await {
                    bundles.insert(name, host);
                }
            }
            let old = self.state.hosts.insert(gateway.name.clone(), Hosts { bundles, findings: findings.clone() });
            let old = old.map(|old| old.findings).unwrap_or_default();
            let changed: BTreeSet<_> = old
                .iter()
                .chain(&findings)
                .filter(|finding| old.contains(finding) != findings.contains(finding))
                .collect();
            let stages = changed.into_iter().filter(|finding| finding.object.kind == "Stage");
            let stages = stages.map(|finding| ObjectKey::new(&*finding.object.namespace, &*finding.object.name));
            self.state.unreported.extend(stages.map(Subjected::Stage));
        }
        let names: BTreeSet<&str> = self.config.gateways.iter().map(|gateway| gateway.name.as_str()).collect();
        self.state.hosts.retain(|name, _| names.contains(name.as_str()));
    }

    /// The host with a certificate; `None` when there is none to be had now, and there was none before.
    async fn certified(
        &mut self,
        gateway: &Gateway,
        host: Stamped<HostBundle>,
        default: Option<&Certificate>,
    ) -> Option<Stamped<HostBundle>> {
        if host.certificate != Certificate::Local {
            return Some(host);
        }
        let certificate = match default {
            Some(certificate) => certificate.clone(),
            None => match self.leaf(&host).await {
                Ok(certificate) => certificate,
                Err(error) => {
                    tracing::warn!(host = host.host, %error, "there is no certificate for a host; it is tried again");
                    self.metrics.failures.inc();
                    self.later([], true);
                    let known = self.state.hosts.get(&gateway.name).and_then(|hosts| hosts.bundles.get(&host.host));
                    known?.certificate.clone()
                }
            },
        };
        Some(Stamped::new(HostBundle { certificate, ..(*host.content).clone() }))
    }

    async fn leaf(&mut self, host: &HostBundle) -> Result<Certificate, certificates::CertificateError> {
        if self.ca.is_none() {
            self.ca = Some(LocalCa::open(&self.client, &self.settings.namespace).await?);
        }
        match &mut self.ca {
            Some(ca) => ca.leaf(&leaf_name(host)).await,
            None => Err(certificates::CertificateError::Ruined),
        }
    }

    /// The certificate of the gateway, fetched when its Secret changed.
    async fn default_certificate(&mut self, gateway: &Gateway) -> Option<Certificate> {
        let tls = gateway.default_tls.as_ref()?;
        let key = ObjectKey::new(tls.namespace.clone(), tls.secret_name.clone());
        let version = self.state.secrets.get(&key).cloned().unwrap_or_default();
        if let Some((known, certificate)) = self.default_tls.get(&key)
            && *known == version
        {
            return Some(certificate.clone());
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        match secrets.get_opt(&key.name).await {
            Ok(secret) => match secret.as_ref().and_then(certificates::pem) {
                Some(certificate) => {
                    self.default_tls.insert(key, (version, certificate.clone()));
                    return Some(certificate);
                }
                None => {
                    tracing::warn!(gateway = gateway.name, secret = %key, "`defaultTls` names no certificate and key");
                }
            },
            Err(error) => {
                tracing::warn!(gateway = gateway.name, secret = %key, %error, "`defaultTls` cannot be read");
                self.later([], true);
            }
        }
        // The one before goes on being shown.
        self.default_tls.get(&key).map(|(_, certificate)| certificate.clone())
    }

    /// Writes the hosts that are others than what is delivered.
    pub(super) async fn deliver_hosts(&mut self) {
        let mut writes = Vec::new();
        for gateway in &self.config.gateways {
            let Some(hosts) = self.state.hosts.get(&gateway.name) else { continue };
            for (name, host) in &hosts.bundles {
                let subject = Subject::Host(name.clone());
                let key = ObjectKey::new(gateway.bundle_namespace.clone(), subject.object_name(&gateway.name));
                let held = self.state.held.get(&key);
                if held.and_then(|held| held.index.as_ref()).is_some_and(|index| index.digest == host.digest) {
                    continue;
                }
                match deliver::pack(host, subject, None, None) {
                    Ok((index, payload)) => {
                        let (gateway, replaces) = (gateway.name.clone(), held.map(|held| held.version));
                        writes.push(Write { key, gateway, index, replaces, payload });
                    }
                    Err(error) => tracing::error!(host = name, %error, "a host cannot be written"),
                }
            }
        }
        let client = self.client.clone();
        let mut results = std::pin::pin!(
            futures_util::stream::iter(writes)
                .map(|write| {
                    let client = client.clone();
                    async move { (write.key.clone(), deliver::write(&client, write).await) }
                })
                .buffer_unordered(PARALLEL)
        );
        while let Some((at, result)) = results.next().await {
            match result {
                Ok((at, held)) => {
                    self.metrics.delivered.inc();
                    self.hold(at, held);
                }
                Err(DeliverError::Conflict) => {
                    match deliver::look(&self.client, &at).await {
                        Ok(Some(held)) => self.hold(at, held),
                        Ok(None) => drop(self.state.held.remove(&at)),
                        Err(error) => tracing::warn!(%at, %error, "a host's bundle cannot be read"),
                    }
                    self.later([], true);
                }
                Err(error) => {
                    tracing::warn!(%at, %error, "a host cannot be written; it is tried again");
                    self.metrics.failures.inc();
                    self.later([], true);
                }
            }
        }
    }
}
