//! Steady load on one URL. Every request that is not answered 200 is a failure; nothing is sent twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::https::{Https, Trust};

/// A request that has no answer after so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Failures told apart by their text; the rest is counted under the last.
const KINDS: usize = 20;

/// Where the load goes.
#[derive(Clone)]
pub struct Goal {
    /// Where to connect.
    pub address: SocketAddr,
    /// The host asked for.
    pub host: String,
    /// The path asked for.
    pub path: String,
    /// Whom to trust.
    pub trust: Trust,
}

/// Load that is going on.
pub struct Load {
    stop: watch::Sender<()>,
    clients: JoinSet<Tally>,
    /// Each client tells of its first request.
    begun: mpsc::Receiver<()>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests answered 200, by the answer's body.
    pub answers: BTreeMap<String, u64>,
    /// Requests that were not, by what happened.
    pub failures: BTreeMap<String, u64>,
    /// Longest time a good answer took.
    pub slowest: Duration,
}

impl Load {
    /// Starts so many clients, each with one connection and so many requests a second.
    pub fn start(goal: &Goal, clients: usize, rate: u32) -> Self {
        let (stop, stopped) = watch::channel(());
        let (tell, begun) = mpsc::channel(clients.max(1));
        let mut set = JoinSet::new();
        for index in 0..clients {
            let (goal, stopped) = (goal.clone(), stopped.clone());
            let every = Duration::from_secs(1) / rate;
            // Not all at the same moment.
            let first = every * u32::try_from(index).unwrap_or(0) / u32::try_from(clients).unwrap_or(1);
            set.spawn(client(goal, every, first, stopped, tell.clone()));
        }
        Self { stop, clients: set, begun }
    }

    /// Waits until each client's first request is done.
    pub async fn begun(&mut self) {
        for _ in 0..self.clients.len() {
            self.begun.recv().await;
        }
    }

    /// Ends it, when the last answers are in.
    pub async fn stop(mut self) -> Tally {
        drop(self.stop);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            match tally {
                Ok(tally) => all.add(tally),
                Err(error) => *all.failures.entry(error.to_string()).or_default() += 1,
            }
        }
        all
    }
}

impl Tally {
    /// Requests in all.
    pub fn total(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.failed()
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn add(&mut self, other: Self) {
        for (body, count) in other.answers {
            *self.answers.entry(body).or_default() += count;
        }
        for (what, count) in other.failures {
            *self.failures.entry(what).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    fn failure(&mut self, what: String) {
        let what = if self.failures.len() < KINDS { what } else { "more".to_owned() };
        *self.failures.entry(what).or_default() += 1;
    }
}

async fn client(
    goal: Goal,
    every: Duration,
    first: Duration,
    stopped: watch::Receiver<()>,
    tell: mpsc::Sender<()>,
) -> Tally {
    let mut tell = Some(tell);
    let mut tally = Tally::default();
    let mut connection: Option<Https> = None;
    let mut next = tokio::time::Instant::now() + first;
    // The sender being gone is the signal.
    while stopped.has_changed().is_ok() {
        tokio::time::sleep_until(next).await;
        next += every;
        let began = Instant::now();
        let asked = tokio::time::timeout(PATIENCE, ask(&goal, &mut connection)).await;
        match asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer after {PATIENCE:?}"))) {
            Ok((200, body)) => {
                *tally.answers.entry(body).or_default() += 1;
                tally.slowest = tally.slowest.max(began.elapsed());
            }
            Ok((status, body)) => tally.failure(format!("{status} {body}")),
            Err(error) => {
                connection = None;
                tally.failure(format!("{error:#}"));
            }
        }
        if let Some(tell) = tell.take() {
            // Nobody need wait for it.
            tell.send(()).await.ok();
        }
    }
    tally
}

async fn ask(goal: &Goal, connection: &mut Option<Https>) -> anyhow::Result<(u16, String)> {
    // A connection that is known to be closed takes no request: that is no failure.
    let mut open = match connection.take().filter(|open| !open.is_closed()) {
        Some(open) => open,
        None => Https::connect(goal.address, &goal.host, &goal.trust).await?,
    };
    let answer = open.get(&goal.path).await?;
    if !answer.last {
        *connection = Some(open);
    }
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}
