//! Hosts that ask for client certificates: nobody passes without one, not by another name, an older connection or a
//! resumed session.

mod support;

use std::net::TcpStream;
use std::sync::Arc;

use bundle::host::CLIENT_CA;
use bundle::{BasePath, BundleSet, Certificate, HostBundle, HostTable, Stamped};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use support::backend::Echo;
use support::client::{Answer, Client};
use support::{Gateway, key, one_backend};

const HOST: &str = "partners.example.test";

/// Somebody who certifies clients.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::from_ca_cert_pem(&pem, key).expect("an authority");
        Self { pem, issuer }
    }

    /// What a client starts with that has a certificate of this authority.
    fn client(&self, gateway: &Gateway, usage: ExtendedKeyUsagePurpose) -> ClientConfig {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "client");
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        support::provider();
        let mut roots = RootCertStore::empty();
        roots.add(gateway.authority.clone()).expect("a usable certificate");
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a usable key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// `/prod/{proxy+}` on every host, and a host of its own whose clients these certify.
fn set(echo: &Echo, client_ca: Option<String>) -> BundleSet {
    let mut set = one_backend(echo.url(), 1 << 20);
    let base_paths = vec![BasePath { path: "/".to_owned(), stage: key("kit-prod") }];
    let host = |host: &str, client_ca: Option<String>| HostBundle {
        host: host.to_owned(),
        certificate: Certificate::Local,
        refuse: None,
        requires: client_ca.iter().map(|_| CLIENT_CA.to_owned()).collect(),
        client_ca,
        table: HostTable::Custom { base_paths: base_paths.clone() },
    };
    set.hosts.push(Stamped::new(host(HOST, client_ca)));
    set.hosts.push(Stamped::new(host("open.example.test", None)));
    set
}

fn ask(client: &mut Client, host: &str) -> std::io::Result<Answer> {
    client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
    client.answer(false)
}

/// One request of a new connection.
fn status(gateway: &Gateway, config: &ClientConfig, sni: &str, host: &str) -> std::io::Result<u16> {
    let stream = TcpStream::connect(gateway.address).expect("accepted");
    ask(&mut Client::over(stream, sni, config.clone()), host).map(|answer| answer.status)
}

#[test]
fn only_clients_that_its_authorities_certify_get_a_connection() {
    let (echo, gateway) = (Echo::start(), Gateway::start());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let report = gateway.load(&set(&echo, Some(format!("{}{}", ours.pem, Authority::new("another").pem))));
    assert_eq!(report.broken, []);
    let nobody = support::client::config(&gateway.authority, &[b"http/1.1"]);
    let client = ours.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(status(&gateway, &client, HOST, HOST).expect("answered"), 200);
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(gateway.authority.clone()).expect("a usable certificate");
        let old = ClientConfig::builder_with_protocol_versions(&[tls]).with_root_certificates(roots);
        let refused = status(&gateway, &old.with_no_client_auth(), HOST, HOST).expect_err("no certificate");
        assert!(refused.to_string().contains("ertificate"), "{refused}");
    }
    for refused in [
        &nobody,
        &theirs.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth),
        &ours.client(&gateway, ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        status(&gateway, refused, HOST, HOST).expect_err("no connection");
    }
    assert_eq!(status(&gateway, &nobody, "open.example.test", "open.example.test").expect("answered"), 200);
    assert_eq!(echo.requests(), 2);
}

#[test]
fn no_other_name_leads_to_it() {
    let (echo, gateway) = (Echo::start(), Gateway::start());
    let ours = Authority::new("ours");
    gateway.load(&set(&echo, Some(ours.pem.clone())));
    let client = ours.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth);
    let nobody = support::client::config(&gateway.authority, &[b"http/1.1"]);
    // An address is not said in TLS.
    for sni in ["open.example.test", "localhost", "127.0.0.1"] {
        for config in [&client, &nobody] {
            assert_eq!(status(&gateway, config, sni, HOST).expect("answered"), 421, "{sni}");
        }
    }
    // Nor does it lead elsewhere: other settings are another connection's.
    assert_eq!(status(&gateway, &client, HOST, "open.example.test").expect("answered"), 421);
    assert_eq!(echo.requests(), 0);
}

