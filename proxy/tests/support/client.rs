//! A client that writes exactly what it is told and reads one answer at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A TLS connection to the gateway.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Names of trailers and their values.
    pub trailers: Vec<(String, String)>,
}

impl Client {
    pub fn connect(address: SocketAddr, sni: &str, authority: &CertificateDer<'static>) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts");
        Self::over(stream, sni, config(authority, &[b"http/1.1"]))
    }

    /// Over a connection that is open already.
    pub fn over(stream: TcpStream, sni: &str, config: ClientConfig) -> Self {
        let name = ServerName::try_from(sni.to_owned()).expect("a server name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a TLS client");
        stream.set_nodelay(true).expect("a live socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a live socket");
        Self { stream: StreamOwned::new(session, stream), buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// One request with `Host: localhost` and no body.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("sent");
        self.answer(false).expect("answered")
    }

    /// Reads one answer; `head` if it answers a HEAD.
    pub fn answer(&mut self, head: bool) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers: Vec<(String, String)> = lines.filter_map(field).collect();
        let mut answer = Answer { status: status.unwrap_or(0), headers, body: Vec::new(), trailers: Vec::new() };
        let empty = head || answer.status < 200 || matches!(answer.status, 204 | 304);
        if !empty {
            if answer.header("transfer-encoding") == Some("chunked") {
                self.chunks(&mut answer)?;
            } else if let Some(length) = answer.header("content-length").and_then(|length| length.parse().ok()) {
                answer.body = self.take(length)?;
            } else {
                while self.more().is_ok() {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Ok(answer)
    }

    /// Whatever has come, at least one byte.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// True once the gateway has closed, and said so in TLS: neither reset nor cut off.
    pub fn ends_well(&mut self) -> bool {
        let mut piece = [0; 1 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// True once the gateway has closed.
    pub fn closed(&mut self) -> bool {
        self.more().is_err()
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)
                .map_err(|_| io::Error::other(format!("bad chunk size {size:?}")))?;
            if size == 0 {
                break;
            }
            let data = self.take(size)?;
            answer.body.extend(data);
            self.line()?;
        }
        loop {
            let line = self.line()?;
            match field(&line) {
                Some(trailer) => answer.trailers.push(trailer),
                None => return Ok(()),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.more()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.buffer.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a client that trusts this certificate starts with.
pub fn config(authority: &CertificateDer<'static>, protocols: &[&[u8]]) -> ClientConfig {
    super::provider();
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("a usable certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn field(line: &str) -> Option<(String, String)> {
    line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
