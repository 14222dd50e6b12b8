//! The operator's own port: health, readiness, metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// What the operator counts, and whether it is ready.
pub struct Vitals {
    registry: Registry,
    /// Everything in the cluster has been seen.
    pub ready: AtomicBool,
    /// 1 while this operator leads.
    pub leads: IntGauge,
    /// Stages that are served.
    pub stages: IntGauge,
    /// Routes that are served.
    pub routes: IntGauge,
    /// Deployments taken.
    pub deployments: IntCounter,
    /// Writes to the API server, by what is written.
    pub writes: IntCounterVec,
    /// What went wrong and is tried again, by step.
    pub errors: IntCounterVec,
    /// Time from a change to its last write.
    pub passes: Histogram,
}

impl Vitals {
    /// # Errors
    /// Never: the names are valid and different.
    pub fn new() -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("stagegate_operator_{name}"), help);
        let vitals = Self {
            registry: Registry::new(),
            ready: AtomicBool::new(false),
            leads: IntGauge::with_opts(opts("leads", "1 while this operator leads."))?,
            stages: IntGauge::with_opts(opts("stages", "Stages that are served."))?,
            routes: IntGauge::with_opts(opts("routes", "Routes that are served."))?,
            deployments: IntCounter::with_opts(opts("deployments_total", "Deployments taken."))?,
            writes: IntCounterVec::new(opts("writes_total", "Writes to the API server."), &["object"])?,
            errors: IntCounterVec::new(opts("errors_total", "What failed and is tried again."), &["step"])?,
            passes: Histogram::with_opts(HistogramOpts {
                common_opts: opts("pass_seconds", "Time from a change to its last bundle being written."),
                buckets: prometheus::exponential_buckets(0.001, 2.0, 14)?,
            })?,
        };
        let registry = &vitals.registry;
        registry.register(Box::new(vitals.leads.clone()))?;
        registry.register(Box::new(vitals.stages.clone()))?;
        registry.register(Box::new(vitals.routes.clone()))?;
        registry.register(Box::new(vitals.deployments.clone()))?;
        registry.register(Box::new(vitals.writes.clone()))?;
        registry.register(Box::new(vitals.errors.clone()))?;
        registry.register(Box::new(vitals.passes.clone()))?;
        Ok(vitals)
    }
}

/// Serves the port until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, vitals: Arc<Vitals>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(vitals);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the operator's port has ended");
        }
    });
    Ok(())
}

async fn ready(State(vitals): State<Arc<Vitals>>) -> Response {
    if vitals.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been read yet\n").into_response()
    }
}

async fn metrics(State(vitals): State<Arc<Vitals>>) -> Response {
    match TextEncoder::new().encode_to_string(&vitals.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
