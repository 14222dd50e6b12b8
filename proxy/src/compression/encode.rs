//! A body that is compressed while it is read.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http_body::{Body as HttpBody, Frame};

use super::Coding;
use crate::body::{Body, BodyError, BodyFault};

/// How hard it is tried: most of the gain for a fraction of the time.
const LEVEL: Compression = Compression::new(4);

/// Bytes compressed at a time: others on this core wait meanwhile.
const PIECE: usize = 64 << 10;

/// A body that is compressed while it is read. Every piece of its source is handed on as it comes, so that a stream of
/// events stays one.
pub struct Encoder {
    source: Body,
    /// Taken from the source and not compressed yet.
    piece: Bytes,
    /// `None` once the end is written.
    writer: Option<Writer>,
    /// What comes after the data.
    last: Option<Frame<Bytes>>,
}

enum Writer {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(source: Body, coding: Coding) -> Self {
        let writer = match coding {
            Coding::Gzip => Writer::Gzip(GzEncoder::new(Vec::new(), LEVEL)),
            Coding::Deflate => Writer::Deflate(ZlibEncoder::new(Vec::new(), LEVEL)),
        };
        Self { source, piece: Bytes::new(), writer: Some(writer), last: None }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.writer.is_none() && self.last.is_none()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(writer) = &mut self.writer else { return Poll::Ready(self.last.take().map(Ok)) };
            if self.piece.has_remaining() {
                let piece = self.piece.split_to(PIECE.min(self.piece.len()));
                let flush = self.piece.is_empty();
                match writer.compress(&piece, flush) {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(_) => return Poll::Ready(Some(Err(BodyFault::Aborted.into()))),
                }
            }
            match std::task::ready!(Pin::new(&mut self.source).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(trailers) => self.last = Some(trailers),
                },
                None => {
                    // The end was not reached before, so there is a writer.
                    let end = self.writer.take().map(Writer::finish);
                    return Poll::Ready(end.map(|end| match end {
                        Ok(data) => Ok(Frame::data(data)),
                        Err(_) => Err(BodyFault::Aborted.into()),
                    }));
                }
            }
        }
    }
}

impl Writer {
    fn compress(&mut self, piece: &[u8], flush: bool) -> io::Result<Bytes> {
        let written = match self {
            Self::Gzip(writer) => {
                writer.write_all(piece)?;
                if flush {
                    writer.flush()?;
                }
                std::mem::take(writer.get_mut())
            }
            Self::Deflate(writer) => {
                writer.write_all(piece)?;
                if flush {
                    writer.flush()?;
                }
                std::mem::take(writer.get_mut())
            }
        };
        Ok(written.into())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(writer) => writer.finish()?,
            Self::Deflate(writer) => writer.finish()?,
        }
        .into())
    }
}
