//! What a connection is doing and since when. One sweep per core and second compares all of them with the
//! timeouts, so that no request and no connection needs a timer of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use futures_util::task::AtomicWaker;

use crate::options::Timeouts;

/// What a connection is doing. `Send` because hyper may hand its socket on as a tunnel; written by one core only.
#[derive(Debug)]
pub struct Activity {
    phase: AtomicU8,
    order: AtomicU8,
    /// Tick at which the phase began.
    since: AtomicU32,
    /// Tick since which the client takes no more bytes; 0 while it does.
    blocked: AtomicU32,
    /// Tick at which the connection is old.
    old_at: u32,
    /// Requests in flight.
    requests: AtomicU32,
    /// HTTP/2: bytes come without a request too, and a header section cannot be told from them.
    multiplexed: AtomicBool,
    clock: Arc<Clock>,
    waker: AtomicWaker,
}

/// A request in flight; dropped when its answer has been handed to the codec.
#[derive(Debug)]
pub struct Busy(Arc<Activity>);

impl Busy {
    pub fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Relaxed);
        activity.enter(Phase::Request);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Relaxed) == 1 && self.0.phase() != Phase::Tunnel {
            self.0.enter(Phase::Idle);
        }
    }
}

/// Ticks of one second, kept by the sweep.
#[derive(Debug, Default)]
pub struct Clock(AtomicU32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// TCP is open, TLS is not.
    Handshake,
    /// Nothing has been asked yet, and no bytes of it have come.
    Fresh,
    /// Between requests.
    Idle,
    /// Some bytes of a header section have come.
    Header,
    /// A request is being answered.
    Request,
    /// Left HTTP; whoever copies the bytes watches the time.
    Tunnel,
}

/// What the connection shall do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Order {
    /// Go on.
    None,
    /// Finish what is in flight or on its way, then close.
    Leave,
    /// The same, but wait for nothing that has not begun.
    Hurry,
    /// A header section took too long: answer 408 and close.
    TimeOut,
    /// Close now.
    Close,
}

impl Clock {
    pub fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// One second has passed.
    pub fn tick(&self) {
        self.0.store(self.now().saturating_add(1), Relaxed);
    }
}

impl Activity {
    pub fn new(clock: Arc<Clock>, age: u32) -> Arc<Self> {
        let now = clock.now();
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Handshake as u8),
            order: AtomicU8::new(Order::None as u8),
            since: AtomicU32::new(now),
            blocked: AtomicU32::new(0),
            old_at: now.saturating_add(age),
            requests: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            clock,
            waker: AtomicWaker::new(),
        })
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Handshake,
            1 => Phase::Fresh,
            2 => Phase::Idle,
            3 => Phase::Header,
            4 => Phase::Request,
            _ => Phase::Tunnel,
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.clock.now(), Relaxed);
    }

    /// Bytes have come: the first ones after silence begin a header section. That of a new connection is due since
    /// the handshake.
    pub fn received(&self) {
        match self.phase() {
            Phase::Idle if !self.multiplexed.load(Relaxed) => self.enter(Phase::Header),
            Phase::Fresh => self.phase.store(Phase::Header as u8, Relaxed),
            Phase::Handshake | Phase::Idle | Phase::Header | Phase::Request | Phase::Tunnel => {}
        }
    }

    /// From now on many requests share the connection.
    pub fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// Whether the connection has lived so long that it shall leave with its next answer.
    pub fn is_old(&self) -> bool {
        self.clock.now() >= self.old_at
    }

    /// Whether it shall leave, and no request is on its way that would be lost with it.
    pub fn may_leave(&self) -> bool {
        match self.order() {
            Order::None => false,
            Order::Leave => !matches!(self.phase(), Phase::Fresh | Phase::Header),
            Order::Hurry | Order::TimeOut | Order::Close => true,
        }
    }

    /// The client takes bytes, or does not.
    pub fn writable(&self, writable: bool) {
        let blocked = self.blocked.load(Relaxed);
        if writable && blocked != 0 {
            self.blocked.store(0, Relaxed);
        } else if !writable && blocked == 0 {
            self.blocked.store(self.clock.now().max(1), Relaxed);
        }
    }

    pub fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::None,
            1 => Order::Leave,
            2 => Order::Hurry,
            3 => Order::TimeOut,
            _ => Order::Close,
        }
    }

    /// Orders only get stricter.
    pub fn give(&self, order: Order) {
        if order > self.order() {
            self.order.store(order as u8, Relaxed);
            self.waker.wake();
        }
    }

    /// The task that carries out orders.
    pub fn listen(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Lets the task that listens go on.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Compares with the timeouts.
    fn check(&self, timeouts: &Timeouts) {
        let now = self.clock.now();
        let lasted = now.saturating_sub(self.since.load(Relaxed));
        // A tick may be nearly over when a phase begins, so a limit is reached one tick later.
        let over = |limit: std::time::Duration| u64::from(lasted) > limit.as_secs().max(1);
        match self.phase() {
            Phase::Handshake if over(timeouts.handshake) => self.give(Order::Close),
            Phase::Idle if over(timeouts.idle) => self.give(Order::Leave),
            Phase::Fresh | Phase::Header if over(timeouts.header) => self.give(Order::TimeOut),
            Phase::Handshake | Phase::Fresh | Phase::Idle | Phase::Header | Phase::Request | Phase::Tunnel => {}
        }
        let blocked = self.blocked.load(Relaxed);
        if blocked != 0 && u64::from(now.saturating_sub(blocked)) > timeouts.send.as_secs().max(1) {
            self.give(Order::Close);
        }
    }
}

