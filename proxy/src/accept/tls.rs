//! TLS towards clients: one configuration, whose certificates follow what is live.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::live::host::CertificateChoice;
use crate::options::Options;
use crate::proxy::Shared;

/// The configuration of the HTTPS port: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
///
/// # Errors
/// When the crypto provider cannot do TLS, which its build would have to have broken.
pub fn server_config(options: &Arc<Options>, shared: &Arc<Shared>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates { options: Arc::clone(options), shared: Arc::clone(shared) }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets, so that a session resumes on any core; one is enough, a second costs 5 % of a handshake.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Certificates by SNI: of the live hosts, or local ones.
struct Certificates {
    options: Arc<Options>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        match self.shared.live.load().hosts.certificate(name) {
            CertificateChoice::Pem(key) => Some(key),
            CertificateChoice::Local => self.options.certificates.certificate(name),
        }
    }
}
