//! Format 1.0. Empty maps are `null`; single-value maps hold the last value.

use bundle::ApiKind;

use super::Source;
use crate::integrate::lambda::json::{self, Writer};
use crate::integrate::lambda::request::{Query, headers, spelled};

/// Members of `requestContext.identity` that only signed requests have, before and after the others in Amazon's order.
const ACCOUNT: [&str; 2] = ["accessKey", "accountId"];
const CALLER: [&str; 6] = [
    "caller",
    "cognitoAuthenticationProvider",
    "cognitoAuthenticationType",
    "cognitoIdentityId",
    "cognitoIdentityPoolId",
    "principalOrgId",
];

pub(super) fn write(source: &Source<'_>, out: &mut Vec<u8>) {
    let exchange = source.exchange;
    let http_api = source.stage.kind == ApiKind::Http;
    let headers = headers(exchange, source.trace_id, http_api);
    let name = |name| if http_api { http::HeaderName::as_str(name) } else { spelled(name, exchange.version) };
    let query = Query::parse(exchange.query_pairs());
    Writer::object(out, |event| {
        if http_api {
            event.text("version", "1.0");
        }
        event.text("resource", &*source.route.resource);
        event.text("path", source.path());
        event.text("httpMethod", exchange.method.as_str());
        event.nested("headers", |object| {
            for key in headers.keys() {
                if let Some(last) = headers.get_all(key).iter().next_back() {
                    json::string(object.member(name(key).as_bytes()), last.as_bytes());
                }
            }
        });
        event.nested("multiValueHeaders", |object| {
            for key in headers.keys() {
                json::strings(object.member(name(key).as_bytes()), headers.get_all(key).iter());
            }
        });
        map(event, "queryStringParameters", query.is_empty(), |object| {
            for (name, values) in query.each() {
                let last = values.last().map_or("", |(_, value)| value);
                json::string(object.member(name.as_bytes()), last.as_bytes());
            }
        });
        map(event, "multiValueQueryStringParameters", query.is_empty(), |object| {
            for (name, values) in query.each() {
                json::strings(object.member(name.as_bytes()), values.iter().map(|(_, value)| value.as_bytes()));
            }
        });
        map(event, "pathParameters", source.route.parameters.is_empty(), |object| {
            for (name, value) in source.parameters() {
                json::string(object.member(name.as_bytes()), value.as_bytes());
            }
        });
        map(event, "stageVariables", source.stage.variables.is_empty(), |object| {
            for (name, value) in &source.stage.variables {
                json::string(object.member(name.as_bytes()), value.as_bytes());
            }
        });
        event.nested("requestContext", |object| context(source, object));
        body(source, event);
    });
}

/// A map, or `null` if it is empty.
fn map(event: &mut Writer<'_>, name: &'static str, empty: bool, fill: impl FnOnce(&mut Writer<'_>)) {
    if empty { event.raw(name, b"null") } else { event.nested(name, fill) }
}

fn context(source: &Source<'_>, object: &mut Writer<'_>) {
    let http_api = source.stage.kind == ApiKind::Http;
    let own = ["accountId", "apiId", "deploymentId", "domainName", "domainPrefix", "extendedRequestId", "httpMethod"];
    for variable in own {
        // An HTTP API has no deployments in its events.
        if !(http_api && variable == "deploymentId") {
            source.context(object, &[(variable, variable)]);
        }
    }
    object.nested("identity", |identity| {
        for member in ACCOUNT {
            identity.raw(member, b"null");
        }
        // Only where an API key was asked for.
        if source.exchange.record.caller.is_some() {
            source.context(identity, &[("apiKey", "identity.apiKey"), ("apiKeyId", "identity.apiKeyId")]);
        }
        for member in CALLER {
            identity.raw(member, b"null");
        }
        source.context(identity, &[("sourceIp", "identity.sourceIp")]);
        identity.raw("user", b"null");
        source.context(identity, &[("userAgent", "identity.userAgent")]);
        identity.raw("userArn", b"null");
        source.certificate(identity);
    });
    if let Some(canary) = source.stage.canary_request {
        object.raw("isCanaryRequest", if canary { b"true" } else { b"false" });
    }
    object.text("path", source.whole_path());
    source.context(object, &[("protocol", "protocol"), ("requestId", "requestId"), ("requestTime", "requestTime")]);
    source.epoch(object, "requestTimeEpoch");
    if http_api {
        object.raw("resourceId", b"null");
    } else {
        object.text("resourceId", &*source.route.resource_id);
    }
    source.context(object, &[("resourcePath", "resourcePath"), ("stage", "stage")]);
}

fn body(source: &Source<'_>, event: &mut Writer<'_>) {
    let binary = !source.body.is_empty() && source.is_binary();
    match (source.body.is_empty(), binary) {
        (true, _) => event.raw("body", b"null"),
        (false, true) => json::base64(event.plain("body"), source.body),
        (false, false) => event.text("body", source.body),
    }
    event.raw("isBase64Encoded", if binary { b"true" } else { b"false" });
}
