//! Sockets to requests: TCP, TLS, HTTP framing, timeouts, drain.
//!
//! Nothing behind this folder (and `integrate/upstream`) names a hyper type, so that a codec can be replaced alone.

pub mod activity;
pub mod connection;
pub mod handoff;
pub mod listener;
pub mod redirect;
pub mod request;
pub mod socket;
pub mod tls;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::accept::activity::{Phase, Place};

/// How connections of a port are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP/2 or HTTP/1.1 over TLS.
    Tls,
    /// HTTP/1.1, or HTTP/2 with prior knowledge, in clear text.
    Plain,
    /// Every request is sent to HTTPS.
    Redirect,
}

/// A body as the codec reads it.
pub type Incoming = hyper::body::Incoming;
/// What the codec says went wrong.
pub type WireError = hyper::Error;

/// The client's wish to leave HTTP: `Upgrade` in HTTP/1.1, extended CONNECT (RFC 8441) in HTTP/2.
pub struct Upgrade {
    /// What it wishes to speak, lower case: `websocket`.
    pub protocol: Box<str>,
    /// True for extended CONNECT, whose success is a 200 without `Connection` and `Upgrade`.
    pub extended: bool,
    on: hyper::upgrade::OnUpgrade,
    place: Rc<Place>,
}

/// A connection (or stream) that has left HTTP: bytes both ways.
pub struct Tunnel {
    io: TokioIo<hyper::upgrade::Upgraded>,
    /// Draining waits for tunnels too.
    _place: Rc<Place>,
}

impl Upgrade {
    /// Resolves once our 101 (or 200) has been sent.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn tunnel(self) -> Result<Tunnel, WireError> {
        let upgraded = self.on.await?;
        if !self.extended {
            self.place.activity.enter(Phase::Tunnel);
        }
        Ok(Tunnel { io: TokioIo::new(upgraded), _place: self.place })
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
