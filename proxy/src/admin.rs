//! The admin port: health, readiness, metrics, what is loaded. Read-only and without secrets; on a thread of its
//! own, never on a worker.

mod listener;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio::sync::oneshot;

use crate::admin::listener::Bounded;
use crate::proxy::Shared;

pub use crate::admin::status::{RejectedBundle, ReportedFinding, Severity, Status};

/// How long answers in flight are waited for when the port is closed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest time that `/loaded?since=` waits for a change.
const POLL: Duration = Duration::from_secs(25);

/// Polls that may wait at once: half of the connections, so that health and metrics are always told.
pub const MAX_POLLS: usize = 32;
/// How long `/readyz` waits for the first load, or for why there is none.
const STARTING: Duration = Duration::from_millis(500);

const ENDPOINTS: &str = "\
/healthz  200 while the process is alive
/readyz   200 when requests can be served, else 503 with the reason
/metrics  counters and histograms, as Prometheus text
/loaded   what is served, as JSON; with ?since=CHANGES&instance=INSTANCE what has changed since, as soon as something has
";

/// The running admin port. It is closed when this is dropped.
pub struct AdminHandle {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves the admin port.
///
/// # Errors
/// When the listener cannot be used or there can be no thread for it.
pub fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) -> Result<AdminHandle, std::io::Error> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        Bounded::new(tokio::net::TcpListener::from_std(listener)?)
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(listener, router(shared), stopped)))?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
}

impl AdminHandle {
    /// Closes the port and waits for answers in flight, a second at most. Blocks: not for a worker.
    pub fn stop(mut self) {
        self.close();
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the admin port's thread has panicked");
        }
    }

    fn close(&mut self) {
        // If nobody listens, it has already ended.
        self.stop.take().map(|stop| stop.send(()).is_ok());
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        self.close();
    }
}

async fn run(listener: Bounded, router: Router, stopped: oneshot::Receiver<()>) {
    let (closing, closed) = oneshot::channel();
    let signal = async {
        // The handle being gone is a signal too.
        let (Ok(()) | Err(_)) = stopped.await;
        drop(closing);
    };
    let patience = async {
        let (Ok(()) | Err(_)) = closed.await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(signal).into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin port has ended");
            }
        }
        () = patience => {}
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/loaded", get(loaded))
        .fallback(async || (StatusCode::NOT_FOUND, ENDPOINTS))
        .with_state(shared)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    // Whoever asks as we start would rather hear what came of it. What is known is told at once.
    drop(tokio::time::timeout(STARTING, shared.status.changed(0)).await);
    if shared.draining.load(Ordering::Relaxed) {
        shared.status.draining();
    }
    let (ready, text) = shared.status.ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], shared.metrics.text()).into_response()
}

async fn loaded(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let parameter =
        |wanted: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == wanted);
    let instance = parameter("instance").map_or("", |(_, instance)| instance);
    let since = parameter("since").and_then(|(_, since)| since.parse().ok());
    let since = since.filter(|&since| shared.status.knows(instance, since));
    if let Some(since) = since {
        let Ok(_waiting) = shared.polls.try_acquire() else {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many wait already\n").into_response();
        };
        // Over time: nothing has changed, which is what the answer says.
        drop(tokio::time::timeout(POLL, shared.status.changed(since)).await);
    }
    // What was forgotten meanwhile makes it everything.
    let since = since.filter(|&since| shared.status.knows(instance, since));
    let json = format!("{:#}\n", shared.status.json(since));
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

#[cfg(test)]
mod tests;
