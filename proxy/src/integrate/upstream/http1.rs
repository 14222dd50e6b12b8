//! HTTP/1.1 towards backends: our own codec.
//!
//! A connection has no task of its own: the request that uses it drives it, and after that the answer's body does. So
//! a call is one write and one read, the header values of an answer are slices of what was read, and an idle
//! connection costs nothing until it is taken, which is when it is found out whether its backend has left.
//!
//! Strict about what an answer is: lengths that contradict each other, folded headers and odd chunks end the
//! connection, so that the next answer can never begin within this one.

mod answer;
pub mod decode;
pub mod head;
mod io;
mod outgoing;
mod tunnel;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Response};

pub use answer::Answer;
pub(super) use io::Io;
pub use tunnel::Tunnel;

use crate::body::Body;
use crate::integrate::upstream::connect::Counted;
use crate::integrate::upstream::http1::decode::Decoder;
use crate::integrate::upstream::http1::head::{Asked, Framing, Head, MAX_HEADER_SECTION};
use crate::integrate::upstream::http1::outgoing::Outgoing;
use crate::integrate::upstream::outbound::Outbound;
use crate::integrate::upstream::pool::Pool;

/// What is read at once: at first, and from a backend whose answers are large.
const LEAST_READ: usize = 8 << 10;
const MOST_READ: usize = 64 << 10;
/// Informational answers (1xx) to one request.
const MAX_INFORMATIONAL: usize = 32;

/// A connection to a backend with at most one request in flight.
pub struct Connection {
    io: Io,
    /// Where the next bytes are read to; between polls it holds nothing but an unfinished head.
    read: BytesMut,
    /// What to read at once.
    appetite: usize,
    outgoing: Outgoing,
    _counted: Counted,
}

/// Why an answer is none. Told in the log, never to a client.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("the connection was closed before the answer was complete")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("its head is not HTTP/1.1's: {0}")]
    Head(#[from] httparse::Error),
    #[error("its header section is larger than {MAX_HEADER_SECTION} bytes")]
    HeadTooLarge,
    #[error("more than {MAX_INFORMATIONAL} informational answers came first")]
    Informational,
    #[error("its Content-Length is not one number")]
    ContentLength,
    #[error("its Transfer-Encoding is not `chunked` alone, or comes with a Content-Length or in HTTP/1.0")]
    TransferEncoding,
    #[error("it leaves HTTP, which was not asked for")]
    Upgrade,
    #[error("its chunks are malformed: {0}")]
    Chunk(&'static str),
    #[error("its trailers are malformed or too large")]
    Trailers,
    #[error("the request's body broke off, or is not as long as its Content-Length")]
    Upload,
}

/// A request without an answer's head.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// False if nothing of the request has been sent, and it is as it was.
    pub(super) sent: bool,
}

impl Fault {
    /// The connection has ended, rather than that its answer is none.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }
}

impl Connection {
    pub(super) fn new(io: Io, counted: Counted) -> Box<Self> {
        Box::new(Self {
            io,
            read: BytesMut::new(),
            appetite: LEAST_READ,
            outgoing: Outgoing::default(),
            _counted: counted,
        })
    }

    /// Whether an idle connection still is: one that the backend has closed, or on which it says something unasked,
    /// is of no more use. Asks the kernel only if something has happened on the connection.
    pub(super) fn is_ready(&mut self) -> bool {
        self.io.is_quiet()
    }

