//! Starting, loading and stopping a proxy.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bundle::{BundleSet, HostBundle, Stamped};
use tokio::sync::Semaphore;

use crate::accept::listener;
use crate::accept::tls::Tls;
use crate::admin::{self, AdminHandle, RejectedBundle, ReportedFinding};
use crate::core::Core;
use crate::live::{Broken, Live, Offered, api_key};
use crate::observe::log::AccessLog;
use crate::options::Options;
use crate::undelivered::Undelivered;
use crate::worker::{self, Peer, Setup};

/// What all cores share. Read on the hot path: only `generation`.
pub struct Shared {
    pub live: ArcSwap<Live>,
    /// Counts swaps of `live`.
    pub generation: AtomicU64,
    pub draining: AtomicBool,
    /// Counters and histograms of every core, gathered at scrape.
    pub metrics: crate::observe::metrics::Registry,
    /// Where the lines of the access log go; closed last.
    pub access_log: AccessLog,
    /// The latest state of loading, for the admin port.
    pub status: admin::Status,
    /// Places for those who wait for a change.
    pub polls: Semaphore,
    /// What the kernel still has for clients; known only while draining.
    pub undelivered: Undelivered,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            live: Default::default(),
            generation: Default::default(),
            draining: Default::default(),
            metrics: Default::default(),
            access_log: AccessLog::off(),
            status: Default::default(),
            polls: Semaphore::new(admin::MAX_POLLS),
            undelivered: Undelivered::default(),
        }
    }
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Routes that this proxy cannot serve.
    pub broken: Vec<Broken>,
    pub routes: usize,
}

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    https: SocketAddr,
    peers: Arc<[Peer]>,
    threads: Vec<JoinHandle<()>>,
    admin: Option<AdminHandle>,
}

/// How often it is looked whether everything is done.
const LOOK: Duration = Duration::from_millis(20);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Https,
    Http,
    Admin,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "HTTPS",
            Self::Http => "HTTP",
            Self::Admin => "admin",
        })
    }
}

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address} ({port}): {error}")]
    Listen { port: Port, address: SocketAddr, error: io::Error },
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot start a worker thread: {0}")]
    Thread(#[from] io::Error),
}

impl Proxy {
    /// Opens the ports and starts the workers. Nothing is served (403) until the first load.
    ///
    /// # Errors
    /// When an address is taken, or the system refuses threads.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let workers = options.workers.max(1);
        let https = open(Port::Https, options.https, workers)?;
        let address = https.first().map_or(Ok(options.https), TcpListener::local_addr)?;
        let admin = match options.admin {
            Some(admin) => open(Port::Admin, admin, 1)?.pop(),
            None => None,
        };
        let mut redirects = match options.http {
            Some(http) => open(Port::Http, http, 1)?,
            None => Vec::new(),
        };
        let options = Arc::new(options);
        let access_log = if options.access_log { AccessLog::stdout()? } else { AccessLog::off() };
        let shared = Arc::new(Shared { access_log, ..Shared::default() });
        shared.metrics.register(Box::new(options.egress.refused().clone()));
        let tls = Arc::new(Tls::new(&options, &shared)?);
        let (peers, mail): (Vec<_>, Vec<_>) = https.iter().map(|_| Peer::new()).unzip();
        let peers: Arc<[Peer]> = peers.into();
        let mut threads = Vec::with_capacity(workers);
        for (index, (https, mail)) in https.into_iter().zip(mail).enumerate() {
            let setup = Setup {
                index,
                https,
                redirect: redirects.pop(),
                mail,
                peers: Arc::clone(&peers),
                tls: Arc::clone(&tls),
                https_port: address.port(),
            };
            let (options, shared) = (Arc::clone(&options), Arc::clone(&shared));
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let made = worker::run(setup, || Core::new(index, options, shared).map_err(io::Error::from));
                if let Err(error) = made {
                    tracing::error!(%error, "worker {index} ended");
                }
            })?;
            threads.push(thread);
        }
        let admin = admin.map(|listener| admin::serve(listener, Arc::clone(&shared))).transpose()?;
        Ok(Self { shared, https: address, peers, threads, admin })
    }

    /// Where health, metrics and what is loaded are told.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// What the compiler found, for the admin port. Replaces what was reported before.
    pub fn report(&self, findings: Vec<ReportedFinding>) {
        self.shared.status.findings(findings);
    }

    /// Where HTTPS is served.
    pub fn https_address(&self) -> SocketAddr {
        self.https
    }

    /// Makes a set of bundles live. Startup is the first load.
    pub fn load(&self, set: &BundleSet) -> LoadReport {
        let callers = api_key::Offer { plans: &set.plans, keys: &set.keys };
        self.offer(set.stages.iter().map(Offered::Bundle), &set.hosts, callers)
    }

    /// Makes live what is offered: all of it, and nothing else.
    pub fn offer<'a>(
        &self,
        stages: impl Iterator<Item = Offered<'a>>,
        hosts: &[Stamped<HostBundle>],
        callers: api_key::Offer<'_>,
    ) -> LoadReport {
        let (live, broken) = Live::update(stages, hosts, callers, &self.shared.live.load());
        let routes = live.stages.iter().map(|stage| stage.routes.len()).sum();
        self.shared.metrics.loaded(&live);
        let live = Arc::new(live);
        self.shared.live.store(Arc::clone(&live));
        self.shared.generation.fetch_add(1, Ordering::Release);
        self.shared.status.loaded(&live, &broken);
        LoadReport { broken, routes }
    }

    /// What is live.
    pub fn live(&self) -> Arc<Live> {
        self.shared.live.load_full()
    }

    /// Bundles that should be running and cannot be read; it replaces what was told before.
    pub fn rejected(&self, rejected: Vec<RejectedBundle>) {
        self.shared.status.rejected(rejected);
    }

    /// A bundle could not be read; counted.
    pub fn count_rejected(&self) {
        self.shared.metrics.bundle_rejected();
    }

    /// Fails readiness, and asks every client to go elsewhere with its next answer. Goes on accepting.
    pub fn leave(&self) {
        self.shared.draining.store(true, Ordering::Release);
        self.shared.status.draining();
    }

    /// Stops accepting, lets requests in flight finish for at most `grace`, and ends. Blocks.
    pub fn drain(self, grace: Duration) {
        let end = Instant::now() + grace;
        self.leave();
        for peer in self.peers.iter() {
            peer.drain(grace);
        }
        let undelivered = &self.shared.undelivered;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            undelivered.look(self.https.port());
            std::thread::sleep(LOOK);
        }
        for thread in self.threads {
            // A worker that panicked has nothing left to drain.
            drop(thread.join());
        }
        // A pod's network goes with its process, and what the kernel still has for a slow client goes with it.
        while Instant::now() < end && undelivered.look(self.https.port()) {
            std::thread::sleep(LOOK);
        }
        self.shared.access_log.close(LAST_LINES);
        if let Some(admin) = self.admin {
            admin.stop();
        }
    }
}

fn open(port: Port, address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, StartError> {
    listener::bind(address, count).map_err(|error| StartError::Listen { port, address, error })
}
