//! Parameter mappings: expressions to sources and targets. Words and header names are case-sensitive.

use std::collections::BTreeMap;

use bundle::mapping::{RequestTarget, ResponseHeader, Source};
use serde_json::Value;

use super::draft::Draft;
use crate::finding::Reason;
use crate::read::Node;

/// Headers that nothing may be mapped to: a 500 at run time, as recorded.
const ILLEGAL: [&str; 4] = ["content-length", "transfer-encoding", "x-amzn-trace-id", "x-amzn-apigateway-api-id"];

/// Headers that nothing may be mapped to besides, where the request is signed.
const ILLEGAL_WHEN_SIGNED: [&str; 5] = ["authorization", "connection", "expect", "proxy-authenticate", "te"];

/// A mapped header that makes a signed request fail.
pub(super) fn illegal_when_signed(mapped: &BTreeMap<RequestTarget, Source>) -> Option<&str> {
    mapped.keys().find_map(|target| match target {
        RequestTarget::Header(name) => {
            let mut illegal = ILLEGAL.iter().chain(&ILLEGAL_WHEN_SIGNED);
            illegal.any(|illegal| illegal.eq_ignore_ascii_case(name)).then_some(name.as_str())
        }
        RequestTarget::Path(_) | RequestTarget::Query(_) => None,
    })
}

/// Reads an integration's `requestParameters`.
pub(super) fn request(
    integration: &Node<'_>,
    http_api: bool,
    draft: &mut Draft<'_>,
) -> BTreeMap<RequestTarget, Source> {
    let mut mapped = BTreeMap::new();
    let Some(map) = integration.get("requestParameters") else { return mapped };
    if !map.value.is_object() {
        draft.error(Reason::Malformed, &map, "`requestParameters` maps targets to sources");
    }
    for (key, node) in map.entries() {
        if http_api && !key.starts_with("integration.request.") {
            // An HTTP API's own words: `http_api` reads them.
            continue;
        }
        let Some(target) = request_target(key) else {
            let text = format!("`{key}` is no target: want `integration.request.header|querystring|path.NAME`");
            draft.error(Reason::InvalidMapping, &node, text);
            continue;
        };
        if let RequestTarget::Header(name) = &target
            && ILLEGAL.iter().any(|illegal| illegal.eq_ignore_ascii_case(name))
        {
            let text = format!("nothing may be mapped to the header `{name}`: requests get a 500");
            draft.warning(Reason::IllegalHeaderMapping, &node, text);
        }
        if let Some(source) = source(&node, request_source, draft) {
            mapped.insert(target, source);
        }
    }
    mapped
}

/// Reads an integration response's `responseParameters`.
pub(super) fn response(owner: &Node<'_>, draft: &mut Draft<'_>) -> BTreeMap<ResponseHeader, Source> {
    let mut mapped = BTreeMap::new();
    let Some(map) = owner.get("responseParameters") else { return mapped };
    if !map.value.is_object() {
        draft.error(Reason::Malformed, &map, "`responseParameters` maps headers to sources");
    }
    for (key, node) in map.entries() {
        let Some(name) = key.strip_prefix("method.response.header.").filter(|name| is_header(name)) else {
            let text = format!("`{key}` is no target: want `method.response.header.NAME`");
            draft.error(Reason::InvalidMapping, &node, text);
            continue;
        };
        if let Some(source) = source(&node, response_source, draft) {
            mapped.insert(name.to_owned(), source);
        }
    }
    mapped
}

fn source(node: &Node<'_>, parse: fn(&str) -> Option<Source>, draft: &mut Draft<'_>) -> Option<Source> {
    match node.value {
        Value::String(text) => {
            let source = parse(text);
            if source.is_none() {
                draft.error(Reason::InvalidMapping, node, format!("`{text}` is no source of a mapping"));
                draft.help("a literal stands in single quotes: 'text'");
            }
            if let Some(Source::Body(Some(path))) = &source
                && let Err(error) = vtl::jsonpath::Path::compile(path)
            {
                draft.error(Reason::InvalidMapping, node, format!("the JSONPath `{path}` does not work: {error}"));
                draft.help("a path looks like $.store.book[0].title");
            }
            source
        }
        // Exports of the console's drafts hold booleans; an import takes and never uses them.
        Value::Bool(_) | Value::Null => {
            draft.warning(Reason::InvalidMapping, node, "the mapping names no source; it is left out");
            None
        }
        _ => {
            draft.error(Reason::InvalidMapping, node, "a mapping's source is text");
            None
        }
    }
}

