//! What every integration does that is no proxy: the request becomes the backend's by templates and mappings, and what
//! the backend said becomes an answer.
//!
//! An integration calls [`prepare`], asks its backend with what that made, and hands the backend's answer to
//! [`respond`]; a MOCK has no backend in between.

use bundle::mapping::Source;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::body::{Body, BodyError, BodyFault};
use crate::context;
use crate::exchange::Exchange;
use crate::integrate::mapping::document::{Document, NotJson};
use crate::integrate::mapping::headers::mapped_to_client;
use crate::integrate::mapping::overrides::{self, Overridden};
use crate::integrate::mapping::parameters::{MAX_BODY, Setter, Values, collect, lossy, within};
use crate::integrate::mapping::template::render;
use crate::integrate::payload::{Conversion, Payload, decode, of_answer, of_request};
use crate::live::custom::Custom;
use crate::live::mapping::Wants;
use crate::live::selection::{self, Selector, Value};
use crate::rejection::Rejection;

/// `Content-Type` of an answer that nothing gives another one.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The request as templates and mappings made it.
pub struct Mapped {
    /// For the backend: what the template rendered, or the client's body.
    pub body: Body,
    /// The client's body, as far as mapped parameters read it.
    document: Option<Document>,
    /// What the template said instead of mapped parameters.
    overridden: Overridden,
    /// `$context.requestOverride` and `responseOverride`, which the response's template sees again.
    overrides: Option<vtl::Overrides>,
}

impl Mapped {
    /// Where the integration's headers, query and path take their values from. Hand it to
    /// `parameters::set_headers` and `uri::render`.
    pub fn values<'a>(&'a self, exchange: &'a Exchange) -> Values<'a> {
        Values { exchange, document: self.document.as_ref(), overridden: Some(&self.overridden) }
    }

    /// The whole body, for an integration that must know it: a signed one, or one of a function.
    ///
    /// # Errors
    /// 413, or that the client does not send it.
    pub async fn collect(&mut self) -> Result<Bytes, Rejection> {
        std::mem::take(&mut self.body).collect(MAX_BODY).await.map_err(crate::integrate::mapping::parameters::unread)
    }
}

/// Makes the request for the backend: chooses the request template and renders it, and reads of the body what mapped
/// parameters want. The body is only collected if one of them reads it.
///
/// # Errors
/// 413 and 415; 400 if the body has to be JSON and is not; 500 if the template fails.
pub async fn prepare(exchange: &mut Exchange, custom: &Custom) -> Result<Mapped, Rejection> {
    let content_type = exchange.headers.get(CONTENT_TYPE).map(|value| lossy(value).into_owned());
    let template = custom.templates.select(content_type.as_deref())?;
    let wants = custom.parameters.wants;
    let conversion = match &exchange.routed {
        Some(routed) => of_request(&routed.stage.live.binary_types, content_type.as_deref(), custom.content_handling),
        None => Conversion::Text,
    };
    if template.is_none() && wants == Wants::Nothing && conversion == Conversion::Bytes {
        let body = within(MAX_BODY as u64, exchange).await?;
        return Ok(Mapped { body, document: None, overridden: Overridden::default(), overrides: None });
    }
    let payload = conversion.apply(collect(exchange).await?)?;
    readable(template, &payload)?;
    let binary = matches!(payload, Payload::Bytes(_));
    let input = payload.into_bytes();
    let Some(template) = template else {
        let document = match wants {
            Wants::Nothing => None,
            wants => Some(Document::read(input.clone(), wants).map_err(|NotJson| Rejection::InvalidJsonBody)?),
        };
        let (overridden, overrides) = Default::default();
        return Ok(Mapped { body: Body::full(input), document, overridden, overrides });
    };
    let overrides = template.mentions_context().then(vtl::Overrides::new);
    // The template that passes bytes renders them as they are.
    let body = if binary { input.clone() } else { Bytes::new() };
    let rendered = render(template, exchange, &input, overrides.as_ref(), wants == Wants::Json)?;
    let document = match (wants, rendered.json) {
        (Wants::Nothing, _) => None,
        (Wants::Text, _) => Some(Document::with_json(input, None)),
        (Wants::Json, Some(json)) => Some(Document::with_json(input, Some(json))),
        (Wants::Json, None) => return Err(Rejection::InvalidJsonBody),
    };
    let overridden = overrides.as_ref().map(Overridden::read).transpose()?.unwrap_or_default();
    let body = if binary { Body::full(body) } else { Body::full(rendered.text) };
    Ok(Mapped { body, document, overridden, overrides })
}

