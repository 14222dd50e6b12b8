//! Listening sockets and the loop that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::time::Duration;

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
    // Asked of the kernel itself: the runtime knows only of what had come when it last looked.
    let Ok(listener) = listener.into_std() else { return };
    loop {
        match listener.accept() {
            Ok((stream, peer)) => take_over(&worker, stream, peer, way),
            Err(error) if is_of_one_connection(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            // Nobody waits any more; or there are no descriptors, and nothing to be done.
            Err(_) => return,
        }
    }
}

/// Serves a connection that this runtime does not know yet.
pub fn take_over(worker: &Rc<Worker>, stream: StdStream, peer: SocketAddr, way: Way) {
    match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
        Ok(stream) => connection::spawn(worker, stream, peer, way),
        Err(error) => tracing::warn!(%error, "cannot take over a connection"),
    }
}

/// Serves a fresh connection here, or on a core that has far fewer.
fn place(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, way: Way) {
    if way != Way::Redirect
        && let Some(other) = worker.less_loaded()
    {
        // A socket leaves this runtime's reactor by becoming a plain one.
        if let Ok(stream) = stream.into_std()
            && let Err(stream) = other.hand_over(stream, peer)
        {
            take_over(worker, stream, peer, way);
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
