//! A core without a front, and scripted servers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, Version};
use bundle::integration::Integration;
use bundle::mapping::{RequestTarget, Source};
use bundle::{BundleSet, StageBundle, Stamped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;

use crate::Options;
use crate::body::Body;
use crate::core::{Core, CoreStage};
use crate::dispatch::path::CanonicalPath;
use crate::exchange::{Client, Exchange, Record, Routed};
pub(super) use crate::fixture::options;
use crate::fixture::stage;
use crate::integrate::integrate;
use crate::integrate::upstream::{Upstream, tls::Clients};
use crate::live::Live;
use crate::rejection::Rejection;

pub(super) fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test ends in time");
    });
}

pub(super) fn core() -> Rc<Core> {
    Core::new(0, Arc::new(options()), Arc::default()).unwrap()
}

pub(super) fn core_with(options: Options, tls: Arc<Clients>) -> Rc<Core> {
    let options = Arc::new(options);
    let mut core = Core::new(0, Arc::clone(&options), Arc::default()).unwrap();
    Rc::get_mut(&mut core).unwrap().upstream = Upstream::with_tls(options, tls);
    core
}

/// A stage without routes, with the variable `part`.
pub(super) fn stage_bundle() -> StageBundle {
    let variables = BTreeMap::from([("part".to_owned(), "value".to_owned())]);
    StageBundle { variables, ..stage("prod", &[]) }
}

pub(super) fn endpoint(uri: &str) -> bundle::integration::Endpoint {
    bundle::integration::Endpoint {
        uri: uri.into(),
        method: None,
        timeout_ms: 2000,
        skip_tls_verification: false,
        server_name: None,
    }
}

pub(super) fn mapping(pairs: &[(RequestTarget, Source)]) -> BTreeMap<RequestTarget, Source> {
    pairs.iter().cloned().collect()
}

pub(super) fn http_proxy(
    endpoint: bundle::integration::Endpoint,
    parameters: BTreeMap<RequestTarget, Source>,
) -> Integration {
    Integration::HttpProxy(bundle::integration::HttpProxy {
        endpoint,
        parameters,
        changes: Vec::new(),
        response_changes: BTreeMap::new(),
    })
}

pub(super) fn http(http: bundle::integration::Http) -> Integration {
    Integration::Http(http)
}

pub(super) fn backend(target: bundle::integration::BackendTarget) -> Integration {
    backend_with(target, 1 << 20, 2000)
}

pub(super) fn backend_with(
    target: bundle::integration::BackendTarget,
    max_body_bytes: u64,
    timeout_ms: u64,
) -> Integration {
    Integration::Backend(bundle::integration::Backend {
        target,
        response_header_timeout_ms: timeout_ms,
        idle_timeout_ms: timeout_ms,
        max_body_bytes,
    })
}

/// One route of one stage, under `/prod`.
pub(super) struct Served {
    pub(super) core: Rc<Core>,
    stage: Rc<CoreStage>,
    parameters: Vec<std::ops::Range<usize>>,
}

impl Served {
    pub(super) fn new(core: &Rc<Core>, integration: Integration) -> Self {
        Self::with_parameters(core, integration, &[])
    }

    /// The ranges are of the whole path.
    pub(super) fn with_parameters(
        core: &Rc<Core>,
        integration: Integration,
        parameters: &[(&str, std::ops::Range<usize>)],
    ) -> Self {
        let mut bundle = stage_bundle();
        bundle.routes = vec![bundle::route::Route {
            resource: format!("/x{}", parameters.iter().map(|(name, _)| format!("/{{{name}}}")).collect::<String>()),
            resource_id: "abc123".into(),
            verb: bundle::route::Verb::Any,
            operation: None,
            requires: Default::default(),
            validation: None,
            action: bundle::route::Action::Serve(Box::new(integration)),
        }];
        let set = BundleSet { stages: vec![Stamped::new(bundle)], ..BundleSet::default() };
        let (live, broken) = Live::parse(&set, &Live::default());
        assert!(broken.is_empty(), "{broken:?}");
        let live = Arc::clone(&live.stages[0]);
        let stage = Rc::new(CoreStage {
            meters: core.observer.stage(&live),
            pools: live.routes.iter().map(|route| core.upstream.pool_of(route).ok().flatten()).collect(),
            live,
            canary: None,
        });
        let parameters = parameters.iter().map(|(_, range)| range.clone()).collect();
        Self { core: Rc::clone(core), stage, parameters }
    }