    /// Sends a request and awaits the answer's head. The connection goes back to its pool as soon as
    /// the answer has come in, which is at once for one that is small.
    ///
    /// # Errors
    /// When there is no answer, or it is malformed; the connection is closed then.
    pub(super) async fn ask(
        mut self: Box<Self>,
        pool: &Rc<Pool>,
        request: &mut Outbound,
    ) -> Result<Response<Body>, Failed> {
        let asked = match self.outgoing.begin(request) {
            Ok(upgrade) => Asked { head: request.method == Method::HEAD, upgrade },
            Err(fault) => return Err(Failed { fault, sent: true }),
        };
        let mut headers = HeaderMap::new();
        let mut informational = 0;
        let answer = poll_fn(|cx| {
            self.poll_send(cx)?;
            self.poll_head(cx, asked, &mut informational, &mut headers)
        });
        let (head, rest) = match answer.await {
            Ok(answer) => answer,
            Err(fault) => {
                let sent = self.outgoing.is_sent();
                if !sent {
                    self.outgoing.undo(request);
                }
                return Err(Failed { fault, sent });
            }
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        *response.body_mut() = self.body(pool, &head, rest).map_err(|fault| Failed { fault, sent: true })?;
        Ok(response)
    }

    /// Reads until there is a head. What was read beyond it comes with it.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: Asked,
        informational: &mut usize,
        headers: &mut HeaderMap,
    ) -> Poll<Result<(Head, Bytes), Fault>> {
        loop {
            let before = self.read.len();
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
            // The beginning of a head is parsed again only when its end has come.
            if before > 0 && !head::may_end(&self.read[before.saturating_sub(3)..]) {
                if self.read.len() > MAX_HEADER_SECTION {
                    return Poll::Ready(Err(Fault::HeadTooLarge));
                }
                continue;
            }
            let mut bytes = self.read.split().freeze();
            loop {
                let Some((head, length)) = head::parse(&bytes, asked, headers)? else {
                    if bytes.len() > MAX_HEADER_SECTION {
                        return Poll::Ready(Err(Fault::HeadTooLarge));
                    }
                    self.read = BytesMut::from(&*bytes);
                    break;
                };
                bytes.advance(length);
                if !head.is_informational() {
                    return Poll::Ready(Ok((head, bytes)));
                }
                *informational += 1;
                if *informational > MAX_INFORMATIONAL {
                    return Poll::Ready(Err(Fault::Informational));
                }
            }
        }
    }

    /// Goes on sending. A backend that no longer listens may have said why, so that its answer is read all the same.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.outgoing.is_done() {
            return Ok(());
        }
        match self.outgoing.poll(&mut self.io, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(Fault::Io(error))) if self.outgoing.is_sent() => {
                tracing::debug!(%error, "a backend does not listen to the rest of a request");
                self.outgoing.abandon();
                Ok(())
            }
            Poll::Ready(Err(fault)) => Err(fault),
        }
    }

    /// Reads more into `self.read`: the number of bytes, 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.read.capacity() - self.read.len() < self.appetite / 2 {
            self.read.reserve(self.appetite);
        }
        let room = self.read.capacity() - self.read.len();
        let read = ready!(self.io.poll_read(cx, &mut self.read))?;
        if read >= room {
            self.appetite = (self.appetite * 2).min(MOST_READ);
        } else if read < self.appetite / 8 {
            self.appetite = (self.appetite / 2).max(LEAST_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// The answer's body; the connection stays with one that has not come in yet.
    fn body(self: Box<Self>, pool: &Rc<Pool>, head: &Head, mut rest: Bytes) -> Result<Body, Fault> {
        let length = match head.framing {
            Framing::Empty => Some(0),
            Framing::Length(length) => usize::try_from(length).ok().filter(|&length| length <= rest.len()),
            Framing::Upgrade if self.outgoing.is_done() => return Ok(Body::tunnel(Tunnel::new(self, rest))),
            Framing::Upgrade => return Err(Fault::Upgrade),
            Framing::Chunked | Framing::Close => None,
        };
        Ok(match length {
            Some(length) => {
                let body = Body::full(rest.split_to(length));
                self.settle(pool, head.keep_alive && rest.is_empty());
                body
            }
            None => Body::answer(Answer::new(self, Rc::clone(pool), Decoder::new(head.framing), rest, head.keep_alive)),
        })
    }

    /// The answer has come in: the next request may come, unless something is left over on either way.
    fn settle(self: Box<Self>, pool: &Pool, reusable: bool) {
        if reusable && self.outgoing.is_done() {
            pool.put(self);
        }
    }
}

#[cfg(test)]
mod tests;
