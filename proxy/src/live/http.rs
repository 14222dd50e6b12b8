//! HTTP and HTTP_PROXY integrations, parsed.

use std::time::Duration;

use bundle::StageBundle;
use bundle::integration::{ContentHandling, Passthrough, RequestMapping};
use http::{HeaderValue, Method};

use crate::integrate::upstream::Verification;
use crate::live::mapping::payload::Payloads;
use crate::live::mapping::response::IntegrationResponse;
use crate::live::mapping::uri::UriTemplate;
use crate::live::mapping::{RequestParameters, header_value};

/// An HTTP integration.
#[derive(Debug)]
pub struct Http {
    pub endpoint: Endpoint,
    pub parameters: RequestParameters,
    pub payloads: Payloads,
    pub passthrough: Passthrough,
    pub responses: Vec<IntegrationResponse>,
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
    pub fn parse(http: &bundle::integration::Http, stage: &StageBundle) -> Result<Self, String> {
        let bundle::integration::Http { endpoint, request, responses } = http;
        let RequestMapping { parameters, templates, passthrough, content_handling } = request;
        if *content_handling == Some(ContentHandling::ConvertToBinary) {
            return Err("contentHandling CONVERT_TO_BINARY is not served".into());
        }
        let (endpoint, parameters) = Endpoint::parse(endpoint, parameters, stage)?;
        Ok(Self {
            endpoint,
            parameters,
            payloads: Payloads::parse(templates)?,
            passthrough: *passthrough,
            responses: responses
                .iter()
                .map(|response| IntegrationResponse::parse(response, &stage.variables))
                .collect::<Result<_, _>>()?,
            agent: header_value(&format!("AmazonAPIGateway_{}", stage.api.id))?,
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
        parameters: &std::collections::BTreeMap<bundle::mapping::RequestTarget, bundle::mapping::Source>,
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
