//! Which process takes which call. Processes are started when a call finds none idle, up to the concurrency; beyond
//! that calls wait, callers before events, and a bounded number of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::environment;
use super::failure::Failure;
use super::invocation::{Answer, Call, Invocation};
use super::output::Printer;
use super::settings::Settings;

/// A handler that cannot start is left alone for this long after its second failure in a row, then for twice as
/// long, and so on. Calls that come meanwhile are answered with the reason at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Pool {
    pub(super) settings: Settings,
    pub(super) printer: Printer,
    /// The last to come is the first to go, so that the fewest processes stay busy.
    idle: RefCell<Vec<oneshot::Sender<Call>>>,
    calls: RefCell<VecDeque<Call>>,
    events: RefCell<VecDeque<Call>>,
    admitted: Cell<usize>,
    environments: Cell<usize>,
    /// Those whose process is not ready yet.
    starting: Cell<usize>,
    environment_closed: Notify,
    broken: RefCell<Option<Broken>>,
    phase: watch::Sender<Phase>,
    /// Set when the very first process could not be started.
    hopeless: watch::Sender<Option<String>>,
    ever_started: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Calls under way finish.
    Draining,
    /// Processes end now.
    Stopped,
}

struct Broken {
    failures: u32,
    until: Instant,
    failure: Failure,
}

/// A caller's place, given back when it is dropped.
pub(super) struct Admission(Rc<Pool>);

#[derive(Clone, Copy)]
pub(super) enum Lane {
    /// Someone waits for the answer, though not for ever.
    Caller,
    Event,
}

impl Pool {
    pub(super) fn new(settings: Settings, printer: Printer) -> Rc<Self> {
        Rc::new(Self {
            settings,
            printer,
            idle: RefCell::default(),
            calls: RefCell::default(),
            events: RefCell::default(),
            admitted: Cell::new(0),
            environments: Cell::new(0),
            starting: Cell::new(0),
            environment_closed: Notify::new(),
            broken: RefCell::default(),
            phase: watch::Sender::new(Phase::Serving),
            hopeless: watch::Sender::new(None),
            ever_started: Cell::new(false),
        })
    }

    /// A place for a caller, taken before its body is read so that memory has a bound too.
    pub(super) fn admit(self: &Rc<Self>) -> Option<Admission> {
        let most = self.settings.concurrency + self.settings.queue;
        if self.admitted.get() >= most {
            return None;
        }
        self.admitted.update(|count| count + 1);
        Some(Admission(Rc::clone(self)))
    }

    /// Starts a process ahead of the first call.
    pub(super) fn warm_up(self: &Rc<Self>) {
        self.open(None);
    }

    pub(super) fn submit(self: &Rc<Self>, mut call: Call, lane: Lane) {
        if self.phase() == Phase::Stopped {
            return call.fail(Failure::Stopped);
        }
        while let Some(idle) = self.pop_idle() {
            match idle.send(call) {
                Ok(()) => return,
                Err(returned) => call = returned,
            }
        }
        if self.environments.get() < self.settings.concurrency {
            return match self.broken_now() {
                Some(failure) => call.fail(failure),
                None => self.open(Some(call)),
            };
        }
        match lane {
            Lane::Caller => {
                self.give_up_in_time(&call.invocation);
                self.calls.borrow_mut().push_back(call);
            }
            Lane::Event => self.events.borrow_mut().push_back(call),
        }
    }

    /// For an environment whose process is ready: a call that waits, if there is one.
    pub(super) fn waiting(&self) -> Option<Call> {
        // A caller who hung up while waiting is not worth a run.
        let wanted = |call: &Call| !call.answer.is_closed();
        let mut calls = self.calls.borrow_mut();
        std::iter::from_fn(|| calls.pop_front()).find(wanted).or_else(|| self.events.borrow_mut().pop_front())
    }

    /// For an environment whose process is ready and has nothing to do.
    pub(super) fn offer(&self) -> oneshot::Receiver<Call> {
        let (sender, receiver) = oneshot::channel();
        self.idle.borrow_mut().push(sender);
        receiver
    }

