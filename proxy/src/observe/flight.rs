//! One request between its header section and the end of its answer.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, Response, StatusCode, Uri, Version, header};

use crate::body::{Body, Watch};
use crate::core::{Core, CoreStage};
use crate::dispatch::path::CanonicalPath;
use crate::exchange::{Caller, Exchange, Record, RequestIds, host_of};
use crate::observe::line::{Line, StageLine};
use crate::observe::metrics::meter::{LATENCY, OVERHEAD};
use crate::observe::metrics::table::class_index;

/// A request in flight that will be counted and logged: by [`super::watch`] when it is answered, or on drop when
/// its client has left before that.
pub struct InFlight {
    core: Rc<Core>,
    /// Taken when the request ends.
    exchange: Option<Box<Exchange>>,
    seen: Option<Seen>,
}

/// What the log says of the request's headers. Taken at the beginning, as the backend may get the headers
/// themselves; `None` without a log.
struct Seen {
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    source: IpAddr,
}

impl InFlight {
    pub(super) fn new(core: Rc<Core>, exchange: Box<Exchange>) -> Self {
        core.observer.meters.in_flight.up();
        let seen = core.observer.log.is_some().then(|| Seen {
            host: exchange.headers.get(header::HOST).cloned(),
            user_agent: exchange.headers.get(header::USER_AGENT).cloned(),
            source: exchange.source_ip(),
        });
        Self { core, exchange: Some(exchange), seen }
    }

    /// The answer's header section is ready.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Body> {
        let Some(exchange) = self.exchange.take() else { return response };
        let status = response.status();
        // Codecs drop such a body without asking it for anything.
        let bodiless = exchange.method == Method::HEAD || is_bodiless(status);
        // HTTP/1.1's takes one that is all there together with the head.
        let taken = if bodiless { Some(0) } else { response.body().whole() };
        let at_once = taken.filter(|&bytes| bytes == 0 || exchange.version < Version::HTTP_2);
        let age = exchange.received.elapsed();
        let mut end = End::new(Rc::clone(&self.core), exchange, self.seen.take(), Some(status.as_u16()), age);
        if let Some(bytes) = at_once {
            end.bytes = bytes;
            end.finish(age, false);
            return response;
        }
        response.map(|body| body.watched(Box::new(end)))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let age = exchange.received.elapsed();
            End::new(Rc::clone(&self.core), exchange, self.seen.take(), None, age).finish(age, true);
        }
    }
}

impl Deref for InFlight {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        self.exchange.as_deref().expect("it is taken only by what consumes `self`")
    }
}

impl DerefMut for InFlight {
    fn deref_mut(&mut self) -> &mut Exchange {
        self.exchange.as_deref_mut().expect("it is taken only by what consumes `self`")
    }
}

/// True if HTTP has no body with this status.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// What the end of a request needs. The one allocation of its observation.
struct End {
    core: Rc<Core>,
    stage: Option<Rc<CoreStage>>,
    route: Option<usize>,
    status: Option<u16>,
    received: Instant,
    bytes: u64,
    record: Record,
    /// Said by the log alone.
    said: Option<Said>,
    /// The backend broke off within the body.
    failed: bool,
    finished: bool,
}

/// What only the log says.
struct Said {
    method: Method,
    uri: Uri,
    path: CanonicalPath,
    version: Version,
    ids: RequestIds,
    seen: Seen,
}

impl End {
    /// Takes what it needs; the rest, the request's headers above all, ends here. `age` is the request's.
    fn new(core: Rc<Core>, exchange: Box<Exchange>, seen: Option<Seen>, status: Option<u16>, age: Duration) -> Self {
        let Exchange { method, uri, path, version, received, ids, routed, record, .. } = *exchange;
        let (stage, route) = routed.map_or((None, None), |routed| (Some(routed.stage), routed.route));
        let end = Self {
            core,
            stage,
            route,
            status,
            received,
            bytes: 0,
            record,
            said: seen.map(|seen| Said { method, uri, path, version, ids, seen }),
            failed: false,
            finished: false,
        };
        end.head(age);
        end
    }

    /// Counts the gateway's own part: bodies are streamed at the pace of others.
    fn head(&self, age: Duration) {
        let own = age.saturating_sub(self.record.integration_latency.unwrap_or_default());
        let histogram = match &self.stage {
            Some(stage) => stage.meters.overhead(&stage.live),
            None => &self.core.observer.nowhere.1,
        };
        histogram.observe(&OVERHEAD, own);
    }

    /// Counts and logs, if that has not been done.
    fn finish_now(&mut self, client_left: bool) {
        if !self.finished {
            self.finish(self.received.elapsed(), client_left);
        }
    }

    /// Counts and logs.
    fn finish(&mut self, latency: Duration, client_left: bool) {
        self.finished = true;
        let observer = &self.core.observer;
        observer.meters.in_flight.down();
        let meters = match &self.stage {
            Some(stage) => stage.meters.route(&stage.live, self.route),
            None => Some(&*observer.nowhere.0),
        };
        if let Some(meters) = meters {
            if let Some(class) = meters.classes.get(class_index(self.status)) {
                class.add(1);
            }
            meters.duration.observe(&LATENCY, latency);
            if let Some(integration) = self.record.integration_latency {
                meters.integration.observe(&LATENCY, integration);
            }
        }
        if let Some(reason) = self.record.reason {
            observer.rejected(reason);
        }
        if let Some(said) = &self.said {
            observer.log(|| self.line(said, latency, client_left));
        }
    }

    fn line<'a>(&'a self, said: &'a Said, latency: Duration, client_left: bool) -> Line<'a> {
        let live = self.stage.as_ref().map(|stage| &stage.live);
        let path = match said.path.as_str() {
            // Not set: dispatch has refused the path, or the client was gone before.
            "/" => said.uri.path(),
            path => path,
        };
        let error = if self.failed { Some("the backend broke off within its body") } else { None };
        Line {
            request_id: Some(said.ids.request.as_bytes()),
            extended_request_id: Some(said.ids.extended.as_bytes()),
            stage: live.map(|live| StageLine {
                namespace: &live.key.namespace,
                api: &live.api_name,
                stage: &live.name,
                deployment: live.deployment,
            }),
            method: Some(said.method.as_str()),
            path: Some(path),
            resource_path: live
                .and_then(|live| self.route.and_then(|route| live.routes.get(route)))
                .map(|route| &*route.resource),
            protocol: Some(protocol(said.version)),
            host: match said.uri.authority() {
                Some(authority) => Some(authority.host().as_bytes()),
                None => {
                    said.seen.host.as_ref().and_then(|host| host.to_str().ok()).map(|host| host_of(host).as_bytes())
                }
            },
            user_agent: said.seen.user_agent.as_ref().map(HeaderValue::as_bytes),
            api_key_id: self.record.caller.as_ref().and_then(Caller::key_id),
            status: self.status,
            reason: self.record.reason,
            error: self.record.error.as_deref().or(error),
            response_length: self.bytes,
            integration_latency: self.record.integration_latency,
            integration_status: self.record.integration_status,
            trace_id: self.record.trace_id.as_ref().map(HeaderValue::as_bytes),
            client_left,
            ..Line::of(SystemTime::now() - latency, said.seen.source, latency)
        }
    }
}

impl Watch for End {
    fn data(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn end(&mut self) {
        self.finish_now(false);
    }

    fn failed(&mut self) {
        self.failed = true;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.finish_now(!self.failed);
    }
}

/// A version as the log names it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        // The type is open; no codec of ours speaks anything else.
        _ => "HTTP/3.0",
    }
}
