//! Statuses and Events: what people read.

use compile::deploy::ProblemKind;
use compile::{Contract, Finding, ObjectKey, Reason, Severity};
use crds::stage::{Deployment, Proxies};
use crds::{ApiDefinitionStatus, StageStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::MANAGER;
use crate::collect::Change;
use crate::state::{Served, Subjected};

/// Longest message of a condition.
const MAX_MESSAGE: usize = 32 << 10;
/// Deployments shown in a status.
const MAX_HISTORY: usize = 50;

/// What came of writing a status.
#[derive(Debug)]
pub struct Reported {
    /// Whose.
    pub subject: Subjected,
    /// It was written, or its object is gone or another one by now.
    pub written: bool,
}

/// One condition, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `Accepted`, `Programmed`, `ResolvedRefs`.
    pub type_: &'static str,
    /// `True`, `False`, `Unknown`.
    pub status: &'static str,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Told {
    fn new(type_: &'static str, status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_MESSAGE {
            let mut end = MAX_MESSAGE - 4;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push_str(" …");
        }
        Self { type_, status, reason: reason.to_owned(), message }
    }
}

/// What a Stage's conditions go by.
pub struct StageFacts<'a> {
    /// What it serves.
    pub served: &'a Served,
    /// Name of its ApiDefinition, if that is not there.
    pub missing_api: Option<&'a str>,
    /// The ApiDefinition has errors.
    pub broken_api: bool,
    /// Name of its gateway.
    pub gateway: &'a str,
    /// Conflicts with other Stages.
    pub conflicts: Vec<&'a Finding>,
    /// What proxies say.
    pub programmed: Programmed,
}

/// What proxies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Programmed {
    /// Nothing is live.
    NotDeployed,
    /// Out of sight: sidecars.
    NotObserved,
    /// There is no proxy that is ready.
    NoProxies,
    /// It is not written yet, and why.
    Undelivered(String),
    /// So many of so many have it.
    Loaded {
        /// Those that have it.
        ready: u32,
        /// All that should.
        total: u32,
        /// Those that still have another one after 5 s.
        late: Vec<String>,
    },
}

/// The conditions of a Stage.
pub fn stage_conditions(facts: &StageFacts<'_>) -> Vec<Told> {
    vec![accepted(facts), resolved(facts), programmed(facts)]
}

fn accepted(facts: &StageFacts<'_>) -> Told {
    let no = |reason: &str, message: String| Told::new("Accepted", "False", reason, message);
    if facts.served.unknown_gateway {
        return no("UnknownGateway", format!("/spec/gateway: there is no gateway `{}`", facts.gateway));
    }
    if let Some(api) = facts.missing_api {
        let live = facts.served.live.map(|number| format!("; deployment {number} goes on being served"));
        let text = format!("/spec/apiRef/name: there is no ApiDefinition `{api}`{}", live.unwrap_or_default());
        return no("ApiNotFound", text);
    }
    if let Some(problem) = facts.served.problems.first() {
        let reason = match problem.kind {
            ProblemKind::UnknownDeployment => "UnknownDeployment",
            ProblemKind::Contradiction => "Contradiction",
            ProblemKind::NothingToDeploy => "NothingToDeploy",
        };
        let texts: Vec<_> = facts.served.problems.iter().map(ToString::to_string).collect();
        return no(reason, texts.join("\n"));
    }
    if let Some(trouble) = &facts.served.trouble {
        return no("UnreadableDeployment", trouble.clone());
    }
    let findings = facts.served.unit.iter().flat_map(|unit| &unit.findings);
    let errors: Vec<_> =
        findings.filter(|finding| finding.severity == Severity::Error && !is_reference(finding.reason)).collect();
    if !errors.is_empty() {
        return no("Invalid", texts(&errors));
    }
    if !facts.conflicts.is_empty() {
        return no("Conflicted", texts(&facts.conflicts));
    }
    Told::new("Accepted", "True", "Accepted", "")
}

fn resolved(facts: &StageFacts<'_>) -> Told {
    let findings = facts.served.unit.iter().flat_map(|unit| &unit.findings);
    let broken: Vec<_> = findings.filter(|finding| is_reference(finding.reason)).collect();
    match broken.first() {
        None => Told::new("ResolvedRefs", "True", "ResolvedRefs", ""),
        Some(first) => {
            let reason =
                if first.reason == Reason::CrossNamespaceBackend { "RefNotPermitted" } else { first.reason.as_str() };
            Told::new("ResolvedRefs", "False", reason, texts(&broken))
        }
    }
}

fn is_reference(reason: Reason) -> bool {
    matches!(reason, Reason::SecretNotFound | Reason::InvalidSecret | Reason::CrossNamespaceBackend)
}