/// Makes the client's answer of what the backend said: selects the integration response, maps its headers, renders its
/// template, and applies what templates said instead.
///
/// # Errors
/// 500 if no response is selected, or a mapping or template fails; 504 and 500 if the answer breaks off.
pub async fn respond(
    exchange: &Exchange,
    custom: &Custom,
    mapped: Mapped,
    selector: Selector<'_>,
    answer: Response<Body>,
) -> Result<Response<Body>, Rejection> {
    let status = answer.status().as_u16();
    let selected = custom.responses.select(selector).map_err(|reason| undecided(&reason))?;
    let selected = selected.ok_or_else(|| no_match(selector, status))?;
    let (parts, mut body) = answer.into_parts();
    let accept = exchange.headers.get(ACCEPT).map(lossy);
    let template = selected.templates.select(accept.as_deref());
    let mut content_type = JSON;
    let mut overrides = mapped.overrides;
    let mut document = None;
    let conversion = conversion(exchange, selected, &parts.headers, accept.as_deref());
    if template.is_some() || selected.wants != Wants::Nothing || conversion != Conversion::Bytes {
        let input = body.collect(MAX_BODY).await.map_err(broken)?;
        // Where there is a template, base64 is what it makes. A MOCK has nothing that could be bytes, so only its
        // definition can say that its template makes them.
        let decodes = template.is_some() && conversion == Conversion::Decode;
        let conversion = if decodes { Conversion::Text } else { conversion };
        let decodes = decodes && (selected.content_handling.is_some() || !input.is_empty());
        let payload = conversion.apply(input)?;
        readable(template.map(|(_, template)| template), &payload)?;
        let binary = matches!(payload, Payload::Bytes(_));
        let input = payload.into_bytes();
        let json;
        (body, json) = match template {
            Some((media_type, template)) => {
                if media_type.contains('/') {
                    content_type = HeaderValue::try_from(media_type).unwrap_or(JSON);
                }
                if template.mentions_context() {
                    overrides.get_or_insert_default();
                }
                let wants_json = selected.wants == Wants::Json;
                let rendered =
                    render(template, exchange, &input, overrides.as_ref(), wants_json).map_err(not_the_clients)?;
                let body = match (binary, decodes) {
                    (true, _) => input.clone(),
                    (false, true) => decode(rendered.text.as_bytes())?,
                    (false, false) => rendered.text.into(),
                };
                (Body::full(body), rendered.json.filter(|_| wants_json))
            }
            None => (Body::full(input.clone()), None),
        };
        document = match (selected.wants, json) {
            (Wants::Nothing, _) => None,
            (Wants::Json, Some(json)) => Some(Document::with_json(input, Some(json))),
            (wants, _) => Some(Document::read(input, wants).map_err(|NotJson| {
                Rejection::Configuration("a header is mapped from the answer's body, which is not JSON".to_owned())
            })?),
        };
    }
    let mut response = Response::new(body);
    *response.status_mut() = selected.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    map_headers(exchange, selected, &parts.headers, document.as_ref(), headers)?;
    if let Some(overrides) = &overrides {
        for (name, values) in overrides::headers(overrides.response_headers())? {
            let Some(name) = mapped_to_client(&name) else { continue };
            let mut set = Setter::new(headers, name);
            values.into_iter().for_each(|value| set.add(value));
        }
        let status = overrides.response_status().filter(|&status| status >= 200);
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
            *response.status_mut() = status;
        }
    }
    Ok(response)
}

