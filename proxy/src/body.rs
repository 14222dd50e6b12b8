//! A message body: streamed, bounded, the same type in every direction and protocol.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::accept::Incoming;
use crate::accept::activity::Busy;
use crate::compression::{Coding, Encoder};
use crate::integrate::lambda::stream::Events;
use crate::integrate::upstream::deadline::Progress;
use crate::integrate::upstream::http1::{Answer, Fault, Tunnel};
use crate::integrate::upstream::lease::Lease;

/// A message body.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// Called with every frame's size and at the end; see [`Watch`].
    watch: Option<Box<dyn Watch>>,
    /// Longest silence of the sender.
    patience: Option<Duration>,
    /// What this body has in common with the one that goes the other way, where both are on their way at once.
    progress: Option<Rc<Progress>>,
    /// Runs while the sender is silent; made at the first silence, so most bodies never have one.
    silence: Option<Pin<Box<Sleep>>>,
    /// The request this body answers.
    busy: Option<Busy>,
    /// The backend's connection that brings this body; given back at its end.
    lease: Option<Lease>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    /// From a client, or a backend that speaks HTTP/2.
    Wire {
        incoming: Incoming,
        bound: Option<Bound>,
    },
    /// From a backend that speaks HTTP/1.1.
    Answer(Box<Answer>),
    /// None: a backend's connection that leaves HTTP.
    Tunnel(Box<Tunnel>),
    /// What a function writes, out of its framing.
    Events(Box<Events>),
    /// Compressed on its way.
    Encoded(Box<Encoder>),
}

/// How much may still come, and whether too much has.
struct Bound {
    left: u64,
    fault: Rc<Cell<Option<BodyFault>>>,
}

/// Why a body ended early; readable by whoever started the stream, after the error has gone through a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More bytes than the bound allows.
    #[error("the body is larger than its limit")]
    TooLarge,
    /// The sender went away or broke the framing.
    #[error("the sender of the body went away")]
    Aborted,
    /// Nothing came for too long.
    #[error("the sender of the body was silent for too long")]
    Silent,
}

/// Learns how a body that goes to the client ends.
pub trait Watch {
    /// `bytes` of data were handed on.
    fn data(&mut self, bytes: usize);
    /// The body ended well. A watch that is dropped without this saw its client leave, or the backend fail.
    fn end(&mut self);
    /// The body's source failed; nothing comes after this.
    fn failed(&mut self) {}
}

