//! The operator's process: options, signals, wiring.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use operator::config::Config;
use operator::lease::Candidate;
use operator::metrics::Metrics;
use operator::{Operator, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The control plane of Stagegate.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// File with the gateways; read again when it changes.
    #[arg(long, env = "STAGEGATE_CONFIG")]
    config: PathBuf,
    /// Namespaces to serve. Default: all.
    #[arg(long, env = "STAGEGATE_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered.
    #[arg(long, env = "STAGEGATE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The operator's own namespace. Default: its service account's.
    #[arg(long, env = "STAGEGATE_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, env = "STAGEGATE_LEASE_NAME", default_value = "stagegate-operator")]
    lease_name: String,
    /// This replica. Default: the host's name.
    #[arg(long, env = "STAGEGATE_IDENTITY")]
    identity: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut config = Config::read(&arguments.config)?;
    let kube = kube::Config::infer().await.context("no cluster: neither a kubeconfig nor a service account")?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| kube.default_namespace.clone());
    let client = kube::Client::try_from(kube)?;
    let identity = arguments.identity.clone().unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
    let metrics = Metrics::new()?;

    let listener =
        tokio::net::TcpListener::bind(arguments.listen).await.with_context(|| format!("{}", arguments.listen))?;
    tokio::spawn(axum::serve(listener, metrics.clone().router()).into_future());

    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            stop.send_replace(true);
        }
    });
    let (lead, leading) = watch::channel(false);
    let candidate = Candidate::new(&client, &namespace, &arguments.lease_name, &identity);
    let lease = tokio::spawn(candidate.run(lead, stopped.clone()));
    let settings = Settings { namespace, namespaces: arguments.namespaces, identity };
    loop {
        let operator =
            Operator::new(client.clone(), config.clone(), settings.clone(), leading.clone(), metrics.clone());
        tokio::select! {
            () = operator.run() => anyhow::bail!("the watchers have ended"),
            next = changed(&arguments.config, &config) => {
                tracing::info!("the configuration has changed");
                config = next;
            }
            _ = ended(&stopped) => break,
        }
    }
    lease.await.context("the lease")?;
    Ok(())
}

async fn ended(stopped: &watch::Receiver<bool>) {
    // Without a sender there is no signal handler: nothing ends us but a kill.
    if stopped.clone().wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The next configuration that is another one and can be read.
async fn changed(path: &std::path::Path, now: &Config) -> Config {
    let mut complained = None;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        match Config::read(path) {
            Ok(config) if config != *now => return config,
            Ok(_) => complained = None,
            Err(error) => {
                let text = error.to_string();
                if complained.as_ref() != Some(&text) {
                    tracing::error!(error = text, "the configuration cannot be read; the last good one stays");
                    complained = Some(text);
                }
            }
        }
    }
}
