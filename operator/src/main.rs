//! `stagegate-operator`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use operator::collect::Event;
use operator::config::Config;
use operator::lease::{Campaign, Tenure, campaign};
use operator::operator::{Operator, Settings};
use operator::serve::{Vitals, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing_subscriber::EnvFilter;

/// Compiling is many small allocations; what is freed shall go back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Compiles ApiDefinitions and Stages into bundles that proxies load, and reports on them.
#[derive(Parser)]
#[command(name = "stagegate-operator", version)]
struct Arguments {
    /// The configuration file: which gateways there are. Read again when it changes.
    #[arg(long, value_name = "FILE", env = "STAGEGATE_CONFIG")]
    config: PathBuf,
    /// Namespaces to serve, with Roles there. Default: all, with a ClusterRole.
    #[arg(long, value_name = "NAME,…", env = "STAGEGATE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDR", env = "STAGEGATE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The operator's own namespace, for its Lease and its local CA. Default: the service account's.
    #[arg(long, value_name = "NAME", env = "STAGEGATE_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", env = "STAGEGATE_LEASE_NAME", default_value = "stagegate-operator")]
    lease_name: String,
    /// What this operator is called in the Lease: unique among its replicas. Default: the host's name.
    #[arg(long, value_name = "NAME", env = "STAGEGATE_IDENTITY")]
    identity: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).compact().init();
    // Nobody has installed another one before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = Config::read(&arguments.config)?;
    let mut client_config = kube::Config::infer().await.context("no cluster is configured")?;
    let namespace = arguments.namespace.unwrap_or_else(|| client_config.default_namespace.clone());
    let watching = kube::Client::try_from(client_config.clone())?;
    // A call that hangs must not hang the leader. Watches have a client of their own: they are silent for long.
    client_config.connect_timeout = Some(Duration::from_secs(5));
    client_config.read_timeout = Some(Duration::from_secs(15));
    client_config.write_timeout = Some(Duration::from_secs(15));
    let client = kube::Client::try_from(client_config)?;
    let identity = arguments
        .identity
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned()))
        .context("no --identity, and the host has no name")?;
    let vitals = Arc::new(Vitals::new()?);
    let listen = arguments.listen;
    serve(listen, Arc::clone(&vitals)).await.with_context(|| format!("cannot listen on {listen}"))?;

    let (events, inbox) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let lease = Campaign { namespace: namespace.clone(), lease: arguments.lease_name, identity: identity.clone() };
    let tenure = Tenure::default();
    let holding = tokio::spawn(campaign(client.clone(), lease, tenure.clone(), events.clone(), stopped));
    tokio::spawn(follow(arguments.config, config.clone(), events.clone()));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let settings = Settings { namespace, namespaces: arguments.namespaces, identity };
    // Every write is one whole request, so a pass may end between any two.
    tokio::select! {
        () = Operator::new(client, watching, config, settings, tenure, vitals, events).run(inbox) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Whoever waits leads at once.
    stop.send(true).ok();
    holding.await.context("the Lease's task")?;
    Ok(())
}

/// Reads the configuration again when it changes. One that cannot be used is told once, and the one before stays.
async fn follow(path: PathBuf, mut known: Config, events: mpsc::UnboundedSender<Event>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        match Config::read(&path) {
            Ok(config) if config != known => {
                known = config.clone();
                tracing::info!("the configuration has changed");
                if events.send(Event::Config(config)).is_err() {
                    return;
                }
            }
            Ok(_) => told.clear(),
            Err(error) => {
                let text = error.to_string();
                if text != told {
                    tracing::error!("{text}; the configuration before stays");
                    told = text;
                }
            }
        }
    }
}
