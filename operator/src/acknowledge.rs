//! What the proxies have loaded: one long poll per pod, by the leader only.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, bail};
use bundle::{Digest, StageKey};
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::collect::Event;

/// Longest answer read: digests of ten thousand Stages and hosts fit.
const MAX_ANSWER: usize = 16 << 20;
/// A poll is answered after 25 s at the latest.
const PATIENCE: Duration = Duration::from_secs(40);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What a proxy has loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// It has loaded at all.
    pub loaded: bool,
    /// Digest of every Stage's bundle.
    pub stages: HashMap<StageKey, Digest>,
    /// Digest of every host's bundle.
    pub hosts: HashMap<String, Digest>,
    /// Formats of bundles that it reads.
    pub formats: Vec<u32>,
}

/// An answer of `/loaded`; what is not named here is for people.
#[derive(Debug, Deserialize)]
struct Answer {
    instance: String,
    changes: u64,
    #[serde(default)]
    full: bool,
    loaded: bool,
    #[serde(default)]
    formats: Vec<u32>,
    #[serde(default)]
    stages: Vec<StageAnswer>,
    #[serde(default)]
    hosts: Vec<HostAnswer>,
    #[serde(default)]
    gone: Gone,
}

#[derive(Debug, Deserialize)]
struct StageAnswer {
    namespace: String,
    name: String,
    digest: String,
}

#[derive(Debug, Deserialize)]
struct HostAnswer {
    host: String,
    digest: String,
}

#[derive(Debug, Default, Deserialize)]
struct Gone {
    #[serde(default)]
    stages: Vec<StageKey>,
    #[serde(default)]
    hosts: Vec<String>,
}

impl Loaded {
    fn update(&mut self, answer: Answer) {
        let Answer { instance: _, changes: _, full, loaded, formats, stages, hosts, gone } = answer;
        if full {
            self.stages.clear();
            self.hosts.clear();
        }
        (self.loaded, self.formats) = (loaded, formats);
        for StageAnswer { namespace, name, digest } in stages {
            if let Some(digest) = Digest::parse(&digest) {
                self.stages.insert(StageKey { namespace, name }, digest);
            }
        }
        for HostAnswer { host, digest } in hosts {
            if let Some(digest) = Digest::parse(&digest) {
                self.hosts.insert(host, digest);
            }
        }
        for stage in gone.stages {
            self.stages.remove(&stage);
        }
        for host in gone.hosts {
            self.hosts.remove(&host);
        }
    }
}

/// The polls that run, by gateway and pod.
#[derive(Default)]
pub struct Polls(BTreeMap<(String, String), Poll>);

struct Poll {
    address: String,
    task: JoinHandle<()>,
}

impl Polls {
    /// Polls exactly these: gateway, pod, and `address:port`.
    pub fn set(&mut self, wanted: &BTreeMap<(String, String), String>, events: &mpsc::UnboundedSender<Event>) {
        self.0.retain(|key, poll| {
            let stays = wanted.get(key) == Some(&poll.address);
            if !stays {
                poll.task.abort();
            }
            stays
        });
        for (key, address) in wanted {
            self.0.entry(key.clone()).or_insert_with(|| {
                let ((gateway, pod), address, events) = (key.clone(), address.clone(), events.clone());
                let task = tokio::spawn(poll(gateway, pod, address.clone(), events));
                Poll { address, task }
            });
        }
    }
}

impl Drop for Polls {
    fn drop(&mut self) {
        for poll in self.0.values() {
            poll.task.abort();
        }
    }
}

async fn poll(gateway: String, pod: String, address: String, events: mpsc::UnboundedSender<Event>) {
    let mut known = Loaded::default();
    let mut at: Option<(String, u64)> = None;
    let mut connection = None;
    let mut answered = true;
    loop {
        match tokio::time::timeout(PATIENCE, ask(&address, at.as_ref(), &mut connection)).await {
            Ok(Ok(answer)) => {
                let next = (answer.instance.clone(), answer.changes);
                let news = at.as_ref() != Some(&next) || !answered;
                at = Some(next);
                known.update(answer);
                answered = true;
                let event =
                    || Event::Loaded { gateway: gateway.clone(), pod: pod.clone(), loaded: Some(known.clone()) };
                if news && events.send(event()).is_err() {
                    return;
                }
                continue;
            }
            Ok(Err(error)) => tracing::debug!(pod, %error, "a proxy does not say what it has loaded"),
            Err(_elapsed) => tracing::debug!(pod, "a proxy does not say in time what it has loaded"),
        }
        (connection, at) = (None, None);
        if std::mem::take(&mut answered) {
            let event = Event::Loaded { gateway: gateway.clone(), pod: pod.clone(), loaded: None };
            if events.send(event).is_err() {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(
    address: &str,
    at: Option<&(String, u64)>,
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
) -> anyhow::Result<Answer> {
    let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(address).await.context("connect")?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Whoever waits for an answer learns of its end.
            tokio::spawn(async { drop(connection.await) });
            sender
        }
    };
    let path = match at {
        Some((instance, changes)) => format!("/loaded?since={changes}&instance={instance}"),
        // From the future of every process: answered at once, in full.
        None => "/loaded?since=0&instance=none".to_owned(),
    };
    let request = Request::get(path).header("host", address).body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    if response.status() != 200 {
        bail!("{} from {address}", response.status());
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    *connection = Some(sender);
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> StageKey {
        StageKey { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn answers_add_up() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut loaded = Loaded::default();
        let stage =
            |name: &str, digest: &Digest| json!({"namespace": "shop", "name": name, "digest": digest, "routes": 3});
        let answer = |value| serde_json::from_value::<Answer>(value).unwrap();
        loaded.update(answer(json!({
            "instance": "a", "changes": 3, "full": true, "loaded": true, "formats": [1],
            "stages": [stage("a", &one), stage("b", &one)], "hosts": [{"host": "h", "digest": one}], "findings": [],
        })));
        assert_eq!((loaded.stages.len(), loaded.hosts.len(), loaded.loaded), (2, 1, true));
        loaded.update(answer(json!({
            "instance": "a", "changes": 4, "full": false, "loaded": true, "stages": [stage("a", &two)],
            "gone": {"stages": [{"namespace": "shop", "name": "b"}], "hosts": ["h"]},
        })));
        assert_eq!(loaded.stages, HashMap::from([(key("a"), two)]));
        assert!(loaded.hosts.is_empty());
    }
}
