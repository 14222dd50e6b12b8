//! Which pod of a Service is asked: of two drawn ones that which answers fewer requests of this core. One that cannot
//! be reached is left alone for a while, unless none is left.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::integrate::upstream::{Destination, Pool, Reach, Upstream};

/// For so long a pod that could not be reached is left alone; twice as long after every further failure.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A pod that has not taken a connection for so long counts as one that does not.
const SLOW: Duration = Duration::from_millis(500);
/// Pods that one request tries.
const TRIES: u8 = 3;

/// The pods of one Service, as one core sees them.
pub(super) struct Balancer {
    service: (Box<str>, Box<str>),
    /// Changes with what is known of all Services.
    generation: Cell<Option<u64>>,
    pods: RefCell<Pods>,
}

#[derive(Default)]
struct Pods {
    addresses: Option<Arc<[SocketAddr]>>,
    /// In the order of `addresses`.
    members: Vec<Member>,
}

struct Member {
    address: SocketAddr,
    pool: Rc<Pool>,
    failures: u32,
    rests_until: Option<Instant>,
}

/// The pod that a request is sent to, if it is for a Service.
pub(super) struct Choice {
    pool: Option<Rc<Pool>>,
    tries: u8,
}

/// Why a pod is left for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It could not be connected to.
    NotReached,
    /// A new connection broke.
    Broken,
    /// A connection that had served before had ended.
    Stale,
}

impl Balancer {
    /// The balancer of a destination that is a Service.
    pub(super) fn of(destination: &Destination) -> Option<Box<Self>> {
        match &destination.reach {
            Reach::Service(service) => Some(Box::new(Self {
                service: (**service).clone(),
                generation: Cell::new(None),
                pods: RefCell::default(),
            })),
            Reach::Checked | Reach::Exempt | Reach::Pod(_) => None,
        }
    }

    /// Chooses a pod, other than `avoid` if there is another; `None` when no pods are known.
    fn choose(&self, upstream: &Upstream, service: &Pool, avoid: Option<&Rc<Pool>>) -> Option<Rc<Pool>> {
        let generation = upstream.options.endpoints.generation();
        if self.generation.replace(Some(generation)) != Some(generation) {
            self.refresh(upstream, service);
        }
        let pods = self.pods.borrow();
        let members = &pods.members;
        if let [only] = &**members {
            return Some(Rc::clone(&only.pool));
        }
        // A clock is read only when one rests.
        let now = Now::default();
        let usable = |index: usize| {
            let member = &members[index];
            let rests = member.rests_until.is_some_and(|until| until > now.get());
            !rests && avoid.is_none_or(|avoid| !Rc::ptr_eq(avoid, &member.pool))
        };
        let not_avoided = |index: usize| avoid.is_none_or(|avoid| !Rc::ptr_eq(avoid, &members[index].pool));
        let drawn = || draw(members.len(), usable).or_else(|| draw(members.len(), not_avoided));
        let (one, other) = (drawn()?, drawn()?);
        let fewer = if members[other].pool.in_flight() < members[one].pool.in_flight() { other } else { one };
        Some(Rc::clone(&members[fewer].pool))
    }

    /// Takes over what is known now. Pods that stay keep their connections; those that go are asked nothing more.
    fn refresh(&self, upstream: &Upstream, service: &Pool) {
        let addresses = upstream.options.endpoints.find(&self.service);
        let mut pods = self.pods.borrow_mut();
        let same = match (&pods.addresses, &addresses) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        let mut complete = true;
        let mut before = std::mem::take(&mut pods.members);
        for &address in addresses.iter().flat_map(|addresses| addresses.iter()) {
            let member = match before.iter().position(|member| member.address == address) {
                Some(index) => before.swap_remove(index),
                None => {
                    let destination = service.destination.clone().reached(Reach::Pod(address));
                    let Ok(pool) = upstream.pool(&destination) else {
                        // Too many endpoints are known: the others have to do until there is room.
                        complete = false;
                        continue;
                    };
                    Member { address, pool, failures: 0, rests_until: None }
                }
            };
            pods.members.push(member);
        }
        pods.addresses = addresses.filter(|_| complete);
        if !complete {
            self.generation.set(None);
        }
        for gone in before {
            gone.pool.retire();
            upstream.pools.borrow_mut().remove(&gone.pool.destination);
        }
    }

