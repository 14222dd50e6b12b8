//! Bundles and endpoints from a real API server, without an operator: the test writes what an operator would.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::integration::{Backend, BackendTarget, Integration, Scheme};
use bundle::object::{GATEWAY_LABEL, INDEX_TYPE, Index, KIND_LABEL, PART_TYPE, PAYLOAD_KEY, Packed, Subject};
use bundle::route::{Action, Route, Verb};
use bundle::{BasePath, Certificate, Digest, HostBundle, HostTable, StageBundle, Stamped};
use e2e::cluster::{Cluster, Depth, Namespace, shared};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use support::backend::Echo;
use support::client::Client;
use support::{key, stage};

const GATEWAY: &str = "source";
const HOST: &str = "api.example.test";
/// The second backend's address, in the network of the test's own cluster.
const SECOND: &str = "172.30.0.200";

#[test]
fn bundles_and_endpoints_follow_the_cluster() {
    let Some(rig) = Rig::new() else { return };
    let proxy = rig.proxy(18443, &rig.folder.path().join("cache"));
    proxy.until("an empty gateway is ready", |loaded| loaded["loaded"] == true && loaded["stages"] == json!([]));

    // What is written is loaded, and calls go to the endpoints that the Service has at the time.
    let first = rig.backend(rig.node);
    let second = rig.backend_at(SocketAddr::new(SECOND.parse().expect("an address"), first.address.port()));
    rig.endpoints("a", &first.address);
    let host = rig.host();
    rig.write(&host.0, &host.1);
    let one = rig.stage("one");
    rig.write(&one.0, &one.1);
    proxy.until_digest(&one.1);
    proxy.until_asked(&rig, &first);
    rig.endpoints("b", &second.address);
    proxy.until_asked(&rig, &second);
    rig.kubectl(&["delete", "endpointslice", "a"]);
    proxy.until_quiet(&rig, &first);
    assert_eq!(proxy.ask(&rig).expect("answered"), 200);

    broken_and_incomplete(&rig, &proxy);
    let moved = api_server_away(&rig, &proxy);

    // What is gone is told.
    let before = proxy.loaded("");
    let since = format!("?instance={}&since={}", before["instance"].as_str().unwrap_or_default(), before["changes"]);
    rig.kubectl(&["delete", "secret", &moved.object_name(GATEWAY)]);
    let gone = proxy.loaded(&since);
    assert_eq!(gone["full"], false, "{gone}");
    assert_eq!(gone["gone"]["stages"], json!([{"namespace": "default", "name": "kit-prod"}]), "{gone}");
    assert_eq!(proxy.ask(&rig).expect("answered"), 403);
}

/// An index that cannot be read keeps what was there, and one whose parts are missing waits for them.
fn broken_and_incomplete(rig: &Rig, proxy: &Proxy) {
    let one = rig.stage("one");
    let (subject, two) = rig.stage("two");
    let mut broken = two.clone();
    broken.packed.index.insert(PAYLOAD_KEY.to_owned(), b"nothing".to_vec());
    rig.write(&subject, &broken);
    let told = proxy.until("the rejection", |loaded| loaded["rejected"].as_array().is_some_and(|all| all.len() == 1));
    assert!(told["rejected"].to_string().contains(two.digest.as_str()), "{}", told["rejected"]);
    assert_eq!(told["stages"][0]["digest"], one.1.digest.as_str(), "what was there is served");
    assert_eq!(proxy.ask(rig).expect("answered"), 200);
    rig.write(&subject, &two);
    let told = proxy.until_digest(&two);
    assert_eq!(told["rejected"], json!([]));

    // Random, so that it does not get smaller.
    let (_, large) = rig.stage(&random(1 << 20));
    assert!(large.packed.parts.len() > 1, "{} parts", large.packed.parts.len());
    let parts: Vec<_> = large.packed.parts.iter().collect();
    let (last, rest) = parts.split_last().expect("parts");
    rest.iter().for_each(|(name, part)| rig.part(name, part));
    rig.index(&subject, &large);
    std::thread::sleep(Duration::from_secs(1));
    let told = proxy.loaded("");
    assert_eq!((&told["stages"][0]["digest"], &told["rejected"]), (&json!(two.digest.as_str()), &json!([])));
    rig.part(last.0, last.1);
    proxy.until_digest(&large);
    assert_eq!(proxy.ask(rig).expect("answered"), 200);
}

