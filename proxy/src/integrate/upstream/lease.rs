//! A connection that waits for the end of the body it brings.

use crate::integrate::upstream::pool::Stream;

/// A place on a shared connection, which an answer's body holds while it comes in. Dropped before the body's end, it
/// resets its stream. (Of HTTP/1.1 an answer's body has the connection itself.)
pub struct Lease(Stream);

impl Lease {
    pub(super) fn new(stream: Stream) -> Self {
        Self(stream)
    }

    /// The body has been read to its end.
    pub fn give_back(self) {
        drop(self.0);
    }
}
