//! One client connection: handshake, then HTTP/1.1 or HTTP/2 until it ends.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::accept::activity::{Activity, Order, Phase};
use crate::accept::handoff::Handoff;
use crate::accept::redirect::redirect;
use crate::accept::request::{Connection, handle};
use crate::accept::socket::{NotTls, Socket};
use crate::accept::{Way, WireError};
use crate::exchange::{Client, ClientCertificate};
use crate::live::host::ClientCa;
use crate::observe::metrics::connection::Connection as Meters;
use crate::worker::Worker;

/// Largest HTTP/1.1 header section the codec reads. Amazon's limits (10,240 bytes of URL and of headers) are
/// `dispatch`'s, which answers better; this one only bounds what a client can make us keep.
const MAX_HEADER_SECTION: usize = 32 << 10;
/// Requests one HTTP/2 connection may have in flight.
const MAX_STREAMS: u32 = 250;
/// What one HTTP/2 stream, and all of a connection's, may send ahead of their readers.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// A silent HTTP/2 client with requests in flight is asked this often whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(60);
/// How long a client that has been told everything may take to close.
const PARTING: Duration = Duration::from_secs(1);
/// How often it is looked whether it has been told everything.
const PARTING_LOOK: Duration = Duration::from_millis(250);
/// How long a client that is refused below HTTP may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves a connection in a task of this core; closes it instead if the core has its share of those that may be open.
pub fn spawn(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, way: Way) {
    let options = &worker.core.options;
    if worker.connections.open() >= options.max_connections.div_ceil(options.workers.max(1)) {
        return worker.core.observer.turned_away();
    }
    let activity = Activity::new(Arc::clone(&worker.clock), worker.age());
    let place = Rc::new(worker.connections.add(activity));
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let meters = worker.core.observer.connection();
        // Small answers must not wait for the acknowledgement of the one before. A socket that refuses is dead.
        if let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) {
            let socket = Socket::new(stream, Arc::clone(&place.activity), way == Way::Tls);
            let mut client = Client::new(peer, local, None);
            if way == Way::Plain {
                client.scheme = "http";
            }
            let connection = Connection { core: Rc::clone(&worker.core), client: Arc::new(client), place };
            match way {
                Way::Tls => serve_tls(&worker, socket, connection, meters).await,
                Way::Plain => serve_plain(socket, connection, meters).await,
                Way::Redirect => serve_redirect(&worker, socket, connection, meters).await,
            }
        }
    });
}

async fn serve_tls(worker: &Worker, socket: Socket, mut connection: Connection, mut meters: Meters) {
    let Some((stream, ca)) = handshake(worker, socket, &connection).await else { return };
    meters.established();
    // The first request may have begun in the bytes of the handshake, where the socket cannot tell; so a new
    // connection owes a whole header section, not just patience.
    connection.place.activity.enter(Phase::Fresh);
    let (_, session) = stream.get_ref();
    let Client { peer, local, .. } = *connection.client;
    let mut client = Client::new(peer, local, session.server_name().map(Into::into));
    client.certificate = ca.zip(session.peer_certificates()).map(|(ca, chain)| {
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Box::new(ClientCertificate::new(ca, chain))
    });
    connection.client = Arc::new(client);
    if session.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, connection).await;
    } else {
        serve_http1(stream, connection).await;
    }
}

/// TLS, and who has certified the client, where the host it names asks for that. None: there is nobody to serve.
async fn handshake(
    worker: &Worker,
    socket: Socket,
    connection: &Connection,
) -> Option<(TlsStream<Socket>, Option<Arc<ClientCa>>)> {
    let activity = &connection.place.activity;
    let mut hearing = LazyConfigAcceptor::new(Acceptor::default(), socket);
    // Whoever takes too long for a handshake gets no answer.
    let heard = match obeying(activity, |cx| Pin::new(&mut hearing).poll(cx)).await.ok()? {
        Ok(heard) => heard,
        Err(error) => {
            if is_not_tls(&error)
                && let Some(socket) = hearing.take_io()
            {
                worker.core.observer.refused(400, "not_tls", &connection.client);
                last_words(socket, NOT_TLS).await;
            }
            return None;
        }
    };
    let (ca, config) = worker.tls.answer(&heard.client_hello()).ok()?;
    let mut accepting = heard.into_stream(config);
    let stream = obeying(activity, |cx| Pin::new(&mut accepting).poll(cx)).await.ok()?.ok()?;
    Some((stream, ca))
}

