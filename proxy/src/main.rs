//! `stagegate-proxy`: the data plane in a cluster, or beside a program.

mod arguments;
mod certificate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arguments::{Arguments, LogForm};
use clap::Parser;
use kube::{Client, Config};
use proxy::egress::Egress;
use proxy::endpoints::Endpoints;
use proxy::options::Lending;
use proxy::source::cluster::{self, Scope};
use proxy::source::mounted;
use proxy::{Options, Proxy, Timeouts};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A request is many small allocations, and an idle connection a few that stay.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Connecting to an API server that does not answer is given up after this.
const API_CONNECT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(form: LogForm) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match form {
        LogForm::Json => log.json().init(),
        LogForm::Text => log.init(),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let endpoints = Arc::<Endpoints>::default();
    let options = options(&arguments, &endpoints)?;
    let (drain_delay, grace) = (arguments.drain_delay, arguments.grace);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let proxy = runtime.block_on(async {
        // Before anything is served, so that no signal is missed.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let proxy = Proxy::start(options)?;
        let stopping = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("leaving: not ready any more, and accepting for a little longer");
            proxy.leave();
            tokio::time::sleep(drain_delay).await;
        };
        tokio::select! {
            followed = follow(arguments, endpoints, &proxy) => followed?,
            () = stopping => {}
        }
        anyhow::Ok(proxy)
    })?;
    proxy.drain(grace);
    tracing::info!("everything in flight has been answered");
    Ok(())
}

fn options(arguments: &Arguments, endpoints: &Arc<Endpoints>) -> anyhow::Result<Options> {
    let Arguments { sidecar, egress_deny, egress_allow, .. } = arguments;
    let (deny, allow) = (egress_deny.clone(), egress_allow.clone());
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let (main, http, admin, egress) = if *sidecar {
        let http = arguments.http.unwrap_or(loopback(8080));
        if !http.ip().is_loopback() {
            bail!("--http {http}: a sidecar serves without TLS, so it listens on loopback only: 127.0.0.1 or [::1]");
        }
        (http, None, loopback(8444), Egress::beside(deny, allow))
    } else {
        (arguments.https, arguments.http, any(8444), Egress::guarded(deny, allow))
    };
    let lending = if *sidecar && arguments.aws_credential_namespaces.is_empty() {
        Lending::All
    } else {
        Lending::To(arguments.aws_credential_namespaces.iter().map(|name| name.as_str().into()).collect())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Options {
        https: main,
        plain: *sidecar,
        http,
        admin: Some(arguments.admin.unwrap_or(admin)),
        workers: arguments.workers.map_or(cores, |workers| usize::from(workers.get())),
        max_connections: arguments.max_connections.get(),
        access_log: arguments.access_log,
        timeouts: Timeouts::default(),
        certificates: Arc::new(certificate::SelfSigned::new()?),
        services: BTreeMap::new(),
        endpoints: Arc::clone(endpoints),
        egress,
        trusted_hops: arguments.trusted_hops,
        lends_aws_credentials: lending,
    })
}

/// Follows the bundles, for ever.
async fn follow(arguments: Arguments, endpoints: Arc<Endpoints>, proxy: &Proxy) -> anyhow::Result<()> {
    if let Some(folder) = arguments.bundle {
        mounted::follow(folder, proxy).await;
        return Ok(());
    }
    let mut config = Config::infer().await.context("there is no cluster: neither a service account nor KUBECONFIG")?;
    config.connect_timeout = Some(API_CONNECT);
    let client = Client::try_from(config).context("cannot use the cluster's address")?;
    let slices = match &*arguments.endpoint_namespaces {
        [] => Scope::Named,
        [all] if all == "all" => Scope::All,
        names => Scope::Only(names.iter().cloned().collect::<BTreeSet<_>>()),
    };
    let settings = cluster::Settings {
        client,
        gateway: arguments.gateway,
        namespace: arguments.bundle_namespace.context("--bundle-namespace is missing")?,
        cache: arguments.cache,
        slices,
        endpoints,
    };
    cluster::follow(settings, proxy).await?;
    Ok(())
}
