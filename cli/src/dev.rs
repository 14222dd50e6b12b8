//! `stagegate dev`: the gateway here, from files, without a cluster.

pub(crate) mod deploy;
mod reload;
mod report;
mod signals;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use compile::Gateway;
use proxy::live::Broken;
use proxy::proxy::{Port, StartError};
use proxy::{Options, Proxy, Timeouts};

use crate::args::{Dev, Switch};
use crate::authority::Authority;
use crate::collect::files::{self, Files};
use crate::deployments::Deployments;
use crate::lint;
use crate::state::State;

use reload::Reloader;
use report::Reporter;
use watch::{Notice, QUEUE, Settling, Watch};

/// How often files are read where they cannot be watched.
const POLL: Duration = Duration::from_secs(1);

/// How often a folder that has grown is read again before it is left to its events.
const GROWTH: usize = 8;

pub(crate) fn run(dev: &Dev) -> anyhow::Result<ExitCode> {
    if let Some(missing) = lint::missing(&dev.paths) {
        return Err(anyhow!(missing));
    }
    let (sender, notices) = mpsc::sync_channel(QUEUE);
    // Before anything is served, so that no early signal kills a request.
    signals::listen(sender.clone()).context("cannot listen for signals")?;
    let state = State::open(dev.state.as_deref())?;
    let authority = Authority::open(&state)?;
    let project = state.project(&dev.paths).context("cannot make the folder of the deployments")?;
    if let Some(file) = &dev.ca_out {
        authority.export(file)?;
    }
    let mut reporter = Reporter::new(dev, authority.path());
    let proxy = start(dev, authority)?;
    reporter.listening(&proxy);
    let gateway = Gateway { base_domain: dev.base_domain.clone(), ..Gateway::dev() };
    let reloader = Reloader::new(dev.paths.clone(), gateway, Deployments::new(project));
    let watch = Watch::new(&dev.paths, sender).inspect_err(|error| reporter.unwatched(&error.to_string())).ok();
    let mut server = Server { dev, proxy, reporter, reloader, watch, served: false, broken: Vec::new() };
    server.reload();
    server.follow(&notices);
    server.reporter.draining(dev.grace);
    server.proxy.drain(Duration::from_secs(dev.grace));
    Ok(ExitCode::SUCCESS)
}

struct Server<'a> {
    dev: &'a Dev,
    proxy: Proxy,
    reporter: Reporter,
    reloader: Reloader,
    watch: Option<Watch>,
    /// Everything has compiled once. Until then nothing is served, so that being ready means something.
    served: bool,
    /// What the proxy could not serve of what it loaded last.
    broken: Vec<Broken>,
}

impl Server<'_> {
    /// Reloads whenever files have changed, until the process shall stop.
    fn follow(&mut self, notices: &mpsc::Receiver<Notice>) {
        let mut settling: Option<Settling> = None;
        loop {
            let due = settling.as_ref().map(Settling::due);
            let wait = match (&self.watch, due) {
                (_, Some(due)) => due.saturating_duration_since(Instant::now()),
                (None, None) => POLL,
                (Some(_), None) => Duration::MAX,
            };
            match notices.recv_timeout(wait) {
                Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Notice::Files(event)) => {
                    if let Some(watch) = &mut self.watch {
                        settling = Settling::note(settling, &event, watch, Instant::now());
                    }
                }
                Err(RecvTimeoutError::Timeout) if due.is_none() => self.reload(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if settling.as_ref().is_some_and(|settling| settling.due() <= Instant::now()) {
                settling = None;
                self.reload();
            }
        }
    }

    /// Reads everything and serves what compiles.
    fn reload(&mut self) {
        let start = Instant::now();
        let files = self.read();
        let mut outcome = self.reloader.reload(&files);
        if self.served || outcome.is_servable() {
            if outcome.changed || !self.served {
                self.broken = self.proxy.load(&outcome.set).broken;
            }
            self.served = true;
            outcome.broken(&self.broken);
        }
        self.proxy.report(report::reported(&outcome.diagnostics));
        self.reporter.reloaded(&outcome, self.served, start.elapsed());
    }

    /// Reads the files, and again when a folder was not watched while it was read.
    fn read(&mut self) -> Files {
        let mut files = files::read(&self.dev.paths);
        let Some(watch) = &mut self.watch else { return files };
        for _ in 0..GROWTH {
            if !watch.follow(&files) {
                break;
            }
            files = files::read(&self.dev.paths);
        }
        if let Some(folder) = watch.blind(&files) {
            self.reporter.unwatched(&format!("{} cannot be watched", folder.display()));
            self.watch = None;
        }
        files
    }
}

fn start(dev: &Dev, authority: Authority) -> anyhow::Result<Proxy> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        https: dev.https,
        plain: false,
        http: dev.http,
        admin: Some(dev.admin),
        workers: dev.workers.map_or(cores, usize::from),
        max_connections: Options::MAX_CONNECTIONS,
        access_log: dev.access_log == Switch::On,
        timeouts: Timeouts::default(),
        certificates: Arc::new(authority.leaves(vec![dev.https.ip()])),
        services: dev.service_map(),
        endpoints: Default::default(),
        egress: Default::default(),
        trusted_hops: 0,
        lends_aws_credentials: Default::default(),
    };
    Proxy::start(options).map_err(|error| match error {
        StartError::Listen { port, address, error } => {
            let flag = match port {
                Port::Https => "--https",
                Port::Http => "--http",
                Port::Admin => "--admin",
            };
            anyhow!("cannot listen on {address}: {error}\n  choose another address with {flag} ADDR")
        }
        StartError::Tls(_) | StartError::Thread(_) => error.into(),
    })
}
