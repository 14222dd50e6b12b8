//! A request in flight.

pub mod certificate;
mod source;
pub mod steering;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bundle::ApiKind;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::accept::Upgrade;
use crate::body::Body;
use crate::core::CoreStage;
use crate::dispatch::path::CanonicalPath;
use crate::live;
use crate::live::api_key::{Callers, Place};

pub use certificate::ClientCertificate;
pub use steering::Steering;

/// A request in flight: what the client sent, what dispatch found, what observe will say.
pub struct Exchange {
    /// Verb as received; dispatch applies `X-HTTP-Method-Override`.
    pub method: Method,
    /// As received: absolute form in HTTP/2.
    pub uri: Uri,
    /// Set by dispatch: the one path that match, auth, cache key and upstream use.
    pub path: CanonicalPath,
    pub version: Version,
    pub headers: HeaderMap,
    /// What `headers` came with.
    pub steering: Steering,
    pub body: Body,
    /// Set when the client asks to leave HTTP (`Upgrade`, or extended CONNECT).
    pub upgrade: Option<Upgrade>,
    /// Who called, over what.
    pub client: Arc<Client>,
    pub received: Instant,
    pub ids: RequestIds,
    /// Where dispatch sent it; `None` until then and for what leads nowhere.
    pub routed: Option<Routed>,
    /// What happened on the way, for logs and metrics.
    pub record: Record,
}

/// The connection's client side; shared by its requests.
#[derive(Debug)]
pub struct Client {
    /// Address of the immediate peer (of the PROXY protocol's source, where that is on).
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// The name TLS asked for, lower case.
    pub sni: Option<Box<str>>,
    /// The peer's address and our port as `X-Forwarded-For` and `X-Forwarded-Port` show them: written once per
    /// connection, not once per request.
    pub shown: (HeaderValue, HeaderValue),
    /// `https`, or `http` of a sidecar.
    pub scheme: &'static str,
    /// The certificate it has shown, where the host asks for one.
    pub certificate: Option<Box<ClientCertificate>>,
}

impl Client {
    pub fn new(peer: SocketAddr, local: SocketAddr, sni: Option<Box<str>>) -> Self {
        let address = HeaderValue::try_from(peer.ip().to_canonical().to_string());
        let port = match local.port() {
            443 => HeaderValue::from_static("443"),
            port => port.into(),
        };
        // An address is visible ASCII, so it is always a header's value.
        let shown = (address.unwrap_or_else(|_| HeaderValue::from_static("unknown")), port);
        Self { peer, local, sni, shown, scheme: "https", certificate: None }
    }
}

/// Names of a request.
pub struct RequestIds {
    /// `x-amzn-RequestId`: a UUID, the client's own if it sent a valid one.
    pub request: HeaderValue,
    /// `x-amz-apigw-id`.
    pub extended: HeaderValue,
}

/// Where a request goes.
#[derive(Clone)]
pub struct Routed {
    pub stage: Rc<CoreStage>,
    /// Index in `stage.live.routes`; `None`: the stage has no such method.
    pub route: Option<usize>,
    /// Values of the route's path parameters, in the order of `Route::parameters`, as ranges of the canonical path.
    pub parameters: Vec<Range<usize>>,
    /// Where the path below the stage begins in the canonical path: after the stage's name or the base path.
    pub resource_start: usize,
    /// The host is a custom one.
    pub custom_host: bool,
    /// It asks what a page of another origin may do with the route, and the gateway answers that by itself.
    pub preflight: bool,
}

impl Routed {
    /// The route, if the stage has it.
    pub fn route(&self) -> Option<&live::Route> {
        self.route.and_then(|index| self.stage.live.routes.get(index))
    }
}

/// The header in which callers show their API keys.
pub static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who called, where an API key was asked for.
pub struct Caller {
    pub callers: Rc<Arc<Callers>>,
    pub place: Place,
}

impl Caller {
    /// `$context.identity.apiKeyId`.
    pub fn key_id(&self) -> Option<&str> {
        self.callers.at(self.place).map(|key| &*key.id)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.key_id()).finish()
    }
}

/// What happened on the way. Filled by whoever knows; read once, by observe.
#[derive(Debug, Default)]
pub struct Record {
    /// Whose API key was accepted, where one was asked for.
    pub caller: Option<Caller>,
    /// Time from handing the request to the backend until its response headers.
    pub integration_latency: Option<Duration>,
    /// Status the backend gave.
    pub integration_status: Option<u16>,
    /// Status that a proxy function's own answer says; the backend's is that of its host.
    pub function_status: Option<u16>,
    /// What an AWS service, or a function's host, calls the request.
    pub endpoint_request_id: Option<HeaderValue>,
    /// Reason label of the rejection.
    pub reason: Option<&'static str>,
    /// One sentence about what went wrong, for the log; nothing secret.
    pub error: Option<String>,
    /// `X-Amzn-Trace-Id` sent to the backend.
    pub trace_id: Option<HeaderValue>,
}

impl Exchange {
    /// Value of a path parameter, escaped as received.
    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        let routed = self.routed.as_ref()?;
        let index = routed.route()?.parameters.iter().position(|parameter| &**parameter == name)?;
        self.path.as_str().get(routed.parameters.get(index)?.clone())
    }

    /// The path below the stage or base path, with its leading slash.
    pub fn resource_path(&self) -> &str {
        let start = self.routed.as_ref().map_or(0, |routed| routed.resource_start);
        match self.path.as_str().get(start..) {
            Some("") | None => "/",
            Some(path) => path,
        }
    }

    /// Believes the proxies in front of this one, so many of them, about whose request it is. Asked before the request's
    /// headers go anywhere.
    pub fn trust(&mut self, hops: u8) {
        if self.steering.forwarded_for {
            self.steering.source = source::source(&self.headers, hops);
        }
    }

    /// The client's address: `$context.identity.sourceIp`.
    pub fn source_ip(&self) -> IpAddr {
        self.steering.source.unwrap_or_else(|| self.client.peer.ip().to_canonical())
    }

    /// The raw query, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The query's parameters, escaped, as they are written: `name=value`. In a REST API `;` separates them as `&` does.
    pub fn query_pairs(&self) -> impl DoubleEndedIterator<Item = &str> {
        let kind = self.routed.as_ref().map_or(ApiKind::Rest, |routed| routed.stage.live.kind);
        pairs(self.query().unwrap_or_default(), kind)
    }

    /// The host asked for, without port: `:authority`, or the `Host` header.
    pub fn host(&self) -> Option<&str> {
        let authority = match self.uri.authority() {
            Some(authority) => return Some(authority.host()),
            None => self.headers.get(http::header::HOST)?.to_str().ok()?,
        };
        Some(host_of(authority))
    }

    /// Wall-clock time of arrival.
    pub fn received_at(&self) -> SystemTime {
        SystemTime::now() - self.received.elapsed()
    }
}

/// The parameters of a query; Amazon's REST APIs also split it at `;`.
pub(crate) fn pairs(query: &str, kind: ApiKind) -> impl DoubleEndedIterator<Item = &str> {
    let ends = move |character: char| character == '&' || (character == ';' && kind == ApiKind::Rest);
    query.split(ends).filter(|pair| !pair.is_empty())
}

/// `authority` without its port; brackets of an IPv6 literal stay.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}