/// HTTP in clear text. Only HTTP/2 with prior knowledge begins with `PRI`.
async fn serve_plain(socket: Socket, connection: Connection, mut meters: Meters) {
    meters.established();
    let activity = Arc::clone(&connection.place.activity);
    activity.enter(Phase::Fresh);
    let begins = {
        let mut begins = pin!(socket.begins_with(b"PRI"));
        obeying(&activity, |cx| begins.as_mut().poll(cx)).await
    };
    match begins {
        Ok(Ok(true)) => serve_http2(socket, connection).await,
        Ok(Ok(false)) => serve_http1(socket, connection).await,
        // The client is gone, or has asked nothing in time.
        Ok(Err(_)) | Err(_) => {}
    }
}

async fn serve_http1<T>(stream: T, connection: Connection)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Rc::new(connection);
    let activity = &connection.place.activity;
    let handoff = Handoff::new(activity);
    let service = service_fn(|request| handoff.ask(request));
    let mut serving = http1_builder().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut leaving = None;
    let mut answering = None;
    let answer = |request| handle(Rc::clone(&connection), request);
    let ended = obeying(activity, |cx| {
        if activity.order() != Order::None {
            handoff.rouse();
            if leaving.is_none() {
                // Before it leaves: what has come by now is answered.
                let polled = handoff.step(cx, |cx| Pin::new(&mut serving).poll(cx), answer, &mut answering);
                if polled.is_ready() || !activity.may_leave() {
                    return polled;
                }
                leaving = Some(activity.phase());
                Pin::new(&mut serving).graceful_shutdown();
                handoff.rouse();
            }
        }
        handoff.step(cx, |cx| Pin::new(&mut serving).poll(cx), answer, &mut answering)
    })
    .await;
    // Boxed, because the room would be kept as long as the connection lives.
    match ended {
        Ok(Ok(())) => {
            if activity.order() != Order::None
                && let Some(parts) = serving.into_parts()
            {
                Box::pin(linger(&connection, parts.io.into_inner(), leaving)).await;
            }
        }
        Ok(Err(error)) => note(&connection, &error),
        Err(Order::TimeOut) => {
            connection.core.observer.refused(408, "header_timeout", &connection.client);
            if let Some(parts) = serving.into_parts() {
                Box::pin(last_words(parts.io.into_inner(), TIMED_OUT)).await;
            }
        }
        Err(Order::None | Order::Leave | Order::Hurry | Order::Close) => {}
    }
}

async fn serve_http2<T>(stream: T, connection: Connection)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Rc::new(connection);
    let activity = &connection.place.activity;
    activity.multiplex();
    let mut io = TokioIo::new(stream);
    // Boxed, because a stream's task is moved several times on its way to its place.
    let service = service_fn(|request| Box::pin(handle(Rc::clone(&connection), request)).map(Ok::<_, Infallible>));
    let mut leaving = None;
    let ended = {
        let mut serving = pin!(
            http2::Builder::new(CoreExecutor)
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .max_concurrent_streams(MAX_STREAMS)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEADER_SECTION as u32)
                .enable_connect_protocol()
                .serve_connection(&mut io, service)
        );
        obeying(activity, |cx| {
            if activity.order() != Order::None && leaving.is_none() {
                leaving = Some(activity.phase());
                // GOAWAY says which streams are still served, so none is lost.
                serving.as_mut().graceful_shutdown();
            }
            serving.as_mut().poll(cx)
        })
        .await
    };
    match ended {
        Ok(Ok(())) if leaving.is_some() => Box::pin(linger(&connection, io.into_inner(), leaving)).await,
        Ok(Err(error)) => note(&connection, &error),
        Ok(Ok(())) | Err(_) => {}
    }
}

