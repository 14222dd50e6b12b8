//! Host names to stages.

use std::sync::Arc;

use bundle::HostBundle;

use crate::live::{Broken, Stage};

/// Every host.
#[derive(Default)]
pub struct Hosts {}

impl Hosts {
    pub fn parse(hosts: &[Arc<HostBundle>], stages: &[Arc<Stage>], broken: &mut Vec<Broken>) -> Self {
        let _ = (hosts, stages, broken);
        Self {}
    }
}

/// What TLS shows for a host.
pub enum CertificateChoice {
    Pem(Arc<rustls::sign::CertifiedKey>),
    /// One of the proxy's own.
    Local,
}

impl Hosts {
    /// The certificate for a name asked for by SNI.
    pub fn certificate(&self, sni: Option<&str>) -> CertificateChoice {
        let _ = sni;
        CertificateChoice::Local
    }
}
