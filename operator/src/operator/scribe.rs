//! Writes statuses and Events, beside the loop: many of them never hold up a change that is to be delivered.

use std::sync::Arc;
use std::time::Duration;

use compile::ObjectKey;
use crds::stage::StageStatus;
use crds::usage_plan::UsagePlanStatus;
use crds::{ApiDefinition, ApiDefinitionStatus, Stage, UsagePlan};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::collect::{Event, Unreadable};
use crate::history::is_conflict;
use crate::serve::Vitals;

/// Field manager of statuses.
const MANAGER: &str = "stagegate-operator";
/// Writes at a time: few, since bundles go first.
const AT_A_TIME: usize = 4;
/// Until what could not be written is looked at again.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes statuses and Events.
#[derive(Clone)]
pub(super) struct Scribe {
    client: Client,
    vitals: Arc<Vitals>,
    reporter: Reporter,
    events: mpsc::UnboundedSender<Event>,
    places: Arc<Semaphore>,
}

impl Scribe {
    pub(super) fn new(
        client: Client,
        vitals: Arc<Vitals>,
        reporter: Reporter,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        Self { client, vitals, reporter, events, places }
    }

    pub(super) fn stage(&self, stage: Arc<Stage>, status: StageStatus) {
        let scribe = self.clone();
        tokio::spawn(async move {
            if scribe.write("Stage", &*stage, &status).await {
                scribe.tell_stage(&stage, &status).await;
            }
        });
    }

    pub(super) fn api_definition(&self, api: Arc<ApiDefinition>, status: ApiDefinitionStatus) {
        let scribe = self.clone();
        tokio::spawn(async move {
            if scribe.write("ApiDefinition", &*api, &status).await {
                let before = api.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                scribe.tell(&*api, before, &status.conditions).await;
            }
        });
    }

    pub(super) fn usage_plan(&self, plan: Arc<UsagePlan>, status: UsagePlanStatus) {
        let scribe = self.clone();
        tokio::spawn(async move {
            if scribe.write("UsagePlan", &*plan, &status).await {
                let before = plan.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                scribe.tell(&*plan, before, &status.conditions).await;
            }
        });
    }

    /// Says of an object that it cannot be read. The rest of its status is not known, and stays.
    pub(super) fn unreadable(&self, object: Unreadable, conditions: Vec<Condition>) {
        let scribe = self.clone();
        tokio::spawn(async move {
            let Unreadable { kind, metadata, conditions: before, .. } = &object;
            let name = metadata.name.as_deref().unwrap_or_default();
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            let kinds = GroupVersionKind::gvk(crds::GROUP, crds::VERSION, kind);
            let api: Api<DynamicObject> =
                Api::namespaced_with(scribe.client.clone(), namespace, &ApiResource::from_gvk(&kinds));
            let patch = json!({
                "metadata": {"resourceVersion": metadata.resource_version},
                "status": {"conditions": conditions},
            });
            let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            // Closed only with the process.
            let Ok(place) = scribe.places.acquire().await else { return };
            scribe.vitals.writes.with_label_values(&[&format!("{kind} status")]).inc();
            let written = api.patch_status(name, &parameters, &Patch::Merge(patch)).await;
            drop(place);
            match written {
                Ok(_) => scribe.tell_turned(&object.reference(), before, &conditions).await,
                Err(error) => {
                    if !is_conflict(&error) {
                        tracing::warn!(kind, namespace, name, %error, "nobody is told that it cannot be read");
                        scribe.vitals.errors.with_label_values(&["report"]).inc();
                    }
                    scribe.tell_unwritten(kind, metadata).await;
                }
            }
        });
    }

    /// Writes a status in its turn. False when it was not; then the loop is told.
    async fn write<K>(&self, kind: &'static str, object: &K, status: &impl Serialize) -> bool
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        // Closed only with the process.
        let Ok(place) = self.places.acquire().await else { return false };
        let written = self.write_status(object, status).await;
        drop(place);
        if !written {
            self.tell_unwritten(kind, object.meta()).await;
        }
        written
    }

    async fn tell_unwritten(&self, kind: &'static str, meta: &ObjectMeta) {
        tokio::time::sleep(PAUSE).await;
        let key = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        self.events.send(Event::Unwritten(kind, key)).ok();
    }

    /// Writes a status, of the very object that was seen. False when it has to be tried again.
    async fn write_status<K>(&self, object: &K, status: &impl Serialize) -> bool
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let meta = object.meta();
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": meta.resource_version},
            "status": status,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        let kind = K::kind(&());
        self.vitals.writes.with_label_values(&[&format!("{kind} status")]).inc();
        match api.patch_status(name, &parameters, &Patch::Apply(&patch)).await {
            Ok(_) => true,
            // It has changed or is gone; its event comes, and then it is looked at again.
            Err(error) if is_conflict(&error) => false,
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(error) => {
                tracing::warn!(%kind, namespace, name, %error, "a status cannot be written");
                self.vitals.errors.with_label_values(&["report"]).inc();
                false
            }
        }
    }

    /// Events about a Stage: conditions that turned, and deployments that changed.
    async fn tell_stage(&self, stage: &Stage, after: &StageStatus) {
        let nothing = StageStatus::default();
        let before = stage.status.as_ref().unwrap_or(&nothing);
        self.tell(stage, &before.conditions, &after.conditions).await;
        let Some(number) = after.deployment.filter(|number| before.deployment != Some(*number)) else { return };
        let promoted = stage.spec.canary.as_ref().is_some_and(|canary| canary.deployment == number);
        let (reason, note) = match (after.pinned, before.deployment) {
            (Some(true), _) => ("RolledBack", format!("pinned to deployment {number}")),
            _ if promoted => ("Promoted", format!("the canary, deployment {number}, is live")),
            (_, Some(old)) => ("Deployed", format!("deployment {number} is live, it was {old}")),
            (_, None) => ("Deployed", format!("deployment {number} is live")),
        };
        self.publish(&stage.object_ref(&()), EventType::Normal, reason, &note).await;
    }

    async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, before: &[Condition], after: &[Condition]) {
        self.tell_turned(&object.object_ref(&()), before, after).await;
    }

    async fn tell_turned(&self, object: &ObjectReference, before: &[Condition], after: &[Condition]) {
        for condition in after.iter().filter(|condition| condition.type_ != "Programmed") {
            let known = before.iter().find(|known| known.type_ == condition.type_);
            let turned =
                known.is_none_or(|known| (&known.status, &known.reason) != (&condition.status, &condition.reason));
            // That all is well from the beginning is no news.
            if !turned || (known.is_none() && condition.status == "True") {
                continue;
            }
            let kind = if condition.status == "True" { EventType::Normal } else { EventType::Warning };
            self.publish(object, kind, &condition.reason, &condition.message).await;
        }
    }

    async fn publish(&self, object: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let event = Told {
            type_,
            reason: reason.to_owned(),
            // An Event's note has at most a kilobyte.
            note: Some(note.chars().take(240).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // One that lives on would count this as a repetition of the last with the same reason, and keep that one's note.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, object).await {
            tracing::debug!(%error, "an Event cannot be published");
        }
    }
}
