//! A request on its way out: its head with the beginning of its body in one write, then the rest as it comes.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method};
use http_body::{Body as _, Frame};

use crate::body::Body;
use crate::integrate::upstream::http1::decode::is_trailer;
use crate::integrate::upstream::http1::head::number;
use crate::integrate::upstream::http1::{Fault, Io};
use crate::integrate::upstream::outbound::Outbound;

/// For what a head has beside its path and the request's headers: method, version, framing.
const ROOM: usize = 128;
/// A larger buffer is given back when its head has been sent.
const MOST_KEPT: usize = 4 << 10;

/// What is being sent.
#[derive(Default)]
pub(super) struct Outgoing {
    /// A head, or what is between chunks; sent up to `at`.
    head: Vec<u8>,
    at: usize,
    /// The part of the body that comes after it, and what ends that.
    piece: Bytes,
    tail: &'static [u8],
    body: Option<Box<Upload>>,
    /// TLS may hold something back.
    held: bool,
    /// Something has gone out, or out of the body.
    sent: bool,
    /// The backend listens no longer.
    abandoned: bool,
}

/// What of a body has not gone out.
struct Upload {
    body: Body,
    framing: Framing,
}

/// How the backend learns where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// It has none, and nothing says so.
    None,
    /// This many bytes are left.
    Length(u64),
    Chunked,
}

impl Outgoing {
    /// Begins with a request. Of it only the body is taken, if it has one. True if it wishes to leave HTTP.
    ///
    /// # Errors
    /// When its length is not what it says.
    pub(super) fn begin(&mut self, request: &mut Outbound) -> Result<bool, Fault> {
        let (framing, said) = framing(request)?;
        self.head.clear();
        self.head.shrink_to(MOST_KEPT);
        self.at = 0;
        self.sent = false;
        let upgrade = encode(request, framing, said, &mut self.head);
        self.body = match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(_) | Framing::Chunked => {
                Some(Box::new(Upload { body: std::mem::take(&mut request.body), framing }))
            }
        };
        Ok(upgrade)
    }

    /// Gives the body back that nothing has been taken of.
    pub(super) fn undo(&mut self, request: &mut Outbound) {
        if let Some(upload) = self.body.take() {
            request.body = upload.body;
        }
    }

    /// Something may have reached the backend, or the body has been begun.
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }

    /// Everything has gone out.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.is_drained() && !self.held && !self.abandoned
    }

    /// Sends no more. The connection can take no other request.
    pub(super) fn abandon(&mut self) {
        self.body = None;
        self.piece = Bytes::new();
        self.tail = b"";
        self.at = self.head.len();
        self.held = false;
        self.abandoned = true;
    }

    fn is_drained(&self) -> bool {
        self.at == self.head.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Sends what there is to send; ready when that was all.
    pub(super) fn poll(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.abandoned {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut waits = false;
            if self.body.is_some() && self.piece.is_empty() && self.tail.is_empty() {
                waits = self.take(cx)?.is_pending();
            }
            if self.is_drained() {
                self.head.clear();
                self.at = 0;
                if !waits && self.body.is_some() {
                    continue;
                }
                if self.held {
                    ready!(io.poll_flush(cx))?;
                    self.held = false;
                }
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            let written = ready!(self.write(io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.sent = true;
            self.held = matches!(io, Io::Tls(_));
            self.advance(written);
        }
    }

    fn write(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.head[self.at..];
        if self.piece.is_empty() && self.tail.is_empty() {
            return io.poll_write(cx, head);
        }
        let pieces = [head, &self.piece, self.tail].map(IoSlice::new);
        // Empty ones in front would look to a writer like nothing to write.
        io.poll_write_all_of(cx, if head.is_empty() { &pieces[1..] } else { &pieces })
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len() - self.at);
        self.at += of_head;
        let of_piece = (written - of_head).min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = &self.tail[written - of_head - of_piece..];
    }

    /// Takes the next part of the body.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let Some(upload) = &mut self.body else { return Ok(Poll::Ready(())) };
        let Poll::Ready(frame) = Pin::new(&mut upload.body).poll_frame(cx) else { return Ok(Poll::Pending) };
        self.sent = true;
        match frame.transpose().map_err(|_| Fault::Upload)?.map(Frame::into_data) {
            Some(Ok(data)) => self.data(data)?,
            Some(Err(frame)) => self.end(frame.into_trailers().ok())?,
            None => self.end(None)?,
        }
        Ok(Poll::Ready(()))
    }

    fn data(&mut self, data: Bytes) -> Result<(), Fault> {
        let Some(upload) = &mut self.body else { return Ok(()) };
        if data.is_empty() {
            return Ok(());
        }
        match &mut upload.framing {
            Framing::Chunked => {
                // A buffer takes all that is written to it.
                write!(self.head, "{:x}\r\n", data.len())?;
                self.piece = data;
                self.tail = b"\r\n";
                if upload.body.is_end_stream() {
                    self.tail = b"\r\n0\r\n\r\n";
                    self.body = None;
                }
            }
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Fault::Upload)?;
                self.piece = data;
                if *left == 0 {
                    self.body = None;
                }
            }
            Framing::None => return Err(Fault::Upload),
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Fault> {
        match self.body.take().map(|upload| upload.framing) {
            Some(Framing::Chunked) => {
                self.head.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten().filter(|(name, _)| is_trailer(name)) {
                    line(&mut self.head, name.as_str().as_bytes(), value.as_bytes());
                }
                self.head.extend_from_slice(b"\r\n");
                Ok(())
            }
            // Bodies end here only if they are shorter than they said.
            Some(Framing::Length(_)) => Err(Fault::Upload),
            Some(Framing::None) | None => Ok(()),
        }
    }
}

/// How a request's body is framed, and whether its headers say so.
fn framing(request: &Outbound) -> Result<(Framing, bool), Fault> {
    let mut lengths = request.headers.iter().filter(|(name, _)| **name == CONTENT_LENGTH);
    let known = request.body.length();
    if let Some((_, said)) = lengths.next() {
        let said = number(said.as_bytes()).filter(|_| lengths.next().is_none()).ok_or(Fault::Upload)?;
        return match known {
            Some(known) if known != said => Err(Fault::Upload),
            Some(_) | None => Ok((Framing::Length(said), true)),
        };
    }
    let framing = match known {
        // Servers may insist on knowing that a POST has no body.
        Some(0) if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => Framing::Length(0),
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    };
    Ok((framing, false))
}

/// Writes a request's head. True if it wishes to leave HTTP.
fn encode(request: &Outbound, framing: Framing, said: bool, into: &mut Vec<u8>) -> bool {
    let lines = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    into.reserve(lines + request.path.as_str().len() + ROOM);
    into.extend_from_slice(request.method.as_str().as_bytes());
    into.push(b' ');
    into.extend_from_slice(request.path.as_str().as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    let (mut upgrade, mut connection) = (false, false);
    for (name, value) in request.headers.iter() {
        if name == TRANSFER_ENCODING {
            // Made anew.
            continue;
        }
        upgrade |= name == UPGRADE;
        connection |= name == CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"upgrade");
        line(into, name.as_str().as_bytes(), value.as_bytes());
    }
    match framing {
        Framing::Length(length) if !said => {
            line(into, b"content-length", itoa::Buffer::new().format(length).as_bytes())
        }
        Framing::Chunked => line(into, b"transfer-encoding", b"chunked"),
        Framing::Length(_) | Framing::None => {}
    }
    into.extend_from_slice(b"\r\n");
    upgrade && connection
}

fn line(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}
