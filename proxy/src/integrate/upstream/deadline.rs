//! How long a backend may take for its answer's head.
//!
//! One timer of the runtime per request, on the request's own stack. The time a client takes to send its body is
//! not the backend's: while an upload moves, the limit begins anew; it runs from the body's end.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::body::Watch;

/// How an upload comes on.
#[derive(Debug)]
pub struct Progress {
    moved: Cell<Instant>,
    ended: Cell<bool>,
}

/// Attached to a request's body: tells [`Progress`].
pub struct UploadWatch(Rc<Progress>);

impl Progress {
    pub fn new() -> (Rc<Self>, Box<UploadWatch>) {
        let progress = Rc::new(Self { moved: Cell::new(Instant::now()), ended: Cell::new(false) });
        (Rc::clone(&progress), Box::new(UploadWatch(progress)))
    }

    /// Until when to wait on: `limit` after the end of the upload, or `idle` after its latest piece.
    fn deadline(&self, limit: Duration, idle: Duration) -> Instant {
        self.moved.get() + if self.ended.get() { limit } else { idle.max(limit) }
    }
}

impl Watch for UploadWatch {
    fn data(&mut self, _bytes: usize) {
        self.0.moved.set(Instant::now());
    }

    fn end(&mut self) {
        if !self.0.ended.replace(true) {
            self.0.moved.set(Instant::now());
        }
    }
}

/// Awaits `work` for `limit`, and longer while an upload moves. `None` if it took too long. `work` comes pinned: to move
/// it in would copy kilobytes.
pub async fn in_time<T>(
    limit: Duration,
    idle: Duration,
    upload: Option<&Progress>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut timer = pin!(tokio::time::sleep(limit));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = &mut timer => {}
        }
        let later = upload.map(|upload| upload.deadline(limit, idle)).filter(|&later| later > Instant::now())?;
        timer.as_mut().reset(later);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    #[tokio::test(flavor = "current_thread")]
    async fn without_an_upload_the_limit_is_the_limit() {
        assert_eq!(in_time(LIMIT, LIMIT, None, pin!(async { 1 })).await, Some(1));
        let began = Instant::now();
        assert_eq!(in_time(LIMIT, LIMIT, None, pin!(std::future::pending::<()>())).await, None);
        assert!(began.elapsed() >= LIMIT);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_upload_that_moves_is_waited_for_and_its_end_starts_the_limit() {
        let (progress, mut watch) = Progress::new();
        let began = Instant::now();
        let upload = async {
            for _ in 0..6 {
                tokio::time::sleep(LIMIT / 2).await;
                watch.data(1);
            }
            watch.end();
            std::future::pending::<()>().await;
        };
        assert_eq!(in_time(LIMIT, LIMIT, Some(&progress), pin!(upload)).await, None);
        assert!(began.elapsed() >= LIMIT * 4, "{:?}", began.elapsed());
    }
}
