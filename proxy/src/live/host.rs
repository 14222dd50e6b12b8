//! Host names to certificates and stages.

mod certificate;
mod table;

use std::borrow::Cow;
use std::sync::Arc;

use bundle::route::Refusal;
use bundle::{Digest, HostBundle, StageKey, Stamped};
use rustls::sign::CertifiedKey;

use crate::live::{Broken, Stage};
use certificate::{Certificate, Certificates};
use table::{Map, Table};

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
        let mut certificates = Certificates::default();
        for bundle in bundles {
            let known = previous.and_then(|previous| previous.0.named(&bundle.host));
            let host = match known {
                Some(host) if host.digest == bundle.digest => Arc::clone(host),
                _ => Arc::new(Host::parse(bundle, stages, known, &mut certificates)),
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

    /// The certificate for a name asked for by SNI.
    pub fn certificate(&self, sni: Option<&str>) -> CertificateChoice {
        let host = match sni {
            Some(name) => self.find(name),
            None => self.0.any.as_deref(),
        };
        match host.map(|host| &host.certificate) {
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
        let pem = |name| match self.find(name).map(|host| &host.certificate) {
            Some(Certificate::Pem { key, .. }) => Some(key),
            Some(Certificate::Local | Certificate::Broken) | None => None,
        };
        match (pem(sni), pem(host)) {
            (None, None) => true,
            (Some(shown), Some(wanted)) => Arc::ptr_eq(shown, wanted),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl Host {
    fn parse(
        bundle: &Stamped<HostBundle>,
        stages: &[Arc<Stage>],
        known: Option<&Arc<Self>>,
        certificates: &mut Certificates,
    ) -> Self {
        let mut messages = Vec::new();
        let certificate = certificates.parse(&bundle.certificate, known.map(|known| &known.certificate));
        let certificate = certificate.unwrap_or_else(|message| {
            messages.push(message);
            Certificate::Broken
        });
        let broken_certificate = || {
            let message = messages.first()?.clone();
            Some(Refusal { reason: "InvalidCertificate".to_owned(), message })
        };
        let refuse = bundle.refuse.clone().or_else(broken_certificate);
        let table = Table::parse(&bundle.table, stages, &mut messages);
        let broken = (!messages.is_empty()).then(|| Broken {
            stage: table::first(&bundle.table)
                .cloned()
                .unwrap_or_else(|| StageKey { namespace: String::new(), name: String::new() }),
            route: String::new(),
            message: format!("host {}: {}", bundle.host, messages.join("; ")),
        });
        Self { digest: bundle.digest.clone(), certificate, table, refuse, broken }
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
