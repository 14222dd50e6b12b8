//! Integration: MOCK. No backend; a template says the status, the integration response it selects is the answer.

mod status;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::integration::ContentHandling;
use bundle::mapping::Source;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::body::{Body, BodyError, BodyFault};
use crate::context;
use crate::exchange::Exchange;
use crate::live;
use crate::live::mock::Mock;
use crate::live::selection::Value;
use crate::rejection::Rejection;

/// Largest request body. Amazon's limit.
const BODY_BYTES: usize = 10 << 20;

/// Answers by a MOCK integration.
///
/// # Errors
/// When the body has no template and may not pass, or the template makes no status or one that selects nothing.
pub async fn answer(exchange: &mut Exchange, mock: &Mock) -> Result<Response<Body>, Rejection> {
    let status = status(mock, exchange).await?;
    let selected = mock.responses.select(status).ok_or_else(|| {
        Rejection::Configuration(format!(
            "No match for output mapping and no default output mapping configured. Endpoint Response Status Code: {status}"
        ))
    })?;
    respond(selected, exchange)
}

/// The status that the request template, or the request itself, asks for.
async fn status(mock: &Mock, exchange: &mut Exchange) -> Result<i64, Rejection> {
    if exchange.body.length().is_some_and(|length| length > BODY_BYTES as u64) {
        return Err(Rejection::RequestTooLarge);
    }
    let content_type = exchange.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let status = match mock.request.select(content_type.as_deref())? {
        Some(template) => status::parse(&template.render(exchange, &[])?),
        None => {
            let body = std::mem::take(&mut exchange.body).collect(BODY_BYTES).await.map_err(|error| match error {
                BodyError::Fault(BodyFault::TooLarge) => Rejection::RequestTooLarge,
                BodyError::Fault(_) | BodyError::Wire(_) => Rejection::RequestAborted,
            })?;
            std::str::from_utf8(&body).ok().and_then(status::parse)
        }
    };
    status.ok_or_else(|| {
        Rejection::Configuration(
            "Unable to parse statusCode. It should be an integer that is defined in the request template.".to_owned(),
        )
    })
}

fn respond(selected: &live::selection::Response, exchange: &Exchange) -> Result<Response<Body>, Rejection> {
    let accept = exchange.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = selected.status;
    if let Some((media_type, template)) = selected.templates.select(accept) {
        let text = template.render(exchange, &[])?;
        *response.body_mut() = Body::full(match selected.content_handling {
            Some(ContentHandling::ConvertToBinary) => STANDARD
                .decode(text.trim())
                .map(Bytes::from)
                .map_err(|_| Rejection::Configuration("the response template rendered no base64".to_owned()))?,
            Some(ContentHandling::ConvertToText) | None => text.into(),
        });
        if let Ok(content_type) = HeaderValue::from_str(media_type)
            && media_type.contains('/')
        {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
    }
    for (name, value) in &selected.headers {
        let value = match value {
            Value::Ready(value) => Some(value.clone()),
            Value::From(source) => from_source(source, exchange),
        };
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// A mapped header's value. There is no backend's answer, so whatever would come from it is absent.
fn from_source(source: &Source, exchange: &Exchange) -> Option<HeaderValue> {
    match source {
        Source::Context(name) => HeaderValue::from_bytes(context::lookup(exchange, name)?.as_bytes()).ok(),
        Source::Static(text) => HeaderValue::from_str(text).ok(),
        Source::StageVariable(_)
        | Source::Path(_)
        | Source::Query(_)
        | Source::MultiQuery(_)
        | Source::Header(_)
        | Source::MultiHeader(_)
        | Source::Body(_) => None,
    }
}

#[cfg(test)]
mod tests;
