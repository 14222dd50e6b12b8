//! The URI a backend is asked for.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::integrate::mapping::parameters::Values;
use crate::integrate::upstream::{Destination, Verification};
use crate::live::mapping::uri::{COMPONENT, Piece, UriTemplate};
use crate::live::mapping::{QueryParameter, Source};
use crate::rejection::Rejection;

/// Escaped where a value becomes part of a path: what would end it, or is not allowed in one.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'\\').add(b'^').add(b'`').add(b'%');
/// Escaped where a path parameter, which keeps its own escapes, becomes part of a query.
const PATH_IN_QUERY: &AsciiSet = &CONTROLS.add(b'&').add(b'+').add(b'#').add(b' ');

/// Path and query for the backend: the template's own query, then `client_query` as it came, then mapped parameters.
///
/// # Errors
/// When a value leads out of the template's path, or the whole is no URI.
pub fn render(
    template: &UriTemplate,
    values: &Values<'_>,
    client_query: Option<&str>,
    queries: &[QueryParameter],
) -> Result<PathAndQuery, Rejection> {
    let client_query = client_query.unwrap_or_default();
    let overridden = values.overridden.map_or(&[][..], |overridden| &overridden.queries);
    if client_query.is_empty()
        && queries.is_empty()
        && overridden.is_empty()
        && let Some(fixed) = &template.fixed
    {
        return Ok(fixed.clone());
    }
    let mut uri = String::with_capacity(128 + client_query.len());
    for piece in &template.path {
        match piece {
            Piece::Literal(text) => uri.push_str(text),
            Piece::Value { name, source } => push_path_value(&mut uri, name, source.as_ref(), values)?,
        }
    }
    if !uri.starts_with('/') {
        uri.insert(0, '/');
    }
    let mut separator = '?';
    if !template.query.is_empty() {
        uri.push(separator);
        separator = '&';
        for piece in &template.query {
            match piece {
                Piece::Literal(text) => uri.push_str(text),
                Piece::Value { name, source } => push_query_value(&mut uri, name, source.as_ref(), values)?,
            }
        }
    }
    if !client_query.is_empty() {
        uri.push(separator);
        separator = '&';
        uri.push_str(client_query);
    }
    let mut add = |name: &str, source: Option<&Source>, value: &str| {
        uri.push(separator);
        separator = '&';
        uri.push_str(name);
        uri.push('=');
        uri.extend(escaped_for_query(source, value));
    };
    for QueryParameter { name, source } in queries {
        if values.overridden.and_then(|overridden| overridden.query(name)).is_none() {
            values.each(source, |value| add(name, Some(source), &value))?;
        }
    }
    for (name, overriding) in overridden {
        overriding.iter().for_each(|value| add(name, None, value));
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(uri))
        .map_err(|_| Rejection::Configuration("the integration's URI is not valid for this request".into()))
}

/// Where to, if the host comes from the request.
///
/// # Errors
/// When the host is none.
pub fn destination(
    scheme: &str,
    authority: &[Piece],
    verification: &Verification,
    values: &Values<'_>,
) -> Result<Destination, Rejection> {
    let mut text = String::new();
    for piece in authority {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Value { name, source } => {
                text.push_str(&piece_value(name, source.as_ref(), values)?.unwrap_or_default())
            }
        }
    }
    Destination::parse(scheme, &text, verification.clone(), false)
        .map_err(|error| Rejection::Configuration(format!("Invalid endpoint address: {error}")))
}

/// The value of a `{name}`: what a template says, or else what is mapped.
fn piece_value<'a>(
    name: &str,
    source: Option<&'a Source>,
    values: &Values<'a>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    match (values.overridden.and_then(|overridden| overridden.path(name)), source) {
        (Some(overriding), _) => Ok(Some(Cow::Borrowed(overriding))),
        (None, Some(source)) => values.one(source),
        (None, None) => Ok(None),
    }
}

/// The source that says how a `{name}`'s value is escaped; an overriding one is plain text.
fn escaping<'a>(name: &str, source: Option<&'a Source>, values: &Values<'_>) -> Option<&'a Source> {
    source.filter(|_| values.overridden.and_then(|overridden| overridden.path(name)).is_none())
}

fn push_path_value(
    uri: &mut String,
    name: &str,
    source: Option<&Source>,
    values: &Values<'_>,
) -> Result<(), Rejection> {
    match (escaping(name, source, values), piece_value(name, source, values)?) {
        // Path parameters come and go with their escapes; dot segments in them were refused long before.
        (Some(Source::Path(_)), Some(value)) => uri.push_str(&value),
        (_, Some(value)) => {
            if value.split('/').any(|segment| matches!(segment, "." | "..")) {
                return Err(Rejection::BadPath("a mapped value has dot segments"));
            }
            uri.extend(utf8_percent_encode(&value, PATH));
        }
        (_, None) => push_unmapped(uri, name),
    }
    Ok(())
}

fn push_query_value(
    uri: &mut String,
    name: &str,
    source: Option<&Source>,
    values: &Values<'_>,
) -> Result<(), Rejection> {
    match piece_value(name, source, values)? {
        Some(value) => uri.extend(escaped_for_query(escaping(name, source, values), &value)),
        None => push_unmapped(uri, name),
    }
    Ok(())
}

/// A `{name}` whose source is absent stays as it is written.
fn push_unmapped(uri: &mut String, name: &str) {
    uri.push('{');
    uri.push_str(name);
    uri.push('}');
}

fn escaped_for_query<'a>(source: Option<&Source>, value: &'a str) -> percent_encoding::PercentEncode<'a> {
    let set = if matches!(source, Some(Source::Path(_))) { PATH_IN_QUERY } else { COMPONENT };
    utf8_percent_encode(value, set)
}
