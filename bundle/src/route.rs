//! One method of one resource.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::integration::Integration;
use crate::validation::Validation;

/// The resource of an HTTP API's route for what no other one takes. Every other resource begins with a slash.
pub const DEFAULT_RESOURCE: &str = "$default";

/// The verb a route takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Every verb the resource has no route of its own for: Amazon's seven for an integration of Amazon's, every
    /// verb there is for a `backend`.
    Any,
    /// One verb, upper case.
    One(String),
}

/// One method of one resource and what answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The resource's path as the document writes it, `/pets/{id}` or `/{proxy+}`; `$context.resourcePath`. Or
    /// [`DEFAULT_RESOURCE`].
    pub resource: String,
    /// `$context.resourceId`: six lower-case letters and digits, derived from the path.
    pub resource_id: String,
    /// The verb.
    pub verb: Verb,
    /// `operationId` of the document.
    #[serde(default)]
    pub operation: Option<String>,
    /// Names of what a reader must know to serve this route at all, one per guard (authorizer, API key, policy, …).
    /// A reader that misses one answers 500: a guard is never skipped because a proxy is older than its bundle.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requires: BTreeSet<String>,
    /// What the request validator checks; with it `requires` names [`crate::validation::GUARD`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// What answers.
    pub action: Action,
}

/// What answers a request for a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// An integration.
    Serve(Box<Integration>),
    /// 500 with a reason in the log, never the backend: the route is broken, or guarded by something this
    /// gateway does not enforce.
    Refuse(Refusal),
}

/// Why a route answers 500.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// CamelCase reason, the same as the finding's: a metric label.
    pub reason: String,
    /// One sentence for the log.
    pub message: String,
}
