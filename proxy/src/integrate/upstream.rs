//! Connections to backends: one set of pools per core.
//!
//! A request's way: take an idle connection, send, get the answer, give the connection back. On that way nothing is
//! spawned, locked or boxed. An answer whose body has not come in yet holds its connection, or a [`lease`] of one.

pub mod balance;
pub mod connect;
pub mod deadline;
pub mod destination;
pub mod http1;
pub mod lease;
pub mod outbound;
pub mod pool;
pub mod resolve;
pub mod send;
pub mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bundle::integration::Scheme;

pub use destination::{Destination, Protocol, Reach, Verification};
pub use outbound::{Fields, Outbound};
pub use pool::Pool;

use crate::integrate::upstream::balance::Balancer;
use crate::integrate::upstream::connect::{Connected, Counted, connect};
use crate::integrate::upstream::pool::Speaks;
use crate::live::backend::Target;
use crate::live::lambda::{Callee, Function};
use crate::live::{Action, Route};
use crate::options::Options;
use crate::rejection::Rejection;

/// Connections to backends that one core may have open or be opening. Beyond it requests that need a new one are
/// answered 503.
const MAX_CONNECTIONS: usize = 131_072;
/// Endpoints one core may know; URIs whose host comes from the request could ask for any number.
const MAX_POOLS: usize = 16_384;
/// Between two sweeps of idle connections; four make them leave.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

type Pools = HashMap<Destination, Rc<Pool>>;

/// A core's connections to backends.
pub struct Upstream {
    options: Arc<Options>,
    names: Rc<resolve::Names>,
    tls: Arc<tls::Clients>,
    pools: Rc<RefCell<Pools>>,
    open: Rc<Cell<usize>>,
    pub(super) timers: deadline::Timers,
    ticks: pool::Ticks,
    sweeping: Cell<bool>,
}

/// A place on a connection.
enum Place {
    Http1(Box<http1::Connection>),
    Http2(pool::Stream),
}

impl Upstream {
    /// No connections yet.
    pub fn new(options: Arc<Options>) -> Self {
        Self::with_tls(options, tls::Clients::shared())
    }

    /// No connections yet, and whom to trust.
    pub fn with_tls(options: Arc<Options>, tls: Arc<tls::Clients>) -> Self {
        Self {
            options,
            names: Rc::default(),
            tls,
            pools: Rc::default(),
            open: Rc::default(),
            timers: deadline::Timers::default(),
            ticks: Rc::default(),
            sweeping: Cell::new(false),
        }
    }

    /// The pool of a route's backend; `None` if it has none, or one that each request names.
    ///
    /// # Errors
    /// When the core knows too many endpoints, or the backend's address is none.
    pub fn pool_of(&self, route: &Route) -> Result<Option<Rc<Pool>>, Rejection> {
        let destination = match &route.action {
            Action::Refuse(_) | Action::Mock(_) => None,
            Action::Http(http) => http.endpoint.uri.destination().cloned(),
            Action::HttpProxy(http) => http.endpoint.uri.destination().cloned(),
            Action::Backend(backend) => Some(self.destination(&backend.target)?),
            Action::LambdaProxy(lambda) => Some(self.of_function(&lambda.function)?),
            Action::Lambda(lambda) => Some(self.of_function(&lambda.function)?),
            Action::AwsService(service) => Some(service.destination.clone()),
            Action::AwsAction(action) => Some(action.destination.clone()),
        };
        destination.map(|destination| self.pool(&destination)).transpose()
    }

    fn of_function(&self, function: &Function) -> Result<Destination, Rejection> {
        match &function.callee {
            Callee::Stage(target) => self.destination(target),
            Callee::Amazon { endpoint, .. } => Ok(endpoint.destination.clone()),
        }
    }

    fn destination(&self, target: &Target) -> Result<Destination, Rejection> {
        match target {
            Target::Url(destination) => Ok(destination.clone()),
            Target::Service { namespace, name, port, scheme } => self.service(namespace, name, *port, *scheme),
        }
    }

    /// The pool of an endpoint that is configured.
    ///
    /// # Errors
    /// When the core knows too many, or the endpoint is none.
    pub fn pool(&self, destination: &Destination) -> Result<Rc<Pool>, Rejection> {
        self.pool_among(destination, MAX_POOLS)
    }