/// A body's data could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Our own bound.
    #[error(transparent)]
    Fault(#[from] BodyFault),
    /// The codec's.
    #[error(transparent)]
    Wire(#[from] crate::accept::WireError),
    /// A backend's, in HTTP/1.1.
    #[error(transparent)]
    Answer(#[from] Fault),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self { kind: Kind::Full(bytes), ..Self::default() } }
    }

    /// What a codec reads.
    pub fn wire(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            Self::empty()
        } else {
            Self { kind: Kind::Wire { incoming, bound: None }, ..Self::default() }
        }
    }

    /// What a backend still sends.
    pub fn answer(answer: Box<Answer>) -> Self {
        Self { kind: Kind::Answer(answer), ..Self::default() }
    }

    /// No bytes, but the connection of a backend that leaves HTTP.
    pub fn tunnel(tunnel: Box<Tunnel>) -> Self {
        Self { kind: Kind::Tunnel(tunnel), ..Self::default() }
    }

    /// The connection, if it leaves HTTP.
    pub fn into_tunnel(self) -> Option<Box<Tunnel>> {
        match self.kind {
            Kind::Tunnel(tunnel) => Some(tunnel),
            Kind::Empty | Kind::Full(_) | Kind::Wire { .. } | Kind::Answer(_) | Kind::Encoded(_) | Kind::Events(_) => {
                None
            }
        }
    }

    /// What a function writes.
    pub fn events(events: Events) -> Self {
        Self { kind: Kind::Events(Box::new(events)), ..Self::default() }
    }

    /// Bounds a body from the wire. The cell tells later why it ended early; `None` if there is nothing to bound.
    pub fn bound(&mut self, limit: u64) -> Option<Rc<Cell<Option<BodyFault>>>> {
        match &mut self.kind {
            Kind::Empty | Kind::Full(_) | Kind::Answer(_) | Kind::Tunnel(_) | Kind::Encoded(_) | Kind::Events(_) => {
                None
            }
            Kind::Wire { bound, .. } => {
                let fault = Rc::new(Cell::new(None));
                *bound = Some(Bound { left: limit, fault: Rc::clone(&fault) });
                Some(fault)
            }
        }
    }

    /// The longest silence of the sender; beyond it the body fails with [`BodyFault::Silent`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// From now on what moves here is told to the other direction, and what moves there ends a silence here: one side
    /// may well have nothing to say while the other speaks.
    pub fn share(&mut self, progress: Rc<Progress>) {
        self.progress = Some(progress);
    }

    /// Keeps the request this body answers busy until the body is dropped.
    pub fn keep(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }

    /// Keeps the connection that brings this body until it has come in.
    pub fn lent(mut self, lease: Lease) -> Self {
        match self.kind {
            Kind::Empty | Kind::Tunnel(_) => lease.give_back(),
            Kind::Full(_) | Kind::Wire { .. } | Kind::Answer(_) | Kind::Encoded(_) | Kind::Events(_) => {
                self.lease = Some(lease);
            }
        }
        self
    }

    /// Attaches a watch; it replaces an earlier one.
    pub fn watched(mut self, watch: Box<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Compresses the body on its way.
    pub fn encoded(self, coding: Coding) -> Self {
        Self { kind: Kind::Encoded(Box::new(Encoder::new(self, coding))), ..Self::default() }
    }

    /// True if there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty | Kind::Tunnel(_))
    }

    /// The length, if all of it is here already.
    pub fn whole(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty | Kind::Tunnel(_) => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Wire { .. } | Kind::Answer(_) | Kind::Events(_) | Kind::Encoded(_) => None,
        }
    }

    /// The exact length, where known.
    pub fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Collects the body.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit`, or when reading fails.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        match std::mem::take(&mut self.kind) {
            Kind::Empty | Kind::Tunnel(_) => return Ok(Bytes::new()),
            Kind::Full(bytes) if bytes.len() <= limit => return Ok(bytes),
            Kind::Full(_) => return Err(BodyFault::TooLarge.into()),
            stream @ (Kind::Wire { .. } | Kind::Answer(_) | Kind::Encoded(_) | Kind::Events(_)) => self.kind = stream,
        }
        let mut collected = Vec::with_capacity(self.length().map_or(0, |length| length.min(limit as u64) as usize));
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                if collected.len() + data.len() > limit {
                    return Err(BodyFault::TooLarge.into());
                }
                collected.extend_from_slice(&data);
            }
        }
        Ok(collected.into())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is in it is nobody's business.
        write!(f, "Body({:?})", self.size_hint())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Empty | Kind::Tunnel(_) => Poll::Ready(None),
            Kind::Events(events) => events.poll(cx),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Encoded(encoder) => encoder.poll_frame(cx),
            Kind::Answer(answer) => match answer.poll_frame(cx) {
                Poll::Ready(polled) => {
                    moved(&mut this.silence, this.progress.as_deref());
                    Poll::Ready(polled.map(|polled| polled.map_err(Into::into)))
                }
                Poll::Pending => silent(this.patience, &mut this.silence, this.progress.as_deref(), cx)
                    .map(|()| Some(Err(BodyFault::Silent.into()))),
            },
            Kind::Wire { incoming, bound } => match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    moved(&mut this.silence, this.progress.as_deref());
                    Poll::Ready(Some(within(bound.as_mut(), frame)))
                }
                Poll::Ready(Some(Err(error))) => {
                    if let Some(bound) = bound {
                        bound.fault.set(Some(BodyFault::Aborted));
                    }
                    Poll::Ready(Some(Err(error.into())))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => match silent(this.patience, &mut this.silence, this.progress.as_deref(), cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => {
                        if let Some(bound) = bound {
                            bound.fault.set(Some(BodyFault::Silent));
                        }
                        Poll::Ready(Some(Err(BodyFault::Silent.into())))
                    }
                },
            },
        };
        if this.lease.is_some() && (matches!(polled, Poll::Ready(None)) || this.is_end_stream()) {
            // The codec has read to the end by the time it hands on the last piece.
            if let Some(lease) = this.lease.take() {
                lease.give_back();
            }
        }
        if let Some(watch) = &mut this.watch {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => watch.data(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(None) => watch.end(),
                Poll::Ready(Some(Err(_))) => watch.failed(),
                Poll::Pending => {}
            }
            // A codec that knows the length stops polling at the last byte.
            if matches!(this.kind, Kind::Empty)
                || matches!(&this.kind, Kind::Wire { incoming, .. } if incoming.is_end_stream())
                || matches!((&this.kind, &polled), (Kind::Answer(answer), Poll::Ready(Some(Ok(_)))) if answer.is_end())
                || matches!(&this.kind, Kind::Encoded(encoder) if encoder.is_end())
            {
                watch.end();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty | Kind::Tunnel(_) => true,
            Kind::Full(_) | Kind::Events(_) => false,
            Kind::Answer(answer) => answer.is_end(),
            Kind::Wire { incoming, .. } => incoming.is_end_stream(),
            Kind::Encoded(encoder) => encoder.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty | Kind::Tunnel(_) => SizeHint::with_exact(0),
            Kind::Answer(answer) => answer.missing().map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Wire { incoming, .. } => incoming.size_hint(),
            Kind::Encoded(_) | Kind::Events(_) => SizeHint::default(),
        }
    }
}

/// A piece has come.
fn moved(silence: &mut Option<Pin<Box<Sleep>>>, progress: Option<&Progress>) {
    *silence = None;
    if let Some(progress) = progress {
        progress.moves();
    }
}

/// Ready once the sender has been silent for longer than the patience, and the other direction as well.
fn silent(
    patience: Option<Duration>,
    silence: &mut Option<Pin<Box<Sleep>>>,
    progress: Option<&Progress>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(patience) = patience else { return Poll::Pending };
    let silence = silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
    loop {
        ready!(silence.as_mut().poll(cx));
        let until = progress.map(|progress| progress.moved() + patience);
        match until.filter(|&until| until > Instant::now()) {
            Some(until) => silence.as_mut().reset(until),
            None => return Poll::Ready(()),
        }
    }
}

/// Takes a frame's size off the bound.
fn within(bound: Option<&mut Bound>, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
    let (Some(bound), Some(data)) = (bound, frame.data_ref()) else { return Ok(frame) };
    match bound.left.checked_sub(data.len() as u64) {
        Some(left) => {
            bound.left = left;
            Ok(frame)
        }
        None => {
            bound.fault.set(Some(BodyFault::TooLarge));
            Err(BodyFault::TooLarge.into())
        }
    }
}
