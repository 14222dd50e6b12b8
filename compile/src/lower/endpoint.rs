//! HTTP endpoints and ARNs of integrations.

use bundle::integration::Endpoint;

use super::api::is_true;
use super::draft::Draft;
use super::integration::choice;
use crate::finding::Reason;
use crate::read::Node;
use crate::support::Feature;

const VERBS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"];

/// Shortest and longest timeout of a REST API; beyond 29 s by quota, which an HTTP API has not.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 50..=300_000;
/// Longest timeout of an answer that streams.
const STREAM_TIMEOUT_MS: u64 = 900_000;

/// Reads where an HTTP or HTTP_PROXY integration goes. `None` has been reported.
pub(super) fn lower(
    node: &Node<'_>,
    kind: &str,
    http_api: bool,
    stream: bool,
    draft: &mut Draft<'_>,
) -> Option<Endpoint> {
    let method = method(node, kind, draft);
    let timeout_ms = timeout(node, http_api, stream, draft);
    let (skip_tls_verification, server_name) = tls(node, draft);
    if let Some(credentials) = node.get("credentials") {
        let text = "`credentials` have no effect on an HTTP integration: its calls are not signed, at Amazon neither";
        draft.warning(Reason::InvalidSetting, &credentials, text);
    }
    let uri = node.get("uri");
    let text = uri.as_ref().and_then(Node::text).unwrap_or_default();
    let at = uri.as_ref().unwrap_or(node);
    if vpc_link(node, draft) && text.starts_with("arn:") {
        draft.wants(Feature::VpcLinkListener, at);
        return None;
    }
    if uri.as_ref().is_some_and(|uri| uri.value.is_object()) {
        draft.error(Reason::IntrinsicFunction, at, "nobody resolved the function in `uri`");
        return None;
    }
    if is_placeholder(text) {
        refuse_placeholder(text, at, draft);
        draft.help("write the URL out, or name a stage variable in it: https://${stageVariables.host}/");
        return None;
    }
    if !is_http_uri(text) {
        let text = format!("`{text}` is no http or https URL that a request could be sent to");
        draft.error(Reason::InvalidUri, at, text);
        return None;
    }
    Some(Endpoint { uri: text.to_owned(), method: method?, timeout_ms, skip_tls_verification, server_name })
}

/// Checks what an AWS_PROXY integration names that is neither a function's nor an action's, and asks for the feature
/// it is.
pub(super) fn check_proxy(node: &Node<'_>, http_api: bool, draft: &mut Draft<'_>) {
    timeout(node, http_api, false, draft);
    vpc_link(node, draft);
    let uri = node.get("uri");
    let at = uri.as_ref().unwrap_or(node);
    if uri.as_ref().is_some_and(|uri| uri.value.is_object()) {
        draft.error(Reason::IntrinsicFunction, at, "nobody resolved the function in `uri`");
        return;
    }
    let text = uri.as_ref().and_then(Node::text).unwrap_or_default();
    if is_placeholder(text) {
        refuse_placeholder(text, at, draft);
    } else if !text.starts_with("arn:") {
        draft.error(Reason::InvalidUri, at, "Invalid ARN specified in the request");
    } else if !text.contains(":path/") && !text.contains(":action/") {
        draft.error(Reason::InvalidUri, at, "AWS ARN for integration must contain path or action");
    } else if !text.contains(":firehose:") {
        let text = "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream \
                    invocations.";
        draft.error(Reason::InvalidUri, at, text);
    } else {
        draft.wants(Feature::FirehoseProxy, at);
    }
}

/// A `${…}` that is no stage variable: a deployment tool's, which nobody filled.
pub(super) fn is_placeholder(text: &str) -> bool {
    text.match_indices("${").any(|(at, _)| !text[at..].starts_with("${stageVariables."))
}

/// The document is sound, a call of what the placeholder stands for is not.
pub(super) fn refuse_placeholder(uri: &str, at: &Node<'_>, draft: &mut Draft<'_>) {
    let text = format!("nobody filled the placeholder in `{uri}`; the route answers 500");
    draft.refuse(Reason::InvalidUri, &text);
    draft.warning(Reason::InvalidUri, at, text);
}

