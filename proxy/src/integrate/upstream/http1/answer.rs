//! An answer's body that has not come in yet.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use crate::integrate::upstream::http1::decode::{Decoder, Step};
use crate::integrate::upstream::http1::{Connection, Fault};
use crate::integrate::upstream::pool::Pool;

/// Drives its connection: what is left of the request goes out while this comes in. At its end the connection goes
/// back; dropped before that, it closes it, because its rest would be read as the next answer.
pub struct Answer {
    /// Until the end.
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    decoder: Decoder,
    /// Read, but not handed on.
    rest: Bytes,
    keep_alive: bool,
}

impl Answer {
    pub(super) fn new(
        connection: Box<Connection>,
        pool: Rc<Pool>,
        decoder: Decoder,
        rest: Bytes,
        keep_alive: bool,
    ) -> Box<Self> {
        Box::new(Self { connection: Some(connection), pool, decoder, rest, keep_alive })
    }

    /// Nothing comes any more.
    pub fn is_end(&self) -> bool {
        self.connection.is_none()
    }

    /// Bytes to come, where known.
    pub fn missing(&self) -> Option<u64> {
        if self.is_end() { Some(0) } else { self.decoder.missing() }
    }

    /// The next part.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = ready!(self.poll_next(cx));
        match &polled {
            Some(Ok(_)) if !self.decoder.is_done() => {}
            Some(Ok(_)) | None => self.finish(),
            // Whatever comes after this would not be understood.
            Some(Err(_)) => self.connection = None,
        }
        Poll::Ready(polled)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match self.decoder.next(&mut self.rest)? {
                Step::Data(data) => {
                    self.decoder.look_ahead(&mut self.rest)?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Step::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Step::End => return Poll::Ready(None),
                Step::More => {}
            }
            connection.poll_send(cx)?;
            if ready!(connection.poll_fill(cx)).map_err(Fault::Io)? == 0 {
                self.decoder.end()?;
            }
            self.rest = connection.read.split().freeze();
        }
    }

    fn finish(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.settle(&self.pool, self.keep_alive && self.rest.is_empty());
        }
    }
}
