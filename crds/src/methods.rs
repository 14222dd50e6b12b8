//! Settings of methods of a stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// Settings of some methods; the most specific entry wins: method and path, then path, then `*` `/*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MethodSetting {
    /// A verb in capitals, or `*`.
    #[schemars(regex(pattern = pattern::METHOD))]
    pub method: String,
    /// A resource's path as the document writes it, or `/*`.
    #[schemars(length(max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// Rate limit of each of these methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Response cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<MethodCache>,
    /// Metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Execution log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Throttle {
    /// Requests per second that refill the bucket.
    #[schemars(range(min = 0))]
    pub rate: f64,
    /// Requests the bucket holds, up to 2147483647.
    #[schemars(range(max = 2147483647))]
    pub burst: u32,
}

/// Response cache of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MethodCache {
    /// On or off. Default: on for GET while the stage's cache is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long an answer is kept, 0 to 3600 seconds. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub ttl_seconds: Option<u32>,
    /// Whether `Cache-Control: max-age=0` needs the right to invalidate. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_authorization_for_cache_control: Option<bool>,
    /// What happens to a caller without that right. Default `SucceedWithResponseHeader`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unauthorized_cache_control_header_strategy: Option<CacheControlStrategy>,
}

/// What happens to `Cache-Control: max-age=0` from a caller who may not invalidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheControlStrategy {
    /// 403.
    FailWith403,
    /// Ignored, with a `Warning` header in the answer.
    SucceedWithResponseHeader,
    /// Ignored silently.
    SucceedWithoutResponseHeader,
}

/// Metrics of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// Also by method and path. Default false.
    pub detailed: bool,
}

/// Execution log of a method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logging {
    /// What is logged. Default `Off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Also bodies and headers. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_trace: Option<bool>,
}

/// What the execution log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Failures.
    Error,
    /// Every request.
    Info,
}
