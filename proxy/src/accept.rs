//! Sockets to requests: TCP, TLS, HTTP framing, timeouts, drain.

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
}

/// A connection that has left HTTP.
pub type Tunnel = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;

impl Upgrade {
    /// Resolves once our 101 (or 200) has been sent.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn tunnel(self) -> Result<Tunnel, WireError> {
        self.on.await.map(hyper_util::rt::TokioIo::new)
    }
}
