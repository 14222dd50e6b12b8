//! Certificates and keys of hosts.

use std::collections::HashMap;
use std::sync::Arc;

use bundle::Digest;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What TLS shows for a host.
#[derive(Clone, Debug)]
pub(super) enum Certificate {
    Local,
    Pem {
        /// Of chain and key, to know them again.
        digest: Digest,
        /// One for all hosts that have the same.
        key: Arc<CertifiedKey>,
    },
    /// There is one, and it cannot be used.
    Broken,
}

/// Certificates met while hosts are parsed, each parsed once.
#[derive(Default)]
pub(super) struct Certificates {
    known: HashMap<Digest, Result<Arc<CertifiedKey>, String>>,
}

impl Certificates {
    /// Parses a host's certificate; `before` is the one it had.
    pub(super) fn parse(
        &mut self,
        certificate: &bundle::Certificate,
        before: Option<&Certificate>,
    ) -> Result<Certificate, String> {
        let bundle::Certificate::Pem { chain, key } = certificate else { return Ok(Certificate::Local) };
        let digest = Digest::of(format!("{}\n{chain}\n{key}", chain.len()).as_bytes());
        let parsed = self.known.entry(digest.clone()).or_insert_with(|| match before {
            Some(Certificate::Pem { digest: known, key }) if *known == digest => Ok(Arc::clone(key)),
            _ => certified(chain, key).map(Arc::new),
        });
        Ok(Certificate::Pem { digest, key: parsed.clone()? })
    }
}

/// Reads a chain and its key. Messages say nothing of the key's content.
fn certified(chain: &str, key: &str) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the PEM text".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "the private key cannot be read".to_owned())?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| format!("certificate and key do not work together: {error}"))
}