    pub(super) fn exchange(&self, method: Method, uri: &str, headers: &[(&str, &str)], body: Body) -> Exchange {
        let uri: Uri = uri.parse().unwrap();
        let mut map = HeaderMap::new();
        map.insert("host", HeaderValue::from_static("gateway.example:8443"));
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        Exchange {
            method,
            path: CanonicalPath::parse(&uri).unwrap(),
            uri,
            version: Version::HTTP_11,
            steering: crate::exchange::Steering::of(&map),
            headers: map,
            body,
            upgrade: None,
            client: Arc::new(Client::new(([10, 0, 0, 9], 5555).into(), ([127, 0, 0, 1], 8443).into(), None)),
            received: Instant::now(),
            ids: self.core.ids.next(),
            routed: Some(Routed {
                stage: Rc::clone(&self.stage),
                route: Some(0),
                parameters: self.parameters.clone(),
                resource_start: "/prod".len(),
                custom_host: false,
                preflight: false,
            }),
            record: Record::default(),
        }
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response<Body>, Rejection> {
        let mut exchange = self.exchange(method, uri, headers, Body::full(body.to_owned()));
        integrate(&self.core, &mut exchange).await
    }

    /// GET of `/prod/x`, read to its end.
    pub(super) async fn get(&self) -> Result<String, Rejection> {
        text(self.ask(Method::GET, "/prod/x", &[], "").await?).await
    }
}

pub(super) async fn text(response: Response<Body>) -> Result<String, Rejection> {
    let bytes = response.into_body().collect(1 << 20).await;
    let bytes = bytes.map_err(|error| Rejection::IntegrationFailure(error.to_string()))?;
    Ok(String::from_utf8(bytes.into()).unwrap())
}

/// A server whose connections are handled by `handle`, which gets their number from 0.
pub(super) async fn server<F: Future<Output = ()> + 'static>(
    handle: impl Fn(usize, TcpStream) -> F + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(handle(number, stream));
        }
    });
    address
}

/// Reads one request's head.
pub(super) async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    Some(String::from_utf8(read).unwrap().to_ascii_lowercase())
}

pub(super) async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Everything a server saw: heads of requests, and the connections they came on.
#[derive(Clone, Default)]
pub(super) struct Seen(Rc<RefCell<Vec<(usize, String)>>>);

impl Seen {
    pub(super) fn add(&self, connection: usize, head: String) {
        self.0.borrow_mut().push((connection, head));
    }

    pub(super) fn connections(&self) -> Vec<usize> {
        self.0.borrow().iter().map(|(connection, _)| *connection).collect()
    }

    /// The latest head's value of a header, lower case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let seen = self.0.borrow();
        let lines = seen.last()?.1.lines().skip(1);
        let values: Vec<&str> = lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| *known == name)
            .map(|(_, v)| v)
            .collect();
        (!values.is_empty()).then(|| values.join("|"))
    }

    /// The latest request line, lower case.
    pub(super) fn line(&self) -> String {
        self.0.borrow().last().unwrap().1.lines().next().unwrap().to_owned()
    }
}

/// A server that answers every request without a body with `answer`, and remembers what it saw.
pub(super) async fn answering(answer: &'static str) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let remember = seen.clone();
    let address = server(move |number, mut stream| {
        let seen = remember.clone();
        async move {
            while let Some(head) = head(&mut stream).await {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::to_owned);
                let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                seen.add(number, head);
                say(&mut stream, answer).await;
            }
        }
    })
    .await;
    (address, seen)
}

pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

impl Rejection {
    /// What went wrong with the backend.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::IntegrationFailure(text) | Self::Configuration(text) => text.clone(),
            other => format!("{other:?}"),
        }
    }
}