    /// The pool of an endpoint whose host comes from a request: such leave room for those that are configured.
    ///
    /// # Errors
    /// When the core knows too many, or the endpoint is none.
    pub fn pool_of_request(&self, destination: &Destination) -> Result<Rc<Pool>, Rejection> {
        self.pool_among(destination, MAX_POOLS / 2)
    }

    fn pool_among(&self, destination: &Destination, most: usize) -> Result<Rc<Pool>, Rejection> {
        if let Some(pool) = self.pools.borrow().get(destination) {
            return Ok(Rc::clone(pool));
        }
        let mut pools = self.pools.borrow_mut();
        if pools.len() >= most {
            return Err(Rejection::Overloaded);
        }
        let authority = destination.authority();
        let Ok(parsed) = authority.parse() else {
            return Err(Rejection::Configuration(format!("`{authority}` is not the host of an endpoint")));
        };
        let pool = Rc::new(Pool::new(destination.clone(), parsed, Rc::clone(&self.ticks), Balancer::of(destination)));
        pools.insert(destination.clone(), Rc::clone(&pool));
        Ok(pool)
    }

    /// Where a Service is: where the options say, else where the cluster's DNS does.
    fn service(&self, namespace: &str, name: &str, port: u16, scheme: Scheme) -> Result<Destination, Rejection> {
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
        };
        let key = |port| (namespace.to_owned(), name.to_owned(), port);
        let services = &self.options.services;
        let (authority, reach) = match services.get(&key(port)).or_else(|| services.get(&key(0))) {
            Some(elsewhere) => (elsewhere.clone(), Reach::Exempt),
            None => {
                (format!("{name}.{namespace}.svc:{port}"), Reach::Service(Box::new((namespace.into(), name.into()))))
            }
        };
        let parsed = Destination::parse(scheme, &authority, Verification::default(), true);
        parsed.map(|destination| destination.reached(reach)).map_err(Rejection::Configuration)
    }

    /// A place for one request, and whether its connection has served others before.
    async fn place(&self, pool: &Rc<Pool>, fresh: bool) -> Result<(Place, bool), Rejection> {
        loop {
            if !fresh && let Some(connection) = pool.take() {
                return Ok((Place::Http1(connection), true));
            }
            if pool.speaks.get() == Speaks::Http1 {
                return Ok((self.open(pool).await?, false));
            }
            if let Some(stream) = pool.take_stream() {
                return Ok((Place::Http2(stream), true));
            }
            if !pool.connecting.get() {
                // The first one connects, so that a burst does not make a connection each.
                let connecting = Connecting::new(pool);
                let opened = self.open(pool).await;
                *pool.failure.borrow_mut() = opened.as_ref().err().cloned();
                drop(connecting);
                return opened.map(|place| (place, false));
            }
            pool.connected.notified().await;
            let failure = pool.failure.borrow().clone();
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
    }

    /// A place on a new connection.
    async fn open(&self, pool: &Pool) -> Result<Place, Rejection> {
        self.sweep();
        Ok(match connect(self, pool).await? {
            Connected::Http1(connection) => {
                pool.speaks.set(Speaks::Http1);
                Place::Http1(connection)
            }
            Connected::Http2(sender, limit) => {
                pool.speaks.set(Speaks::Http2);
                Place::Http2(pool.share(sender, limit))
            }
        })
    }

    fn count(&self, pool: &Pool) -> Option<Counted> {
        Counted::new(&self.open, MAX_CONNECTIONS, pool.open.as_ref())
    }

    /// Sweeps idle connections from now on, in one task for all pools.
    fn sweep(&self) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(&self.pools), Rc::clone(&self.ticks)));
        }
    }

    /// Connections open, or being opened.
    pub fn connections(&self) -> usize {
        self.open.get()
    }
}

async fn sweep(pools: Weak<RefCell<Pools>>, ticks: pool::Ticks) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pools) = pools.upgrade() else { return };
        ticks.set(ticks.get().wrapping_add(1));
        // Routes hold their pools; the others came from a request, or from a route that is gone.
        pools.borrow_mut().retain(|_, pool| !pool.sweep() || Rc::strong_count(pool) > 1);
    }
}

/// An HTTP/2 connection being made; whoever waits goes on when this is dropped, whatever came of it.
struct Connecting<'a>(&'a Pool);

impl<'a> Connecting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.connecting.set(true);
        pool.failure.borrow_mut().take();
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}
