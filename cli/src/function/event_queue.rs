//! Asynchronous calls (`Event`): nobody waits for their answer, so those that fail are tried again.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use super::failure::Failure;
use super::invocation::{Answer, Call, Invocation};
use super::pool::{Lane, Phase, Pool};

/// All payloads that wait or are under way may take this many bytes together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct EventQueue {
    pool: Rc<Pool>,
    pending: Cell<usize>,
    bytes: Cell<usize>,
    done: Notify,
}

impl EventQueue {
    pub(super) fn new(pool: Rc<Pool>) -> Rc<Self> {
        Rc::new(Self { pool, pending: Cell::new(0), bytes: Cell::new(0), done: Notify::new() })
    }

    /// Takes the event, unless the queue is full.
    pub(super) fn push(self: &Rc<Self>, invocation: Invocation) -> bool {
        let size = invocation.payload.len();
        if self.pending.get() >= self.pool.settings.event_queue || self.bytes.get() + size > MAX_BYTES {
            return false;
        }
        self.pending.update(|count| count + 1);
        self.bytes.update(|bytes| bytes + size);
        let queue = Rc::clone(self);
        tokio::task::spawn_local(async move {
            deliver(&queue.pool, Rc::new(invocation)).await;
            queue.pending.update(|count| count - 1);
            queue.bytes.update(|bytes| bytes - size);
            queue.done.notify_waiters();
        });
        true
    }

    /// Waits until nothing is under way.
    pub(super) async fn drained(&self) {
        while self.pending.get() > 0 {
            self.done.notified().await;
        }
    }
}

/// Until it succeeds or has been tried often enough.
async fn deliver(pool: &Rc<Pool>, invocation: Rc<Invocation>) {
    let mut delay = pool.settings.event_retry_delay;
    let mut retries = pool.settings.event_retries;
    while let Err(reason) = attempt(pool, &invocation).await {
        let request_id = invocation.request_id.as_str();
        if retries == 0 {
            return tracing::error!(request_id, reason, "an event is dropped: it failed too often");
        }
        retries -= 1;
        tracing::info!(
            request_id,
            reason,
            retries,
            seconds = delay.as_secs(),
            "an event failed and will be tried again"
        );
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = pool.reached(Phase::Draining) => {
                return tracing::error!(request_id, reason, "an event is dropped: this program was told to stop");
            }
        }
        delay = delay.saturating_mul(2);
    }
}

async fn attempt(pool: &Rc<Pool>, invocation: &Rc<Invocation>) -> Result<(), String> {
    let (answer, answered) = oneshot::channel();
    pool.submit(Call { invocation: Rc::clone(invocation), wants_log: false, answer }, Lane::Event);
    let finished = match answered.await {
        Ok(Answer::Whole(finished)) => finished,
        Ok(Answer::Stream { chunks, finished, .. }) => {
            // Nobody wants the answer; without a reader its chunks are dropped as they come.
            drop(chunks);
            finished.await.map_err(|_| Failure::Truncated.reason())?
        }
        Ok(Answer::Throttled) | Err(_) => return Err("the call was lost".to_owned()),
    };
    finished.result.map(drop).map_err(|failure| failure.reason())
}
