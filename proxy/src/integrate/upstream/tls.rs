//! TLS towards backends: four configurations, shared by all cores so that a session resumes on any of them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// TLS configurations towards backends.
pub struct Clients {
    provider: Arc<CryptoProvider>,
    /// The platform's roots, or a test's.
    verifier: OnceLock<Arc<dyn ServerCertVerifier>>,
    /// By `offer_http2` and `skip_issuer`.
    configs: [OnceLock<Arc<ClientConfig>>; 4],
}

impl Clients {
    /// The ones of this process, which trust what the platform trusts. Roots are read at the first connection
    /// that needs them: a gateway in a cluster often has none.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Clients>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(Self::new(OnceLock::new()))))
    }

    /// Ones that trust these roots only.
    ///
    /// # Errors
    /// When there are no roots.
    pub fn trusting(roots: RootCertStore) -> Result<Arc<Self>, rustls::client::VerifierBuilderError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let verifier: Arc<dyn ServerCertVerifier> = verifier;
        Ok(Arc::new(Self::new(OnceLock::from(verifier))))
    }

    fn new(verifier: OnceLock<Arc<dyn ServerCertVerifier>>) -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), verifier, configs: Default::default() }
    }

    /// The configuration for these settings; made once.
    ///
    /// # Errors
    /// When the crypto provider cannot do TLS, which its build would have to have broken.
    pub fn config(&self, offer_http2: bool, skip_issuer: bool) -> Result<Arc<ClientConfig>, rustls::Error> {
        let slot = &self.configs[usize::from(offer_http2) * 2 + usize::from(skip_issuer)];
        if let Some(config) = slot.get() {
            return Ok(Arc::clone(config));
        }
        let verifier: Arc<dyn ServerCertVerifier> = if skip_issuer {
            Arc::new(Rootless { provider: Arc::clone(&self.provider), trusts: Trusts::AnyIssuer })
        } else {
            Arc::clone(self.verifier.get_or_init(|| platform(&self.provider)))
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols =
            if offer_http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(config))))
    }
}

/// Verifies by the platform's roots. Without any, every verification fails, but the gateway runs.
fn platform(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    match rustls_platform_verifier::Verifier::new(Arc::clone(provider)) {
        Ok(verifier) => Arc::new(verifier),
        Err(error) => {
            tracing::warn!(%error, "no root certificates: backends over TLS cannot be verified");
            Arc::new(Rootless { provider: Arc::clone(provider), trusts: Trusts::Nobody })
        }
    }
}

/// What verifies without roots. The server's key signs the handshake in any case.
struct Rootless {
    provider: Arc<CryptoProvider>,
    trusts: Trusts,
}

/// Whose certificates are taken.
#[derive(Clone, Copy, Debug)]
enum Trusts {
    Nobody,
    /// Any issuer's, if they are for the right name.
    AnyIssuer,
}

impl fmt::Debug for Rootless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rootless({:?})", self.trusts)
    }
}

impl ServerCertVerifier for Rootless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.trusts {
            Trusts::Nobody => return Err(rustls::CertificateError::UnknownIssuer.into()),
            Trusts::AnyIssuer => verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
