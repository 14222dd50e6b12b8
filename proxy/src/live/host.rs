//! Host names to certificates and stages.

mod certificate;
mod client_ca;
mod table;

use std::borrow::Cow;
use std::sync::Arc;

use bundle::host::CLIENT_CA;
use bundle::route::Refusal;
use bundle::{Digest, HostBundle, StageKey, Stamped};
use rustls::sign::CertifiedKey;

use crate::exchange::ClientCertificate;
use crate::live::{Broken, Stage};
use certificate::{Certificate, Certificates};
use client_ca::ClientCas;
use table::{Map, Table};

pub use client_ca::ClientCa;

/// Every host.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Names>);

#[derive(Debug, Default)]
struct Names {
    exact: Map<Arc<Host>>,
    /// `*.example.com`, by `example.com`.
    wildcard: Map<Arc<Host>>,
    /// `*`
    any: Option<Arc<Host>>,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Digest of the bundle it was parsed from.
    pub digest: Digest,
    certificate: Certificate,
    client_ca: Option<Arc<ClientCa>>,
    table: Table,
    /// Set: answers 500 under every path, with this reason.
    pub refuse: Option<Refusal>,
    broken: Option<Broken>,
}

/// What TLS shows for a host.
pub enum CertificateChoice {
    Pem(Arc<CertifiedKey>),
    /// One of the proxy's own.
    Local,
}

impl Hosts {
    /// Parses the hosts. One whose bundle is the same as before is taken over from `previous`, if the stages it names
    /// are still at their places.
    pub fn parse(
        bundles: &[Stamped<HostBundle>],
        stages: &[Arc<Stage>],
        previous: Option<&Self>,
        broken: &mut Vec<Broken>,
    ) -> Self {
        let mut names = Names::default();
        let mut shared = (Certificates::default(), ClientCas::default());
        for bundle in bundles {
            let known = previous.and_then(|previous| previous.0.named(&bundle.host));
            let host = match known {
                Some(host) if host.digest == bundle.digest => Arc::clone(host),
                _ => Arc::new(Host::parse(bundle, stages, known, &mut shared)),
            };
            broken.extend(host.broken.clone());
            names.insert(&bundle.host, host);
        }
        Self(Arc::new(names))
    }

    /// Every host by its name, wildcards as they are written, and the digest of its bundle.
    pub fn digests(&self) -> impl Iterator<Item = (Box<str>, &Digest)> {
        let Names { exact, wildcard, any } = &*self.0;
        let exact = exact.iter().map(|(name, host)| (name.clone(), &host.digest));
        let wildcard = wildcard.iter().map(|(name, host)| (format!("*.{name}").into_boxed_str(), &host.digest));
        exact.chain(wildcard).chain(any.iter().map(|host| ("*".into(), &host.digest)))
    }

    /// The host that answers for a name: its own, a wildcard's, or the one for names nobody else claims.
    pub fn find(&self, name: &str) -> Option<&Host> {
        let Names { exact, wildcard, any } = &*self.0;
        let name = lower(name);
        let wild = || wildcard.get(name.split_once('.').filter(|(label, _)| !label.is_empty())?.1);
        exact.get(&*name).or_else(wild).or(any.as_ref()).map(|host| &**host)
    }

    /// The host whose TLS settings a client gets.
    fn by_sni(&self, sni: Option<&str>) -> Option<&Host> {
        match sni {
            Some(name) => self.find(name),
            None => self.0.any.as_deref(),
        }
    }

    /// Who must have certified a client that asks for a name by SNI.
    pub fn client_ca(&self, sni: Option<&str>) -> Option<Arc<ClientCa>> {
        self.by_sni(sni)?.client_ca.clone()
    }

    /// The certificate for a name asked for by SNI.
    pub fn certificate(&self, sni: Option<&str>) -> CertificateChoice {
        match self.by_sni(sni).map(|host| &host.certificate) {
            Some(Certificate::Pem { key, .. }) => CertificateChoice::Pem(Arc::clone(key)),
            Some(Certificate::Local | Certificate::Broken) | None => CertificateChoice::Local,
        }
    }

