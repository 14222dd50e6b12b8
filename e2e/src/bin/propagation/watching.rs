//! Clients that wait for a value.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use e2e::https::{Https, Trust};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{BASE_DOMAIN, LOST, NAMESPACE, world};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(1);

/// A client per proxy, which asks until it sees the value.
pub(crate) struct Watching(JoinSet<anyhow::Result<Instant>>);

impl Watching {
    /// Starts them; returns when each has had an answer, so that none is still connecting when the change comes.
    pub(crate) async fn start(
        proxies: impl Iterator<Item = SocketAddr>,
        api: usize,
        route: usize,
        value: &str,
        trust: &Trust,
    ) -> anyhow::Result<Self> {
        let mut clients = JoinSet::new();
        let (tell, mut told) = mpsc::channel(1);
        for address in proxies {
            let (trust, value, tell) = (trust.clone(), value.to_owned(), tell.clone());
            clients.spawn(async move {
                let mut client = Client::new(address, api, route, trust);
                client.ask().await?;
                tell.send(()).await.ok();
                drop(tell);
                client.until(&value, LOST).await
            });
        }
        drop(tell);
        for _ in 0..clients.len() {
            if told.recv().await.is_none() {
                break;
            }
        }
        Ok(Self(clients))
    }

    /// When each saw it.
    pub(crate) async fn seen(mut self) -> anyhow::Result<Vec<Instant>> {
        let mut seen = Vec::new();
        while let Some(client) = self.0.join_next().await {
            seen.push(client??);
        }
        Ok(seen)
    }
}

/// Waits until a proxy answers a route with a value, at most so long.
pub(crate) async fn served(
    address: SocketAddr,
    api: usize,
    route: usize,
    value: &str,
    trust: &Trust,
    within: Duration,
) -> anyhow::Result<()> {
    Client::new(address, api, route, trust.clone()).until(value, within).await.map(drop)
}

struct Client {
    address: SocketAddr,
    host: String,
    path: String,
    trust: Trust,
    connection: Option<Https>,
}

impl Client {
    fn new(address: SocketAddr, api: usize, route: usize, trust: Trust) -> Self {
        let host = format!("{}.{NAMESPACE}.{BASE_DOMAIN}", world::name(api));
        Self { address, host, path: format!("/prod/r{route}"), trust, connection: None }
    }

    /// The answer's status and body.
    async fn ask(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut open = match self.connection.take() {
            Some(open) => open,
            None => Https::connect(self.address, &self.host, &self.trust).await?,
        };
        let answer = open.get(&self.path).await?;
        if !answer.last {
            self.connection = Some(open);
        }
        Ok((answer.status, answer.body.to_vec()))
    }

    /// When the value was there first.
    async fn until(&mut self, value: &str, within: Duration) -> anyhow::Result<Instant> {
        let began = Instant::now();
        let mut latest = "nothing".to_owned();
        while began.elapsed() < within {
            let pause = match self.ask().await {
                Ok((200, body)) if body == value.as_bytes() => return Ok(Instant::now()),
                Ok((status, body)) => {
                    latest = format!("{status} {}", String::from_utf8_lossy(&body));
                    EVERY
                }
                // Until the host is served its certificate is another one, and before that nobody listens.
                Err(error) => {
                    latest = format!("{error:#}");
                    EVERY * 20
                }
            };
            tokio::time::sleep(pause).await;
        }
        let Self { address, host, path, .. } = self;
        bail!("{address} answers {host}{path} with {latest}, and not with `{value}` within {within:?}")
    }
}
