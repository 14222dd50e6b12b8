//! What stands behind a route.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mapping::{Change, Expression, RequestTarget, ResponseHeader, Source};
use crate::route::Refusal;
use crate::subtype::Subtype;

/// What stands behind a route. A kind this reader does not know reads as `Unknown`, and its route answers 500.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Integration {
    /// No backend: the answer is made from templates.
    Mock(Mock),
    /// An HTTP endpoint whose requests and answers are mapped.
    Http(Http),
    /// An HTTP endpoint that sees the client's request and whose answer the client sees.
    HttpProxy(HttpProxy),
    /// An AWS service whose requests and answers are mapped.
    AwsService(AwsService),
    /// An HTTP API's integration with one action of an AWS service.
    AwsAction(AwsAction),
    /// Our own reverse proxy (`backend` of the ApiDefinition): RFC 9110's rules instead of Amazon's.
    Backend(Backend),
    /// A Lambda function that sees the client's request as an event and whose result is the client's answer.
    LambdaProxy(LambdaProxy),
    /// A Lambda function whose events and results are mapped.
    Lambda(Lambda),
    /// Written by a newer operator.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

/// `passthroughBehavior`: what happens to a body whose media type has no request template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passthrough {
    /// Passed as it is.
    #[default]
    WhenNoMatch,
    /// Passed only if there is no template at all, else 415.
    WhenNoTemplates,
    /// 415.
    Never,
}

/// `contentHandling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentHandling {
    /// Base64 text becomes bytes.
    ConvertToBinary,
    /// Bytes become base64 text.
    ConvertToText,
}

/// Templates by media type, `$default` among them. An empty text is a template that passes the body through.
pub type Templates = BTreeMap<String, String>;

/// How the request becomes the integration's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestMapping {
    /// `requestParameters`, in the order of their targets.
    #[serde(default)]
    pub parameters: BTreeMap<RequestTarget, Source>,
    /// `requestTemplates`.
    #[serde(default)]
    pub templates: Templates,
    /// `passthroughBehavior`.
    #[serde(default)]
    pub passthrough: Passthrough,
    /// `contentHandling`.
    #[serde(default)]
    pub content_handling: Option<ContentHandling>,
}

/// One integration response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntegrationResponse {
    /// The key of the document's `responses`: a regular expression that must match the whole text; `None` is the
    /// default. Tried in the order of the keys, the default last.
    #[serde(default)]
    pub selection_pattern: Option<String>,
    /// Status the client gets, 100 to 599.
    pub status: u16,
    /// `responseParameters`, by the name of the client's header.
    #[serde(default)]
    pub headers: BTreeMap<ResponseHeader, Source>,
    /// `responseTemplates`.
    #[serde(default)]
    pub templates: Templates,
    /// `contentHandling`.
    #[serde(default)]
    pub content_handling: Option<ContentHandling>,
}

/// A MOCK integration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mock {
    /// The template must render an object with an integer `statusCode`.
    pub request: RequestMapping,
    /// Selected by that status as text.
    pub responses: Vec<IntegrationResponse>,
}

/// An HTTP integration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// Where to.
    pub endpoint: Endpoint,
    /// How the request is made.
    pub request: RequestMapping,
    /// How the answer is made.
    pub responses: Vec<IntegrationResponse>,
}

/// An HTTP_PROXY integration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpProxy {
    /// Where to.
    pub endpoint: Endpoint,
    /// Headers replace the client's, query values are appended.
    #[serde(default)]
    pub parameters: BTreeMap<RequestTarget, Source>,
    /// An HTTP API's mapping of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// An HTTP API's mapping of responses, by the backend's status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "by_status")]
    pub response_changes: BTreeMap<u16, Vec<Change>>,
}

/// An AWS integration, except for Lambda's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwsService {
    /// `arn:aws:apigateway:{region}:{[subdomain.]service}:{path|action}/…`: may hold `{name}` (from an
    /// `integration.request.path.name` mapping) after `path/`, and `${stageVariables.x}`.
    pub uri: String,
    /// Verb sent; `None` is the client's (`ANY`).
    #[serde(default)]
    pub method: Option<String>,
    /// `credentials`: the role to assume; may hold `${stageVariables.x}`. `None`: the Stage's own credentials.
    #[serde(default)]
    pub role: Option<String>,
    /// `timeoutInMillis`, 50 to 29,000 and by quota up to 300,000.
    pub timeout_ms: u64,
    /// How the request is made.
    pub request: RequestMapping,
    /// How the answer is made.
    pub responses: Vec<IntegrationResponse>,
}

