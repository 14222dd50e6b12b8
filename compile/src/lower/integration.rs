//! Integrations: what stands behind a route.

use bundle::integration::{ContentHandling, Http, HttpProxy, Integration, Mock, Passthrough, RequestMapping};

use super::api::Context;
use super::draft::Draft;
use super::{aws_service, endpoint, http_api, lambda, mapping, mock, response, subtype, template};
use crate::finding::Reason;
use crate::read::{Node, Operation};

pub(super) const FIELD: &str = "x-amazon-apigateway-integration";

/// Fields of the object that are read, or have no effect without something that is reported elsewhere.
const FIELDS: [&str; 21] = [
    "type",
    "httpMethod",
    "uri",
    "credentials",
    "connectionType",
    "connectionId",
    "integrationTarget",
    "passthroughBehavior",
    "passThroughBehavior",
    "contentHandling",
    "timeoutInMillis",
    "cacheNamespace",
    "cacheKeyParameters",
    "requestParameters",
    "requestTemplates",
    "responses",
    "responseParameters",
    "tlsConfig",
    "integrationSubtype",
    "payloadFormatVersion",
    "responseTransferMode",
];

/// Lowers what answers an operation: its integration, else the API's backend. `None` has been reported.
pub(super) fn lower(operation: &Operation<'_>, context: &Context<'_>, draft: &mut Draft<'_>) -> Option<Integration> {
    let Some(written) = operation.node.get(FIELD) else {
        return match &context.backend {
            Some(Ok(backend)) => Some(Integration::Backend(backend.clone())),
            Some(Err(refusal)) => {
                draft.refuse_for(refusal);
                None
            }
            None => {
                let text = "the operation has no `x-amazon-apigateway-integration`, and the API has no `backend`";
                draft.error(Reason::NoIntegration, &operation.node, text);
                None
            }
        };
    };
    let Some(node) = written.clone().resolve() else {
        draft.refuse(Reason::UnresolvedReference, "the integration is a reference to nothing");
        return None;
    };
    if !node.value.is_object() {
        draft.error(Reason::Malformed, &node, "an integration is an object");
        return None;
    }
    if operation.verb == bundle::route::Verb::One("TRACE".to_owned()) {
        draft.error(Reason::InvalidVerb, &operation.node, "Amazon's methods have no TRACE; a `backend` does");
    }
    check_fields(&node, draft);
    let kind = node.get("type").and_then(|node| node.text()).unwrap_or_default().to_ascii_uppercase();
    let stream = streams(&node, &kind, draft);
    let is_http_api = context.http_api();
    match kind.as_str() {
        "MOCK" => Some(Integration::Mock(Mock {
            request: mock::request(&node, is_http_api, draft),
            responses: response::lower(&node, &context.patterns, draft),
        })),
        "HTTP" => {
            let request = request(&node, is_http_api, draft);
            let responses = response::lower(&node, &context.patterns, draft);
            let endpoint = endpoint::lower(&node, &kind, is_http_api, stream, draft)?;
            Some(Integration::Http(Http { endpoint, request, responses }))
        }
        "HTTP_PROXY" => {
            let parameters = mapping::request(&node, is_http_api, draft);
            let (changes, response_changes) = match is_http_api {
                true => (http_api::request(&node, draft), http_api::responses(&node, draft)),
                false => Default::default(),
            };
            let endpoint = endpoint::lower(&node, &kind, is_http_api, stream, draft)?;
            Some(Integration::HttpProxy(HttpProxy { endpoint, parameters, changes, response_changes }))
        }
        "AWS" if !lambda::is_function(&node) => {
            let request = request(&node, is_http_api, draft);
            let responses = response::lower(&node, &context.patterns, draft);
            aws_service::lower(&node, is_http_api, request, responses, draft).map(Integration::AwsService)
        }
        "AWS_PROXY" if node.get("integrationSubtype").is_some() => {
            subtype::lower(&node, draft).map(Integration::AwsAction)
        }
        "AWS" | "AWS_PROXY" if lambda::is_function(&node) => lambda::lower(&node, &kind, context, stream, draft),
        "AWS_PROXY" => {
            endpoint::check_proxy(&node, is_http_api, draft);
            // What else is wrong with it is wrong today.
            request(&node, is_http_api, draft);
            response::lower(&node, &context.patterns, draft);
            None
        }
        _ => {
            let at = node.get("type").unwrap_or(node);
            let written = at.text().unwrap_or_default();
            let text = format!("`{written}` is no integration type: HTTP, MOCK, AWS_PROXY, HTTP_PROXY and AWS are");
            draft.error(Reason::InvalidIntegrationType, &at, text);
            None
        }
    }
}

fn check_fields(node: &Node<'_>, draft: &mut Draft<'_>) {
    for (key, field) in node.entries() {
        if key.starts_with("Fn::") {
            draft.error(Reason::IntrinsicFunction, &field, format!("nobody resolved `{key}`"));
        } else if !FIELDS.contains(&key) && !key.starts_with("x-") {
            draft.warning(Reason::UnknownField, &field, format!("an integration has no field `{key}`"));
        }
    }
}

/// `responseTransferMode`. Answers of HTTP backends stream whatever it says; it lengthens the time they may take.
fn streams(node: &Node<'_>, kind: &str, draft: &mut Draft<'_>) -> bool {
    let Some(mode) = node.get("responseTransferMode") else { return false };
    let stream = choice(&mode, &[("BUFFERED", false), ("STREAM", true)], draft) == Some(true);
    if stream && !matches!(kind, "AWS_PROXY" | "HTTP_PROXY") {
        draft.error(Reason::InvalidSetting, &mode, "only HTTP_PROXY and AWS_PROXY integrations stream");
    }
    stream
}

/// How the request is made.
pub(super) fn request(node: &Node<'_>, http_api: bool, draft: &mut Draft<'_>) -> RequestMapping {
    let passthrough = node.get("passthroughBehavior").or_else(|| node.get("passThroughBehavior"));
    let behaviors = [
        ("WHEN_NO_MATCH", Passthrough::WhenNoMatch),
        ("WHEN_NO_TEMPLATES", Passthrough::WhenNoTemplates),
        ("NEVER", Passthrough::Never),
    ];
    RequestMapping {
        parameters: mapping::request(node, http_api, draft),
        templates: template::templates(node, "requestTemplates", draft),
        passthrough: passthrough.and_then(|node| choice(&node, &behaviors, draft)).unwrap_or_default(),
        content_handling: content_handling(node, draft),
    }
}

/// `contentHandling`, of requests and of responses.
pub(super) fn content_handling(node: &Node<'_>, draft: &mut Draft<'_>) -> Option<ContentHandling> {
    let node = node.get("contentHandling")?;
    let kinds =
        [("CONVERT_TO_BINARY", ContentHandling::ConvertToBinary), ("CONVERT_TO_TEXT", ContentHandling::ConvertToText)];
    choice(&node, &kinds, draft)
}

/// One of several words, in any case.
pub(super) fn choice<T: Copy>(node: &Node<'_>, words: &[(&str, T)], draft: &mut Draft<'_>) -> Option<T> {
    let text = node.text().unwrap_or_default();
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    if found.is_none() {
        let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        draft.error(Reason::InvalidEnum, node, format!("{} is none of {}", node.shown(), allowed.join(", ")));
    }
    found.map(|(_, value)| *value)
}
