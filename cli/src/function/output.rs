//! What a handler prints: passed on as it is, line by line, and its end kept for the call under way.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// How much of a call's log is kept: what Lambda returns with `LogType: Tail`.
pub(super) const TAIL: usize = 4096;

/// A longer line is passed on in pieces.
const MAX_LINE: usize = 64 * 1024;

/// How many pieces may wait for our own output; then the handlers that print wait, and only they.
const MAX_WAITING: usize = 256;

#[derive(Clone, Copy)]
pub(super) enum Stream {
    Out,
    Error,
}

/// The way to our own standard output and error.
#[derive(Clone)]
pub(super) struct Printer(mpsc::Sender<(Stream, Bytes)>);

impl Printer {
    /// Prints on a thread of its own, since a terminal or a pipe may make it wait.
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<(Stream, Bytes)>(MAX_WAITING);
        std::thread::Builder::new().name("printer".into()).spawn(move || {
            while let Some((stream, bytes)) = receiver.blocking_recv() {
                // If nobody reads our output any more, a handler's calls are still worth answering.
                drop(match stream {
                    Stream::Out => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
                    Stream::Error => std::io::stderr().write_all(&bytes),
                });
            }
        })?;
        Ok(Self(sender))
    }
}

/// The end of the log of the call under way.
#[derive(Clone, Default)]
pub(super) struct Tail(Rc<RefCell<Vec<u8>>>);

impl Tail {
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.borrow_mut();
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

/// Reads one of a process's outputs until its end.
pub(super) async fn pass_on(mut from: impl AsyncRead + Unpin, to: Stream, tail: Tail, printer: Printer) {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        let read = from.read_buf(&mut buffer).await.unwrap_or(0);
        let fresh = buffer.len() - read;
        tail.push(&buffer[fresh..]);
        // Whole lines only, so that the lines of processes that print at once do not mix.
        let end = match memchr_last(b'\n', &buffer) {
            Some(newline) => newline + 1,
            None if read == 0 || buffer.len() >= MAX_LINE => buffer.len(),
            None => 0,
        };
        if end > 0 && printer.0.send((to, buffer.split_to(end).freeze())).await.is_err() {
            return;
        }
        if read == 0 {
            return;
        }
        buffer.reserve(8 * 1024);
    }
}

fn memchr_last(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|each| *each == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_last_4_kb() {
        let tail = Tail::default();
        tail.push(&[b'a'; 5000]);
        assert_eq!(tail.bytes(), [b'a'; TAIL]);
        tail.push(b"end");
        let kept = tail.bytes();
        assert_eq!(kept.len(), TAIL);
        assert!(kept.ends_with(b"aend"));
        tail.clear();
        assert!(tail.bytes().is_empty());
    }
}
