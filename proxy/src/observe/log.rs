//! Where the lines of the access log go: a buffer per core, a bounded queue, one thread that writes.
//!
//! A core only ever appends to its own buffer. Pieces of about 60 KiB, or what has gathered in 200 ms, are handed
//! to the writer through a queue of 64 pieces (4 MiB). When standard output is blocked and the queue is full, new
//! lines are dropped and counted: a request never waits for its log line.

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::observe::clock::Clock;
use crate::observe::line::Line;
use crate::observe::metrics::meter::Counter;

/// A buffer of this many bytes is handed over.
const PIECE: usize = 60 << 10;
/// Room of a buffer: a piece and the line that came last, unless that is unusually long.
const ROOM: usize = 64 << 10;
/// Smaller pieces are copied, so that a quiet core keeps its buffer and the queue holds what it needs.
const SMALL: usize = 8 << 10;
/// Pieces that wait for the writer.
const QUEUE: usize = 64;
/// Longest time a line waits in a buffer.
const FLUSH: Duration = Duration::from_millis(200);

/// The access log: the way to its writer.
#[derive(Default)]
pub struct AccessLog {
    writer: Option<Writer>,
}

struct Writer {
    pieces: SyncSender<Piece>,
    /// Lines that the writer could not write.
    lost: Arc<AtomicU64>,
    /// Ends when the writer has ended.
    ended: Mutex<Receiver<()>>,
}

/// What is handed to the writer.
enum Piece {
    Lines(Vec<u8>),
    Close,
}

/// What was left of the log when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Everything handed over has been written (or counted as lost).
    Written,
    /// The output was blocked for too long; the writer is left behind.
    Blocked,
}

impl AccessLog {
    /// No log.
    pub fn off() -> Self {
        Self::default()
    }

    /// On standard output. Nothing else should write there: a blocked log would hold it up.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn stdout() -> std::io::Result<Self> {
        Self::to(std::io::stdout())
    }

    /// On any output, which may block.
    ///
    /// # Errors
    /// When there can be no thread for it.
    pub fn to(output: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (pieces, queue) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write_pieces(&queue, output, &counted);
            drop(end);
        })?;
        Ok(Self { writer: Some(Writer { pieces, lost, ended: Mutex::new(ended) }) })
    }

    /// Ends the log once what was handed over is written, or after `patience`. Flush every core first; what comes
    /// later is dropped and counted. Blocks: not for a worker.
    pub fn close(&self, patience: Duration) -> Closed {
        let Some(writer) = &self.writer else { return Closed::Written };
        let deadline = Instant::now() + patience;
        while let Err(TrySendError::Full(_)) = writer.pieces.try_send(Piece::Close) {
            if Instant::now() >= deadline {
                return Closed::Blocked;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = writer.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Closed::Written,
            Err(RecvTimeoutError::Timeout) => Closed::Blocked,
        }
    }

    /// Lines that were handed over and could not be written.
    pub(crate) fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.writer.as_ref().map(|writer| Arc::clone(&writer.lost))
    }

    /// A core's end of it; `None` if there is no log.
    pub(crate) fn core(&self) -> Option<CoreLog> {
        let pieces = self.writer.as_ref()?.pieces.clone();
        let state = State { buffer: Vec::new(), clock: Clock::new() };
        Some(CoreLog { state: RefCell::new(state), pieces, gathering: Notify::new() })
    }
}

/// A core's end of the log.
pub(crate) struct CoreLog {
    state: RefCell<State>,
    pieces: SyncSender<Piece>,
    /// Told when a line comes into an empty buffer.
    gathering: Notify,
}

struct State {
    buffer: Vec<u8>,
    clock: Clock,
}

impl CoreLog {
    /// Appends a line, or counts it as dropped.
    pub(crate) fn line(&self, line: &Line<'_>, dropped: &Counter) {
        let state = &mut *self.state.borrow_mut();
        if state.buffer.len() >= PIECE && !hand_over(&self.pieces, &mut state.buffer) {
            return dropped.add(1);
        }
        if state.buffer.is_empty() {
            self.gathering.notify_one();
        }
        line.write(&mut state.buffer, &mut state.clock);
    }

    /// Hands over what has gathered. False if the queue is full.
    pub(crate) fn flush(&self) -> bool {
        hand_over(&self.pieces, &mut self.state.borrow_mut().buffer)
    }

    /// Flushes [`FLUSH`] after a line has come into an empty buffer; asleep while there are none.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            self.gathering.notified().await;
            loop {
                tokio::time::sleep(FLUSH).await;
                if self.flush() {
                    break;
                }
            }
        }
    }
}

impl Drop for CoreLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends a buffer to the writer, which empties it. False if it could not: then it is as it was. After the log was
/// closed it never can, so that lines are dropped like those of a blocked output.
fn hand_over(pieces: &SyncSender<Piece>, buffer: &mut Vec<u8>) -> bool {
    if buffer.is_empty() {
        return true;
    }
    let small = buffer.len() <= SMALL;
    let lines = if small { buffer.clone() } else { std::mem::take(buffer) };
    match pieces.try_send(Piece::Lines(lines)) {
        Ok(()) => {
            if small {
                buffer.clear();
            } else {
                buffer.reserve(ROOM);
            }
            true
        }
        Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) => {
            if let (Piece::Lines(lines), false) = (piece, small) {
                *buffer = lines;
            }
            false
        }
    }
}

/// The writer's thread.
fn write_pieces(queue: &Receiver<Piece>, mut output: impl Write, lost: &AtomicU64) {
    while let Ok(Piece::Lines(lines)) = queue.recv() {
        let written = write_all(&mut output, &lines);
        if written < lines.len() {
            let missing = lines.get(written..).unwrap_or_default();
            lost.fetch_add(memchr::memchr_iter(b'\n', missing).count() as u64, Ordering::Relaxed);
        }
    }
}

/// Writes as much as can be written, and says how much. Like `Write::write_all`, but an output that somebody else
/// has made non-blocking is waited for.
fn write_all(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => return written,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => return written,
        }
    }
    // What cannot be flushed will fail at the next write.
    output.flush().map_or(0, |()| written)
}

#[cfg(test)]
mod tests;
