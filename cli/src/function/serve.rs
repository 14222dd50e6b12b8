//! Listening, and stopping in good order.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::event_queue::EventQueue;
use super::invoke_api::InvokeApi;
use super::output::Printer;
use super::pool::{Phase, Pool};
use super::process;
use super::settings::Settings;

/// Further connections wait in the kernel.
const MAX_CONNECTIONS: usize = 1024;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the processes get to end, at most, before we end without having seen it.
const STOPPING: Duration = Duration::from_secs(3);

pub(super) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    process::adopt_orphans();
    let pool = Pool::new(settings, Printer::start()?);
    let events = EventQueue::new(Rc::clone(&pool));
    let api = Rc::new(InvokeApi { pool: Rc::clone(&pool), events: Rc::clone(&events) });
    tracing::info!(
        "listening on {address}: POST http://{address}/2015-03-31/functions/{}/invocations",
        pool.settings.function.name
    );
    // Ahead of the first call, which then need not wait, and to find out early what does not start.
    pool.warm_up();

    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(listener, &api, &connections) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        reason = pool.hopeless() => bail!(reason),
    }

    pool.enter(Phase::Draining);
    tracing::info!("stopping: calls under way have {} s to finish", pool.settings.grace.as_secs());
    let finished = async {
        connections.shutdown().await;
        events.drained().await;
    };
    tokio::select! {
        () = finished => {}
        () = tokio::time::sleep(pool.settings.grace) => tracing::warn!("calls were still under way when the grace was over"),
        _ = interrupt.recv() => tracing::warn!("interrupted again: calls under way are given up"),
    }
    if tokio::time::timeout(STOPPING, pool.stop()).await.is_err() {
        tracing::warn!("processes were still there at the end");
    }
    Ok(())
}

async fn accept(listener: TcpListener, api: &Rc<InvokeApi>, connections: &GracefulShutdown) {
    let places = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Answers are small and in one piece; waiting for more to send would only delay them.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let api = Rc::clone(api);
        let service = service_fn(move |request| {
            let api = Rc::clone(&api);
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service);
        let connection = connections.watch(connection);
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
}