    /// True if a connection made for `sni` has the TLS settings of `host`. Certificates for several names may be
    /// shared by their connections, as HTTP/2 clients do.
    pub fn share_tls(&self, sni: &str, host: &str) -> bool {
        // Clients mostly write the name the same way both times.
        if sni == host || sni.eq_ignore_ascii_case(host) {
            return true;
        }
        let (sni, host) = (self.find(sni), self.find(host));
        let pem = |host: Option<&Host>| match host.map(|host| &host.certificate) {
            Some(Certificate::Pem { key, .. }) => Some(Arc::as_ptr(key)),
            Some(Certificate::Local | Certificate::Broken) | None => None,
        };
        let clients = |host: Option<&Host>| host.and_then(|host| host.client_ca.clone());
        let same_clients = match (clients(sni), clients(host)) {
            (None, None) => true,
            (Some(asked), Some(wanted)) => asked.is(&wanted),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_clients && pem(sni) == pem(host)
    }
}

impl Host {
    fn parse(
        bundle: &Stamped<HostBundle>,
        stages: &[Arc<Stage>],
        known: Option<&Arc<Self>>,
        (certificates, client_cas): &mut (Certificates, ClientCas),
    ) -> Self {
        let mut messages = Vec::new();
        let mut refuse = bundle.refuse.clone();
        let mut client_ca = None;
        if let Some(guard) = bundle.requires.iter().find(|guard| *guard != CLIENT_CA) {
            let message = format!("this proxy does not know the guard `{guard}`");
            refuse.get_or_insert_with(|| Refusal { reason: "UnknownGuard".to_owned(), message: message.clone() });
            messages.push(message);
        } else if bundle.client_ca.is_some() || bundle.requires.contains(CLIENT_CA) {
            let before = known.and_then(|known| known.client_ca.as_ref());
            match client_cas.parse(bundle.client_ca.as_deref().unwrap_or_default(), before) {
                Ok(parsed) => client_ca = Some(parsed),
                Err(message) => {
                    let reason = "InvalidClientCA".to_owned();
                    refuse.get_or_insert_with(|| Refusal { reason, message: message.clone() });
                    messages.push(message);
                }
            }
        }
        let certificate = certificates.parse(&bundle.certificate, known.map(|known| &known.certificate));
        let certificate = certificate.unwrap_or_else(|message| {
            let reason = "InvalidCertificate".to_owned();
            refuse.get_or_insert_with(|| Refusal { reason, message: message.clone() });
            messages.push(message);
            Certificate::Broken
        });
        let table = Table::parse(&bundle.table, stages, &mut messages);
        let broken = (!messages.is_empty()).then(|| Broken {
            stage: table::first(&bundle.table)
                .cloned()
                .unwrap_or_else(|| StageKey { namespace: String::new(), name: String::new() }),
            route: String::new(),
            message: format!("host {}: {}", bundle.host, messages.join("; ")),
        });
        Self { digest: bundle.digest.clone(), certificate, client_ca, table, refuse, broken }
    }

    /// Whether a client is let in that has shown this certificate, or none. Its connection may be older than what the
    /// host asks for now.
    pub fn admits(&self, client: Option<&ClientCertificate>) -> bool {
        match (&self.client_ca, client) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ca), Some(client)) => ca.is(&client.ca) || ca.certifies(&client.chain),
        }
    }

    /// Whether it is a custom host, whose base paths belong to what functions see of a path.
    pub fn is_custom(&self) -> bool {
        self.table.is_custom()
    }

    /// Who answers for a path: the index of the stage, and where the stage's name or the base path ends.
    pub fn stage(&self, path: &str) -> Option<(usize, usize)> {
        self.table.stage(path)
    }
}

impl Names {
    /// The entry of exactly this name.
    fn named(&self, host: &str) -> Option<&Arc<Host>> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix),
            None if host == "*" => self.any.as_ref(),
            None => self.exact.get(host),
        }
    }

    fn insert(&mut self, name: &str, host: Arc<Host>) {
        match name.strip_prefix("*.") {
            Some(suffix) => drop(self.wildcard.insert(lower(suffix).into(), host)),
            None if name == "*" => self.any = Some(host),
            None => drop(self.exact.insert(lower(name).into(), host)),
        }
    }
}

/// A name in lower case, without the dot that may end it; borrowed if it is so already.
fn lower(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

#[cfg(test)]
mod tests;