    fn note(&self, pool: &Rc<Pool>, reached: bool) {
        let mut pods = self.pods.borrow_mut();
        let Some(member) = pods.members.iter_mut().find(|member| Rc::ptr_eq(&member.pool, pool)) else { return };
        if reached {
            member.failures = 0;
            member.rests_until = None;
        } else if member.rests_until.is_none_or(|until| until <= Instant::now()) {
            // Those who tried it at the same time have seen the same failure.
            let rest = FIRST_REST.saturating_mul(1 << member.failures.min(5)).min(LONGEST_REST);
            member.failures += 1;
            member.rests_until = Some(Instant::now() + rest);
            tracing::warn!(pod = %member.address, seconds = rest.as_secs(), "a pod cannot be reached and is left alone");
        }
    }
}

impl Choice {
    /// For a request to this pool. Costs nothing where it is not a Service's.
    pub(super) fn new(upstream: &Upstream, service: &Rc<Pool>) -> Self {
        let pool = service.balancer.as_ref().and_then(|balancer| balancer.choose(upstream, service, None));
        Self { pool, tries: 1 }
    }

    /// Where the request is sent.
    pub(super) fn pool<'a>(&'a self, service: &'a Rc<Pool>) -> &'a Rc<Pool> {
        self.pool.as_ref().unwrap_or(service)
    }

    /// Watches the making of a connection.
    pub(super) fn reaching<'a>(&'a self, service: &'a Pool) -> Reaching<'a> {
        Reaching { service, choice: self, began: Some(Instant::now()) }
    }

    /// A connection was made.
    fn connected(&self, service: &Pool) {
        if let (Some(balancer), Some(pool)) = (&service.balancer, &self.pool) {
            balancer.note(pool, true);
        }
    }

    /// Chooses another pod. False when the request has tried enough, or this was no pod.
    pub(super) fn another(&mut self, upstream: &Upstream, service: &Pool, left: Left) -> bool {
        let (Some(balancer), Some(pool)) = (&service.balancer, &self.pool) else { return false };
        match left {
            Left::NotReached => balancer.note(pool, false),
            // Asking the same pod the same again is no other pod.
            Left::Broken if balancer.pods.borrow().members.len() < 2 => return false,
            Left::Broken | Left::Stale => {}
        }
        if self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        self.pool = balancer.choose(upstream, service, Some(pool));
        true
    }
}

/// A connection to a pod, being made.
pub(super) struct Reaching<'a> {
    service: &'a Pool,
    choice: &'a Choice,
    began: Option<Instant>,
}

impl Reaching<'_> {
    /// It is made, or has failed.
    pub(super) fn ended(mut self, made: bool) {
        self.began = None;
        if made {
            self.choice.connected(self.service);
        }
    }
}

impl Drop for Reaching<'_> {
    /// The request's own time was over, or its client gone: a pod that did not answer until then is no better for it.
    fn drop(&mut self) {
        if let (Some(began), Some(balancer), Some(pool)) = (self.began, &self.service.balancer, &self.choice.pool)
            && began.elapsed() >= SLOW
        {
            balancer.note(pool, false);
        }
    }
}

/// Draws a number below `count` that is usable, if there is one.
fn draw(count: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
    if count == 0 {
        return None;
    }
    for _ in 0..4 {
        let index = fastrand::usize(..count);
        if usable(index) {
            return Some(index);
        }
    }
    // Few are: look at all of them, from a random one on.
    let start = fastrand::usize(..count);
    (start..count).chain(0..start).find(|&index| usable(index))
}

/// The time, read when it is asked for.
#[derive(Default)]
struct Now(Cell<Option<Instant>>);

impl Now {
    fn get(&self) -> Instant {
        self.0.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.0.set(Some(now));
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_drawn_is_usable_and_found_if_there_is_any(usable in proptest::collection::vec(any::<bool>(), 0..50)) {
            let drawn = draw(usable.len(), |index| usable[index]);
            prop_assert_eq!(drawn.is_some(), usable.contains(&true));
            prop_assert!(drawn.is_none_or(|index| usable[index]));
        }
    }

    #[test]
    fn every_usable_one_is_drawn() {
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[draw(7, |index| index != 3).unwrap()] += 1;
        }
        assert_eq!(seen[3], 0);
        assert!(seen.iter().enumerate().all(|(index, &count)| index == 3 || count > 800), "{seen:?}");
    }
}
