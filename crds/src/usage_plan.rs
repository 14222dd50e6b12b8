//! UsagePlan: who may call how much.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::Throttle;
use crate::pattern;

/// Type of Secrets that hold API keys.
pub const API_KEY_TYPE: &str = "stagegate.dev/api-key";

/// Limits and meters the callers of stages by their API keys.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "stagegate.dev",
    version = "v1alpha1",
    kind = "UsagePlan",
    namespaced,
    doc = "Who may call how much: limits and meters the callers of stages by their API keys.",
    status = "UsagePlanStatus",
    shortname = "uplan",
    category = "stagegate",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Keys", type_ = "integer", json_path = ".status.keys"),
    printcolumn(name = "Quota", type_ = "integer", json_path = ".spec.quota.limit"),
    printcolumn(name = "Period", type_ = "string", json_path = ".spec.quota.period"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsagePlanSpec {
    /// The stages it opens, in the same namespace, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub stages: Vec<PlanStage>,
    /// Rate limit per API key, over all stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Requests per period and API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// The API keys of this plan: Secrets of type `stagegate.dev/api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanStage {
    /// Name of the Stage.
    #[schemars(length(max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// Rate limits per key of single methods, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["method", "path"])
    )]
    pub methods: Vec<PlanMethod>,
}

/// Rate limit per key of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanMethod {
    /// A verb in capitals.
    #[schemars(regex(pattern = pattern::METHOD))]
    pub method: String,
    /// A resource's path as the document writes it.
    #[schemars(length(max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// The limit.
    pub throttle: Throttle,
}

/// Requests per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.offset) || self.offset <= self.limit",
    "message": "offset is at most limit"
}]))]
pub struct Quota {
    /// Requests per period.
    #[schemars(range(min = 1))]
    pub limit: u64,
    /// The period; it starts at 00:00 UTC.
    pub period: Period,
    /// Taken off the limit in the first period. Default 0.
    #[serde(default)]
    pub offset: u64,
}

/// A quota's period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Period {
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

/// Which Secrets hold a plan's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeys {
    /// By their labels.
    pub selector: LabelSelector,
}

/// What the operator found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePlanStatus {
    /// `Accepted`, `ResolvedRefs`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Number of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Start and end of the running quota period, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<RunningPeriod>,
}

/// The running quota period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningPeriod {
    /// Start, RFC 3339.
    pub start: String,
    /// End, RFC 3339.
    pub end: String,
}