/// An HTTP API's integration with one action of an AWS service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwsAction {
    /// `integrationSubtype`.
    pub subtype: Subtype,
    /// The action's parameters, by the names that Amazon's table gives them; those it needs are there.
    pub parameters: BTreeMap<String, Expression>,
    /// `Region`; `None`: the Stage's.
    #[serde(default)]
    pub region: Option<String>,
    /// `credentials`: the role to assume. `None`: the Stage's own credentials.
    #[serde(default)]
    pub role: Option<String>,
    /// `timeoutInMillis`.
    pub timeout_ms: u64,
    /// Mapping of responses, by the service's status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "by_status")]
    pub response_changes: BTreeMap<u16, Vec<Change>>,
}

/// An AWS_PROXY integration with a Lambda function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LambdaProxy {
    /// Which function.
    pub call: FunctionCall,
    /// What the function gets and may answer.
    #[serde(default)]
    pub payload: PayloadFormat,
    /// `responseTransferMode: STREAM`: the answer goes to the client as the function writes it.
    #[serde(default)]
    pub stream: bool,
}

/// An AWS integration with a Lambda function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lambda {
    /// Which function.
    pub call: FunctionCall,
    /// How the event is made.
    pub request: RequestMapping,
    /// How the answer is made. Selected by the `errorMessage` of a function that failed.
    pub responses: Vec<IntegrationResponse>,
}

/// A call of a Lambda function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// `uri`: an invocation's ARN, `arn:aws:apigateway:…:lambda:path/2015-03-31/functions/…/invocations`, or the
    /// function's own. May hold `${stageVariables.x}`.
    pub uri: String,
    /// `httpMethod`; `None` is the client's (`ANY`). Anything but POST fails the request, as recorded.
    #[serde(default)]
    pub method: Option<String>,
    /// `credentials`: the role that calls; `None` for the Stage's own.
    #[serde(default)]
    pub credentials: Option<String>,
    /// `timeoutInMillis`, 50 to 29,000 and by quota up to 300,000; of a stream up to 900,000.
    pub timeout_ms: u64,
}

/// `payloadFormatVersion`: the shape of events and results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadFormat {
    /// 1.0, the only one of REST APIs.
    #[default]
    V1,
    /// 2.0.
    V2,
}

/// The HTTP endpoint of an integration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `uri`: may hold `{name}` (from an `integration.request.path.name` mapping) and `${stageVariables.x}`.
    pub uri: String,
    /// Verb sent; `None` is the client's (`ANY`).
    #[serde(default)]
    pub method: Option<String>,
    /// `timeoutInMillis`, 50 to 29,000 and by quota up to 300,000.
    pub timeout_ms: u64,
    /// `tlsConfig.insecureSkipVerification`.
    #[serde(default)]
    pub skip_tls_verification: bool,
    /// `tlsConfig.serverNameToVerify`.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// Protocol spoken to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP/1.1 or HTTP/2 over TLS, by ALPN.
    Https,
    /// HTTP/2 in clear text with prior knowledge.
    H2c,
}

/// Our own reverse proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Where to.
    pub target: BackendTarget,
    /// Until the backend's response headers; milliseconds.
    pub response_header_timeout_ms: u64,
    /// Between two pieces of a body or of a tunnel's traffic; milliseconds.
    pub idle_timeout_ms: u64,
    /// Bound of a request body; not for gRPC and tunnels.
    pub max_body_bytes: u64,
}

/// Where a `backend` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BackendTarget {
    /// `url`: the request's path and query are appended to its path. May hold `${stageVariables.x}`.
    Url(String),
    /// A Kubernetes Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
        /// Protocol spoken.
        scheme: Scheme,
    },
    /// Nowhere: what is written may not be called, and every route that would answers 500. A function's entry says so
    /// instead of being absent, since an absent one is Amazon's.
    Refused(Refusal),
}

/// Reads a map by status. What is read for a variant that may be unknown keeps its keys as text.
fn by_status<'de, D, T>(deserializer: D) -> Result<BTreeMap<u16, T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    let texts = BTreeMap::<String, T>::deserialize(deserializer)?;
    let parse = |(status, value): (String, T)| match status.parse() {
        Ok(status) => Ok((status, value)),
        Err(_) => Err(serde::de::Error::custom(format!("`{status}` is no status"))),
    };
    texts.into_iter().map(parse).collect()
}