/// All connections of one core.
#[derive(Default)]
pub struct Connections {
    slots: RefCell<Vec<Option<Arc<Activity>>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
}

/// A connection's place in [`Connections`]; gives it back when dropped. A tunnel keeps it.
pub struct Place {
    connections: Rc<Connections>,
    index: usize,
    pub activity: Arc<Activity>,
}

impl Connections {
    pub fn add(self: &Rc<Self>, activity: Arc<Activity>) -> Place {
        let mut slots = self.slots.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or(slots.len());
        match slots.get_mut(index) {
            Some(slot) => *slot = Some(Arc::clone(&activity)),
            None => slots.push(Some(Arc::clone(&activity))),
        }
        self.open.set(self.open.get() + 1);
        Place { connections: Rc::clone(self), index, activity }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    pub fn sweep(&self, timeouts: &Timeouts) {
        for activity in self.slots.borrow().iter().flatten() {
            activity.check(timeouts);
        }
    }

    /// Gives an order to every connection.
    pub fn order_all(&self, order: Order) {
        for activity in self.slots.borrow().iter().flatten() {
            activity.give(order);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(slot) = self.connections.slots.borrow_mut().get_mut(self.index) {
            *slot = None;
        }
        self.connections.free.borrow_mut().push(self.index);
        self.connections.open.set(self.connections.open.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(phase: Phase, seconds: u32) -> Order {
        let clock = Arc::new(Clock::default());
        let activity = Activity::new(Arc::clone(&clock), 1800);
        activity.enter(phase);
        for _ in 0..seconds {
            clock.tick();
        }
        activity.check(&Timeouts::default());
        activity.order()
    }

    #[test]
    fn each_phase_has_its_limit() {
        assert_eq!(after(Phase::Handshake, 10), Order::None);
        assert_eq!(after(Phase::Handshake, 11), Order::Close);
        assert_eq!(after(Phase::Header, 30), Order::None);
        assert_eq!(after(Phase::Header, 31), Order::TimeOut);
        assert_eq!(after(Phase::Idle, 350), Order::None);
        assert_eq!(after(Phase::Idle, 351), Order::Leave);
        assert_eq!(after(Phase::Request, 1000), Order::None);
        assert_eq!(after(Phase::Fresh, 31), Order::TimeOut);
        assert_eq!(after(Phase::Request, 1800), Order::None, "it leaves with its answer");
        assert_eq!(after(Phase::Tunnel, 100_000), Order::None);
    }

    #[test]
    fn bytes_after_silence_begin_a_header_section_and_bytes_of_a_body_do_not() {
        let activity = Activity::new(Arc::default(), 10);
        activity.enter(Phase::Idle);
        activity.received();
        assert_eq!(activity.phase(), Phase::Header);
        activity.enter(Phase::Request);
        activity.received();
        assert_eq!(activity.phase(), Phase::Request);
    }

    #[test]
    fn a_request_on_its_way_is_waited_for_but_not_for_ever() {
        let activity = Activity::new(Arc::default(), 10);
        activity.enter(Phase::Fresh);
        assert!(!activity.may_leave());
        activity.give(Order::Leave);
        assert!(!activity.may_leave());
        activity.received();
        assert_eq!(activity.phase(), Phase::Header);
        assert!(!activity.may_leave());
        activity.enter(Phase::Idle);
        assert!(activity.may_leave());
        activity.received();
        assert!(!activity.may_leave());
        activity.give(Order::Hurry);
        assert!(activity.may_leave());
    }

    #[test]
    fn bytes_of_http2_begin_no_header_section() {
        let activity = Activity::new(Arc::default(), 10);
        activity.multiplex();
        activity.enter(Phase::Idle);
        activity.received();
        assert_eq!(activity.phase(), Phase::Idle, "a ping, or a window");
    }

    #[test]
    fn places_are_used_again() {
        let connections = Rc::new(Connections::default());
        let first = connections.add(Activity::new(Arc::default(), 10));
        let _second = connections.add(Activity::new(Arc::default(), 10));
        drop(first);
        let _third = connections.add(Activity::new(Arc::default(), 10));
        assert_eq!(connections.open(), 2);
        assert_eq!(connections.slots.borrow().len(), 2);
    }
}
