//! One Stage of one API, as it is served.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::cors::Cors;
use crate::integration::BackendTarget;
use crate::reply::{GatewayResponse, GatewayResponseType};
use crate::route::Route;
use crate::validation::Models;

/// What identifies a Stage for as long as it lives: the object's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageKey {
    /// Namespace of the Stage object.
    pub namespace: String,
    /// Name of the Stage object.
    pub name: String,
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which of Amazon's two products the document describes; they differ in defaults, events and errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiKind {
    /// A REST API.
    #[default]
    Rest,
    /// An HTTP API: a document with `x-amazon-apigateway-importexport-version` or payload format 2.0.
    Http,
}

/// Which API a Stage serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiIdentity {
    /// Name of the ApiDefinition, in the Stage's namespace.
    pub name: String,
    /// `$context.apiId`: ten lower-case letters and digits, derived from namespace and name, so the same everywhere.
    pub id: String,
    /// REST or HTTP API.
    pub kind: ApiKind,
}

/// Everything a proxy needs to serve one Stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageBundle {
    /// The Stage object.
    pub key: StageKey,
    /// The API it serves.
    pub api: ApiIdentity,
    /// First path segment of the default URL; `$context.stage`.
    pub stage_name: String,
    /// Number of the deployment that is live, from 1; `$context.deploymentId` is derived from it.
    pub deployment: u64,
    /// `$context.accountId`.
    pub account_id: String,
    /// Region in ARNs.
    pub region: String,
    /// `$stageVariables`.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Every method of every resource.
    pub routes: Vec<Route>,
    /// Customised gateway responses, `Default4xx` and `Default5xx` among them.
    #[serde(default)]
    pub gateway_responses: BTreeMap<GatewayResponseType, GatewayResponse>,
    /// Media types whose payloads are bytes, not text: `type/subtype`, `type/*`, `*/*`.
    #[serde(default)]
    pub binary_media_types: BTreeSet<String>,
    /// Answers of at least this many bytes are compressed; `None` switches compression off.
    #[serde(default)]
    pub minimum_compression_size: Option<u64>,
    /// Who answers for Lambda functions, by their names. Each speaks the Invoke API and is called unsigned; functions
    /// that are not here are Amazon's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, BackendTarget>,
    /// Calls to AWS services.
    #[serde(default, skip_serializing_if = "Aws::is_default")]
    pub aws: Aws,
    /// What validators of routes name.
    #[serde(default, skip_serializing_if = "Models::is_empty")]
    pub models: Models,
    /// Cross-origin requests: of every route of an HTTP API, of a REST API's routes to its `backend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// A share of the traffic goes to another deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Box<Canary>>,
}

/// A stage's canary. Each request is drawn anew; there is no stickiness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Share of the requests, 0 to 100.
    pub percent: f64,
    /// Whether it shares the stage's cache.
    #[serde(default)]
    pub use_stage_cache: bool,
    /// What serves them: the canary's deployment under the stage's settings, its variables laid over the stage's. It
    /// has no canary itself.
    pub stage: StageBundle,
}
