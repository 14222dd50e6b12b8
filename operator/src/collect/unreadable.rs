//! Objects that the API server has and this operator cannot read: of a newer version, most likely.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::DynamicObject;
use serde_json::Value;

/// Such an object, as far as it can be told of.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its kind.
    pub kind: &'static str,
    /// Why it cannot be read.
    pub error: String,
    /// Name, namespace, generation and resource version.
    pub metadata: ObjectMeta,
    /// What its status says.
    pub conditions: Vec<Condition>,
}

impl Unreadable {
    /// What of an object is kept.
    pub(super) fn of(kind: &'static str, object: &DynamicObject, error: String) -> Self {
        let ObjectMeta { name, namespace, uid, generation, resource_version, .. } = object.metadata.clone();
        let metadata = ObjectMeta { name, namespace, uid, generation, resource_version, ..ObjectMeta::default() };
        let conditions = object.data.pointer("/status/conditions").cloned();
        let conditions = serde_json::from_value(conditions.unwrap_or(Value::Null)).unwrap_or_default();
        Self { kind, error, metadata, conditions }
    }

    /// What Events about it refer to.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(format!("{}/{}", crds::GROUP, crds::VERSION)),
            kind: Some(self.kind.to_owned()),
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            uid: self.metadata.uid.clone(),
            ..ObjectReference::default()
        }
    }
}
