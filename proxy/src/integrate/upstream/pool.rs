//! Connections to one endpoint: idle ones of HTTP/1.1, and shared ones of HTTP/2.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use hyper::client::conn::http2;
use tokio::sync::Notify;

use crate::body::Body;
use crate::integrate::upstream::balance::Balancer;
use crate::integrate::upstream::destination::{Destination, Protocol, Reach};
use crate::integrate::upstream::http1;
use crate::rejection::Rejection;

/// Idle connections kept per endpoint and core; more are closed when they come back.
const MAX_IDLE: usize = 1024;
/// Ticks an idle connection is kept.
const IDLE_TICKS: u32 = 4;
/// Streams on one HTTP/2 connection, even if the server allows more: beyond it a second connection serves better.
const MAX_STREAMS: usize = 1000;

/// Counts the sweeps of a core's pools, so that nobody reads a clock to note how long a connection has been idle.
pub type Ticks = Rc<Cell<u32>>;

/// Connections to one endpoint.
pub struct Pool {
    pub destination: Destination,
    pub authority: Authority,
    /// The authority as the `Host` header.
    pub host: HeaderValue,
    pub scheme: Scheme,
    /// The latest returned is the first taken, so that a quiet endpoint's surplus ages and goes.
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    pub(super) speaks: Cell<Speaks>,
    /// An HTTP/2 connection is being made; whoever needs one waits for it.
    pub(super) connecting: Cell<bool>,
    pub(super) connected: Notify,
    /// Why the latest attempt failed.
    pub(super) failure: RefCell<Option<Rejection>>,
    ticks: Ticks,
    /// Of a Service: which of its pods is asked.
    pub(super) balancer: Option<Box<Balancer>>,
    /// Of a pod: connections that are open or being opened.
    pub(super) open: Option<Rc<Cell<usize>>>,
    /// The pod is gone, or will be: nothing is kept for it.
    retired: Cell<bool>,
}

struct Idle {
    connection: Box<http1::Connection>,
    since: u32,
}

/// An HTTP/2 connection that many requests share.
pub(super) struct Shared {
    sender: RefCell<http2::SendRequest<Body>>,
    active: Cell<usize>,
    /// Streams the server allows.
    limit: Rc<Cell<usize>>,
    used: Cell<u32>,
}

/// What the endpoint speaks, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Unknown,
    Http1,
    Http2,
}

/// One request's place on an HTTP/2 connection.
pub struct Stream(Rc<Shared>);

impl Pool {
    pub(super) fn new(
        destination: Destination,
        authority: Authority,
        ticks: Ticks,
        balancer: Option<Box<Balancer>>,
    ) -> Self {
        let speaks = match destination.protocol {
            Protocol::Http1 | Protocol::Tls1 => Speaks::Http1,
            Protocol::Http2 => Speaks::Http2,
            Protocol::Tls => Speaks::Unknown,
        };
        // An authority holds no byte that a header's value may not hold.
        let host = HeaderValue::try_from(authority.as_str()).unwrap_or_else(|_| HeaderValue::from_static(""));
        let open = matches!(destination.reach, Reach::Pod(_)).then(Rc::default);
        Self {
            scheme: destination.scheme(),
            destination,
            authority,
            host,
            idle: RefCell::default(),
            shared: RefCell::default(),
            speaks: Cell::new(speaks),
            connecting: Cell::new(false),
            connected: Notify::new(),
            failure: RefCell::default(),
            ticks,
            balancer,
            open,
            retired: Cell::new(false),
        }
    }

    /// Requests that are being answered, of a pod.
    pub(super) fn in_flight(&self) -> usize {
        let Some(open) = &self.open else { return 0 };
        let shared = self.shared.borrow();
        let streams: usize = shared.iter().map(|connection| connection.active.get()).sum();
        open.get().saturating_sub(self.idle.borrow().len() + shared.len()) + streams
    }

    /// Closes what is idle, and from now on what comes back.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }

    /// An idle HTTP/1.1 connection.
    pub(in crate::integrate) fn take(&self) -> Option<Box<http1::Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, since: _ }) = idle.pop() {
            // One that the backend has closed is not ready and never will be.
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back that has nothing in flight.
    pub(super) fn put(&self, connection: Box<http1::Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && !self.retired.get() {
            idle.push(Idle { connection, since: self.ticks.get() });
        }
    }

    /// A place on the first HTTP/2 connection that has one.
    pub(super) fn take_stream(&self) -> Option<Stream> {
        let mut shared = self.shared.borrow_mut();
        if shared.iter().any(|connection| connection.is_closed()) {
            shared.retain(|connection| !connection.is_closed());
        }
        shared
            .iter()
            .find(|connection| connection.active.get() < connection.limit.get().min(MAX_STREAMS))
            .map(Stream::new)
    }

    /// Adds an HTTP/2 connection, and takes a place on it.
    pub(super) fn share(&self, sender: http2::SendRequest<Body>, limit: Rc<Cell<usize>>) -> Stream {
        let connection = Rc::new(Shared {
            sender: RefCell::new(sender),
            active: Cell::new(0),
            limit,
            used: Cell::new(self.ticks.get()),
        });
        if !self.retired.get() {
            self.shared.borrow_mut().push(Rc::clone(&connection));
        }
        Stream::new(&connection)
    }

    /// Closes what has been idle for too long; true if nothing is left.
    pub(super) fn sweep(&self) -> bool {
        let now = self.ticks.get();
        let recent = |since: u32| now.wrapping_sub(since) < IDLE_TICKS;
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| recent(idle.since) && idle.connection.is_ready());
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| {
            if connection.active.get() > 0 {
                connection.used.set(now);
            }
            !connection.is_closed() && recent(connection.used.get())
        });
        idle.is_empty() && shared.is_empty() && !self.connecting.get()
    }

    /// The URI of a request in HTTP/2, which has no `Host`.
    pub(super) fn absolute(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // Scheme, authority and path make a whole.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.sender.borrow().is_closed()
    }
}

impl Stream {
    fn new(connection: &Rc<Shared>) -> Self {
        connection.active.set(connection.active.get() + 1);
        Self(Rc::clone(connection))
    }

    pub(super) fn sender(&self) -> http2::SendRequest<Body> {
        self.0.sender.borrow().clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}
