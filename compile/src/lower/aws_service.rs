//! AWS integrations, except for Lambda's: which service, which action, whose credentials.

use bundle::integration::{AwsService, IntegrationResponse, RequestMapping};

use super::draft::Draft;
use super::endpoint::{is_placeholder, method, refuse_placeholder, timeout, vpc_link};
use crate::finding::Reason;
use crate::read::Node;
use crate::support::Feature;

const SHAPE: &str = "arn:aws:apigateway:REGION:SERVICE:action/NAME or …:path/PATH";

/// Reads where an AWS integration goes. `None` has been reported.
pub(super) fn lower(
    node: &Node<'_>,
    http_api: bool,
    request: RequestMapping,
    responses: Vec<IntegrationResponse>,
    draft: &mut Draft<'_>,
) -> Option<AwsService> {
    let method = method(node, "AWS", draft);
    let timeout_ms = timeout(node, http_api, false, draft);
    vpc_link(node, draft);
    let role = role(node, draft);
    let uri = node.get("uri");
    let at = uri.as_ref().unwrap_or(node);
    if at.value.is_object() && uri.is_some() {
        draft.error(Reason::IntrinsicFunction, at, "nobody resolved the function in `uri`");
        return None;
    }
    let text = uri.as_ref().and_then(Node::text).unwrap_or_default();
    if is_placeholder(text) {
        refuse_placeholder(text, at, draft);
        return None;
    }
    if !text.starts_with("arn:") {
        draft.error(Reason::InvalidUri, at, "Invalid ARN specified in the request");
        draft.help(format!("an AWS integration's `uri` is {SHAPE}"));
        return None;
    }
    if !text.contains(":path/") && !text.contains(":action/") {
        draft.error(Reason::InvalidUri, at, "AWS ARN for integration must contain path or action");
        draft.help(format!("an AWS integration's `uri` is {SHAPE}"));
        return None;
    }
    let mut parts = text.splitn(6, ':');
    let fits = parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("apigateway")
        && parts.next().is_some_and(|region| !region.is_empty())
        && parts.next().is_some_and(|service| !service.is_empty())
        && parts.next().is_some_and(|rest| {
            rest.strip_prefix("action/").is_some_and(|action| !action.is_empty()) || rest.starts_with("path/")
        });
    if !fits {
        draft.error(Reason::InvalidUri, at, format!("`{text}` is no ARN of an AWS integration"));
        draft.help(format!("an AWS integration's `uri` is {SHAPE}"));
        return None;
    }
    Some(AwsService { uri: text.to_owned(), method: method?, role, timeout_ms, request, responses })
}

/// The role of `credentials`, if there is one.
pub(super) fn role(node: &Node<'_>, draft: &mut Draft<'_>) -> Option<String> {
    let credentials = node.get("credentials")?;
    if credentials.value.is_null() {
        return None;
    }
    let Some(text) = credentials.text() else {
        let reason = if credentials.value.is_object() { Reason::IntrinsicFunction } else { Reason::Malformed };
        draft.error(reason, &credentials, "`credentials` is the ARN of a role");
        return None;
    };
    if text.ends_with(":user/*") {
        draft.wants(Feature::CallerCredentials, &credentials);
        return None;
    }
    if text.is_empty() {
        return None;
    }
    if !text.starts_with("arn:") && !text.starts_with("${stageVariables.") || is_placeholder(text) {
        let text = format!("`{text}` is no role: calls that need it fail");
        draft.refuse(Reason::InvalidUri, &text);
        draft.warning(Reason::InvalidUri, &credentials, text);
        draft.help("`credentials` is as arn:aws:iam::123456789012:role/name");
        return None;
    }
    Some(text.to_owned())
}
