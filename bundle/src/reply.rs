//! Gateway responses: what a client gets when the gateway itself answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mapping::Source;

macro_rules! gateway_response_types {
    ($($variant:ident $name:literal $doc:literal),* $(,)?) => {
        /// The types of gateway responses, as Amazon names them (developer guide, "Gateway response types").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum GatewayResponseType {
            $(#[doc = $doc] #[serde(rename = $name)] $variant),*
        }

        impl GatewayResponseType {
            /// Every type, in the order of Amazon's table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in documents and in `$context.error.responseType`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

gateway_response_types! {
    AccessDenied "ACCESS_DENIED" "Authorization failed.",
    ApiConfigurationError "API_CONFIGURATION_ERROR" "The definition cannot serve this request.",
    AuthorizerConfigurationError "AUTHORIZER_CONFIGURATION_ERROR" "The authorizer could not be called or understood.",
    AuthorizerFailure "AUTHORIZER_FAILURE" "The authorizer failed to answer.",
    BadRequestParameters "BAD_REQUEST_PARAMETERS" "A required parameter is missing.",
    BadRequestBody "BAD_REQUEST_BODY" "The body does not fit its model.",
    Default4xx "DEFAULT_4XX" "Settings for every 4xx type that has none of its own.",
    Default5xx "DEFAULT_5XX" "Settings for every 5xx type that has none of its own.",
    ExpiredToken "EXPIRED_TOKEN" "The credentials have expired.",
    IntegrationFailure "INTEGRATION_FAILURE" "The backend could not be reached.",
    IntegrationTimeout "INTEGRATION_TIMEOUT" "The backend did not answer in time.",
    InvalidApiKey "INVALID_API_KEY" "The API key is missing, unknown, disabled or not of this stage.",
    InvalidSignature "INVALID_SIGNATURE" "The signature does not hold.",
    MissingAuthenticationToken "MISSING_AUTHENTICATION_TOKEN" "No signature, or no such method: a REST API's 404.",
    QuotaExceeded "QUOTA_EXCEEDED" "The usage plan's quota is used up.",
    RequestTooLarge "REQUEST_TOO_LARGE" "The payload is over the limit.",
    ResourceNotFound "RESOURCE_NOT_FOUND" "The resource is missing after authorization passed.",
    Throttled "THROTTLED" "A rate limit refused the request.",
    Unauthorized "UNAUTHORIZED" "Authentication failed.",
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" "The media type has no template.",
    WafFiltered "WAF_FILTERED" "A filter refused the request.",
}

/// One customised gateway response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayResponse {
    /// Status; `None` keeps the type's own.
    #[serde(default)]
    pub status: Option<u16>,
    /// `gatewayresponse.header.X`, by X. Header, query and path sources are the client's request.
    #[serde(default)]
    pub headers: BTreeMap<String, Source>,
    /// Bodies by media type. Not the template language: `$context.…`, `$stageVariables.…` and
    /// `method.request.…` are replaced, everything else stands as it is. Empty keeps the default body.
    #[serde(default)]
    pub templates: BTreeMap<String, String>,
}
