//! Integrations with Lambda functions.

use bundle::integration::{FunctionCall, Integration, Lambda, LambdaProxy, PayloadFormat};

use super::api::Context;
use super::draft::Draft;
use super::{endpoint, integration, mapping, response};
use crate::finding::Reason;
use crate::read::Node;

/// Whether an AWS or AWS_PROXY integration goes to a function, and not to another service.
pub(super) fn is_function(node: &Node<'_>) -> bool {
    !node.has("integrationSubtype") && node.get("uri").is_some_and(|uri| uri.text().is_some_and(names_function))
}

/// Lowers an integration with a function. `None` has been reported.
pub(super) fn lower(
    node: &Node<'_>,
    kind: &str,
    context: &Context<'_>,
    stream: bool,
    draft: &mut Draft<'_>,
) -> Option<Integration> {
    let http_api = context.http_api();
    endpoint::vpc_link(node, draft);
    let payload = payload(node, http_api, draft);
    let timeout_ms = endpoint::timeout(node, http_api, stream, draft);
    let request = integration::request(node, http_api, draft);
    let responses = response::lower(node, &context.patterns, draft);
    let credentials = credentials(node, draft);
    if kind == "AWS_PROXY"
        && let Some(name) = mapping::illegal_when_signed(&request.parameters)
    {
        // Mappings have no effect on a proxy integration, yet an illegal one fails, as recorded.
        let text = format!("nothing may be mapped to the header `{name}`; the route answers 500");
        draft.refuse(Reason::IllegalHeaderMapping, &text);
        draft.warning(
            Reason::IllegalHeaderMapping,
            &node.get("requestParameters").unwrap_or_else(|| node.clone()),
            text,
        );
    }
    let uri = node.get("uri")?;
    let text = uri.text().unwrap_or_default();
    if !is_callable(text, http_api) {
        draft.error(Reason::InvalidUri, &uri, "AWS ARN for integration must contain path or action");
        draft.help("arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN/invocations");
        return None;
    }
    // A proxy function is called with POST, whether the document says so or not.
    let method = match kind {
        "AWS_PROXY" if !node.has("httpMethod") => Some("POST".to_owned()),
        _ => endpoint::method(node, kind, draft)?,
    };
    if let Some(verb) = method.as_deref().filter(|&verb| verb != "POST") {
        let at = node.get("httpMethod").unwrap_or_else(|| node.clone());
        let text = format!("functions are called with POST, not {verb}; the route answers 500");
        draft.refuse(Reason::InvalidHttpMethod, &text);
        draft.warning(Reason::InvalidHttpMethod, &at, text);
    }
    let call = FunctionCall { uri: text.to_owned(), method, credentials, timeout_ms };
    Some(if kind == "AWS" {
        Integration::Lambda(Lambda { call, request, responses })
    } else {
        // Templates and responses have no effect on a proxy integration; what is wrong with them is known all the same.
        Integration::LambdaProxy(LambdaProxy { call, payload, stream })
    })
}

/// Who calls. A function of the Stage is called by nobody in particular, so whether these can be used is known with the
/// Stage.
fn credentials(node: &Node<'_>, draft: &mut Draft<'_>) -> Option<String> {
    let credentials = node.get("credentials").filter(|node| !node.value.is_null())?;
    let text = credentials.text().map(str::to_owned);
    if text.is_none() {
        let reason = if credentials.value.is_object() { Reason::IntrinsicFunction } else { Reason::Malformed };
        draft.error(reason, &credentials, "`credentials` is the ARN of a role");
    }
    text.filter(|text| !text.is_empty())
}

fn payload(node: &Node<'_>, http_api: bool, draft: &mut Draft<'_>) -> PayloadFormat {
    let Some(version) = node.get("payloadFormatVersion") else { return PayloadFormat::V1 };
    match version.loose_text().as_deref() {
        Some("1.0" | "1") => PayloadFormat::V1,
        Some("2.0" | "2") if http_api => PayloadFormat::V2,
        _ => {
            draft.error(Reason::InvalidEnum, &version, format!("{} is none of 1.0, 2.0", version.shown()));
            PayloadFormat::V1
        }
    }
}

fn names_function(uri: &str) -> bool {
    uri.starts_with("arn:") && uri.contains(":lambda:")
}

/// `arn:aws:apigateway:REGION:lambda:path/…/functions/…/invocations`; an HTTP API also takes the function's own ARN.
fn is_callable(uri: &str, http_api: bool) -> bool {
    if let Some((_, path)) = uri.split_once(":lambda:path/") {
        let path = path.trim_start_matches('/');
        return path
            .split_once("/functions/")
            .and_then(|(_, rest)| {
                let rest = rest.trim_end_matches('/');
                rest.strip_suffix("/invocations").or_else(|| rest.strip_suffix("/response-streaming-invocations"))
            })
            .is_some_and(|name| !name.is_empty());
    }
    http_api && uri.contains(":function:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        const LONG: &str = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/";
        const OWN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        for function in [OWN, "f", "f:live", "123456789012:function:f", "${stageVariables.fn}"] {
            assert!(is_callable(&format!("{LONG}{function}/invocations"), false), "{function}");
        }
        let streaming = LONG.replace("2015-03-31", "/2021-11-15");
        assert!(is_callable(&format!("{streaming}{OWN}/response-streaming-invocations"), false));
        assert!(is_callable(OWN, true));
        for bad in [OWN, LONG, "arn:aws:apigateway:eu-west-1:lambda:action/Invoke", &format!("{LONG}/invocations")] {
            assert!(!is_callable(bad, false), "{bad}");
        }
    }
}
