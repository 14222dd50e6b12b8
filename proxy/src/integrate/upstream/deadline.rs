//! How long a backend may take for its answer's head.
//!
//! The time a client takes to send its body is not the backend's: while an upload moves, the limit begins anew; it
//! runs from the body's end.
//!
//! A core keeps its timers: to put one that the runtime knows off to a later time costs hardly anything, while to
//! make one and to take it away again costs as much as a look-up of a route.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::body::Watch;

/// Timers kept while no request needs them; one that rings then wakes whoever used it last, once and in vain.
const MAX_KEPT: usize = 1024;

/// A core's timers.
#[derive(Default)]
pub struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// A timer in use.
struct Timer<'a> {
    /// Until it is given back.
    sleep: Option<Pin<Box<Sleep>>>,
    timers: &'a Timers,
}

impl Timers {
    /// A timer that rings at this time.
    fn until(&self, deadline: Instant) -> Timer<'_> {
        let kept = self.0.borrow_mut().pop();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(deadline)),
        };
        Timer { sleep: Some(sleep), timers: self }
    }
}

impl Timer<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }

    fn reset(&mut self, deadline: Instant) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let mut kept = self.timers.0.borrow_mut();
        if kept.len() < MAX_KEPT {
            kept.extend(self.sleep.take());
        }
    }
}

/// How a call comes on: its upload, and its answer while that is on its way too.
#[derive(Debug)]
pub struct Progress {
    moved: Cell<Instant>,
    ended: Cell<bool>,
}

/// Attached to a request's body: tells [`Progress`] of its end.
pub struct UploadWatch(Rc<Progress>);

impl Progress {
    pub fn new() -> (Rc<Self>, Box<UploadWatch>) {
        let progress = Rc::new(Self { moved: Cell::new(Instant::now()), ended: Cell::new(false) });
        (Rc::clone(&progress), Box::new(UploadWatch(progress)))
    }

    /// A piece has gone by, either way.
    pub fn moves(&self) {
        self.moved.set(Instant::now());
    }

    /// When something moved last; the end of the upload is a move too.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the upload has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Until when to wait on: `limit` after the end of the upload, or `idle` after its latest piece.
    fn deadline(&self, limit: Duration, idle: Duration) -> Instant {
        self.moved.get() + if self.ended.get() { limit } else { idle.max(limit) }
    }
}

impl Watch for UploadWatch {
    /// The body says by itself what moves.
    fn data(&mut self, _bytes: usize) {}

    fn end(&mut self) {
        if !self.0.ended.replace(true) {
            self.0.moves();
        }
    }
}

impl Drop for UploadWatch {
    /// A body that is gone uploads no more: not all of it may have been asked for its end.
    fn drop(&mut self) {
        self.end();
    }
}

/// Awaits `work` for `limit` from `began` on, and longer while an upload moves. `None` if it took too long. `work` comes
/// pinned: to move it in would copy kilobytes.
pub async fn in_time<T>(
    timers: &Timers,
    (began, limit): (std::time::Instant, Duration),
    idle: Duration,
    upload: Option<&Progress>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let timer = timer.get_or_insert_with(|| timers.until(Instant::from_std(began + limit)));
        while timer.poll(cx).is_ready() {
            let later = upload.map(|upload| upload.deadline(limit, idle)).filter(|&later| later > Instant::now());
            let Some(later) = later else { return Poll::Ready(None) };
            timer.reset(later);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    fn from_now(limit: Duration) -> (std::time::Instant, Duration) {
        (std::time::Instant::now(), limit)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_an_upload_the_limit_is_the_limit() {
        let timers = Timers::default();
        assert_eq!(in_time(&timers, from_now(LIMIT), LIMIT, None, pin!(async { 1 })).await, Some(1));
        assert!(timers.0.borrow().is_empty(), "what is ready needs no timer");
        let began = Instant::now();
        assert_eq!(in_time(&timers, from_now(LIMIT), LIMIT, None, pin!(std::future::pending::<()>())).await, None);
        assert!(began.elapsed() >= LIMIT);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_timer_that_is_used_again_keeps_the_time() {
        let timers = Timers::default();
        let soon = || tokio::time::sleep(Duration::from_millis(1));
        // Brought forward, put off, after it has rung unheard, and after it has rung.
        for (unused, limit, pause) in [(60_000, 40, 0), (20, 60, 50), (60_000, 80, 100), (20, 30, 0)] {
            let [unused, limit, pause] = [unused, limit, pause].map(Duration::from_millis);
            assert_eq!(in_time(&timers, from_now(unused), unused, None, pin!(soon())).await, Some(()));
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            assert_eq!(in_time(&timers, from_now(limit), limit, None, pin!(std::future::pending::<()>())).await, None);
            let took = began.elapsed();
            assert!(limit <= took && took < Duration::from_secs(30), "{took:?} instead of {limit:?}");
        }
        assert_eq!(timers.0.borrow().len(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_upload_that_moves_is_waited_for_and_its_end_starts_the_limit() {
        let (progress, mut watch) = Progress::new();
        let began = Instant::now();
        let upload = async {
            for _ in 0..6 {
                tokio::time::sleep(LIMIT / 2).await;
                progress.moves();
            }
            watch.end();
            std::future::pending::<()>().await;
        };
        let timers = Timers::default();
        assert_eq!(in_time(&timers, from_now(LIMIT), LIMIT, Some(&progress), pin!(upload)).await, None);
        assert!(began.elapsed() >= LIMIT * 4, "{:?}", began.elapsed());
    }
}