#[test]
fn authorities_change_while_connections_live() {
    let (echo, gateway) = (Echo::start(), Gateway::start());
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    gateway.load(&set(&echo, None));
    let nobody = support::client::config(&gateway.authority, &[b"http/1.1"]);
    let connect = |config: &ClientConfig| {
        Client::over(TcpStream::connect(gateway.address).expect("accepted"), HOST, config.clone())
    };
    let mut open = connect(&nobody);
    assert_eq!(ask(&mut open, HOST).expect("answered").status, 200);

    gateway.load(&set(&echo, Some(old.pem.clone())));
    assert_eq!(ask(&mut open, HOST).expect("answered").status, 421, "its connection has shown no certificate");
    let (first, second) = (
        old.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth),
        new.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth),
    );
    let mut kept = connect(&first);
    assert_eq!(ask(&mut kept, HOST).expect("answered").status, 200);
    status(&gateway, &second, HOST, HOST).expect_err("not yet");

    gateway.load(&set(&echo, Some(format!("{}{}", old.pem, new.pem))));
    assert_eq!(ask(&mut kept, HOST).expect("answered").status, 200, "still certified");
    assert_eq!(status(&gateway, &second, HOST, HOST).expect("answered"), 200);

    gateway.load(&set(&echo, Some(new.pem.clone())));
    assert_eq!(ask(&mut kept, HOST).expect("answered").status, 421, "certified no more");
    status(&gateway, &first, HOST, HOST).expect_err("certified no more");
    assert_eq!(status(&gateway, &second, HOST, HOST).expect("answered"), 200);
}

#[test]
fn no_session_is_resumed() {
    let (echo, gateway) = (Echo::start(), Gateway::start());
    let ours = Authority::new("ours");
    gateway.load(&set(&echo, Some(ours.pem.clone())));
    let kind = |config: &Arc<ClientConfig>, sni: &str| {
        let name = ServerName::try_from(sni.to_owned()).expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a TLS client");
        let mut stream = StreamOwned::new(session, TcpStream::connect(gateway.address).expect("accepted"));
        let request = format!("GET /x HTTP/1.1\r\nHost: {sni}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        stream.conn.handshake_kind()
    };
    let client = Arc::new(ours.client(&gateway, ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(kind(&client, "open.example.test"), Some(HandshakeKind::Full));
    assert_eq!(kind(&client, "open.example.test"), Some(HandshakeKind::Resumed), "elsewhere it is");
    // Sessions of before the host asked for certificates are none either.
    gateway.load(&set(&echo, None));
    assert_eq!(kind(&client, HOST), Some(HandshakeKind::Full));
    gateway.load(&set(&echo, Some(ours.pem.clone())));
    for _ in 0..3 {
        assert_eq!(kind(&client, HOST), Some(HandshakeKind::Full));
    }
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let (echo, gateway) = (Echo::start(), Gateway::start());
    let nobody = support::client::config(&gateway.authority, &[b"http/1.1"]);
    for change in [
        |host: &mut HostBundle| host.client_ca = None,
        |host: &mut HostBundle| host.client_ca = Some("no certificate".to_owned()),
        |host: &mut HostBundle| host.requires = ["firewall".to_owned()].into(),
    ] {
        let mut set = set(&echo, Some(Authority::new("ours").pem));
        let host = set.hosts.iter_mut().find(|host| host.host == HOST).expect("a host");
        let mut changed = HostBundle::clone(host);
        change(&mut changed);
        *host = Stamped::new(changed);
        assert_eq!(gateway.load(&set).broken.len(), 1);
        assert_eq!(status(&gateway, &nobody, HOST, HOST).expect("answered"), 500);
        assert_eq!(status(&gateway, &nobody, "open.example.test", "open.example.test").expect("answered"), 200);
    }
}
