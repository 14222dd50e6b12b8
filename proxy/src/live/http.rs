//! HTTP and HTTP_PROXY integrations, parsed.

use std::time::Duration;

use bundle::StageBundle;
use http::{HeaderValue, Method};

use crate::integrate::mapping::headers::Flavor;
use crate::integrate::upstream::Verification;
use crate::live::Scope;
use crate::live::custom::{Custom, Paths};
use crate::live::http_api::Changes;
use crate::live::mapping::uri::UriTemplate;
use crate::live::mapping::{RequestParameters, header_value};
use crate::live::selection::By;

/// An HTTP integration.
#[derive(Debug)]
pub struct Http {
    pub endpoint: Endpoint,
    pub custom: Custom,
    /// `User-Agent`, unless it is mapped.
    pub agent: HeaderValue,
}

/// An HTTP_PROXY integration.
#[derive(Debug)]
pub struct HttpProxy {
    pub endpoint: Endpoint,
    pub parameters: RequestParameters,
    /// An HTTP API's mapping.
    pub changes: Option<Box<Changes>>,
}

/// Where an integration's requests go.
#[derive(Debug)]
pub struct Endpoint {
    pub uri: UriTemplate,
    /// `None`: the client's.
    pub method: Option<Method>,
    pub timeout: Duration,
    /// `X-Amzn-Apigateway-Api-Id`.
    pub api_id: HeaderValue,
}

impl Http {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(http: &bundle::integration::Http, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::Http { endpoint, request, responses } = http;
        let (custom, paths) = Custom::parse(request, responses, Flavor::Http, By::Status, scope)?;
        Ok(Self {
            endpoint: Endpoint::parse(endpoint, &paths, custom.templates.any(), scope.bundle)?,
            custom,
            agent: header_value(&format!("AmazonAPIGateway_{}", scope.bundle.api.id))?,
        })
    }
}

impl HttpProxy {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(proxy: &bundle::integration::HttpProxy, stage: &StageBundle) -> Result<Self, String> {
        let bundle::integration::HttpProxy { endpoint, parameters, changes, response_changes } = proxy;
        let changes = Changes::parse(changes, response_changes, &stage.variables)?;
        let (mut parameters, paths) = RequestParameters::parse(parameters, &stage.variables, Flavor::Http)?;
        if let Some(changes) = &changes {
            parameters.wants = parameters.wants.max(changes.wants);
        }
        Ok(Self { endpoint: Endpoint::parse(endpoint, &paths, false, stage)?, parameters, changes })
    }
}

impl Endpoint {
    fn parse(
        endpoint: &bundle::integration::Endpoint,
        paths: &Paths,
        open: bool,
        stage: &StageBundle,
    ) -> Result<Self, String> {
        let bundle::integration::Endpoint { uri, method, timeout_ms, skip_tls_verification, server_name } = endpoint;
        let verification =
            Verification { skip_issuer: *skip_tls_verification, server_name: server_name.as_deref().map(Into::into) };
        let uri = UriTemplate::parse(uri, verification, paths, open, &stage.variables)?;
        let method = method
            .as_deref()
            .map(|method| Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a verb")))
            .transpose()?;
        Ok(Self { uri, method, timeout: Duration::from_millis(*timeout_ms), api_id: header_value(&stage.api.id)? })
    }
}
