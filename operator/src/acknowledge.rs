//! What proxies have loaded: one long poll per pod, of the leader only.

use std::collections::BTreeMap;
use std::time::Duration;

use bundle::{Digest, StageKey};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout};

use crate::collect::Change;

/// Longest answer of a proxy.
const MAX_BYTES: usize = 64 << 20;
/// A proxy answers within 25 s.
const POLL: Duration = Duration::from_secs(30);

/// What a proxy has said.
#[derive(Debug)]
pub struct Loaded {
    /// Its gateway.
    pub gateway: String,
    /// Its pod.
    pub pod: String,
    /// The pod's identity.
    pub uid: String,
    /// The answer.
    pub answer: Answer,
}

/// The answer of `/loaded`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Answer {
    instance: String,
    changes: u64,
    #[serde(default)]
    full: bool,
    /// Formats it reads.
    #[serde(default)]
    pub formats: Vec<u32>,
    #[serde(default)]
    stages: Vec<LoadedStage>,
    #[serde(default)]
    gone: Gone,
}

#[derive(Debug, Deserialize)]
struct LoadedStage {
    namespace: String,
    name: String,
    digest: Digest,
}

#[derive(Debug, Default, Deserialize)]
struct Gone {
    #[serde(default)]
    stages: Vec<StageKey>,
}

/// What is known of one proxy.
#[derive(Debug)]
pub struct Proxy {
    /// Identity of its pod.
    pub uid: String,
    /// Formats it reads; empty until it has answered.
    pub formats: Vec<u32>,
    /// Digest of each Stage, and since when.
    pub stages: BTreeMap<StageKey, Digest>,
    /// The task that polls.
    pub task: tokio::task::AbortHandle,
}

impl Proxy {
    /// Takes in an answer: the Stages it is about.
    pub fn apply(&mut self, answer: Answer) -> Vec<StageKey> {
        let mut touched = Vec::new();
        if answer.full {
            touched.extend(std::mem::take(&mut self.stages).into_keys());
        }
        self.formats = answer.formats;
        for key in answer.gone.stages {
            self.stages.remove(&key);
            touched.push(key);
        }
        for LoadedStage { namespace, name, digest } in answer.stages {
            let key = StageKey { namespace, name };
            self.stages.insert(key.clone(), digest);
            touched.push(key);
        }
        touched.sort();
        touched.dedup();
        touched
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Polls one proxy until it is told to end.
pub async fn poll(address: String, port: u16, gateway: String, pod: String, uid: String, changes: Sender<Change>) {
    let client: HttpClient<HttpConnector, Empty<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
    let host = if address.contains(':') { format!("[{address}]") } else { address };
    let mut since: Option<(String, u64)> = None;
    loop {
        let started = Instant::now();
        let query = since.as_ref().map(|(instance, changes)| format!("?since={changes}&instance={instance}"));
        let uri = format!("http://{host}:{port}/loaded{}", query.unwrap_or_default());
        match timeout(POLL, ask(&client, &uri)).await {
            Ok(Ok(mut answer)) => {
                // Without a counter before, everything is what was asked for.
                answer.full |= since.as_ref().is_none_or(|(instance, _)| *instance != answer.instance);
                let next = (answer.instance.clone(), answer.changes);
                let new = answer.full || since.as_ref() != Some(&next);
                since = Some(next);
                let loaded = Loaded { gateway: gateway.clone(), pod: pod.clone(), uid: uid.clone(), answer };
                if new && changes.send(Change::Loaded(loaded)).await.is_err() {
                    return;
                }
                // A proxy that answers at once without news is not asked in a tight loop.
                if !new && started.elapsed() < Duration::from_millis(200) {
                    sleep(Duration::from_millis(200)).await;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(pod, error, "the proxy does not say what it has loaded");
                sleep(Duration::from_millis(500)).await;
            }
            Err(_) => {}
        }
    }
}

async fn ask(client: &HttpClient<HttpConnector, Empty<Bytes>>, uri: &str) -> Result<Answer, String> {
    let uri: http::Uri = uri.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let response = client.get(uri).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(response.status().to_string());
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn answers_add_up_and_a_full_one_starts_anew() {
        let task = tokio::spawn(async {}).abort_handle();
        let mut proxy = Proxy { uid: String::new(), formats: Vec::new(), stages: BTreeMap::new(), task };
        let digest = Digest::of(b"a");
        let stage = |name: &str| format!(r#"{{"namespace":"n","name":"{name}","digest":"{digest}","routes":3}}"#);
        let all = format!(
            r#"{{"instance":"x","changes":2,"full":true,"formats":[1],"stages":[{},{}]}}"#,
            stage("a"),
            stage("b")
        );
        assert_eq!(proxy.apply(answer(&all)).len(), 2);
        let gone = r#"{"instance":"x","changes":3,"gone":{"stages":[{"namespace":"n","name":"a"}],"hosts":["h"]}}"#;
        assert_eq!(proxy.apply(answer(gone)).len(), 1);
        assert_eq!(proxy.stages.len(), 1);
        let full = format!(r#"{{"instance":"y","changes":1,"full":true,"stages":[{}]}}"#, stage("c"));
        assert_eq!(proxy.apply(answer(&full)).len(), 2);
        assert_eq!(proxy.stages.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["c"]);
    }
}