/// The verb sent: outer `None` has been reported, the inner one is the client's own.
pub(super) fn method(node: &Node<'_>, kind: &str, draft: &mut Draft<'_>) -> Option<Option<String>> {
    let Some(method) = node.get("httpMethod") else {
        let text = format!("{kind} integrations need an `httpMethod`");
        draft.error(Reason::MissingHttpMethod, node, text);
        return None;
    };
    let text = method.text().unwrap_or_default().to_ascii_uppercase();
    if text.is_empty() {
        draft.error(Reason::MissingHttpMethod, &method, "Enumeration value for HttpMethod must be non-empty");
        return None;
    }
    if !VERBS.contains(&text.as_str()) {
        let text = format!("`{text}` is no method: {} are", VERBS.join(", "));
        draft.error(Reason::InvalidHttpMethod, &method, text);
        return None;
    }
    Some((text != "ANY").then_some(text))
}

pub(super) fn timeout(node: &Node<'_>, http_api: bool, stream: bool, draft: &mut Draft<'_>) -> u64 {
    let default = if http_api { 30_000 } else { 29_000 };
    let Some(written) = node.get("timeoutInMillis") else { return default };
    let longest = match (stream, http_api) {
        (true, _) => STREAM_TIMEOUT_MS,
        (false, true) => default,
        (false, false) => *TIMEOUT_MS.end(),
    };
    match written.loose_integer() {
        Some(timeout) if (*TIMEOUT_MS.start()..=longest).contains(&timeout) => timeout,
        _ => {
            let text = format!("`timeoutInMillis` is {} to {longest}", TIMEOUT_MS.start());
            draft.error(Reason::InvalidTimeout, &written, text);
            default
        }
    }
}

/// Whether it goes over a VPC link; the link itself is not looked at.
pub(super) fn vpc_link(node: &Node<'_>, draft: &mut Draft<'_>) -> bool {
    let Some(connection) = node.get("connectionType") else { return false };
    let link = choice(&connection, &[("INTERNET", false), ("VPC_LINK", true)], draft) == Some(true);
    if link {
        draft.wants(Feature::VpcLink, &connection);
    }
    link
}

fn tls(node: &Node<'_>, draft: &mut Draft<'_>) -> (bool, Option<String>) {
    let Some(tls) = node.get("tlsConfig") else { return (false, None) };
    let name = tls.get("serverNameToVerify");
    if name.as_ref().is_some_and(|name| name.text().is_none_or(str::is_empty)) {
        draft.error(Reason::Malformed, &tls, "`serverNameToVerify` is a host name");
    }
    let skip = tls.value.get("insecureSkipVerification").is_some_and(is_true);
    (skip, name.and_then(|name| name.text()).map(str::to_owned))
}

/// Whether requests can be sent there once `{name}` and `${stageVariables.name}` are filled in.
pub(super) fn is_http_uri(uri: &str) -> bool {
    filled(uri).is_some_and(|uri| is_absolute(&uri))
}

fn is_absolute(uri: &str) -> bool {
    let plain = uri.chars().all(|c| !c.is_control() && !c.is_whitespace());
    plain
        && url::Url::parse(uri)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty())
}

/// Fills placeholders. `None` when one is of another kind or the scheme is no fixed text.
fn filled(uri: &str) -> Option<String> {
    let (scheme, mut rest) = uri.split_once("://")?;
    let mut result = format!("{scheme}://");
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        let (name, after) = after.strip_prefix('{')?.split_once('}')?;
        match before.strip_suffix('$') {
            Some(before) => {
                let name = name.strip_prefix("stageVariables.")?;
                crate::lower::variable::is_name(name).then_some(())?;
                result.push_str(before);
            }
            None => result.push_str(before),
        }
        if name.is_empty() {
            return None;
        }
        // Where a port may stand only digits can.
        result.push_str(if result.ends_with(':') { "1" } else { "x" });
        rest = after;
    }
    result.push_str(rest);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::is_http_uri;

    #[test]
    fn uris() {
        for good in [
            "http://a",
            "HTTPS://a.example:8080/x?y=1",
            "http://${stageVariables.host}/x",
            "https://${stageVariables.all}",
            "http://a.${stageVariables.d}:${stageVariables.port}/{proxy}",
            "http://127.0.0.1:1/{a}?q={b}",
            "http://[::1]:80/",
        ] {
            assert!(is_http_uri(good), "{good}");
        }
        for bad in [
            "",
            "not-a-url",
            "ftp://a",
            "http://",
            "${uri}",
            "${stageVariables.uri}",
            "http://${uri}/",
            "arn:aws:x",
            "http://a b",
            "http:/a",
            "http://${stageVariables.}/",
            "http://a/{x",
            "http://user@a/",
        ] {
            assert!(!is_http_uri(bad), "{bad}");
        }
    }
}
