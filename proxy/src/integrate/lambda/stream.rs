//! Answers that come while the function writes them: messages of `application/vnd.amazon.eventstream`, in whose
//! payloads stand a JSON object with status and headers, eight zero bytes, and the body.

mod message;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body as _, Frame};

use crate::body::{Body, BodyError, BodyFault};
use crate::integrate::lambda::answer;
use crate::integrate::lambda::gate::Permit;
use crate::integrate::lambda::invoke::Answer;
use crate::rejection::Rejection;
use message::{Decoder, Message};

/// Longest silence of a function that streams: Amazon's for regional APIs.
pub const MAX_SILENCE: Duration = Duration::from_secs(300);
/// Most bytes before the end of status and headers.
const MAX_PRELUDE: usize = 16 << 10;
/// What stands between them and the body.
const DELIMITER: [u8; 8] = [0; 8];

/// Reads an answer until its body begins; an inner error says what is wrong with it.
///
/// # Errors
/// When nothing comes in time, or the stream breaks off.
pub(super) async fn begin(answer: Answer, timeout: Duration) -> Result<Result<Response<Body>, String>, Rejection> {
    let mut events = Events {
        body: answer.body,
        decoder: Decoder::default(),
        ready: VecDeque::new(),
        done: false,
        _permit: answer.permit,
    };
    let prelude = tokio::time::timeout(timeout, events.prelude()).await;
    let prelude = match prelude.map_err(|_elapsed| Rejection::IntegrationTimeout)? {
        Ok(prelude) => prelude,
        Err(error) => return error.into_outcome(),
    };
    Ok(answer::prelude(&prelude).map(|response| response.map(|_| Body::events(events))))
}

/// The payload of an answer, out of its framing.
pub struct Events {
    body: Body,
    decoder: Decoder,
    /// Payload that came with the prelude, or several messages at once.
    ready: VecDeque<Bytes>,
    /// The last message was there.
    done: bool,
    _permit: Permit,
}

/// Why a prelude could not be read.
enum PreludeError {
    Body(BodyError),
    /// The function's fault.
    Malformed(String),
}

impl PreludeError {
    fn into_outcome(self) -> Result<Result<Response<Body>, String>, Rejection> {
        match self {
            Self::Malformed(why) => Ok(Err(why)),
            Self::Body(BodyError::Fault(BodyFault::Silent)) => Err(Rejection::IntegrationTimeout),
            Self::Body(error) => Err(Rejection::IntegrationFailure(error.to_string())),
        }
    }
}

impl Events {
    /// The bytes before the delimiter.
    async fn prelude(&mut self) -> Result<Bytes, PreludeError> {
        let mut prelude = BytesMut::new();
        loop {
            let searched = prelude.len().saturating_sub(DELIMITER.len() - 1);
            match poll_fn(|cx| self.poll_payload(cx)).await {
                Some(Ok(payload)) => prelude.extend_from_slice(&payload),
                Some(Err(Failure::Body(error))) => return Err(PreludeError::Body(error)),
                Some(Err(Failure::Function(why) | Failure::Framing(why))) => return Err(PreludeError::Malformed(why)),
                None => {
                    return Err(PreludeError::Malformed("status and headers are missing before its body".to_owned()));
                }
            }
            if let Some(at) = memchr::memmem::find(&prelude[searched..], &DELIMITER) {
                let rest = prelude.split_off(searched + at + DELIMITER.len());
                if !rest.is_empty() {
                    self.ready.push_front(rest.freeze());
                }
                prelude.truncate(searched + at);
                return Ok(prelude.freeze());
            }
            if prelude.len() > MAX_PRELUDE {
                let text = format!("status and headers do not end within {MAX_PRELUDE} bytes");
                return Err(PreludeError::Malformed(text));
            }
        }
    }

    /// The next piece of the body. A function that fails midway breaks the answer off, so that nobody takes it for a
    /// whole one.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_payload(cx).map(|payload| {
            payload.map(|payload| match payload {
                Ok(payload) => Ok(Frame::data(payload)),
                Err(Failure::Body(error)) => Err(error),
                Err(Failure::Function(why) | Failure::Framing(why)) => {
                    tracing::warn!(%why, "a function broke its answer off");
                    Err(BodyFault::Aborted.into())
                }
            })
        })
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            if let Some(payload) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(payload)));
            }
            if self.done {
                return Poll::Ready(None);
            }
            match self.decoder.next() {
                Ok(Some(Message::Payload(payload))) if payload.is_empty() => continue,
                Ok(Some(Message::Payload(payload))) => return Poll::Ready(Some(Ok(payload))),
                Ok(Some(Message::Other)) => continue,
                Ok(Some(Message::Complete)) => {
                    self.done = true;
                    return Poll::Ready(None);
                }
                Ok(Some(Message::Failed(why))) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(Failure::Function(why))));
                }
                Ok(None) => {}
                Err(why) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(Failure::Framing(why.to_owned()))));
                }
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.feed(&data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(Failure::Body(error))));
                }
                // Without the last message nobody knows whether it was all.
                Poll::Ready(None) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(Failure::Framing("the stream ended early".to_owned()))));
                }
            }
        }
    }
}

/// Why no more payload comes.
enum Failure {
    Body(BodyError),
    Function(String),
    Framing(String),
}

#[cfg(test)]
mod tests;
