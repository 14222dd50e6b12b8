//! Those who certify a host's clients.

use std::collections::HashMap;
use std::sync::Arc;

use bundle::Digest;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

/// Those who certify a host's clients.
#[derive(Debug)]
pub struct ClientCa {
    /// Of the PEM text, to know them again.
    digest: Digest,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Those met while hosts are parsed, each parsed once.
#[derive(Default)]
pub(super) struct ClientCas {
    known: HashMap<Digest, Result<Arc<ClientCa>, String>>,
}

impl ClientCas {
    /// Parses PEM text; `before` is what the host had.
    pub(super) fn parse(&mut self, pem: &str, before: Option<&Arc<ClientCa>>) -> Result<Arc<ClientCa>, String> {
        let digest = Digest::of(pem.as_bytes());
        let parsed = self.known.entry(digest.clone()).or_insert_with(|| match before {
            Some(before) if before.digest == digest => Ok(Arc::clone(before)),
            _ => Ok(Arc::new(ClientCa { verifier: verifier(pem)?, digest })),
        });
        parsed.clone()
    }
}

impl ClientCa {
    /// Asks TLS clients for their certificate.
    pub fn verifier(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.verifier
    }

    /// Whether these are the same authorities.
    pub fn is(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Whether they certify a client that others have certified before: its connection is older than they are here.
    pub fn certifies(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((own, rest)) = chain.split_first() else { return false };
        self.verifier.verify_client_cert(own, rest, UnixTime::now()).is_ok()
    }
}

#[cfg(test)]
impl ClientCa {
    /// Those of a PEM text.
    pub(crate) fn of(pem: &str) -> Arc<Self> {
        ClientCas::default().parse(pem, None).expect("authorities")
    }
}

fn verifier(pem: &str) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("a client CA cannot be read: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a client CA cannot be used: {error}"))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    built.map_err(|error| format!("client CAs cannot be used: {error}"))
}