/// What becomes of the backend's body.
fn conversion(
    exchange: &Exchange,
    selected: &selection::Response,
    answer: &HeaderMap,
    accept: Option<&str>,
) -> Conversion {
    let Some(routed) = &exchange.routed else { return Conversion::Text };
    let content_type = answer.get(CONTENT_TYPE).map(lossy);
    of_answer(&routed.stage.live.binary_types, content_type.as_deref(), accept, selected.content_handling)
}

/// A template reads text: bytes only pass, and by a template that does nothing else.
fn readable(template: Option<&vtl::Template>, payload: &Payload) -> Result<(), Rejection> {
    match (template, payload) {
        (Some(template), Payload::Bytes(_)) if !template.passes_body() => {
            Err(Rejection::Configuration("a template cannot read a binary payload; `$input.body` passes it".to_owned()))
        }
        (Some(_) | None, Payload::Bytes(_) | Payload::Text(_)) => Ok(()),
    }
}

fn map_headers(
    exchange: &Exchange,
    selected: &selection::Response,
    answer: &HeaderMap,
    document: Option<&Document>,
    headers: &mut HeaderMap,
) -> Result<(), Rejection> {
    for (name, value) in &selected.headers {
        let mut set = Setter::new(headers, name);
        match value {
            Value::Ready(value) => set.add(value.clone()),
            Value::Body(path) => {
                if let Some(text) = document.map(|document| document.find(path)).transpose()?.flatten() {
                    set.add(header(name, &text)?);
                }
            }
            Value::From(source) => match source {
                Source::Header(from) => {
                    answer.get_all(from).iter().next_back().cloned().into_iter().for_each(|value| set.add(value));
                }
                Source::MultiHeader(from) => answer.get_all(from).iter().cloned().for_each(|value| set.add(value)),
                Source::Body(_) => {
                    if let Some(document) = document.filter(|document| !document.is_empty()) {
                        set.add(header(name, &document.text())?);
                    }
                }
                Source::Context(variable) => {
                    if let Some(value) = context::lookup(exchange, variable) {
                        set.add(header(name, &value)?);
                    }
                }
                Source::Static(text) => set.add(header(name, text)?),
                // Stage variables are known at load; the request's are refused there.
                Source::StageVariable(_) | Source::Path(_) | Source::Query(_) | Source::MultiQuery(_) => {}
            },
        }
    }
    Ok(())
}

fn header(name: &HeaderName, text: &str) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Rejection::Configuration(format!("a value mapped to the header {name} is none")))
}

fn undecided(reason: &str) -> Rejection {
    Rejection::Configuration(format!("A selection pattern cannot tell whether it matches: {reason}"))
}

fn no_match(selector: Selector<'_>, status: u16) -> Rejection {
    let status = match selector {
        Selector::Status(status) => status,
        Selector::Text(_) | Selector::Default => i64::from(status),
    };
    Rejection::Configuration(format!(
        "No match for output mapping and no default output mapping configured. Endpoint Response Status Code: {status}"
    ))
}

/// A body that is not JSON is the client's fault only if it is the client's.
fn not_the_clients(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::InvalidPayload(message) => Rejection::Configuration(message),
        other => other,
    }
}

/// An answer's body that was needed could not be read.
fn broken(error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(BodyFault::Silent) => Rejection::IntegrationTimeout,
        BodyError::Fault(fault @ (BodyFault::TooLarge | BodyFault::Aborted)) => {
            Rejection::IntegrationFailure(fault.to_string())
        }
        BodyError::Wire(error) => Rejection::IntegrationFailure(error.to_string()),
        BodyError::Answer(fault) => Rejection::IntegrationFailure(fault.to_string()),
    }
}
