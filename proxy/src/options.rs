//! What a proxy is started with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;

use crate::egress::Egress;
use crate::endpoints::Endpoints;

/// What a proxy is started with.
pub struct Options {
    /// Where HTTPS is served; with `plain`, HTTP.
    pub https: SocketAddr,
    /// Serves HTTP without TLS: for a sidecar, on loopback.
    pub plain: bool,
    /// Where plain HTTP is redirected to HTTPS (308), and nothing else.
    pub http: Option<SocketAddr>,
    /// Where health, metrics and the loaded state are told.
    pub admin: Option<SocketAddr>,
    /// Threads that serve requests, each with a runtime, listener and pools of its own.
    pub workers: usize,
    /// Client connections open at a time, of all workers together; one beyond that is closed at once.
    pub max_connections: usize,
    /// Whether requests are logged on standard output.
    pub access_log: bool,
    pub timeouts: Timeouts,
    /// Certificates of hosts that bring none.
    pub certificates: Arc<dyn LocalCertificates>,
    /// Services that are elsewhere: `(namespace, name, port)` to `host:port`. Port 0 stands for every port.
    pub services: BTreeMap<(String, String, u16), String>,
    /// Where the pods of Services are; what is not in it is asked for by its DNS name.
    pub endpoints: Arc<Endpoints>,
    /// What `url` backends may reach.
    pub egress: Egress,
    /// Proxies in front of this one whose entries of `X-Forwarded-For` are believed: so many, counted from its end. With
    /// 0 the client is whoever connects.
    pub trusted_hops: u8,
    /// Whose stages may sign with the AWS credentials of this process.
    pub lends_aws_credentials: Lending,
}

impl Options {
    /// Default of `max_connections`. Idle ones take 20 KiB each.
    pub const MAX_CONNECTIONS: usize = 262_144;
}

/// Whose stages may sign with the AWS credentials of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// Everybody's.
    #[default]
    All,
    /// Those of these namespaces.
    To(BTreeSet<Box<str>>),
}

impl Lending {
    /// Whether a namespace's stages may.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::To(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// Issues certificates for hosts that bring none.
pub trait LocalCertificates: Send + Sync {
    /// The certificate for a name asked for by SNI, or for a client that sends no SNI. Called once per name and
    /// remembered; may issue.
    fn certificate(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>>;
}

/// How long a client may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From accepting a connection to the end of its TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// From the first byte of a request's header section to its last. Default 30 s.
    pub header: Duration,
    /// Longest silence within a request body. Default 30 s.
    pub body: Duration,
    /// Longest silence between requests. Default 350 s.
    pub idle: Duration,
    /// Longest time in which the client takes none of an answer's bytes. Default 60 s.
    pub send: Duration,
    /// Age at which a connection is asked to leave, ± 10 %. Default 30 min.
    pub connection_age: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(350),
            send: Duration::from_secs(60),
            connection_age: Duration::from_secs(30 * 60),
        }
    }
}
