//! The latest state of loading: what is served since when, what could not be, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bundle::object::Subject;
use bundle::{Digest, StageKey};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::live::{Broken, Live, Stage};
use crate::observe::clock::rfc3339;

/// Findings, rejected bundles, and refused routes of one stage that are shown; the rest are counted.
const SHOWN: usize = 200;

/// Stages and hosts that are remembered to be gone.
const MAX_GONE: usize = 10_000;

/// Formats of bundles that this proxy reads.
const FORMATS: [u32; 1] = [bundle::FORMAT];

/// The latest state of loading. Told by whoever loads, asked by the admin port.
pub struct Status {
    state: Mutex<State>,
    /// Tells the number of changes to whoever waits for the next.
    told: watch::Sender<u64>,
    /// Of this process: counters of another one say nothing here.
    instance: String,
}

#[derive(Default)]
struct State {
    /// `None` until the first load.
    stages: Option<BTreeMap<StageKey, Loaded>>,
    findings: Vec<ReportedFinding>,
    rejected: Vec<RejectedBundle>,
    draining: bool,
    /// Goes up with every change of what `/loaded` shows.
    changes: u64,
    hosts: BTreeMap<Box<str>, LoadedHost>,
    /// What is served no more, and with which change it went.
    gone: BTreeMap<Subject, u64>,
    /// Whoever knows only less than this gets everything: the memory of what is gone has a bound.
    complete_since: u64,
}

/// One host that is served.
struct LoadedHost {
    digest: Digest,
    changed: u64,
}

/// One stage that is served.
#[derive(PartialEq, Eq)]
struct Loaded {
    api: Box<str>,
    name: Box<str>,
    deployment: u64,
    /// Number of the canary's.
    canary: Option<u64>,
    digest: Digest,
    since: SystemTime,
    routes: usize,
    refused: Vec<RefusedRoute>,
    /// The change with which it was loaded.
    changed: u64,
}

/// A route that answers 500.
#[derive(PartialEq, Eq)]
struct RefusedRoute {
    /// Verb and resource; empty for the stage as a whole.
    route: String,
    reason: String,
    message: String,
}

/// Something wrong with what a user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedFinding {
    pub severity: Severity,
    /// `Stage shop/orders-prod`.
    pub object: String,
    /// `file:line:column`, or a field's path.
    pub location: Option<String>,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// A bundle that could not be read; the one before it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedBundle {
    /// What it came in: the Secret's name, or a file's.
    pub object: String,
    /// What it is about, if that can be told.
    pub subject: Option<Subject>,
    /// Digest of the bundle that should be running, if that can be told.
    pub wanted: Option<Digest>,
    pub message: String,
}

impl Default for Status {
    fn default() -> Self {
        let instance = format!("{:016x}", fastrand::u64(..));
        Self { state: Mutex::default(), told: watch::Sender::new(0), instance }
    }
}

impl Status {
    /// Resolves when more than `since` changes have been made, or when draining begins.
    pub async fn changed(&self, since: u64) {
        let mut told = self.told.subscribe();
        // The sender lives as long as this.
        drop(told.wait_for(|&changes| changes > since).await);
    }

    /// Whether counters of `instance` can be compared with this process's.
    pub fn knows(&self, instance: &str, since: u64) -> bool {
        let state = self.lock();
        instance == self.instance && since <= state.changes && since >= state.complete_since
    }

    fn tell(&self, state: &State) {
        self.told.send_replace(if state.draining { u64::MAX } else { state.changes });
    }

    /// A set of bundles has been made live. Stages that did not change keep their `since` and what was broken.
    pub fn loaded(&self, live: &Live, broken: &[Broken]) {
        self.loaded_at(live, broken, SystemTime::now());
    }