/// The watch outlives a restart of the API server, and without it a proxy starts from the copies on disk.
fn api_server_away(rig: &Rig, proxy: &Proxy) -> Subject {
    let server = ApiServer::kill();
    assert_eq!(proxy.ask(rig).expect("answered"), 200);
    let served = proxy.loaded("")["stages"][0]["digest"].clone();
    let copies = rig.folder.path().join("copies");
    copy(&rig.folder.path().join("cache"), &copies);
    let started = Instant::now();
    let cold = rig.proxy(18543, &copies);
    let told = cold.until("a cold start from copies", |loaded| loaded["stages"] != json!([]));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(told["stages"][0]["digest"], served);
    // It has not seen the endpoints, and must not answer as if there were no such stage.
    assert!(matches!(cold.ask(rig), Ok(500..)), "{:?}", cold.ask(rig));
    server.restart(rig);
    let (subject, three) = rig.stage("three");
    rig.write(&subject, &three);
    for proxy in [proxy, &cold] {
        proxy.until_digest(&three);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(cold.ask(rig), Ok(200)) {
        assert!(Instant::now() < deadline, "endpoints do not come");
        std::thread::sleep(Duration::from_millis(100));
    }
    subject
}

struct Rig {
    cluster: &'static Cluster,
    namespace: Namespace,
    folder: tempfile::TempDir,
    /// Where the cluster's node is, and the test.
    node: IpAddr,
    authority: CertificateDer<'static>,
    certificate: Certificate,
}

/// A bundle, ready to be written.
#[derive(Clone)]
struct Ready {
    digest: Digest,
    packed: Packed,
}

impl Rig {
    /// `None`: there is no cluster to be had that may be tormented so, which was said.
    fn new() -> Option<Self> {
        if std::env::var_os("STAGEGATE_E2E_EXISTING").is_some() {
            eprintln!("skipped: the API server of a cluster that was there before is not ours to kill");
            return None;
        }
        let cluster = shared(Depth::ControlPlane)?;
        if !ApiServer::pid_file().exists() {
            eprintln!("skipped: the API server of kind's cluster would be started again by its node at once");
            return None;
        }
        let namespace = cluster.namespace("source").expect("a namespace");
        cluster.enter().expect("the cluster's network");
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let server = cluster.kubectl(["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
        let server = server.expect("an address");
        let node = server.trim_start_matches("https://").split(':').next().unwrap_or_default();
        let rig = Self {
            cluster,
            namespace,
            folder: tempfile::tempdir().expect("a folder"),
            node: node.parse().expect("an address"),
            authority: made.cert.der().clone(),
            certificate: Certificate::Pem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() },
        };
        let added = Command::new("ip").args(["addr", "add", &format!("{SECOND}/32"), "dev", "lo"]).status();
        assert!(added.expect("ip").success());
        rig.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "back"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }));
        Some(rig)
    }

    fn kubectl(&self, arguments: &[&str]) {
        let all = ["-n", &self.namespace.name].into_iter().chain(arguments.iter().copied());
        self.cluster.kubectl(all).expect("kubectl");
    }

    fn apply(&self, object: &Value) {
        let arguments = ["-n", &self.namespace.name, "apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.cluster.kubectl_with(arguments, &object.to_string()).expect("kubectl apply");
    }

    fn proxy(&self, port: u16, cache: &Path) -> Proxy {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_stagegate-proxy"));
        let address = |port| format!("{}:{port}", self.node);
        command.args(["--gateway", GATEWAY, "--bundle-namespace", &self.namespace.name, "--workers", "1"]);
        command.args(["--https", &address(port), "--admin", &address(port + 1), "--access-log", "false"]);
        command.arg("--cache").arg(cache).args(["--log", "text"]);
        let log = std::fs::File::create(self.folder.path().join(format!("{port}.log"))).expect("a log");
        let process = command.stdin(Stdio::null()).stderr(log).spawn().expect("the proxy starts");
        let [https, admin] = [port, port + 1].map(|port| SocketAddr::new(self.node, port));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(admin).is_err() {
            assert!(Instant::now() < deadline, "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Proxy { process, https, admin }
    }

    fn backend(&self, ip: IpAddr) -> Echo {
        self.backend_at(SocketAddr::new(ip, 0))
    }

    fn backend_at(&self, address: SocketAddr) -> Echo {
        Echo::start_at(address)
    }

    /// A slice of the Service with one endpoint.
    fn endpoints(&self, name: &str, address: &SocketAddr) {
        self.apply(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "back"}},
            "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        }));
    }

    fn host(&self) -> (Subject, Ready) {
        let host = HostBundle {
            host: HOST.to_owned(),
            certificate: self.certificate.clone(),
            refuse: None,
            requires: Default::default(),
            client_ca: None,
            table: HostTable::Custom { base_paths: vec![BasePath { path: "/".to_owned(), stage: key("kit-prod") }] },
        };
        let encoded = bundle::encode(&host, bundle::FORMAT).expect("a bundle");
        let subject = Subject::Host(HOST.to_owned());
        (subject.clone(), ready(subject, None, encoded, Stamped::new(host).digest))
    }

    /// `/{proxy+}` to the Service, with something that makes the bundle another one.
    fn stage(&self, version: &str) -> (Subject, Ready) {
        let mut stage: StageBundle = stage("kit", "prod");
        stage.variables.insert("version".to_owned(), version.to_owned());
        let target = BackendTarget::Service {
            namespace: self.namespace.name.clone(),
            name: "back".to_owned(),
            port: 80,
            scheme: Scheme::Http,
        };
        let backend = Backend { target, response_header_timeout_ms: 2000, idle_timeout_ms: 2000, max_body_bytes: 1000 };
        stage.routes = vec![Route {
            resource: "/{proxy+}".to_owned(),
            resource_id: "abc123".to_owned(),
            verb: Verb::Any,
            operation: None,
            requires: Default::default(),
            validation: None,
            action: Action::Serve(Box::new(Integration::Backend(backend))),
        }];
        let encoded = bundle::encode(&stage, bundle::FORMAT).expect("a bundle");
        let subject = Subject::Stage(stage.key.clone());
        (subject.clone(), ready(subject, Some(1), encoded, Stamped::new(stage).digest))
    }

    /// Parts first, the index last.
    fn write(&self, subject: &Subject, ready: &Ready) {
        ready.packed.parts.iter().for_each(|(name, part)| self.part(name, part));
        self.index(subject, ready);
    }

    fn index(&self, subject: &Subject, ready: &Ready) {
        let data: Value = ready.packed.index.iter().map(|(key, bytes)| (key.clone(), encode(bytes))).collect();
        self.secret(&subject.object_name(GATEWAY), INDEX_TYPE, subject.kind(), data);
    }

    fn part(&self, name: &str, part: &[u8]) {
        self.secret(name, PART_TYPE, "part", json!({PAYLOAD_KEY: encode(part)}));
    }

    fn secret(&self, name: &str, kind: &str, label: &str, data: Value) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
            "metadata": {"name": name, "labels": {GATEWAY_LABEL: GATEWAY, KIND_LABEL: label}},
        }));
    }
}

