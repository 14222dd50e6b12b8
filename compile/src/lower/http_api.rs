//! An HTTP API's parameter mapping: `append:header.x`, `overwrite:path`, …, and its values.

use std::collections::BTreeMap;

use bundle::mapping::{Change, ChangeTarget, ChangeVerb, Expression, Part, Source};
use serde_json::Value;

use super::draft::Draft;
use super::mapping::is_header;
use crate::finding::Reason;
use crate::read::Node;

/// Whose parameters a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// Headers that no mapping may touch.
const RESERVED: [&str; 17] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
const RESERVED_PREFIXES: [&str; 4] = ["access-control-", "apigw-", "x-amz-", "x-amzn-"];

/// Reads `requestParameters` of an HTTP API's proxy.
pub(super) fn request(integration: &Node<'_>, draft: &mut Draft<'_>) -> Vec<Change> {
    let Some(map) = integration.get("requestParameters") else { return Vec::new() };
    map.entries()
        .into_iter()
        .filter(|(key, _)| !key.starts_with("integration.request."))
        .filter_map(|(key, node)| change(key, &node, Side::Request, draft))
        .collect()
}

/// Reads `responseParameters`, by status.
pub(super) fn responses(integration: &Node<'_>, draft: &mut Draft<'_>) -> BTreeMap<u16, Vec<Change>> {
    let mut responses = BTreeMap::new();
    let Some(map) = integration.get("responseParameters") else { return responses };
    for (status, node) in map.entries() {
        let number = status.parse().ok().filter(|number| (200..600).contains(number));
        let (Some(number), true) = (number, node.value.is_object()) else {
            draft.error(Reason::InvalidMapping, &node, format!("`{status}` is no status of 200 to 599 with mappings"));
            continue;
        };
        let changes =
            node.entries().into_iter().filter_map(|(key, node)| change(key, &node, Side::Response, draft)).collect();
        responses.insert(number, changes);
    }
    responses
}

fn change(key: &str, node: &Node<'_>, side: Side, draft: &mut Draft<'_>) -> Option<Change> {
    let Some((verb, target)) = target(key, side) else {
        let allowed = match side {
            Side::Request => "append|overwrite|remove:header|querystring.NAME and overwrite:path",
            Side::Response => "append|overwrite|remove:header.NAME and overwrite:statuscode",
        };
        draft.error(Reason::InvalidMapping, node, format!("`{key}` is no target of a mapping: {allowed} are"));
        return None;
    };
    if let ChangeTarget::Header(name) = &target {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&&*lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            draft.error(Reason::InvalidMapping, node, format!("the header `{name}` is reserved"));
            return None;
        }
    }
    if verb == ChangeVerb::Remove {
        return Some(Change { verb, target, value: Vec::new() });
    }
    Some(Change { verb, target, value: value(node, side, draft)? })
}

fn target(key: &str, side: Side) -> Option<(ChangeVerb, ChangeTarget)> {
    let (verb, target) = key.split_once(':')?;
    let verb = match verb {
        "append" => ChangeVerb::Append,
        "overwrite" => ChangeVerb::Overwrite,
        "remove" => ChangeVerb::Remove,
        _ => return None,
    };
    let target = match (target.split_once('.'), target, side, verb) {
        (Some(("header", name)), ..) if is_header(name) => ChangeTarget::Header(name.to_owned()),
        (Some(("querystring", name)), _, Side::Request, _) if !name.is_empty() => ChangeTarget::Query(name.to_owned()),
        (None, "path", Side::Request, ChangeVerb::Overwrite) => ChangeTarget::Path,
        (None, "statuscode", Side::Response, ChangeVerb::Overwrite) => ChangeTarget::Status,
        _ => return None,
    };
    Some((verb, target))
}

/// Reads a value.
pub(super) fn value(node: &Node<'_>, side: Side, draft: &mut Draft<'_>) -> Option<Expression> {
    let text = match node.value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            draft.error(Reason::InvalidMapping, node, "a mapping's value is text");
            return None;
        }
    };
    let expression = expression(&text, side);
    if expression.is_none() {
        draft.error(Reason::InvalidMapping, node, format!("`{text}` is no value of an HTTP API's mapping"));
        draft
            .help("$request.header|querystring|path|body.NAME, $context.NAME, $stageVariables.NAME, or text with ${…}");
    }
    expression
}

/// `$request.header.x` as a whole, or text with `${request.header.x}` in it.
fn expression(text: &str, side: Side) -> Option<Expression> {
    if let Some(reference) = text.strip_prefix('$')
        && !reference.starts_with('{')
    {
        return Some(vec![part(reference, side)?]);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let (reference, after) = after[2..].split_once('}')?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(part(reference.strip_prefix('$').unwrap_or(reference), side)?);
        rest = after;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(parts)
}

fn part(reference: &str, side: Side) -> Option<Part> {
    let (root, rest) = reference.split_once('.')?;
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let source = match (root, side) {
        ("context", _) => Source::Context(named(rest)?),
        ("stageVariables", _) => Source::StageVariable(named(rest)?),
        ("request", Side::Request) | ("response", Side::Response) => match rest.split_once('.').unwrap_or((rest, "")) {
            ("path", "") if side == Side::Request => return Some(Part::RequestPath),
            ("path", name) if side == Side::Request => Source::Path(named(name)?),
            ("querystring", name) if side == Side::Request => Source::MultiQuery(named(name)?),
            ("header", name) => Source::MultiHeader(is_header(name).then(|| name.to_owned())?),
            ("body", "") => Source::Body(None),
            // Amazon takes neither recursive descent nor filters here.
            ("body", path) if !format!(".{path}").contains("..") && !path.contains('?') => {
                Source::Body(Some(format!("$.{path}")))
            }
            (other, "") => match other.strip_prefix("body[") {
                Some(index) => Source::Body(Some(format!("$[{index}"))),
                None => return None,
            },
            _ => return None,
        },
        _ => return None,
    };
    Some(Part::From(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    #[test]
    fn values() {
        let request = |text| expression(text, Side::Request);
        assert_eq!(request("static"), Some(vec![text("static")]));
        assert_eq!(request(""), Some(vec![text("")]));
        assert_eq!(request("$request.path"), Some(vec![Part::RequestPath]));
        assert_eq!(request("$request.header.X-a"), Some(vec![Part::From(Source::MultiHeader("X-a".into()))]));
        assert_eq!(request("$request.body.a.b"), Some(vec![Part::From(Source::Body(Some("$.a.b".into())))]));
        assert_eq!(request("$request.body"), Some(vec![Part::From(Source::Body(None))]));
        assert_eq!(
            request("/v/${stageVariables.x}/${request.path.id}!"),
            Some(vec![
                text("/v/"),
                Part::From(Source::StageVariable("x".into())),
                text("/"),
                Part::From(Source::Path("id".into())),
                text("!")
            ])
        );
        for bad in ["$request.nothing.x", "$response.header.x", "${request.path", "$request.body..x", "$x"] {
            assert_eq!(request(bad), None, "{bad}");
        }
        assert!(expression("$response.header.x", Side::Response).is_some());
    }

    #[test]
    fn targets() {
        assert!(target("append:header.a", Side::Request).is_some());
        assert!(target("overwrite:path", Side::Request).is_some());
        assert!(target("overwrite:statuscode", Side::Response).is_some());
        for bad in ["append:path", "overwrite:statuscode", "set:header.a", "append:header.", "header.a"] {
            assert_eq!(target(bad, Side::Request), None, "{bad}");
        }
        assert_eq!(target("append:querystring.a", Side::Response), None);
    }
}