    fn loaded_at(&self, live: &Live, broken: &[Broken], now: SystemTime) {
        let mut state = self.lock();
        let change = state.changes + 1;
        let mut before = state.stages.take();
        let mut changed = before.is_none();
        let mut stages = BTreeMap::new();
        for stage in &live.stages {
            let known = before.as_mut().and_then(|before| before.remove(&stage.key));
            let loaded = match known.filter(|known| known.digest == stage.digest) {
                Some(known) => known,
                None => {
                    changed = true;
                    state.gone.remove(&Subject::Stage(stage.key.clone()));
                    Loaded::of(stage, broken, (now, change))
                }
            };
            stages.insert(stage.key.clone(), loaded);
        }
        for key in before.into_iter().flatten().map(|(key, _)| key) {
            changed = true;
            state.gone.insert(Subject::Stage(key), change);
        }
        state.stages = Some(stages);
        changed |= state.hosts(live, change);
        state.changes += u64::from(changed);
        self.tell(&state);
    }

    /// What is wrong with what users wrote, now; it replaces what was told before.
    pub fn findings(&self, findings: Vec<ReportedFinding>) {
        let mut state = self.lock();
        if state.findings != findings {
            state.findings = findings;
            state.changes += 1;
            self.tell(&state);
        }
    }

    /// Bundles that should be running and cannot be read, now; it replaces what was told before.
    pub fn rejected(&self, rejected: Vec<RejectedBundle>) {
        let mut state = self.lock();
        if state.rejected != rejected {
            state.rejected = rejected;
            state.changes += 1;
            self.tell(&state);
        }
    }

    /// No more requests, please.
    pub fn draining(&self) {
        let mut state = self.lock();
        state.draining = true;
        self.tell(&state);
    }

    /// Whether requests can be served, and a text that says why not or what is wrong all the same.
    pub fn ready(&self) -> (bool, String) {
        let state = self.lock();
        let (ready, mut text) = match &state.stages {
            _ if state.draining => (false, "draining\n".to_owned()),
            None => (false, "nothing has been loaded yet\n".to_owned()),
            Some(_) => (true, "ready\n".to_owned()),
        };
        for finding in state.findings.iter().take(SHOWN) {
            text.push_str(&format!("{finding}\n"));
        }
        for rejected in state.rejected.iter().take(SHOWN) {
            text.push_str(&format!("error: {rejected}\n"));
        }
        let more = state.findings.len().saturating_sub(SHOWN) + state.rejected.len().saturating_sub(SHOWN);
        if more > 0 {
            text.push_str(&format!("and {more} more\n"));
        }
        (ready, text)
    }

