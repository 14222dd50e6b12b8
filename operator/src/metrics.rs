//! What the operator counts, and whether it is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, TextEncoder};

/// Counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Everything has been read once.
    pub synced: Arc<AtomicBool>,
    /// 1 while leading.
    pub leading: IntGauge,
    /// Stages compiled.
    pub compiled: IntCounter,
    /// Deployments taken.
    pub deployments: IntCounter,
    /// Bundles written.
    pub delivered: IntCounter,
    /// Statuses written.
    pub reported: IntCounter,
    /// What the API server refused.
    pub failures: IntCounter,
    /// Seconds from a change's arrival to the end of its delivery.
    pub pass: Histogram,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Never: the names are legal and different.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(format!("stagegate_operator_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let leading = IntGauge::new("stagegate_operator_leading", "1 while this replica leads.")?;
        registry.register(Box::new(leading.clone()))?;
        let buckets = vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];
        let help = "Seconds from the arrival of changes to the end of their delivery.";
        let pass = Histogram::with_opts(HistogramOpts::new("stagegate_operator_pass_seconds", help).buckets(buckets))?;
        registry.register(Box::new(pass.clone()))?;
        let (compiled, deployments) =
            (counter("compiled_total", "Stages compiled.")?, counter("deployments_total", "Deployments taken.")?);
        let (delivered, reported) = (
            counter("bundles_written_total", "Bundles written.")?,
            counter("statuses_written_total", "Statuses written.")?,
        );
        let failures = counter("failures_total", "Requests that the API server refused or did not answer.")?;
        Ok(Self {
            registry,
            synced: Arc::default(),
            leading,
            compiled,
            deployments,
            delivered,
            reported,
            failures,
            pass,
        })
    }

    /// `/healthz`, `/readyz`, `/metrics`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(ready))
            .route("/metrics", get(text))
            .with_state(self)
    }
}

async fn ready(State(metrics): State<Metrics>) -> (StatusCode, &'static str) {
    match metrics.synced.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not everything has been read yet"),
    }
}

async fn text(State(metrics): State<Metrics>) -> (StatusCode, String) {
    match TextEncoder::new().encode_to_string(&metrics.registry.gather()) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
