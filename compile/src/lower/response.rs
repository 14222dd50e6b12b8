//! Integration responses: which answer of the backend becomes which of the client's.

use bundle::integration::IntegrationResponse;

use super::draft::Draft;
use super::integration::content_handling;
use super::pattern::Patterns;
use super::{mapping, template};
use crate::finding::Reason;
use crate::read::Node;

/// Reads `responses`. Their keys are the patterns, and the first that matches counts. The order of the document is lost in
/// an API server, so they have one of their own: plain texts, which a pattern before them would make useless, then
/// patterns in the order of the keys, then the default.
pub(super) fn lower(integration: &Node<'_>, patterns: &Patterns, draft: &mut Draft<'_>) -> Vec<IntegrationResponse> {
    let Some(map) = integration.get("responses") else { return Vec::new() };
    if !map.value.is_object() {
        draft.error(Reason::Malformed, &map, "`responses` maps patterns to responses");
    }
    let mut responses = Vec::new();
    let mut default = None;
    for (key, node) in map.entries() {
        let Some(node) = node.resolve().filter(|node| node.value.is_object()) else {
            draft.error(Reason::Malformed, &map, format!("the response `{key}` is no object"));
            continue;
        };
        let pattern = (!matches!(key, "default" | "")).then(|| key.to_owned());
        if let Some(pattern) = &pattern
            && let Err(error) = patterns.check(pattern)
        {
            let text = format!("the pattern `{pattern}` is not understood: {error}");
            draft.error(Reason::InvalidPattern, &node, text);
        }
        let Some(response) = response(pattern, &node, draft) else { continue };
        match response.selection_pattern {
            Some(_) => responses.push(response),
            None => default = Some(response),
        }
    }
    responses.sort_by_key(|response| !response.selection_pattern.as_deref().is_some_and(is_plain));
    responses.extend(default);
    responses
}

/// Whether a pattern matches its own text only.
fn is_plain(pattern: &str) -> bool {
    pattern.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | ':' | ',' | '\'' | '"'))
}

fn response(selection_pattern: Option<String>, node: &Node<'_>, draft: &mut Draft<'_>) -> Option<IntegrationResponse> {
    let headers = mapping::response(node, draft);
    let templates = template::templates(node, "responseTemplates", draft);
    let content_handling = content_handling(node, draft);
    let status = node.get("statusCode");
    match status.as_ref().and_then(Node::loose_integer).and_then(|status| u16::try_from(status).ok()) {
        Some(status) if (100..=599).contains(&status) => {
            Some(IntegrationResponse { selection_pattern, status, headers, templates, content_handling })
        }
        _ => {
            let at = status.unwrap_or_else(|| node.clone());
            draft.error(Reason::InvalidStatus, &at, "an integration response has a `statusCode` of 100 to 599");
            None
        }
    }
}
