//! HTTP and HTTP_PROXY integrations, parsed.

use std::collections::BTreeMap;
use std::time::Duration;

use bundle::StageBundle;
use bundle::integration::{ContentHandling, RequestMapping};
use bundle::mapping::{RequestTarget, Source};
use http::{HeaderValue, Method};

use crate::integrate::upstream::Verification;
use crate::live::Scope;
use crate::live::mapping::uri::UriTemplate;
use crate::live::mapping::{RequestParameters, header_value};
use crate::live::selection::Responses;
use crate::live::template::RequestTemplates;

/// An HTTP integration.
#[derive(Debug)]
pub struct Http {
    pub endpoint: Endpoint,
    pub parameters: RequestParameters,
    pub templates: RequestTemplates,
    pub responses: Responses,
    /// A response's header comes from the answer's body, which must be collected.
    pub wants_answer: bool,
    /// `User-Agent`, unless it is mapped.
    pub agent: HeaderValue,
}

/// An HTTP_PROXY integration.
#[derive(Debug)]
pub struct HttpProxy {
    pub endpoint: Endpoint,
    pub parameters: RequestParameters,
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
    /// A mapped value comes from the body.
    pub wants_body: bool,
}

impl Http {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(http: &bundle::integration::Http, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::Http { endpoint, request, responses } = http;
        let RequestMapping { parameters, templates: _, passthrough: _, content_handling } = request;
        let handlings = responses.iter().map(|response| response.content_handling).chain([*content_handling]);
        if handlings.flatten().any(|handling| handling == ContentHandling::ConvertToBinary) {
            return Err("contentHandling CONVERT_TO_BINARY is not served".into());
        }
        let mut wants_answer = false;
        for (name, source) in responses.iter().flat_map(|response| &response.headers) {
            match source {
                Source::Path(_) | Source::Query(_) | Source::MultiQuery(_) => {
                    return Err(format!("the response header `{name}` cannot come from the request"));
                }
                Source::Body(Some(path)) => {
                    return Err(format!("JSONPath `{path}` in a parameter mapping is not evaluated"));
                }
                Source::Body(None) => wants_answer = true,
                Source::Header(_)
                | Source::MultiHeader(_)
                | Source::StageVariable(_)
                | Source::Context(_)
                | Source::Static(_) => {}
            }
        }
        let (endpoint, parameters) = Endpoint::parse(endpoint, parameters, scope.bundle)?;
        Ok(Self {
            endpoint,
            parameters,
            templates: RequestTemplates::parse(request, scope)?,
            responses: Responses::parse(responses, scope)?,
            wants_answer,
            agent: header_value(&format!("AmazonAPIGateway_{}", scope.bundle.api.id))?,
        })
    }
}

impl HttpProxy {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(proxy: &bundle::integration::HttpProxy, stage: &StageBundle) -> Result<Self, String> {
        let bundle::integration::HttpProxy { endpoint, parameters } = proxy;
        let (endpoint, parameters) = Endpoint::parse(endpoint, parameters, stage)?;
        Ok(Self { endpoint, parameters })
    }
}

impl Endpoint {
    fn parse(
        endpoint: &bundle::integration::Endpoint,
        parameters: &BTreeMap<RequestTarget, Source>,
        stage: &StageBundle,
    ) -> Result<(Self, RequestParameters), String> {
        let bundle::integration::Endpoint { uri, method, timeout_ms, skip_tls_verification, server_name } = endpoint;
        let (parameters, paths) = RequestParameters::parse(parameters, &stage.variables)?;
        let verification =
            Verification { skip_issuer: *skip_tls_verification, server_name: server_name.as_deref().map(Into::into) };
        let uri = UriTemplate::parse(uri, verification, &paths, &stage.variables)?;
        let method = method
            .as_deref()
            .map(|method| Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a verb")))
            .transpose()?;
        let endpoint = Self {
            wants_body: parameters.wants_body || uri.wants_body(),
            uri,
            method,
            timeout: Duration::from_millis(*timeout_ms),
            api_id: header_value(&stage.api.id)?,
        };
        Ok((endpoint, parameters))
    }
}
