//! One worker thread: a current-thread runtime that accepts, serves and drains by itself.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, watch};

use crate::accept::activity::{Clock, Connections, Order};
use crate::accept::tls::Tls;
use crate::accept::{Way, listener};
use crate::core::Core;
use crate::observe;

/// What the tasks of one worker thread share.
pub struct Worker {
    pub core: Rc<Core>,
    pub connections: Rc<Connections>,
    pub clock: Arc<Clock>,
    pub tls: Arc<Tls>,
    /// Where redirects point.
    pub https_port: u16,
    /// How connections of the main port are served.
    way: Way,
    peers: Arc<[Peer]>,
}

/// How the other threads reach a worker.
pub struct Peer {
    mailbox: mpsc::UnboundedSender<Mail>,
    /// Connections it has open.
    open: AtomicUsize,
}

/// What is sent to a worker.
pub enum Mail {
    /// Serve this connection: another worker has too many.
    Connection(StdStream, SocketAddr),
    /// Stop accepting, finish what is in flight, end.
    Drain { grace: Duration },
}

/// What a worker starts with.
pub struct Setup {
    pub index: usize,
    pub https: StdListener,
    pub redirect: Option<StdListener>,
    pub mail: mpsc::UnboundedReceiver<Mail>,
    pub peers: Arc<[Peer]>,
    pub tls: Arc<Tls>,
    pub https_port: u16,
}

impl Peer {
    /// A peer and the end that its thread reads.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Mail>) {
        let (mailbox, mail) = mpsc::unbounded_channel();
        (Self { mailbox, open: AtomicUsize::new(0) }, mail)
    }

    /// Hands a fresh connection over.
    ///
    /// # Errors
    /// When the worker has ended: the connection comes back.
    pub fn hand_over(&self, stream: StdStream, peer: SocketAddr) -> Result<(), StdStream> {
        match self.mailbox.send(Mail::Connection(stream, peer)) {
            Ok(()) | Err(SendError(Mail::Drain { .. })) => Ok(()),
            Err(SendError(Mail::Connection(stream, _))) => Err(stream),
        }
    }

    /// Asks the worker to end; one that has ended does not mind.
    pub fn drain(&self, grace: Duration) {
        drop(self.mailbox.send(Mail::Drain { grace }));
    }
}

/// Tasks polled before the system is asked for events again. A request takes three polls when its core is busy, and what
/// is ready together should be served together (see [`crate::turn`]); much more, and timers would be late.
const POLLS_BETWEEN_EVENTS: u32 = 128;

/// Runs a worker until it has drained. `make_core` runs on this thread, where its parts belong.
///
/// # Errors
/// When the runtime or the core cannot be made.
pub fn run(setup: Setup, make_core: impl FnOnce() -> io::Result<Rc<Core>>) -> io::Result<()> {
    let Setup { index: _, https, redirect, mut mail, peers, tls, https_port } = setup;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .event_interval(POLLS_BETWEEN_EVENTS)
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let core = make_core()?;
        let way = if core.options.plain { Way::Plain } else { Way::Tls };
        let worker =
            Rc::new(Worker { core, connections: Rc::default(), clock: Arc::default(), tls, https_port, way, peers });
        tokio::task::spawn_local(sweep(Rc::clone(&worker)));
        tokio::task::spawn_local(observe::keep_flushing(Rc::clone(&worker.core)));
        let (stop, stopped) = watch::channel(());
        let mut accepting = Vec::new();
        for (listener, way) in std::iter::once((https, way)).chain(redirect.map(|listener| (listener, Way::Redirect))) {
            let listener = TcpListener::from_std(listener)?;
            accepting.push(tokio::task::spawn_local(listener::accept(
                Rc::clone(&worker),
                listener,
                way,
                stopped.clone(),
            )));
        }
        drop(stopped);
        let grace = work(&worker, &mut mail).await;
        drop(stop);
        for task in accepting {
            // A loop that panicked has nothing more to accept.
            drop(task.await);
        }
        drain(&worker, mail, grace).await;
        flush(&worker).await;
        Ok(())
    })
}

