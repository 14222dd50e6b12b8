//! The latest state of loading: what is served since when, what could not be, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bundle::{Digest, StageKey};
use serde_json::{Value, json};

use crate::live::{Broken, Live, Stage};
use crate::observe::clock::rfc3339;

/// Findings, rejected bundles, and refused routes of one stage that are shown; the rest are counted.
const SHOWN: usize = 200;

/// The latest state of loading. Told by whoever loads, asked by the admin port.
#[derive(Default)]
pub struct Status(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` until the first load.
    stages: Option<BTreeMap<StageKey, Loaded>>,
    findings: Vec<ReportedFinding>,
    rejected: Vec<RejectedBundle>,
    draining: bool,
    /// Goes up with every change of what `/loaded` shows.
    changes: u64,
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

/// A stage's bundle that could not be read; the one before it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedBundle {
    pub stage: StageKey,
    /// Digest of the bundle that should be running.
    pub wanted: Digest,
    pub message: String,
}

impl Status {
    /// A set of bundles has been made live. Stages that did not change keep their `since` and what was broken.
    pub fn loaded(&self, live: &Live, broken: &[Broken]) {
        self.loaded_at(live, broken, SystemTime::now());
    }

    fn loaded_at(&self, live: &Live, broken: &[Broken], now: SystemTime) {
        let mut state = self.lock();
        let mut before = state.stages.take();
        let mut changed = before.is_none();
        let mut stages = BTreeMap::new();
        for stage in &live.stages {
            let known = before.as_mut().and_then(|before| before.remove(&stage.key));
            let loaded = match known.filter(|known| known.digest == stage.digest) {
                Some(known) => known,
                None => {
                    changed = true;
                    Loaded::of(stage, broken, now)
                }
            };
            stages.insert(stage.key.clone(), loaded);
        }
        changed |= before.is_some_and(|gone| !gone.is_empty());
        state.stages = Some(stages);
        state.changes += u64::from(changed);
    }

    /// What is wrong with what users wrote, now; it replaces what was told before.
    pub fn findings(&self, findings: Vec<ReportedFinding>) {
        let mut state = self.lock();
        if state.findings != findings {
            state.findings = findings;
            state.changes += 1;
        }
    }

    /// Bundles that should be running and cannot be read, now; it replaces what was told before.
    pub fn rejected(&self, rejected: Vec<RejectedBundle>) {
        let mut state = self.lock();
        if state.rejected != rejected {
            state.rejected = rejected;
            state.changes += 1;
        }
    }

    /// No more requests, please.
    pub fn draining(&self) {
        self.lock().draining = true;
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
            let RejectedBundle { stage, wanted, message } = rejected;
            text.push_str(&format!("error: Stage {stage}: bundle {}: {message}\n", wanted.short()));
        }
        let more = state.findings.len().saturating_sub(SHOWN) + state.rejected.len().saturating_sub(SHOWN);
        if more > 0 {
            text.push_str(&format!("and {more} more\n"));
        }
        (ready, text)
    }

    /// What `/loaded` shows.
    pub fn json(&self) -> Value {
        let state = self.lock();
        let stages: Vec<Value> = state.stages.iter().flatten().map(|(key, loaded)| loaded.json(key)).collect();
        json!({
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rejected_json(&self, rejected: &RejectedBundle) -> Value {
        let RejectedBundle { stage, wanted, message } = rejected;
        let running = self.stages.as_ref().and_then(|stages| stages.get(stage)).map(|loaded| loaded.digest.as_str());
        json!({
            "namespace": stage.namespace,
            "name": stage.name,
            "wanted": wanted.as_str(),
            "running": running,
            "message": message,
        })
    }
}

impl Loaded {
    fn of(stage: &Stage, broken: &[Broken], since: SystemTime) -> Self {
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
