//! Making a connection: name, TCP, TLS, HTTP.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::accept::WireError;
use crate::body::Body;
use crate::egress::Forbidden;
use crate::integrate::upstream::destination::{Destination, Protocol, Reach};
use crate::integrate::upstream::http1::head::MAX_HEADER_SECTION;
use crate::integrate::upstream::http1::{self, Io};
use crate::integrate::upstream::{Pool, Upstream};
use crate::rejection::Rejection;

/// From the name to a connection that takes requests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One address, while others are left to try.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// A pod of a Service, which is on the same network; and its part in TLS.
const POD_TIMEOUT: Duration = Duration::from_secs(1);
const POD_TLS_TIMEOUT: Duration = Duration::from_secs(2);
/// What one HTTP/2 stream, and all of a connection's, may send ahead of their readers.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A silent HTTP/2 backend with requests in flight is asked this often whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Streams a server is believed to allow before it says so.
const FIRST_STREAMS: usize = 100;

/// A connection that takes requests.
pub(super) enum Connected {
    Http1(Box<http1::Connection>),
    /// With the number of streams the server allows.
    Http2(http2::SendRequest<Body>, Rc<Cell<usize>>),
}

/// Why there is no connection. Told in the log, never to a client.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("cannot resolve {host}: {cause}")]
    Resolve { host: Box<str>, cause: String },
    #[error("egress to {host} is refused: {address} is {reason}")]
    Egress { host: Box<str>, address: IpAddr, reason: Forbidden },
    #[error("cannot connect to {authority}: {error}")]
    Connect { authority: String, error: io::Error },
    #[error("`{0}` is not a name that a certificate can have")]
    ServerName(Box<str>),
    #[error("TLS with {authority} failed: {error}")]
    Tls { authority: String, error: io::Error },
    #[error("TLS cannot be configured: {0}")]
    Configuration(#[from] rustls::Error),
    #[error("HTTP with {authority} failed: {error}")]
    Http { authority: String, error: WireError },
    #[error("no connection to {0} within {seconds} s", seconds = CONNECT_TIMEOUT.as_secs())]
    TimedOut(String),
}

/// One connection's part in the core's count; gives it back when the connection has ended.
pub(super) struct Counted(Rc<Cell<usize>>, Option<Rc<Cell<usize>>>);

impl Counted {
    /// Counts one more, unless there are too many. `pod` counts those of one pod.
    pub(super) fn new(open: &Rc<Cell<usize>>, most: usize, pod: Option<&Rc<Cell<usize>>>) -> Option<Self> {
        if open.get() >= most {
            return None;
        }
        open.set(open.get() + 1);
        if let Some(pod) = pod {
            pod.set(pod.get() + 1);
        }
        Some(Self(Rc::clone(open), pod.cloned()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        if let Some(pod) = &self.1 {
            pod.set(pod.get().saturating_sub(1));
        }
    }
}

/// Makes a connection.
///
/// # Errors
/// When the core has too many, or there is nobody to talk to.
pub(super) async fn connect(upstream: &Upstream, pool: &Pool) -> Result<Connected, Rejection> {
    let destination = &pool.destination;
    let counted = upstream.count(pool).ok_or(Rejection::Overloaded)?;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, establish(upstream, destination, counted));
    connected
        .await
        .unwrap_or_else(|_elapsed| Err(ConnectError::TimedOut(destination.authority())))
        .map_err(|error| Rejection::IntegrationFailure(error.to_string()))
}

async fn establish(
    upstream: &Upstream,
    destination: &Destination,
    counted: Counted,
) -> Result<Connected, ConnectError> {
    let host = &destination.host;
    let failed = |error| ConnectError::Connect { authority: destination.authority(), error };
    let tcp = match destination.reach {
        Reach::Pod(pod) => reach_pod(pod).await.map_err(failed)?,
        Reach::Checked | Reach::Exempt | Reach::Service(_) => {
            let resolved = upstream.names.resolve(host).await;
            let addresses = resolved.map_err(|cause| ConnectError::Resolve { host: host.clone(), cause })?;
            let egress = &upstream.options.egress;
            let addresses = match destination.reach {
                Reach::Checked => permitted(host, addresses, |address| egress.check(address))?,
                Reach::Service(_) => permitted(host, addresses, |address| egress.check_service(address))?,
                Reach::Exempt | Reach::Pod(_) => addresses,
            };
            reach(&addresses, destination.port).await.map_err(failed)?
        }
    };
    let failed = |error| ConnectError::Http { authority: destination.authority(), error };
    match destination.protocol {
        Protocol::Http1 => Ok(Connected::Http1(http1::Connection::new(Io::Plain(tcp), counted))),
        Protocol::Http2 => speak_http2(tcp, counted).await.map_err(failed),
        Protocol::Tls1 | Protocol::Tls => {
            let offer_http2 = destination.protocol == Protocol::Tls;
            let config = upstream.tls.config(offer_http2, destination.verification.skip_issuer)?;
            let name = destination.server_name();
            let name = ServerName::try_from(name).map_err(|_| ConnectError::ServerName(name.into()))?.to_owned();
            // Whatever happens, the whole is bounded; another pod may be tried soon.
            let patience = if matches!(destination.reach, Reach::Pod(_)) { POD_TLS_TIMEOUT } else { CONNECT_TIMEOUT };
            let connecting = TlsConnector::from(config).connect(name, tcp);
            let stream = tokio::time::timeout(patience, connecting)
                .await
                .unwrap_or_else(|elapsed| Err(elapsed.into()))
                .map_err(|error| ConnectError::Tls { authority: destination.authority(), error })?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                speak_http2(stream, counted).await.map_err(failed)
            } else {
                Ok(Connected::Http1(http1::Connection::new(Io::Tls(Box::new(stream)), counted)))
            }
        }
    }
}