/// Serves what other workers hand over, until asked to drain.
async fn work(worker: &Rc<Worker>, mail: &mut mpsc::UnboundedReceiver<Mail>) -> Duration {
    while let Some(mail) = mail.recv().await {
        match mail {
            Mail::Connection(stream, peer) => listener::take_over(worker, stream, peer, worker.way),
            Mail::Drain { grace } => return grace,
        }
    }
    Duration::ZERO
}

/// How long a client that has connected and not asked anything yet is waited for while draining.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// Waits until every connection has finished what it was doing, or until the grace is over.
async fn drain(worker: &Rc<Worker>, mut mail: mpsc::UnboundedReceiver<Mail>, grace: Duration) {
    let began = Instant::now();
    while began.elapsed() < grace {
        // Others accept a little longer, and may have handed over what they accepted before.
        while let Ok(mail) = mail.try_recv() {
            if let Mail::Connection(stream, peer) = mail {
                listener::take_over(worker, stream, peer, worker.way);
            }
        }
        worker.connections.order_all(if began.elapsed() < FIRST_REQUEST { Order::Leave } else { Order::Hurry });
        if worker.connections.open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        } else if mail.is_closed() {
            return;
        } else {
            // Once more, for what came before this: from now on everybody keeps what he accepts.
            mail.close();
        }
    }
}

/// Compares every connection with the timeouts, once a second.
async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        worker.clock.tick();
        worker.connections.sweep(&worker.core.options.timeouts);
    }
}

/// Hands the last log lines to the writer, unless it is blocked for good.
async fn flush(worker: &Worker) {
    for _ in 0..100 {
        if worker.core.observer.flush() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Worker {
    /// Age in seconds at which a new connection is asked to leave: 10 % more or less, so that they do not all leave
    /// at once.
    pub fn age(&self) -> u32 {
        let age = u32::try_from(self.core.options.timeouts.connection_age.as_secs()).unwrap_or(u32::MAX);
        let spread = age / 5;
        age.saturating_sub(spread / 2).saturating_add((self.core.ids.number() % (u128::from(spread) + 1)) as u32)
    }

    /// The worker that should serve a fresh connection instead of this one: SO_REUSEPORT hashes a few HTTP/2
    /// clients onto one core by chance.
    pub fn less_loaded(&self) -> Option<&Peer> {
        let own = self.connections.open();
        let open = |peer: &Peer| peer.open.load(Ordering::Relaxed);
        self.peers.get(self.core.index)?.open.store(own, Ordering::Relaxed);
        self.peers.get(less_loaded(own, self.peers.iter().map(open))?)
    }
}

/// Which of the workers should serve a fresh connection instead of one that has so many open.
fn less_loaded(own: usize, open: impl ExactSizeIterator<Item = usize> + Clone) -> Option<usize> {
    let mean = open.clone().sum::<usize>() / open.len().max(1);
    // A few connections more are chance, not load.
    let burdened = own > mean + mean / 10 + 2;
    let (least, _) = open.enumerate().min_by_key(|(_, open)| *open)?;
    burdened.then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_a_tenth_above_the_mean_lets_the_least_loaded_serve() {
        for (own, open, chosen) in [
            (0, vec![0], None),
            (1000, vec![1000], None),
            (1000, vec![1000, 1000], None),
            // A few more are chance.
            (4, vec![4, 0], None),
            (5, vec![5, 0], Some(1)),
            // Mean 1000: up to 1102 is as good.
            (1102, vec![1102, 898], None),
            (1103, vec![1103, 897], Some(1)),
            (50, vec![10, 50, 3, 20], Some(2)),
            // Whoever has little keeps what comes.
            (10, vec![10, 50, 3, 20], None),
        ] {
            assert_eq!(less_loaded(own, open.iter().copied()), chosen, "{own} of {open:?}");
        }
    }
}
