//! An HTTP API's parameter mapping, applied.

use std::borrow::Cow;

use bundle::mapping::ChangeVerb;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::body::{Body, BodyError, BodyFault};
use crate::exchange::Exchange;
use crate::integrate::mapping::document::{Document, NotJson};
use crate::integrate::mapping::parameters::{MAX_BODY, Values, lossy};
use crate::live::http_api::{Change, Changes, Expression, Part, Target};
use crate::live::mapping::uri::COMPONENT;
use crate::live::mapping::{Source, Wants};
use crate::rejection::Rejection;

/// Escaped in a mapped path: what would end it, or is not allowed in one. Not `%`: path parameters and the request's
/// own path come with their escapes.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'\\').add(b'^').add(b'`');

/// The value of an expression; `None` if nothing of it is there.
///
/// # Errors
/// When a JSONPath reaches a bound.
pub fn evaluate<'a>(expression: &'a Expression, values: &Values<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
    joined(expression, |part| match part {
        Part::Text(text) => Ok(Some(Cow::Borrowed(&**text))),
        Part::RequestPath => Ok(Some(Cow::Borrowed(values.exchange.resource_path()))),
        Part::From(source) => values.one(source),
    })
}

fn joined<'a>(
    expression: &'a Expression,
    mut value: impl FnMut(&'a Part) -> Result<Option<Cow<'a, str>>, Rejection>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    if let [part] = &*expression.0 {
        return value(part);
    }
    let mut text = String::new();
    let mut any = false;
    for part in &expression.0 {
        if let Some(value) = value(part)? {
            text.push_str(&value);
            any = true;
        }
    }
    Ok(any.then_some(Cow::Owned(text)))
}

/// Applies the mapping of a request to what would be sent.
///
/// # Errors
/// When a value cannot be a header's, or the path none.
pub fn change_request(
    changes: &Changes,
    values: &Values<'_>,
    headers: &mut HeaderMap,
    path: PathAndQuery,
) -> Result<PathAndQuery, Rejection> {
    let mut rewritten: Option<(String, Vec<String>)> = None;
    let split = || {
        let query = path.query().into_iter().flat_map(|query| query.split('&'));
        (path.path().to_owned(), query.filter(|pair| !pair.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    };
    for Change { verb, target, value } in &changes.request {
        let value = evaluate(value, values)?;
        match target {
            Target::Header(name) => change_header(*verb, name, value.as_deref(), headers)?,
            Target::Path => {
                if let Some(value) = value {
                    if has_dot_segments(&value) {
                        return Err(Rejection::BadPath("a mapped value has dot segments"));
                    }
                    let slash = if value.starts_with('/') { "" } else { "/" };
                    let value = utf8_percent_encode(&value, PATH);
                    rewritten.get_or_insert_with(split).0 = format!("{slash}{value}");
                }
            }
            Target::Query { name } => {
                let (_, pairs) = rewritten.get_or_insert_with(split);
                if *verb != ChangeVerb::Append && (value.is_some() || *verb == ChangeVerb::Remove) {
                    pairs.retain(|pair| pair.split('=').next() != Some(name));
                }
                if let Some(value) = value {
                    pairs.push(format!("{name}={}", utf8_percent_encode(&value, COMPONENT)));
                }
            }
            // The compiler knows no such mapping of a request.
            Target::Status => {}
        }
    }
    let Some((path, pairs)) = rewritten else { return Ok(path) };
    let whole = if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) };
    whole.parse().map_err(|_| Rejection::Configuration("the mapped path is not valid for this request".into()))
}

/// Values keep the escapes they came with, so that a backend may see dot segments where nobody has written dots.
fn has_dot_segments(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

fn change_header(
    verb: ChangeVerb,
    name: &HeaderName,
    value: Option<&str>,
    headers: &mut HeaderMap,
) -> Result<(), Rejection> {
    let value = value.map(HeaderValue::from_str).transpose();
    let value = value.map_err(|_| Rejection::Configuration(format!("a value mapped to the header {name} is none")))?;
    match (verb, value) {
        (ChangeVerb::Append, Some(value)) => drop(headers.append(name, value)),
        (ChangeVerb::Overwrite, Some(value)) => drop(headers.insert(name, value)),
        (ChangeVerb::Remove, _) => drop(headers.remove(name)),
        (ChangeVerb::Append | ChangeVerb::Overwrite, None) => {}
    }
    Ok(())
}

/// Applies the mapping for the answer's status, if there is one.
///
/// # Errors
/// When the body is needed and cannot be read, or a value cannot be a header's or a status.
pub async fn change_response(
    changes: &Changes,
    exchange: &Exchange,
    response: Response<Body>,
) -> Result<Response<Body>, Rejection> {
    let Some(changes) = changes.responses.get(&response.status().as_u16()) else { return Ok(response) };
    let wants = changes.iter().map(|change| change.value.wants()).max().unwrap_or_default();
    let (mut parts, mut body) = response.into_parts();
    let mut document = None;
    if wants != Wants::Nothing {
        let bytes = body.collect(MAX_BODY).await.map_err(unread)?;
        body = Body::full(bytes.clone());
        // A body that is no JSON has none of the values.
        document = Document::read(bytes, wants).map_err(|NotJson| ()).ok();
    }
    let received = parts.headers.clone();
    let values = Values { exchange, document: document.as_ref(), overridden: None };
    for Change { verb, target, value } in changes {
        let value = joined(value, |part| match part {
            Part::Text(text) => Ok(Some(Cow::Borrowed(&**text))),
            Part::RequestPath => Ok(None),
            Part::From(Source::Header(name) | Source::MultiHeader(name)) => {
                let all: Vec<_> = received.get_all(name).iter().map(lossy).collect();
                Ok((!all.is_empty()).then(|| Cow::Owned(all.join(","))))
            }
            Part::From(source) => values.one(source),
        })?;
        match target {
            Target::Header(name) => change_header(*verb, name, value.as_deref(), &mut parts.headers)?,
            Target::Status => {
                let status = value.as_deref().unwrap_or_default();
                let valid = status.parse().ok().filter(|status| (200..600).contains(status));
                let valid = valid.and_then(|status| StatusCode::from_u16(status).ok());
                parts.status = valid
                    .ok_or_else(|| Rejection::Configuration("the status mapped to the response is none".into()))?;
            }
            // The compiler knows no such mapping of a response.
            Target::Path | Target::Query { .. } => {}
        }
    }
    Ok(Response::from_parts(parts, body))
}

fn unread(error: BodyError) -> Rejection {
    match error {
        BodyError::Fault(BodyFault::Silent) => Rejection::IntegrationTimeout,
        BodyError::Fault(fault @ (BodyFault::TooLarge | BodyFault::Aborted)) => {
            Rejection::IntegrationFailure(fault.to_string())
        }
        BodyError::Wire(error) => Rejection::IntegrationFailure(error.to_string()),
        BodyError::Answer(fault) => Rejection::IntegrationFailure(fault.to_string()),
    }
}
