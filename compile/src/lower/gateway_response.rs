//! Gateway responses: what a client gets when the gateway itself answers.

use std::collections::BTreeMap;

use bundle::mapping::Source;
use bundle::reply::{GatewayResponse, GatewayResponseType};
use serde_json::Value;

use super::mapping::{gateway_source, is_header};
use crate::finding::{Findings, Reason, Severity};
use crate::read::Node;

/// Reads `x-amazon-apigateway-gateway-responses`.
pub(super) fn lower(root: &Node<'_>, findings: &mut Findings) -> BTreeMap<GatewayResponseType, GatewayResponse> {
    let mut responses = BTreeMap::new();
    let Some(map) = root.get("x-amazon-apigateway-gateway-responses") else { return responses };
    if !map.value.is_object() {
        error(findings, Reason::Malformed, &map, "gateway responses are a map by their types");
    }
    for (key, node) in map.entries() {
        let Some(kind) = GatewayResponseType::ALL.iter().find(|kind| kind.name().eq_ignore_ascii_case(key)) else {
            error(findings, Reason::UnknownGatewayResponse, &node, format!("`{key}` is no type of gateway responses"));
            continue;
        };
        if let Some(node) = node.resolve() {
            let status = status(&node, findings);
            let response =
                GatewayResponse { status, headers: headers(&node, findings), templates: templates(&node, findings) };
            responses.insert(*kind, response);
        }
    }
    responses
}

fn error(findings: &mut Findings, reason: Reason, at: &Node<'_>, text: impl Into<String>) {
    findings.document(Severity::Error, reason, &at.pointer, text);
}

fn status(node: &Node<'_>, findings: &mut Findings) -> Option<u16> {
    let node = node.get("statusCode")?;
    let status = node.loose_integer().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (100..=599).contains(status));
    if status.is_none() {
        error(findings, Reason::InvalidStatus, &node, "a gateway response's `statusCode` is 100 to 599");
    }
    status
}

fn headers(node: &Node<'_>, findings: &mut Findings) -> BTreeMap<String, Source> {
    let mut headers = BTreeMap::new();
    for (key, node) in node.get("responseParameters").iter().flat_map(Node::entries) {
        // The other two are accepted and have no effect.
        if key.starts_with("gatewayresponse.path.") || key.starts_with("gatewayresponse.querystring.") {
            continue;
        }
        let Some(name) = key.strip_prefix("gatewayresponse.header.").filter(|name| is_header(name)) else {
            let text = format!("`{key}` is no target: want `gatewayresponse.header.NAME`");
            error(findings, Reason::InvalidMapping, &node, text);
            continue;
        };
        match node.text().and_then(gateway_source) {
            Some(source) => {
                headers.insert(name.to_owned(), source);
            }
            None => {
                error(findings, Reason::InvalidMapping, &node, format!("{} is no source of a mapping", node.shown()))
            }
        }
    }
    headers
}

fn templates(node: &Node<'_>, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut templates = BTreeMap::new();
    for (media, node) in node.get("responseTemplates").iter().flat_map(Node::entries) {
        match node.value {
            Value::String(text) => {
                templates.insert(media.to_owned(), text.clone());
            }
            Value::Null => {}
            _ => error(findings, Reason::InvalidTemplate, &node, "a template is text"),
        }
    }
    templates
}
