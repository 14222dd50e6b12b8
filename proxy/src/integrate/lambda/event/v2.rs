//! Format 2.0, of HTTP APIs. What is empty is left out; several values are joined by commas.

use http::header::COOKIE;

use super::Source;
use crate::context;
use crate::integrate::lambda::json::{self, Writer};
use crate::integrate::lambda::request::{Query, cookies, headers};

pub(super) fn write(source: &Source<'_>, out: &mut Vec<u8>) {
    let exchange = source.exchange;
    let headers = headers(exchange, source.trace_id, true);
    let query = Query::parse(exchange.query_pairs());
    Writer::object(out, |event| {
        event.text("version", "2.0");
        route_key(source, event);
        event.text("rawPath", source.whole_path());
        event.text("rawQueryString", exchange.query().unwrap_or_default());
        if cookies(exchange).next().is_some() {
            json::strings(event.plain("cookies"), cookies(exchange));
        }
        event.nested("headers", |object| {
            for name in headers.keys().filter(|&name| name != COOKIE) {
                json::joined(object.member(name.as_str().as_bytes()), headers.get_all(name).iter());
            }
        });
        if !query.is_empty() {
            event.nested("queryStringParameters", |object| {
                for (name, values) in query.each() {
                    json::joined(object.member(name.as_bytes()), values.iter().map(|(_, value)| value.as_bytes()));
                }
            });
        }
        event.nested("requestContext", |object| request_context(source, object));
        let binary = !source.body.is_empty() && source.is_binary();
        if binary {
            json::base64(event.plain("body"), source.body);
        } else if !source.body.is_empty() {
            event.text("body", source.body);
        }
        if source.parameters().next().is_some() {
            event.nested("pathParameters", |object| {
                for (name, value) in source.parameters() {
                    json::string(object.member(name.as_bytes()), value.as_bytes());
                }
            });
        }
        event.raw("isBase64Encoded", if binary { b"true" } else { b"false" });
        if !source.stage.variables.is_empty() {
            event.nested("stageVariables", |object| {
                for (name, value) in &source.stage.variables {
                    json::string(object.member(name.as_bytes()), value.as_bytes());
                }
            });
        }
    });
}

fn request_context(source: &Source<'_>, object: &mut Writer<'_>) {
    source.context(object, &["accountId", "apiId"].map(|name| (name, name)));
    if source.exchange.client.certificate.is_some() {
        object.nested("authentication", |authentication| source.certificate(authentication));
    }
    source.context(object, &["domainName", "domainPrefix"].map(|name| (name, name)));
    object.nested("http", |http| {
        http.text("method", source.exchange.method.as_str());
        http.text("path", source.whole_path());
        let own = [("protocol", "protocol"), ("sourceIp", "identity.sourceIp"), ("userAgent", "identity.userAgent")];
        source.context(http, &own);
    });
    source.context(object, &[("requestId", "requestId")]);
    route_key(source, object);
    source.context(object, &[("stage", "stage"), ("time", "requestTime")]);
    source.epoch(object, "timeEpoch");
}

/// `GET /pets/{id}`, or `$default`.
fn route_key(source: &Source<'_>, object: &mut Writer<'_>) {
    object.text("routeKey", &*context::route_key(source.route));
}
