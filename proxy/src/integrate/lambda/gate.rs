//! How many calls of one function a core has in flight, and how many wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rejection::Rejection;

/// Calls of one function that one core has in flight: Amazon's bound of an account.
const MAX_CALLS: usize = 1000;
/// Calls of one function that wait on one core, each until its own timeout; more are answered 503.
const MAX_WAITING: usize = 1000;
/// Functions that are remembered without a call in flight.
const MAX_IDLE: usize = 1024;

/// The gates of a core, by function.
#[derive(Default)]
pub struct Gates(RefCell<HashMap<Arc<str>, Rc<Gate>>>);

struct Gate {
    calls: Arc<Semaphore>,
    /// Whoever waits holds one of these besides the gate.
    places: Arc<Semaphore>,
}

/// A call's place. Given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    _call: OwnedSemaphorePermit,
}

impl Gates {
    /// Waits for a place; who came first goes first.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn enter(&self, function: &Arc<str>) -> Result<Permit, Rejection> {
        let gate = self.gate(function);
        if let Ok(call) = Arc::clone(&gate.calls).try_acquire_owned() {
            return Ok(Permit { _call: call });
        }
        let place = Arc::clone(&gate.places).try_acquire_owned().map_err(|_| Rejection::Overloaded)?;
        // Nobody closes a gate.
        let call = Arc::clone(&gate.calls).acquire_owned().await.map_err(|_| Rejection::Overloaded)?;
        drop(place);
        Ok(Permit { _call: call })
    }

    fn gate(&self, function: &Arc<str>) -> Rc<Gate> {
        let mut gates = self.0.borrow_mut();
        if let Some(gate) = gates.get(function) {
            return Rc::clone(gate);
        }
        if gates.len() >= MAX_IDLE {
            gates.retain(|_, gate| gate.is_busy());
        }
        let gate = Rc::new(Gate::new(MAX_CALLS, MAX_WAITING));
        gates.insert(Arc::clone(function), Rc::clone(&gate));
        gate
    }
}

impl Gate {
    fn new(calls: usize, waiting: usize) -> Self {
        Self { calls: Arc::new(Semaphore::new(calls)), places: Arc::new(Semaphore::new(waiting)) }
    }

    fn is_busy(&self) -> bool {
        // Every permit that is out, and everybody who waits for one, holds the semaphore too.
        Arc::strong_count(&self.calls) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn calls_queue_and_a_full_queue_is_an_answer() {
        let gates = Gates::default();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        gates.0.borrow_mut().insert(Arc::clone(&one), Rc::new(Gate::new(1, 1)));
        let first = gates.enter(&one).await.unwrap();
        let second = gates.enter(&one);
        let mut second = std::pin::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(gates.enter(&one).await.unwrap_err(), Rejection::Overloaded);
        // Another function does not notice.
        gates.enter(&other).await.unwrap();
        drop(first);
        let second = second.await.unwrap();
        assert!(gates.gate(&one).is_busy() && !gates.gate(&other).is_busy());
        drop(second);
        assert!(!gates.gate(&one).is_busy());
    }
}
