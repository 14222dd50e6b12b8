//! Where requests go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// A reverse proxy for operations without an integration of their own: path, query, method and end-to-end headers
/// are kept, bodies stream both ways, trailers, SSE, gRPC and WebSocket work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.service) != has(self.url)",
    "message": "exactly one of service and url is needed"
}]))]
pub struct Backend {
    /// A Service in the cluster. Exactly one of `service` and `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// An absolute `http` or `https` URL; the request's path is appended to its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = pattern::URL))]
    pub url: Option<String>,
    /// How long to wait for the backend's response headers, as `30s` or `500ms`. Default `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = pattern::DURATION))]
    pub response_header_timeout: Option<String>,
    /// Longest silence in a body or a tunnel. Default `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = pattern::DURATION))]
    pub idle_timeout: Option<String>,
    /// Largest request body, as a Kubernetes quantity. Default `10Mi`. gRPC and tunnels have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = pattern::QUANTITY))]
    pub max_body_bytes: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// Name of the Service.
    #[schemars(length(max = 63), regex(pattern = pattern::LABEL))]
    pub name: String,
    /// Its namespace; another than this object's needs a ReferenceGrant there. Default: this object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Protocol spoken. Default `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<ServiceScheme>,
}

/// Protocol spoken to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceScheme {
    /// HTTP/1.1 in clear text.
    Http,
    /// HTTP/1.1 or HTTP/2 over TLS.
    Https,
    /// HTTP/2 in clear text.
    H2c,
}
