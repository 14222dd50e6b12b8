//! Stage: a name that points at a deployment and carries everything that changes without one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::ServiceRef;
use crate::methods::MethodSetting;
use crate::pattern;
use crate::reference::{NameRef, SecretRef};

/// What is live of an API, under which hosts, with which settings.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "stagegate.dev",
    version = "v1alpha1",
    kind = "Stage",
    namespaced,
    doc = "A name that points at a deployment of an API and carries everything that changes without one.",
    status = "StageStatus",
    shortname = "stg",
    category = "stagegate",
    validation = Rule::new("has(self.spec.stageName) || self.metadata.name.matches('^[a-z0-9-]{1,128}$')")
        .message("metadata.name is no stage name (at most 128 letters, digits and -): set spec.stageName"),
    printcolumn(name = "API", type_ = "string", json_path = ".spec.apiRef.name"),
    printcolumn(name = "Deployment", type_ = "integer", json_path = ".status.deployment"),
    printcolumn(name = "Pinned", type_ = "boolean", json_path = ".status.pinned", priority = "1"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSpec {
    /// The ApiDefinition, in the same namespace.
    pub api_ref: NameRef,
    /// First path segment of the default URL: letters, digits, `_` and `-`, at most 128. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([A-Za-z0-9_-]{1,128}|\$default)$"))]
    pub stage_name: Option<String>,
    /// Whether a changed ApiDefinition is deployed at once. Default `Automatic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_policy: Option<DeployPolicy>,
    /// Deployments kept, 1 to 1000; the live, pinned and canary ones always are. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub history_limit: Option<u32>,
    /// Which proxies serve it: a name in the operator's list of gateways. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = pattern::LABEL))]
    pub gateway: Option<String>,
    /// Custom domains, at most 256. The default host is always there too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "basePath"])
    )]
    pub hosts: Vec<Host>,
    /// Stage variables: at most 100; names of letters, digits and `_` (64 at most), values of letters, digits and
    /// `-._~:/?#&=,` (512 at most).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "variables")]
    pub variables: BTreeMap<String, String>,
    /// Settings of methods, at most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["method", "path"])
    )]
    pub method_settings: Vec<MethodSetting>,
    /// Response cache of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<StageCache>,
    /// A share of the traffic goes to another deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Who answers for a Lambda function named in the document, by the function's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1024))]
    pub functions: BTreeMap<String, Function>,
    /// Calls to AWS services, and to what imitates them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<Aws>,
    /// Access keys and policies for `AWS_IAM` methods: a Secret with `principals.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principals: Option<SecretRef>,
}

/// Stage variables: the values that Amazon takes, in number and length too.
fn variables(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "pattern": "^[A-Za-z0-9._~:/?#&=,-]+$"
        },
        "x-kubernetes-validations": [{
            "rule": "self.all(name, size(name) >= 1 && size(name) <= 64)",
            "message": "a variable's name is 1 to 64 letters, digits and _"
        }]
    })
}

/// With its default written out, since it is half of a host's key in the list. The compiler knows the same default.
fn base_path(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "maxLength": 300, "pattern": pattern::BASE_PATH, "default": "/"})
}

/// Whether a changed ApiDefinition is deployed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeployPolicy {
    /// At once.
    Automatic,
    /// By the annotation `stagegate.dev/deploy`.
    Manual,
}

/// A custom domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!self.name.matches('^[*.0-9]+$') || self.name == '*' || self.name.matches('^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.]|$)){4}$')",
    "message": "digits and dots are no host unless they are an IPv4 address",
    "fieldPath": ".name"
}]))]
pub struct Host {
    /// `api.example.com`, `*.example.com`, or `*` for hosts nobody else claims.
    #[schemars(length(max = 253), regex(pattern = pattern::HOST))]
    pub name: String,
    /// The longest base path wins and is cut off; at most 300 characters. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base_path")]
    pub base_path: Option<String>,
    /// Certificate: a Secret of type `kubernetes.io/tls`. Default: the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SecretRef>,
    /// Mutual TLS: a Secret whose `ca.crt` holds the CAs of acceptable clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "clientCA")]
    pub client_ca: Option<SecretRef>,
}

/// Response cache of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageCache {
    /// On or off.
    pub enabled: bool,
    /// Room for answers, as a Kubernetes quantity. Default `256Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = pattern::QUANTITY))]
    pub size: Option<String>,
    /// Whether cached answers are encrypted. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
}

/// A share of the traffic for another deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Number of the deployment.
    #[schemars(range(min = 1))]
    pub deployment: u64,
    /// Share of the traffic, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
    /// Stage variables that differ there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "variables")]
    pub variables: BTreeMap<String, String>,
    /// Whether it shares the stage's cache. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_stage_cache: Option<bool>,
}

/// Access log of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.format.contains('$context.requestId') || self.format.contains('$context.extendedRequestId')",
    "message": "the format must hold $context.requestId or $context.extendedRequestId"
}]))]
pub struct AccessLog {
    /// One line with `$context` variables; must hold `$context.requestId` or `$context.extendedRequestId`.
    #[schemars(length(max = 3072))]
    pub format: String,
}

/// Who answers for a function; exactly one of the two. Speaks the Lambda Invoke API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.service) != has(self.url)",
    "message": "exactly one of service and url is needed"
}]))]
pub struct Function {
    /// A Service in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// An absolute `http` or `https` URL without a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = pattern::URL))]
    pub url: Option<String>,
}

/// Calls to AWS services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aws {
    /// Region. Default: the one in the ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = pattern::LABEL))]
    pub region: Option<String>,
    /// Twelve digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{12}$"))]
    pub account_id: Option<String>,
    /// Endpoints by the service's name in the ARN, at most 64. Default: Amazon's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "endpoints")]
    pub endpoints: BTreeMap<String, String>,
    /// Credentials. Default: the proxy's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
}

fn endpoints(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 2048, "pattern": pattern::URL}
    })
}

/// What the operator and the proxies report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// `Accepted`, `Programmed`, `ResolvedRefs`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of the live deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<u64>,
    /// Whether an annotation pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// The default URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Deployments, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Deployment>,
    /// How many proxies have loaded this very bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Proxies>,
    /// Value of `stagegate.dev/deploy` that was acted upon last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_deploy: Option<String>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// 1, 2, 3… per ApiDefinition.
    pub number: u64,
    /// Digest of the snapshot.
    pub digest: String,
    /// When it was taken, RFC 3339.
    pub created: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How many proxies have loaded a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxies {
    /// Those that have.
    pub ready: u32,
    /// All that should.
    pub total: u32,
}
