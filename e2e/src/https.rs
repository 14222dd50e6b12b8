//! A plain HTTPS client: one connection, HTTP/1.1, one request at a time; nothing is retried or hidden.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Largest answer read.
const MAX_BODY: usize = 1 << 20;

/// Whom to trust.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Trusts the certificates of a PEM text.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn new(pem: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.context("the CA is no PEM")?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// A connection.
pub struct Https {
    sender: http1::SendRequest<Empty<Bytes>>,
    host: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// The connection takes no other request.
    pub last: bool,
}

impl Https {
    /// Connects to an address and asks for a host.
    ///
    /// # Errors
    /// When nobody answers, or with a certificate that is not trusted.
    pub async fn connect(address: SocketAddr, host: &str, trust: &Trust) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address).await.context("connect")?;
        tcp.set_nodelay(true)?;
        let tls = trust.0.connect(ServerName::try_from(host.to_owned())?, tcp).await.context("TLS")?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.context("HTTP")?;
        // Whoever waits for an answer learns of its end.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, host: host.to_owned() })
    }

    /// Asks for a path and reads the whole answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.get_with(path, &[]).await
    }

    /// The same with headers.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let mut request = Request::get(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new())?;
        self.sender.ready().await.context("the connection was closed")?;
        let response = self.sender.send_request(request).await.context("no answer")?;
        let close = response.headers().get("connection").is_some_and(|value| value.as_bytes() == b"close");
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        Ok(Answer { status, body, last: close })
    }

    /// Whether it was closed by the other side.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