/// The addresses that may be connected to.
fn permitted(
    host: &str,
    addresses: Rc<[IpAddr]>,
    check: impl Fn(IpAddr) -> Result<(), Forbidden>,
) -> Result<Rc<[IpAddr]>, ConnectError> {
    let mut refused = None;
    let mut check = |&address: &IpAddr| match check(address) {
        Ok(()) => true,
        Err(reason) => {
            refused = Some((address, reason));
            false
        }
    };
    let allowed: Vec<IpAddr> = addresses.iter().copied().filter(|address| check(address)).collect();
    match refused {
        None => Ok(addresses),
        Some((address, reason)) if allowed.is_empty() => {
            tracing::warn!(%host, %address, %reason, "egress is refused");
            Err(ConnectError::Egress { host: host.into(), address, reason })
        }
        Some(_) => Ok(allowed.into()),
    }
}

/// A pod. Another one may be tried soon.
async fn reach_pod(pod: SocketAddr) -> io::Result<TcpStream> {
    let connected = tokio::time::timeout(POD_TIMEOUT, TcpStream::connect(pod)).await;
    let stream = connected.unwrap_or_else(|elapsed| Err(elapsed.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The first address that takes a connection, in their order.
async fn reach(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut latest = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, &address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        let connected = if tried + 1 < addresses.len() {
            tokio::time::timeout(ADDRESS_TIMEOUT, connecting).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
        } else {
            connecting.await
        };
        match connected {
            Ok(stream) => {
                // A request's head must not wait for the acknowledgement of the answer before.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => latest = error,
        }
    }
    Err(latest)
}

async fn speak_http2<T>(io: T, counted: Counted) -> Result<Connected, WireError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(CoreExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_SECTION as u32)
        .handshake(TokioIo::new(io))
        .await?;
    let limit = Rc::new(Cell::new(FIRST_STREAMS));
    let told = Rc::clone(&limit);
    tokio::task::spawn_local(async move {
        let mut connection = pin!(connection);
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).as_mut().poll(cx);
            // The codec polls this for requests, not for the server's settings: they are known one request late.
            told.set(connection.current_max_send_streams().max(1));
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection to a backend broke");
        }
        drop(counted);
    });
    Ok(Connected::Http2(sender, limit))
}

/// Runs the codec's tasks on this core.
#[derive(Clone, Copy, Debug)]
struct CoreExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for CoreExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