fn programmed(facts: &StageFacts<'_>) -> Told {
    let told = |status, reason: &str, message: String| Told::new("Programmed", status, reason, message);
    match &facts.programmed {
        Programmed::NotDeployed if facts.broken_api => {
            told("False", "NotDeployed", "nothing is deployed: the ApiDefinition has errors".to_owned())
        }
        Programmed::NotDeployed => {
            let how = "nothing is deployed yet: set the annotation `stagegate.dev/deploy` or `deployPolicy: Automatic`";
            told("False", "NotDeployed", how.to_owned())
        }
        Programmed::NotObserved => {
            told("Unknown", "NotObserved", "sidecars serve it; what they have loaded is not seen from here".to_owned())
        }
        Programmed::NoProxies => {
            told("False", "NoProxies", format!("no proxy of the gateway `{}` is ready", facts.gateway))
        }
        Programmed::Undelivered(why) => told("False", "Refused", why.clone()),
        Programmed::Loaded { ready, total, late: _ } if ready == total => told("True", "Programmed", String::new()),
        Programmed::Loaded { ready, total, late } => {
            let mut text = format!("{ready} of {total} proxies serve it");
            if !late.is_empty() {
                text.push_str("; still another bundle: ");
                text.push_str(&late.join(", "));
            }
            told("False", "Waiting", text)
        }
    }
}

/// The conditions of an ApiDefinition.
pub fn api_conditions(contract: &Contract) -> Vec<Told> {
    let errors: Vec<_> = contract.all_findings().iter().filter(|finding| finding.severity == Severity::Error).collect();
    vec![match errors.is_empty() {
        true => Told::new("Accepted", "True", "Accepted", ""),
        false => Told::new("Accepted", "False", "Invalid", texts(&errors)),
    }]
}

fn texts(findings: &[&Finding]) -> String {
    let text = |finding: &&Finding| {
        let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        let place = if finding.in_document { "document " } else { "" };
        format!("{place}{} [{}]: {}{help}", finding.pointer, finding.reason, finding.message)
    };
    findings.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Conditions with their times: one that did not change keeps its own.
pub fn with_times(told: Vec<Told>, before: &[Condition], generation: Option<i64>) -> Vec<Condition> {
    let condition = |told: Told| {
        let known = before.iter().find(|known| known.type_ == told.type_);
        let since = known.filter(|known| known.status == told.status).map(|known| known.last_transition_time.clone());
        Condition {
            type_: told.type_.to_owned(),
            status: told.status.to_owned(),
            reason: told.reason,
            message: told.message,
            observed_generation: generation,
            last_transition_time: since.unwrap_or_else(now),
        }
    };
    told.into_iter().map(condition).collect()
}

/// This second: conditions have no fractions.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The newest first.
pub fn history<'a>(newest_first: impl Iterator<Item = &'a Deployment>) -> Vec<Deployment> {
    newest_first.take(MAX_HISTORY).cloned().collect()
}

/// Transitions between two lists of conditions: what becomes an Event.
pub fn transitions<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let changed = |condition: &&Condition| {
        let known = before.iter().find(|known| known.type_ == condition.type_);
        match known {
            Some(known) => known.status != condition.status || known.reason != condition.reason,
            // What is well from the start is no news.
            None => condition.status == "False" && !matches!(condition.reason.as_str(), "Waiting" | "NotDeployed"),
        }
    };
    after.iter().filter(changed).collect()
}

/// A status as a patch that also takes away what it does not have.
pub fn stage_patch(status: &StageStatus) -> Value {
    let keys = ["observedGeneration", "deployment", "pinned", "url", "history", "proxies", "handledDeploy"];
    patch(status, &keys)
}

/// See [`stage_patch`].
pub fn api_patch(status: &ApiDefinitionStatus) -> Value {
    patch(status, &["observedGeneration", "routes", "digest", "latestDeployment"])
}

fn patch(status: &impl Serialize, keys: &[&str]) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        for key in keys {
            map.entry(*key).or_insert(Value::Null);
        }
    }
    value
}

/// An object that a status or an Event is about.
#[derive(Clone, Debug)]
pub struct About {
    /// Which one.
    pub subject: Subjected,
    /// Its identity.
    pub metadata: Identity,
}

/// What makes a reference to an object.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
}

impl About {
    fn kind(&self) -> (&'static str, &ObjectKey) {
        match &self.subject {
            Subjected::Api(key) => ("ApiDefinition", key),
            Subjected::Stage(key) => ("Stage", key),
        }
    }
}