pub(super) fn request_target(key: &str) -> Option<RequestTarget> {
    let (place, name) = key.strip_prefix("integration.request.")?.split_once('.')?;
    match place {
        "header" => is_header(name).then(|| RequestTarget::Header(name.to_owned())),
        "querystring" => (!name.is_empty()).then(|| RequestTarget::Query(name.to_owned())),
        "path" => (!name.is_empty()).then(|| RequestTarget::Path(name.to_owned())),
        _ => None,
    }
}

/// What the client's request has.
pub(super) fn request_source(text: &str) -> Option<Source> {
    let Some(rest) = text.strip_prefix("method.request.") else { return common(text) };
    if let Some(path) = rest.strip_prefix("body") {
        return body(path);
    }
    let (place, name) = rest.split_once('.')?;
    let name = (!name.is_empty()).then(|| name.to_owned())?;
    match place {
        "path" => Some(Source::Path(name)),
        "querystring" => Some(Source::Query(name)),
        "multivaluequerystring" => Some(Source::MultiQuery(name)),
        "header" => Some(Source::Header(name)),
        "multivalueheader" => Some(Source::MultiHeader(name)),
        _ => None,
    }
}

/// What the integration's answer has.
fn response_source(text: &str) -> Option<Source> {
    let Some(rest) = text.strip_prefix("integration.response.") else { return common(text) };
    if let Some(path) = rest.strip_prefix("body") {
        return body(path);
    }
    let (place, name) = rest.split_once('.')?;
    let name = (!name.is_empty()).then(|| name.to_owned())?;
    match place {
        "header" => Some(Source::Header(name)),
        "multivalueheader" => Some(Source::MultiHeader(name)),
        _ => None,
    }
}

/// What a gateway response may use: the client's request without its body.
pub(super) fn gateway_source(text: &str) -> Option<Source> {
    match request_source(text)? {
        Source::Body(_) => None,
        source => Some(source),
    }
}

fn common(text: &str) -> Option<Source> {
    if let Some(literal) = text.strip_prefix('\'') {
        return Some(Source::Static(literal.strip_suffix('\'')?.to_owned()));
    }
    let name = |name: &str| (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| name.to_owned());
    if let Some(variable) = text.strip_prefix("stageVariables.") {
        return name(variable).map(Source::StageVariable);
    }
    text.strip_prefix("context.").and_then(name).map(Source::Context)
}

/// `body`, `body.a.b`, `body[0]`, `body.$.a`: a JSONPath whose `$` may be left out.
fn body(rest: &str) -> Option<Source> {
    let path = match rest.strip_prefix('.') {
        None if rest.is_empty() => return Some(Source::Body(None)),
        None if rest.starts_with('[') => format!("${rest}"),
        None => return None,
        Some("") => return None,
        Some(path) if path.starts_with('$') => path.to_owned(),
        Some(path) => format!("$.{path}"),
    };
    let balanced = path.matches('[').count() == path.matches(']').count();
    (balanced && !path.ends_with('.')).then_some(Source::Body(Some(path)))
}

/// RFC 9110's field names.
pub(super) fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        assert_eq!(request_source("method.request.header.X-a"), Some(Source::Header("X-a".into())));
        assert_eq!(request_source("method.request.body"), Some(Source::Body(None)));
        assert_eq!(request_source("method.request.body.a[0].b"), Some(Source::Body(Some("$.a[0].b".into()))));
        assert_eq!(request_source("method.request.body.$.a"), Some(Source::Body(Some("$.a".into()))));
        assert_eq!(request_source("'it''s'"), Some(Source::Static("it''s".into())));
        assert_eq!(request_source("''"), Some(Source::Static(String::new())));
        assert_eq!(request_source("context.identity.sourceIp"), Some(Source::Context("identity.sourceIp".into())));
        assert_eq!(response_source("integration.response.multivalueheader.x"), Some(Source::MultiHeader("x".into())));
        for bad in [
            "",
            "'",
            "'open",
            "x",
            "method.request.Header.x",
            "method.request.header.",
            "method.request.body.a[0",
            "method.request.bodyx",
            "stageVariables.",
            "integration.response.header.x",
        ] {
            assert_eq!(request_source(bad), None, "{bad}");
        }
        assert_eq!(response_source("method.request.header.x"), None);
        assert_eq!(gateway_source("method.request.body.a"), None);
    }
}
