//! What tests of several modules need: bundles, a core that serves them, requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bundle::integration::{Backend, BackendTarget, Integration, IntegrationResponse, Mock, RequestMapping, Scheme};
use bundle::route::{Action, Route, Verb};
use bundle::{
    ApiIdentity, ApiKey, ApiKind, BasePath, BundleSet, Certificate, HostBundle, HostTable, KeyDigest, KeyShard,
    KeysBundle, PlanBundle, PlanKey, StageBundle, StageKey, Stamped,
};
use http::{HeaderValue, Method, Request, Response, Version};
use rustls::sign::CertifiedKey;

use crate::body::Body;
use crate::core::Core;
use crate::exchange::{Client, ClientCertificate, Exchange, Record, RequestIds};
use crate::live::host::ClientCa;
use crate::live::{Broken, Live};
use crate::options::{LocalCertificates, Options, Timeouts};
use crate::proxy::Shared;

struct NoCertificates;

impl LocalCertificates for NoCertificates {
    fn certificate(&self, _name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// What a core without a front is started with.
pub(crate) fn options() -> Options {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        https: nowhere,
        plain: false,
        http: None,
        admin: None,
        workers: 1,
        max_connections: Options::MAX_CONNECTIONS,
        access_log: false,
        timeouts: Timeouts::default(),
        certificates: Arc::new(NoCertificates),
        services: BTreeMap::new(),
        endpoints: Default::default(),
        egress: Default::default(),
        trusted_hops: 0,
        lends_aws_credentials: Default::default(),
    }
}

/// A core that serves these bundles, and what of them it cannot.
pub(crate) fn core(set: &BundleSet) -> (Rc<Core>, Vec<Broken>) {
    let (live, broken) = Live::parse(set, &Live::default());
    let shared = Arc::new(Shared::default());
    shared.live.store(Arc::new(live));
    shared.generation.fetch_add(1, Ordering::Release);
    (Core::new(0, Arc::new(options()), shared).expect("the system has randomness"), broken)
}

pub(crate) fn key(name: &str) -> StageKey {
    StageKey { namespace: "default".to_owned(), name: name.to_owned() }
}

/// A REST API's stage of this name, with the variable `v`.
pub(crate) fn stage(name: &str, routes: &[Route]) -> StageBundle {
    StageBundle {
        key: key(name),
        api: ApiIdentity { name: "kit".to_owned(), id: "abcdefghij".to_owned(), kind: ApiKind::Rest },
        stage_name: name.to_owned(),
        deployment: 1,
        account_id: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        variables: BTreeMap::from([("v".to_owned(), "one".to_owned())]),
        routes: routes.to_vec(),
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

/// A route, `GET /pets`, to an action.
pub(crate) fn route(method: &str, action: Action) -> Route {
    let (verb, resource) = method.split_once(' ').expect("a verb and a path");
    Route {
        resource: resource.to_owned(),
        resource_id: "abc123".to_owned(),
        verb: if verb == "ANY" { Verb::Any } else { Verb::One(verb.to_owned()) },
        operation: None,
        requires: Default::default(),
        validation: None,
        action,
    }
}

/// A route to a MOCK that answers its own method and path.
pub(crate) fn mock(method: &str) -> Route {
    route(method, Action::Serve(Box::new(Integration::Mock(mock_of("{statusCode: 200}", &[(None, method)])))))
}

/// A route to a backend of our own kind.
pub(crate) fn backend(method: &str) -> Route {
    let target = BackendTarget::Service {
        namespace: "default".to_owned(),
        name: "back".to_owned(),
        port: 80,
        scheme: Scheme::Http,
    };
    let backend = Backend { target, response_header_timeout_ms: 1000, idle_timeout_ms: 1000, max_body_bytes: 1000 };
    route(method, Action::Serve(Box::new(Integration::Backend(backend))))
}

/// A MOCK with a JSON template, and responses by their pattern; each answers a text. `4xx` patterns answer 404.
pub(crate) fn mock_of(request: &str, responses: &[(Option<&str>, &str)]) -> Mock {
    let json = |text: &str| BTreeMap::from([("application/json".to_owned(), text.to_owned())]);
    let response = |&(pattern, text): &(Option<&str>, &str)| IntegrationResponse {
        selection_pattern: pattern.map(str::to_owned),
        status: if pattern.is_some_and(|pattern| pattern.starts_with('4')) { 404 } else { 200 },
        headers: BTreeMap::new(),
        templates: json(text),
        content_handling: None,
    };
    let request = RequestMapping { templates: json(request), ..Default::default() };
    Mock { request, responses: responses.iter().map(response).collect() }
}

/// A host whose first path segment names one of these stages.
pub(crate) fn default_host(host: &str, stages: &[&str]) -> HostBundle {
    let stages = stages.iter().map(|&name| (name.to_owned(), key(name))).collect();
    host_bundle(host, HostTable::Default { stages })
}

/// A host with stages under base paths.
pub(crate) fn custom_host(host: &str, base_paths: &[(&str, &str)]) -> HostBundle {
    let base_paths =
        base_paths.iter().map(|&(path, stage)| BasePath { path: path.to_owned(), stage: key(stage) }).collect();
    host_bundle(host, HostTable::Custom { base_paths })
}

fn host_bundle(host: &str, table: HostTable) -> HostBundle {
    HostBundle {
        host: host.to_owned(),
        certificate: Certificate::Local,
        refuse: None,
        requires: Default::default(),
        client_ca: None,
        table,
    }
}

pub(crate) fn set(stages: Vec<StageBundle>, hosts: Vec<HostBundle>) -> BundleSet {
    BundleSet {
        stages: stages.into_iter().map(Stamped::new).collect(),
        hosts: hosts.into_iter().map(Stamped::new).collect(),
        ..BundleSet::default()
    }
}

/// A plan that opens a stage to one key.
pub(crate) fn callers(stage: &str, value: &str, id: &str) -> (Stamped<PlanBundle>, Stamped<KeysBundle>) {
    let namespace = key(stage).namespace;
    let plan = PlanKey { namespace: namespace.clone(), name: "gold".to_owned() };
    let plan = PlanBundle { key: plan, stages: [stage.to_owned()].into(), requires: Default::default() };
    let known = ApiKey { id: id.to_owned(), plans: vec!["gold".to_owned()], requires: Default::default() };
    let shard = KeyShard { namespace, prefix: String::new() };
    let keys = KeysBundle { shard, keys: BTreeMap::from([(KeyDigest::of(value.as_bytes()), known)]) };
    (Stamped::new(plan), Stamped::new(keys))
}

/// A request to `example.com`, unless a header says otherwise.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Exchange {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        builder = builder.header("host", "example.com");
    }
    let (parts, ()) = builder.body(()).expect("a request").into_parts();
    let (peer, local) = (SocketAddr::from(([192, 0, 2, 7], 4711)), SocketAddr::from(([127, 0, 0, 1], 443)));
    let client = Client::new(peer, local, None);
    Exchange {
        method: parts.method,
        uri: parts.uri,
        path: Default::default(),
        version: Version::HTTP_11,
        steering: crate::exchange::Steering::of(&parts.headers),
        headers: parts.headers,
        body: Body::empty(),
        upgrade: None,
        client: Arc::new(client),
        received: Instant::now(),
        ids: RequestIds {
            request: HeaderValue::from_static("01234567-89ab-4def-8123-456789abcdef"),
            extended: HeaderValue::from_static("AAAAAAAAAAAAAAA="),
        },
        routed: None,
        record: Record::default(),
    }
}

/// The same request over a connection whose TLS asked for a name.
pub(crate) fn with_sni(mut exchange: Exchange, sni: &str) -> Exchange {
    let Client { peer, local, .. } = *exchange.client;
    exchange.client = Arc::new(Client::new(peer, local, Some(sni.into())));
    exchange
}

/// The same request of a client that has shown a certificate with the serial number 7.
pub(crate) fn with_certificate(mut exchange: Exchange) -> Exchange {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "Partners");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "client");
    parameters.serial_number = Some(7_u64.into());
    parameters.not_before = rcgen::date_time_ymd(2019, 5, 28);
    parameters.not_after = rcgen::date_time_ymd(2121, 8, 5);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let Client { peer, local, .. } = *exchange.client;
    let mut client = Client::new(peer, local, None);
    let shown = ClientCertificate::new(ClientCa::of(&certificate.pem()), vec![certificate.der().clone()]);
    client.certificate = Some(Box::new(shown));
    exchange.client = Arc::new(client);
    exchange
}

/// An answer: its status, headers, and body as text.
pub(crate) fn read(response: Response<Body>) -> (u16, http::HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let body = run(body.collect(1 << 20)).expect("a body");
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).expect("text"))
}

/// How long this thread has worked: a busy machine makes it no longer.
pub(crate) fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Runs a future on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Serves a request from beginning to end.
pub(crate) fn serve(core: &Rc<Core>, exchange: Exchange) -> (u16, http::HeaderMap, String) {
    read(run(crate::serve::serve(core, Box::new(exchange))))
}

pub(crate) fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("a method")
}