/// Writes a status, with the version of the object that it was made for.
pub async fn write(client: Client, about: About, status: Value, changes: Sender<Change>) {
    let (kind, key) = about.kind();
    let resource = match &about.subject {
        Subjected::Api(_) => ApiResource::erase::<crds::ApiDefinition>(&()),
        Subjected::Stage(_) => ApiResource::erase::<crds::Stage>(&()),
    };
    let objects: Api<DynamicObject> = Api::namespaced_with(client, &key.namespace, &resource);
    let mut body = json!({"status": status});
    if let Some(version) = &about.metadata.version {
        body["metadata"] = json!({"resourceVersion": version});
    }
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = match objects.patch_status(&key.name, &parameters, &Patch::Merge(body)).await {
        Ok(_) => true,
        // Gone, or another one by now: its change is on its way here.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
        Err(error) => {
            tracing::warn!(kind, %key, %error, "the status cannot be written");
            false
        }
    };
    if changes.send(Change::Reported(Reported { subject: about.subject, written })).await.is_err() {
        tracing::debug!("a status was written at the end");
    }
}

/// Something that happened to an object.
#[derive(Debug)]
pub struct News {
    /// Its kind.
    pub kind: &'static str,
    /// Which one.
    pub key: ObjectKey,
    /// Its identity.
    pub uid: String,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub note: String,
    /// Nothing good.
    pub warning: bool,
}

/// Tells people what happened to an object.
pub async fn event(client: Client, news: News, identity: String) {
    let News { kind, key, uid, reason, note, warning } = news;
    let events: Api<Event> = Api::namespaced(client, &key.namespace);
    let mut note = note;
    if note.len() > 1000 {
        let mut end = 990;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(" …");
    }
    let name = format!("{}.{:016x}", key.name.get(..200).unwrap_or(&key.name), fastrand::u64(..));
    let event = Event {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Reconcile".to_owned()),
        reason: Some(reason),
        note: Some(note),
        type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
        reporting_controller: Some("stagegate.dev/operator".to_owned()),
        reporting_instance: Some(identity),
        regarding: Some(ObjectReference {
            api_version: Some("stagegate.dev/v1alpha1".to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: (!uid.is_empty()).then_some(uid),
            ..ObjectReference::default()
        }),
        ..Event::default()
    };
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        tracing::debug!(%key, %error, "an Event cannot be written");
    }
}

/// How many proxies have a bundle, for a status.
pub fn proxies(programmed: &Programmed) -> Option<Proxies> {
    match programmed {
        Programmed::Loaded { ready, total, late: _ } => Some(Proxies { ready: *ready, total: *total }),
        Programmed::NoProxies => Some(Proxies { ready: 0, total: 0 }),
        Programmed::NotDeployed | Programmed::NotObserved | Programmed::Undelivered(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(served: &Served, programmed: Programmed) -> StageFacts<'_> {
        let missing_api = None;
        StageFacts { served, missing_api, broken_api: false, gateway: "default", conflicts: Vec::new(), programmed }
    }

    fn short(told: &[Told]) -> Vec<String> {
        told.iter().map(|told| format!("{}={} {}", told.type_, told.status, told.reason)).collect()
    }

    #[test]
    fn conditions_tell_the_first_thing_that_is_wrong() {
        let served = Served::default();
        let loaded = |ready| Programmed::Loaded { ready, total: 3, late: vec!["proxy-2".to_owned()] };
        let told = stage_conditions(&facts(&served, loaded(3)));
        assert_eq!(
            short(&told),
            ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs", "Programmed=True Programmed"]
        );
        let told = stage_conditions(&facts(&served, loaded(2)));
        assert_eq!(told[2].message, "2 of 3 proxies serve it; still another bundle: proxy-2");
        let told =
            stage_conditions(&StageFacts { missing_api: Some("orders"), ..facts(&served, Programmed::NotDeployed) });
        assert_eq!(short(&told)[0], "Accepted=False ApiNotFound");
        let unknown = Served { unknown_gateway: true, ..Served::default() };
        assert_eq!(
            short(&stage_conditions(&facts(&unknown, Programmed::NoProxies)))[0],
            "Accepted=False UnknownGateway"
        );
        assert_eq!(
            short(&stage_conditions(&facts(&served, Programmed::NotObserved)))[2],
            "Programmed=Unknown NotObserved"
        );
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_is_the_same() {
        let told = |status, reason: &str| vec![Told::new("Programmed", status, reason, "")];
        let mut before = with_times(told("False", "Waiting"), &[], Some(1));
        before[0].last_transition_time = Time(Timestamp::UNIX_EPOCH);
        let same = with_times(told("False", "NoProxies"), &before, Some(2));
        assert_eq!(same[0].last_transition_time.0, Timestamp::UNIX_EPOCH);
        assert_eq!(transitions(&before, &same).len(), 1);
        let other = with_times(told("True", "Programmed"), &same, Some(2));
        assert_ne!(other[0].last_transition_time.0, Timestamp::UNIX_EPOCH);
        assert!(transitions(&other, &other).is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let told = Told::new("Accepted", "False", "Invalid", "é".repeat(MAX_MESSAGE));
        assert!(told.message.len() <= MAX_MESSAGE && told.message.ends_with(" …"));
    }
}