fn encode(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn ready(subject: Subject, deployment: Option<u64>, encoded: bundle::Encoded, digest: Digest) -> Ready {
    assert_eq!(encoded.digest, digest);
    let bundle::Encoded { format, digest, payload } = encoded;
    let index = Index {
        subject,
        format,
        digest: digest.clone(),
        deployment,
        pin: None,
        handled_deploy: None,
        api: None,
        certificate: None,
        parts: Vec::new(),
    };
    Ready { digest, packed: index.pack(payload) }
}

fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.expect("cp").success());
}

struct Proxy {
    process: Child,
    https: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Proxy {
    fn loaded(&self, query: &str) -> Value {
        let mut stream = TcpStream::connect(self.admin).expect("accepted");
        let request = format!("GET /loaded{query} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn until(&self, what: &str, mut check: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let loaded = self.loaded("");
            if check(&loaded) {
                return loaded;
            }
            assert!(Instant::now() < deadline, "{what} does not come to pass: {loaded}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_digest(&self, ready: &Ready) -> Value {
        self.until("the bundle", |loaded| loaded["stages"][0]["digest"] == ready.digest.as_str())
    }

    /// The status of one call.
    fn ask(&self, rig: &Rig) -> std::io::Result<u16> {
        let mut client = Client::connect(self.https, HOST, &rig.authority);
        client.send(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
        client.answer(false).map(|answer| answer.status)
    }

    fn until_asked(&self, rig: &Rig, backend: &Echo) {
        let (before, deadline) = (backend.requests(), Instant::now() + Duration::from_secs(20));
        while backend.requests() == before {
            assert!(Instant::now() < deadline, "{} is not asked", backend.address);
            drop(self.ask(rig));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ten calls in a row do not go there.
    fn until_quiet(&self, rig: &Rig, backend: &Echo) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let before = backend.requests();
            for _ in 0..10 {
                assert_eq!(self.ask(rig).expect("answered"), 200);
            }
            if backend.requests() == before {
                return;
            }
            assert!(Instant::now() < deadline, "{} is still asked", backend.address);
        }
    }
}

/// The API server of the test's own cluster, away.
struct ApiServer {
    pid_file: PathBuf,
    command: Vec<String>,
}

impl ApiServer {
    /// Where its process is noted.
    fn pid_file() -> PathBuf {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).expect("a home");
        let state = std::env::var_os("CLUSTER_STATE").map(PathBuf::from);
        state.unwrap_or_else(|| cache.join("stagegate-e2e/cluster")).join("pid/kube-apiserver")
    }

    fn kill() -> Self {
        let pid_file = Self::pid_file();
        let process = std::fs::read_to_string(&pid_file).expect("its process");
        let command = std::fs::read(format!("/proc/{}/cmdline", process.trim())).expect("it runs");
        let command = command.split(|&byte| byte == 0).filter(|part| !part.is_empty());
        let command = command.map(|part| String::from_utf8(part.to_vec()).expect("text")).collect();
        assert!(Command::new("kill").args(["-9", process.trim()]).status().expect("kill").success());
        Self { pid_file, command }
    }

    /// In this thread's network, which is the cluster's.
    #[allow(clippy::zombie_processes, reason = "it outlives the test: whoever takes the cluster down ends it")]
    fn restart(self, rig: &Rig) {
        let (program, arguments) = self.command.split_first().expect("a command");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("it starts again");
        // Whoever takes the cluster down finds it here.
        std::fs::write(&self.pid_file, server.id().to_string()).expect("its process is noted");
        let deadline = Instant::now() + Duration::from_secs(60);
        while rig.cluster.kubectl(["get", "--raw", "/readyz"]).is_err() {
            assert!(Instant::now() < deadline, "the API server does not come back");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