async fn serve_redirect(worker: &Worker, socket: Socket, connection: Connection, mut meters: Meters) {
    meters.established();
    let activity = Arc::clone(&connection.place.activity);
    activity.enter(Phase::Idle);
    let port = worker.https_port;
    let service = service_fn(|request| {
        activity.enter(Phase::Idle);
        std::future::ready(Ok::<_, Infallible>(redirect(&request, port)))
    });
    let mut serving = http1_builder().serve_connection(TokioIo::new(socket), service);
    let mut leaving = false;
    // A redirect's client is soon gone; what it does not say in time it need not say.
    let ended = obeying(&activity, |cx| {
        if !leaving {
            let polled = Pin::new(&mut serving).poll(cx);
            if polled.is_ready() || !activity.may_leave() {
                return polled;
            }
            leaving = true;
            Pin::new(&mut serving).graceful_shutdown();
        }
        Pin::new(&mut serving).poll(cx)
    })
    .await;
    if let Ok(Err(error)) = ended {
        note(&connection, &error);
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Time is `activity`'s business: no timer per request.
    builder.header_read_timeout(None).max_header_size(MAX_HEADER_SECTION);
    builder
}

/// Polls until ready, or until the connection is ordered to end at once.
async fn obeying<T>(activity: &Activity, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<T, Order> {
    poll_fn(|cx| {
        activity.listen(cx.waker());
        match activity.order() {
            order @ (Order::TimeOut | Order::Close) => Poll::Ready(Err(order)),
            Order::None | Order::Leave | Order::Hurry => poll(cx).map(Ok),
        }
    })
    .await
}

/// Counts what the codec refused by itself; it has answered the client already.
fn note(connection: &Connection, error: &WireError) {
    if error.is_parse_too_large() {
        connection.core.observer.refused(431, "headers_too_large", &connection.client);
    } else if error.is_parse() {
        connection.core.observer.refused(400, "bad_request", &connection.client);
    }
}

fn is_not_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotTls>())
}

const NOT_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\
    Content-Length: 67\r\n\r\n{\"message\":\"This port speaks HTTPS; the request came without TLS.\"}";
const TIMED_OUT: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n\
    Content-Length: 29\r\n\r\n{\"message\":\"Request Timeout\"}";

/// Writes a whole answer and closes.
async fn last_words(mut stream: impl AsyncWrite + Unpin, words: &str) {
    let write = async {
        stream.write_all(words.as_bytes()).await?;
        stream.shutdown().await
    };
    // The client may be gone, or not listen: there is nobody left to tell.
    drop(tokio::time::timeout(LAST_WORDS, write).await);
}

/// Waits for the client to close too, after we have said our last. A socket that is closed while the client still sends
/// is reset, and then what the client has not taken yet is lost. `left` is what the connection was doing when it was
/// asked to leave.
async fn linger(connection: &Connection, mut stream: impl AsyncRead + Unpin, left: Option<Phase>) {
    let Connection { core, client, .. } = connection;
    let began = Instant::now();
    let mut unheard = vec![0; 1 << 10];
    loop {
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(PARTING_LOOK, stream.read(&mut unheard)).await {
            return;
        }
        let takes_its_time = if core.shared.draining.load(Ordering::Relaxed) {
            core.shared.undelivered.is_to(client.peer)
        } else {
            left != Some(Phase::Idle)
        };
        let patience = if takes_its_time { core.options.timeouts.send } else { PARTING };
        if began.elapsed() > patience {
            return;
        }
    }
}

/// Runs HTTP/2 streams on this core.
#[derive(Clone, Copy)]
struct CoreExecutor;

impl<F> hyper::rt::Executor<F> for CoreExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

#[cfg(test)]
mod tests {
    use super::{NOT_TLS, TIMED_OUT};

    #[test]
    fn last_words_have_the_length_they_claim() {
        for words in [NOT_TLS, TIMED_OUT] {
            let (head, body) = words.split_once("\r\n\r\n").expect("a header section");
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{} bytes: {head}", body.len());
        }
    }
}
