//! The URI a backend is asked for.

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
    if client_query.is_empty()
        && queries.is_empty()
        && let Some(fixed) = &template.fixed
    {
        return Ok(fixed.clone());
    }
    let mut uri = String::with_capacity(128 + client_query.len());
    for piece in &template.path {
        match piece {
            Piece::Literal(text) => uri.push_str(text),
            Piece::Value { name, source } => push_path_value(&mut uri, name, source, values)?,
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
                Piece::Value { name, source } => push_query_value(&mut uri, name, source, values),
            }
        }
    }
    if !client_query.is_empty() {
        uri.push(separator);
        separator = '&';
        uri.push_str(client_query);
    }
    for QueryParameter { name, source } in queries {
        values.each(source, |value| {
            uri.push(separator);
            separator = '&';
            uri.push_str(name);
            uri.push('=');
            uri.extend(escaped_for_query(source, &value));
        });
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
            Piece::Value { name: _, source } => text.push_str(&values.one(source).unwrap_or_default()),
        }
    }
    Destination::parse(scheme, &text, verification.clone(), false)
        .map_err(|error| Rejection::Configuration(format!("Invalid endpoint address: {error}")))
}

fn push_path_value(uri: &mut String, name: &str, source: &Source, values: &Values<'_>) -> Result<(), Rejection> {
    match (source, values.one(source)) {
        // Path parameters come and go with their escapes; dot segments in them were refused long before.
        (Source::Path(_), Some(value)) => uri.push_str(&value),
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

fn push_query_value(uri: &mut String, name: &str, source: &Source, values: &Values<'_>) {
    match values.one(source) {
        Some(value) => uri.extend(escaped_for_query(source, &value)),
        None => push_unmapped(uri, name),
    }
}

/// A `{name}` whose source is absent stays as it is written.
fn push_unmapped(uri: &mut String, name: &str) {
    uri.push('{');
    uri.push_str(name);
    uri.push('}');
}

fn escaped_for_query<'a>(source: &Source, value: &'a str) -> percent_encoding::PercentEncode<'a> {
    let set = if matches!(source, Source::Path(_)) { PATH_IN_QUERY } else { COMPONENT };
    utf8_percent_encode(value, set)
}
