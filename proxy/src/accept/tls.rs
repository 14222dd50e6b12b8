//! TLS towards clients: one configuration, whose certificates follow what is live, and one of its own for each
//! connection to a host that asks for client certificates.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::live::host::{CertificateChoice, ClientCa};
use crate::options::Options;
use crate::proxy::Shared;

/// TLS of the HTTPS port: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
pub struct Tls {
    /// For hosts that let in everybody.
    open: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// # Errors
    /// When the crypto provider cannot do TLS, which its build would have to have broken.
    pub fn new(options: &Arc<Options>, shared: &Arc<Shared>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = Arc::new(Certificates { options: Arc::clone(options), shared: Arc::clone(shared) });
        let mut open = config(&provider, &certificates, Arc::new(NoClientAuth))?;
        // Tickets, so that a session resumes on any core; one is enough, a second costs 5 % of a handshake.
        open.ticketer = aws_lc_rs::Ticketer::new()?;
        open.send_tls13_tickets = 1;
        Ok(Self { open: Arc::new(open), provider, certificates })
    }

    /// Who must have certified the client that says this first, and how TLS goes on with it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn answer(&self, hello: &ClientHello<'_>) -> Result<(Option<Arc<ClientCa>>, Arc<ServerConfig>), rustls::Error> {
        let shared = &self.certificates.shared;
        let Some(ca) = shared.live.load().hosts.client_ca(hello.server_name()) else {
            return Ok((None, Arc::clone(&self.open)));
        };
        // No tickets: each connection shows its certificate to those who certify clients now.
        let mut config = config(&self.provider, &self.certificates, Arc::clone(ca.verifier()))?;
        config.send_tls13_tickets = 0;
        Ok((Some(ca), Arc::new(config)))
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    certificates: &Arc<Certificates>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let certificates = Arc::clone(certificates);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
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