    pub(super) fn starts(&self) {
        self.starting.update(|count| count + 1);
    }

    pub(super) fn started(&self) {
        self.starting.update(|count| count - 1);
    }

    pub(super) fn works(&self) {
        self.ever_started.set(true);
        *self.broken.borrow_mut() = None;
    }

    pub(super) fn does_not_start(&self, failure: &Failure) {
        if !self.ever_started.get() && matches!(failure, Failure::CannotStart(_)) {
            self.hopeless.send_replace(Some(failure.reason()));
        }
        let mut broken = self.broken.borrow_mut();
        let failures = broken.as_ref().map_or(1, |broken| broken.failures.saturating_add(1));
        *broken = Some(Broken { failures, until: Instant::now() + pause(failures), failure: failure.clone() });
    }

    /// An environment is gone. Whoever still waits gets another, or the reason why there is none.
    pub(super) fn closed(self: &Rc<Self>) {
        self.environments.update(|count| count - 1);
        self.environment_closed.notify_waiters();
        while self.environments.get() < self.settings.concurrency {
            let Some(call) = self.waiting() else { return };
            match self.broken_now() {
                _ if self.phase() == Phase::Stopped => call.fail(Failure::Stopped),
                Some(failure) => call.fail(failure),
                None => return self.open(Some(call)),
            }
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until that phase, or a later one, has come.
    pub(super) async fn reached(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        // The sender is in `self`, so it cannot have gone away.
        drop(watch.wait_for(|now| *now >= phase).await);
    }

    /// Why the command can never be started, when that turns out.
    pub(super) async fn hopeless(&self) -> String {
        let mut watch = self.hopeless.subscribe();
        let reason = watch.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Ends all processes.
    pub(super) async fn stop(&self) {
        self.enter(Phase::Stopped);
        for call in self.calls.take().into_iter().chain(self.events.take()) {
            call.fail(Failure::Stopped);
        }
        while self.environments.get() > 0 {
            self.environment_closed.notified().await;
        }
    }

    fn open(self: &Rc<Self>, call: Option<Call>) {
        self.environments.update(|count| count + 1);
        tokio::task::spawn_local(environment::keep(Rc::clone(self), call));
    }

    /// By itself, so that no borrow lives on while its result is used.
    fn pop_idle(&self) -> Option<oneshot::Sender<Call>> {
        self.idle.borrow_mut().pop()
    }

    fn broken_now(&self) -> Option<Failure> {
        let broken = self.broken.borrow();
        broken.as_ref().filter(|broken| Instant::now() < broken.until).map(|broken| broken.failure.clone())
    }

    /// A caller waits for a process no longer than a call may take, and longer only while one starts.
    fn give_up_in_time(self: &Rc<Self>, invocation: &Rc<Invocation>) {
        let (pool, invocation) = (Rc::clone(self), Rc::downgrade(invocation));
        tokio::task::spawn_local(async move {
            let most = Instant::now() + pool.settings.timeout + pool.settings.init_timeout;
            loop {
                tokio::time::sleep(pool.settings.timeout).await;
                if pool.starting.get() == 0 || Instant::now() >= most {
                    break;
                }
            }
            let Some(invocation) = invocation.upgrade() else { return };
            let mut calls = pool.calls.borrow_mut();
            let place = calls.iter().position(|call| Rc::ptr_eq(&call.invocation, &invocation));
            if let Some(call) = place.and_then(|place| calls.remove(place)) {
                drop(call.answer.send(Answer::Throttled));
            }
        });
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.admitted.update(|count| count - 1);
    }
}

/// Nothing after the first failure, which the next call may find mended.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_ten_seconds() {
        assert_eq!(pause(1), Duration::ZERO);
        assert_eq!(pause(2), Duration::from_millis(200));
        assert_eq!(pause(3), Duration::from_millis(400));
        assert_eq!(pause(30), LONGEST_PAUSE);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
