//! Listening sockets and the loop that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::accept::{Way, connection};
use crate::worker::Worker;

/// Waiting connections the kernel keeps; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens `count` listeners on one address. The kernel spreads connections over them.
///
/// # Errors
/// When the address is taken, also by another process that would share it.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    // SO_REUSEPORT would let two gateways of one user share a port by mistake: ask first without it.
    let probe = open(address, false)?;
    let address = probe.local_addr()?;
    drop(probe);
    (0..count.max(1)).map(|_| open(address, true)).collect()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until stopped; what the kernel has accepted by then is still served, or its clients would be reset.
pub async fn accept(worker: Rc<Worker>, listener: TcpListener, way: Way, mut stopped: watch::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => place(&worker, stream, peer, way),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: what is open may end meanwhile.
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        connection::spawn(&worker, stream, peer, way);
    }
}

/// Serves a fresh connection here, or on a core that has far fewer.
fn place(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, way: Way) {
    if way != Way::Redirect
        && let Some(worker) = worker.less_loaded()
    {
        // A socket leaves this runtime's reactor by becoming a plain one.
        if let Ok(stream) = stream.into_std() {
            worker.hand_over(stream, peer);
        }
        return;
    }
    connection::spawn(worker, stream, peer, way);
}

/// Errors that concern the connection being accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
