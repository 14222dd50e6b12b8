//! The client's TCP socket, with an eye on what passes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::accept::activity::{Activity, Phase};

/// The client's TCP socket.
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// The next bytes must be a TLS record.
    expect_tls: bool,
}

/// The client spoke something else than TLS, most likely HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the client does not speak TLS")]
pub struct NotTls;

/// First byte of a TLS record that holds a handshake message.
const HANDSHAKE_RECORD: u8 = 0x16;

impl Socket {
    /// Whether the first bytes are these. Reads nothing.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn begins_with(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut seen = [0; 8];
        let wanted = bytes.len().min(seen.len());
        loop {
            let count = self.stream.peek(&mut seen[..wanted]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if count == wanted || bytes.get(..count) != seen.get(..count) {
                return Ok(seen.get(..count) == Some(bytes));
            }
            // What is there stays readable: only time tells whether more has come.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    pub fn new(stream: TcpStream, activity: Arc<Activity>, expect_tls: bool) -> Self {
        Self { stream, activity, expect_tls }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let (Poll::Ready(Ok(())), Some(&first)) = (&polled, buf.filled().get(before)) {
            self.activity.received();
            if self.expect_tls {
                self.expect_tls = false;
                if first != HANDSHAKE_RECORD {
                    return Poll::Ready(Err(io::Error::other(NotTls)));
                }
            }
        }
        polled
    }
}

impl Socket {
    /// Notes whether the client takes bytes. A tunnel's silence is its copier's business.
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.activity.phase() != Phase::Tunnel {
            self.activity.writable(polled.is_ready());
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match bufs {
            // A record in one piece: `send` costs less than `writev`.
            [bytes] => Pin::new(&mut self.stream).poll_write(cx, bytes),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