    /// What `/loaded` shows: everything, or what has changed since a number of changes.
    pub fn json(&self, since: Option<u64>) -> Value {
        let state = self.lock();
        let new = |changed: u64| since.is_none_or(|since| changed > since);
        let stages: Vec<Value> = state
            .stages
            .iter()
            .flatten()
            .filter(|(_, loaded)| new(loaded.changed))
            .map(|(key, loaded)| loaded.json(key))
            .collect();
        let hosts: Vec<Value> = state
            .hosts
            .iter()
            .filter(|(_, host)| new(host.changed))
            .map(|(name, host)| json!({"host": name, "digest": host.digest.as_str()}))
            .collect();
        let (mut gone_stages, mut gone_hosts) = (Vec::new(), Vec::new());
        for (subject, _) in state.gone.iter().filter(|&(_, &changed)| since.is_some() && new(changed)) {
            match subject {
                Subject::Stage(key) => gone_stages.push(json!({"namespace": key.namespace, "name": key.name})),
                Subject::Host(host) => gone_hosts.push(json!(host)),
                // Nobody waits for these.
                Subject::Plan(_) | Subject::Keys(_) => {}
            }
        }
        json!({
            "instance": self.instance,
            "full": since.is_none(),
            "formats": FORMATS,
            "hosts": hosts,
            "gone": {"stages": gone_stages, "hosts": gone_hosts},
            "changes": state.changes,
            "loaded": state.stages.is_some(),
            "draining": state.draining,
            "stages": stages,
            "rejected": state.rejected.iter().take(SHOWN).map(|rejected| state.rejected_json(rejected)).collect::<Vec<_>>(),
            "findings": state.findings.iter().take(SHOWN).map(ReportedFinding::json).collect::<Vec<_>>(),
            "findingsTotal": state.findings.len(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Compares the hosts that are live with those that were; true if something has changed.
    fn hosts(&mut self, live: &Live, change: u64) -> bool {
        let mut changed = false;
        let mut before = std::mem::take(&mut self.hosts);
        for (name, digest) in live.hosts.digests() {
            let host = match before.remove(&*name).filter(|host| host.digest == *digest) {
                Some(known) => known,
                None => {
                    changed = true;
                    self.gone.remove(&Subject::Host(name.to_string()));
                    LoadedHost { digest: digest.clone(), changed: change }
                }
            };
            self.hosts.insert(name, host);
        }
        for (name, _) in before {
            changed = true;
            self.gone.insert(Subject::Host(name.into()), change);
        }
        if self.gone.len() > MAX_GONE {
            self.gone.clear();
            self.complete_since = change;
        }
        changed
    }

    fn rejected_json(&self, rejected: &RejectedBundle) -> Value {
        let RejectedBundle { object, subject, wanted, message } = rejected;
        let wanted = wanted.as_ref().map(Digest::as_str);
        let mut value = json!({"object": object, "wanted": wanted, "message": message});
        match subject {
            Some(Subject::Stage(key)) => {
                let running = self.stages.as_ref().and_then(|stages| stages.get(key));
                value["namespace"] = json!(key.namespace);
                value["name"] = json!(key.name);
                value["running"] = json!(running.map(|loaded| loaded.digest.as_str()));
            }
            Some(Subject::Host(host)) => {
                value["host"] = json!(host);
                value["running"] = json!(self.hosts.get(&**host).map(|loaded| loaded.digest.as_str()));
            }
            Some(Subject::Plan(plan)) => value["plan"] = json!({"namespace": plan.namespace, "name": plan.name}),
            Some(Subject::Keys(shard)) => value["keys"] = json!({"namespace": shard.namespace, "prefix": shard.prefix}),
            None => {}
        }
        value
    }
}

impl Loaded {
    fn of(stage: &Stage, broken: &[Broken], (since, changed): (SystemTime, u64)) -> Self {
        let mut refused: Vec<RefusedRoute> = Vec::new();
        for route in &stage.routes {
            if let Some(refusal) = route.action.refusal() {
                refused.push(RefusedRoute {
                    route: format!("{} {}", route.verb, route.resource),
                    reason: refusal.reason.clone(),
                    message: refusal.message.clone(),
                });
            }
        }
        for Broken { stage: key, route, message } in broken {
            // A broken route is refused in `Live` as well.
            if *key == stage.key && !refused.iter().any(|refused| refused.route == *route) {
                let (route, message) = (route.clone(), message.clone());
                refused.push(RefusedRoute { route, reason: "NotServable".to_owned(), message });
            }
        }
        Self {
            api: stage.api_name.clone(),
            name: stage.name.clone(),
            deployment: stage.deployment,
            canary: stage.canary.as_ref().map(|canary| canary.stage.deployment),
            digest: stage.digest.clone(),
            since,
            routes: stage.routes.len(),
            refused,
            changed,
        }
    }

    fn json(&self, key: &StageKey) -> Value {
        let refused = |refused: &RefusedRoute| json!({"route": refused.route, "reason": refused.reason, "message": refused.message});
        json!({
            "namespace": key.namespace,
            "name": key.name,
            "api": self.api,
            "stageName": self.name,
            "deployment": self.deployment,
            "canary": self.canary,
            "digest": self.digest.as_str(),
            "since": rfc3339(self.since),
            "routes": self.routes,
            "refusedTotal": self.refused.len(),
            "refused": self.refused.iter().take(SHOWN).map(refused).collect::<Vec<_>>(),
        })
    }
}

impl ReportedFinding {
    fn json(&self) -> Value {
        let Self { severity, object, location, reason, message } = self;
        json!({
            "severity": severity.to_string(),
            "object": object,
            "location": location,
            "reason": reason,
            "message": message,
        })
    }
}

impl fmt::Display for RejectedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, subject, wanted, message } = self;
        match subject {
            Some(subject) => write!(f, "{subject}: bundle ")?,
            None => write!(f, "{object}: bundle ")?,
        }
        if let Some(wanted) = wanted {
            write!(f, "{}", wanted.short())?;
        }
        write!(f, ": {message}")
    }
}

impl fmt::Display for ReportedFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, object, location, reason, message } = self;
        write!(f, "{severity}: {object}")?;
        if let Some(location) = location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {reason}: {message}")
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

#[cfg(test)]
mod tests;
