//! A proxy with a certificate of its own, real backends on loopback, and a client that writes what it is told.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod backend;
pub mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Once};

use bundle::host::{Certificate, HostTable};
use bundle::integration::{Backend, BackendTarget, Integration};
use bundle::route::{Action, Route, Verb};
use bundle::{ApiIdentity, ApiKind, BundleSet, HostBundle, StageBundle, StageKey, Stamped};
use proxy::options::{LocalCertificates, Options, Timeouts};
use proxy::{LoadReport, Proxy};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A running proxy.
pub struct Gateway {
    pub proxy: Option<Proxy>,
    pub address: SocketAddr,
    pub authority: CertificateDer<'static>,
}

impl Gateway {
    pub fn start() -> Self {
        Self::start_with(Timeouts::default())
    }

    pub fn start_with(timeouts: Timeouts) -> Self {
        Self::start_as(|options| options.timeouts = timeouts)
    }

    pub fn start_as(set: impl FnOnce(&mut Options)) -> Self {
        let certificates = Certificates::new();
        let authority = certificates.0.cert[0].clone();
        let mut options = options(SocketAddr::from(([127, 0, 0, 1], 0)), Timeouts::default(), certificates);
        set(&mut options);
        let proxy = Proxy::start(options).expect("the proxy starts");
        let address = proxy.https_address();
        Self { proxy: Some(proxy), address, authority }
    }

    pub fn load(&self, set: &BundleSet) -> LoadReport {
        self.proxy.as_ref().expect("running").load(set)
    }

    pub fn connect(&self, host: &str) -> client::Client {
        client::Client::connect(self.address, host, &self.authority)
    }

    /// TLS over a connection that is open already.
    pub fn over(&self, stream: std::net::TcpStream, host: &str) -> client::Client {
        client::Client::over(stream, host, client::config(&self.authority, &[b"http/1.1"]))
    }

    /// TLS for clients that are written with tokio.
    pub fn connector(&self, protocols: &[&[u8]]) -> tokio_rustls::TlsConnector {
        Arc::new(client::config(&self.authority, protocols)).into()
    }
}

fn options(https: SocketAddr, timeouts: Timeouts, certificates: Certificates) -> Options {
    Options {
        https,
        plain: false,
        http: None,
        admin: None,
        workers: 2,
        max_connections: Options::MAX_CONNECTIONS,
        access_log: false,
        timeouts,
        certificates: Arc::new(certificates),
        services: BTreeMap::new(),
        endpoints: Default::default(),
        egress: Default::default(),
        trusted_hops: 0,
        lends_aws_credentials: Default::default(),
    }
}

/// Tries to start a proxy on an address.
pub fn try_start(https: SocketAddr) -> Result<Proxy, proxy::StartError> {
    Proxy::start(options(https, Timeouts::default(), Certificates::new()))
}

/// Starts a proxy that speaks no TLS, as a sidecar.
pub fn start_plain() -> Proxy {
    let options = options(SocketAddr::from(([127, 0, 0, 1], 0)), Timeouts::default(), Certificates::new());
    Proxy::start(Options { plain: true, ..options }).expect("the proxy starts")
}

/// One self-signed certificate for every name the tests use.
struct Certificates(Arc<CertifiedKey>);

impl Certificates {
    fn new() -> Self {
        let names = ["localhost", "127.0.0.1", "*.test", "*.default.localhost", "*.example.test"];
        let made = rcgen::generate_simple_self_signed(names.map(str::to_owned).to_vec()).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a signing key");
        Self(Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], key)))
    }
}

impl LocalCertificates for Certificates {
    fn certificate(&self, _name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The process's crypto provider, for the test's own clients.
pub fn provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().expect("installed once");
    });
}

pub fn key(name: &str) -> StageKey {
    StageKey { namespace: "default".to_owned(), name: name.to_owned() }
}

/// A stage without routes.
pub fn stage(api: &str, stage_name: &str) -> StageBundle {
    StageBundle {
        key: key(&format!("{api}-{stage_name}")),
        api: ApiIdentity { name: api.to_owned(), id: "abcdefghij".to_owned(), kind: ApiKind::Rest },
        stage_name: stage_name.to_owned(),
        deployment: 1,
        account_id: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        variables: BTreeMap::new(),
        routes: Vec::new(),
        gateway_responses: BTreeMap::new(),
        binary_media_types: Default::default(),
        minimum_compression_size: None,
        functions: Default::default(),
        aws: Default::default(),
        models: Default::default(),
        cors: None,
        canary: None,
    }
}

/// These stages under every host, by their names.
pub fn everywhere(stages: Vec<StageBundle>) -> BundleSet {
    let table = HostTable::Default {
        stages: stages.iter().map(|stage| (stage.stage_name.clone(), stage.key.clone())).collect(),
    };
    BundleSet {
        stages: stages.into_iter().map(Stamped::new).collect(),
        hosts: vec![Stamped::new(HostBundle {
            host: "*".to_owned(),
            certificate: Certificate::Local,
            refuse: None,
            requires: Default::default(),
            client_ca: None,
            table,
        })],
        ..BundleSet::default()
    }
}

/// `/prod/{proxy+}` to this URL, by our own reverse proxy.
pub fn one_backend(url: String, max_body_bytes: u64) -> BundleSet {
    let mut stage = stage("kit", "prod");
    let target = Backend {
        target: BackendTarget::Url(url),
        response_header_timeout_ms: 5000,
        idle_timeout_ms: 5000,
        max_body_bytes,
    };
    stage.routes = vec![Route {
        resource: "/{proxy+}".to_owned(),
        resource_id: "abc123".to_owned(),
        verb: Verb::Any,
        operation: None,
        requires: Default::default(),
        validation: None,
        action: Action::Serve(Box::new(Integration::Backend(target))),
    }];
    everywhere(vec![stage])
}
