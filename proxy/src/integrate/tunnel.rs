//! Leaving HTTP towards a backend: WebSocket and other upgrades, from HTTP/1.1 or from extended CONNECT (RFC 8441).
//! Backends are always asked by HTTP/1.1's `Upgrade`.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::accept::Upgrade;
use crate::body::Body;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::integrate::backend::{end_to_end, path, tunnel_method};
use crate::integrate::call::{Call, Head, ask};
use crate::integrate::mapping::headers::strip_hop_by_hop;
use crate::integrate::trace;
use crate::integrate::upstream::{Pool, send};
use crate::live::backend::Backend;
use crate::rejection::Rejection;

/// What one direction of a tunnel reads at once.
const BUFFER: usize = 16 << 10;

/// Asks the backend for what the client wishes; if it agrees, bytes are copied both ways from then on.
///
/// # Errors
/// When the backend cannot be asked, or does not answer.
pub async fn open(
    core: &Rc<Core>,
    exchange: &mut Exchange,
    pool: &Rc<Pool>,
    backend: &Backend,
    upgrade: Upgrade,
) -> Result<Response<Body>, Rejection> {
    let pool = &core.upstream.pool(&pool.destination.in_http1())?;
    let id = trace::trace_id(core, exchange);
    let protocol = HeaderValue::try_from(&*upgrade.protocol)
        .map_err(|_| Rejection::Configuration("the protocol asked for is none".into()))?;
    let extended = upgrade.extended;
    // RFC 8441 does without the key, HTTP/1.1 does not.
    let key = (extended && &*upgrade.protocol == "websocket" && !exchange.headers.contains_key(SEC_WEBSOCKET_KEY))
        .then(|| STANDARD.encode(core.ids.number().to_be_bytes()))
        .and_then(|key| HeaderValue::try_from(key).ok());
    let head = |exchange: &Exchange| {
        let mut headers = end_to_end(exchange, pool, &id);
        headers.push(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.push(UPGRADE, protocol.clone());
        if let Some(key) = &key {
            headers.push(SEC_WEBSOCKET_KEY, key.clone());
        }
        Ok(Head { path: path(exchange, backend)?, headers })
    };
    let call = Call {
        pool,
        method: tunnel_method(exchange, extended),
        timeout: backend.response_header_timeout,
        idle: backend.idle_timeout,
        max_body: Some(backend.max_body),
    };
    // In extended CONNECT the stream's data is the tunnel's, not a body.
    let body = if extended { Body::empty() } else { std::mem::take(&mut exchange.body) };
    let mut response = ask(core, exchange, call, body, head).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if extended && response.status().is_success() {
            // To a client of extended CONNECT it would say that the tunnel is open.
            return Err(Rejection::IntegrationFailure(format!(
                "the backend answers {} and no tunnel",
                response.status()
            )));
        }
        strip_hop_by_hop(response.headers_mut());
        return Ok(response);
    }
    let mut answer = Response::new(Body::empty());
    std::mem::swap(answer.headers_mut(), response.headers_mut());
    let spoken = answer.headers().get(UPGRADE).cloned().unwrap_or_else(|| protocol.clone());
    if !spoken.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()) {
        return Err(Rejection::IntegrationFailure("the backend switches to a protocol that was not asked for".into()));
    }
    let headers = answer.headers_mut();
    strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    if extended {
        headers.remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, spoken);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    let idle = backend.idle_timeout;
    tokio::task::spawn_local(async move {
        // The client's side opens once our answer has been sent, which this task must not hold up.
        let (Some(server), Ok(client)) = (send::tunnel(response), upgrade.tunnel().await) else { return };
        if let Err(error) = copy(client, server, idle).await {
            tracing::debug!(%error, "a tunnel broke");
        }
    });
    Ok(answer)
}

/// Copies bytes both ways until both sides have ended, one breaks, or neither has said anything for `idle`.
async fn copy(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    idle: Duration,
) -> io::Result<()> {
    let (client_reader, client_writer) = tokio::io::split(client);
    let (server_reader, server_writer) = tokio::io::split(server);
    let moved = std::cell::Cell::new(tokio::time::Instant::now());
    let both = async {
        tokio::try_join!(one_way(client_reader, server_writer, &moved), one_way(server_reader, client_writer, &moved))
    };
    let silence = async {
        // Looked at when it might be over, instead of setting a timer for every piece.
        loop {
            let until = moved.get() + idle;
            if until <= tokio::time::Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    };
    tokio::select! {
        biased;
        ended = both => ended.map(|_| ()),
        () = silence => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn one_way(
    reader: impl AsyncRead,
    writer: impl AsyncWrite,
    moved: &std::cell::Cell<tokio::time::Instant>,
) -> io::Result<()> {
    let mut reader = std::pin::pin!(reader);
    let mut writer = std::pin::pin!(writer);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..length]).await?;
        writer.flush().await?;
        moved.set(tokio::time::Instant::now());
    }
}
