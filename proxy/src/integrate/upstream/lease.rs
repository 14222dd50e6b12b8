//! A connection that waits for the end of the body it brings.

use std::rc::Rc;

use hyper::client::conn::http1;

use crate::body::Body;
use crate::integrate::upstream::pool::{Pool, Stream};

/// What an answer's body holds while it comes in. Dropped before the body's end, it closes an HTTP/1.1
/// connection (whose rest would be read as the next answer) and resets an HTTP/2 stream.
pub enum Lease {
    Http1 { sender: http1::SendRequest<Body>, pool: Rc<Pool> },
    Http2(Stream),
}

impl Lease {
    /// The body has been read to its end.
    pub fn give_back(self) {
        match self {
            Self::Http1 { sender, pool } => pool.put(sender),
            Self::Http2(stream) => drop(stream),
        }
    }
}
