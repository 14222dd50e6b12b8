//! What is shown to those who ask for a name that nobody serves: TLS must begin before they can be told.

use std::sync::Arc;

use proxy::options::LocalCertificates;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

/// A certificate of this process, which nobody trusts.
pub(crate) struct SelfSigned(Arc<CertifiedKey>);

impl SelfSigned {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["stagegate.invalid".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        Ok(Self(Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], any_supported_type(&key)?))))
    }
}

impl LocalCertificates for SelfSigned {
    fn certificate(&self, _name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
