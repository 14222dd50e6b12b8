//! ApiDefinition: the contract, which a deployment snapshots.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::Backend;
use crate::reference::ConfigMapKeyRef;

/// An API: an OpenAPI document (3.0, 3.1 or Swagger 2.0), an export from Amazon API Gateway unchanged or a plain one
/// with a `backend`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "stagegate.dev",
    version = "v1alpha1",
    kind = "ApiDefinition",
    namespaced,
    doc = "An API: the contract, which a deployment snapshots.",
    status = "ApiDefinitionStatus",
    shortname = "apidef",
    category = "stagegate",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')")
        .message("metadata.name is a DNS label of at most 63 characters: it is part of the default host"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Routes", type_ = "integer", json_path = ".status.routes"),
    printcolumn(name = "Deployment", type_ = "integer", json_path = ".status.latestDeployment"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.openapi) != has(self.openapiFrom)",
    "message": "exactly one of openapi and openapiFrom is needed"
}]))]
pub struct ApiDefinitionSpec {
    /// For people, at most 4096 characters. A deployment keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// The document itself. Exactly one of `openapi` and `openapiFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "document")]
    pub openapi: Option<Value>,
    /// Where the document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi_from: Option<OpenApiFrom>,
    /// Where operations go that name no integration of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
}

/// One atomic object without a schema: OpenAPI has its own, and what a document does not say must not be filled in.
fn document(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-map-type": "atomic"
    })
}

/// Where a document is: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.configMapKeyRef) != has(self.configMapKeyRefs)",
    "message": "exactly one of configMapKeyRef and configMapKeyRefs is needed"
}]))]
pub struct OpenApiFrom {
    /// One key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
    /// Several keys, joined in order: for documents too large for one ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub config_map_key_refs: Option<Vec<ConfigMapKeyRef>>,
}

/// What the operator found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiDefinitionStatus {
    /// `Accepted`: False with path, line where known, and reason of every error.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<u32>,
    /// Digest of the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Number of the newest deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_deployment: Option<u64>,
}
