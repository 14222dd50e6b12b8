//! APIs.

use std::path::Path;

use serde_json::{Value, json};

use super::super::document::inspect;
use super::super::intrinsics::Resolver;
use super::super::output::object_name;
use super::super::properties::Properties;
use super::super::report::Report;
use super::super::yaml;
use super::{Api, Made, stage};

const TAGS: &str = "tags have no counterpart: use labels";

pub(super) fn cloudformation(
    resource: &str,
    kind: &str,
    properties: &Properties,
    made: &mut Made,
    report: &mut Report,
) {
    let path = &properties.path;
    if properties.text("ProtocolType").is_some_and(|protocol| protocol.eq_ignore_ascii_case("WEBSOCKET")) {
        report.error(path, "WebSocket APIs have no counterpart");
        return;
    }
    if properties.take("BodyS3Location").is_some() {
        report.error(format!("{path}/BodyS3Location"), "the document is elsewhere: download it and import that file");
        return;
    }
    let Some(body) = properties.take("Body").filter(|body| body.is_object()).cloned() else {
        report.error(path, format!("this {kind} has no `Body`: export the deployed API and import that file"));
        return;
    };
    let why = "is for an import into Amazon's service";
    properties.needless(&["FailOnWarnings", "Mode", "CloneFrom", "BasePath"], why, report);
    add(resource, kind, body, properties, made, report);
}

pub(super) fn serverless(
    resource: &str,
    kind: &str,
    properties: &Properties,
    folder: &Path,
    resolver: &Resolver<'_>,
    made: &mut Made,
    report: &mut Report,
) {
    let path = properties.path.clone();
    let uri = properties.take("DefinitionUri").cloned();
    let body = match (properties.take("DefinitionBody").cloned(), uri) {
        (Some(body), _) => body,
        (None, Some(Value::String(uri))) if !uri.contains("://") => {
            let file = folder.join(&uri);
            let read = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            match read.and_then(|text| yaml::read(&text)) {
                Ok(document) => resolver.resolve(&document, &uri, report),
                Err(error) => {
                    return report.error(format!("{path}/DefinitionUri"), format!("{}: {error}", file.display()));
                }
            }
        }
        (None, Some(_)) => {
            return report.error(format!("{path}/DefinitionUri"), "the document is elsewhere: download it first");
        }
        (None, None) => {
            let text = "SAM makes this API's document of its functions' events when it is deployed: export the deployed \
                        API and import that file";
            return report.error(path, text);
        }
    };
    if properties.take("Auth").is_some() {
        // Without it everybody could call.
        let text = "SAM writes who may call into the document when it is deployed: export the deployed API and import \
                    that file";
        report.error(format!("{path}/Auth"), text);
    }
    let why = "SAM writes this into the document when it is deployed: export the deployed API to have it, or write it \
               into the document";
    properties.without(&["Models", "GatewayResponses", "DefaultRouteSettings", "FailOnWarnings"], why, report);
    if kind == "AWS::Serverless::Api" {
        properties.without(&["Cors"], why, report);
    }
    properties.needless(
        &["OpenApiVersion", "MergeDefinitions", "AlwaysDeploy", "PropagateTags"],
        "is SAM's own",
        report,
    );
    add(resource, kind, body, properties, made, report);
    if made.apis.contains_key(resource) {
        stage::serverless(resource, kind, properties, made, report);
    }
}

fn add(resource: &str, kind: &str, mut body: Value, properties: &Properties, made: &mut Made, report: &mut Report) {
    let name = object_name(&properties.text("Name").unwrap_or_else(|| resource.to_owned()));
    let mut set = |key: &str, value: Value| {
        if let Some(document) = body.as_object_mut() {
            document.entry(key).or_insert(value);
        }
    };
    if let Some(Value::Array(types)) = properties.take("BinaryMediaTypes") {
        let types = types.iter().filter_map(Value::as_str).map(|media_type| media_type.replace("~1", "/"));
        set("x-amazon-apigateway-binary-media-types", types.collect());
    }
    if let Some(size) = properties.number("MinimumCompressionSize") {
        set("x-amazon-apigateway-minimum-compression-size", json!(size as u64));
    }
    if let Some(source) = properties.text("ApiKeySourceType") {
        set("x-amazon-apigateway-api-key-source", source.into());
    }
    if let Some(policy) = properties.take("Policy").or_else(|| properties.take("ResourcePolicy")) {
        set("x-amazon-apigateway-policy", policy.clone());
    }
    let disabled = ["DisableExecuteApiEndpoint", "DisableExecuteApiEndpoint"];
    if disabled.iter().any(|name| properties.flag(name) == Some(true)) {
        set("x-amazon-apigateway-endpoint-configuration", json!({"disableExecuteApiEndpoint": true}));
    }
    if let Some(cors) = properties.take("CorsConfiguration") {
        set("x-amazon-apigateway-cors", lower_camel(cors));
    }
    if kind.contains("Http") || kind.contains("V2") {
        set("x-amazon-apigateway-importexport-version", "1.0".into());
    }
    let why = "who reaches the gateway is the network's matter";
    properties.needless(&["EndpointConfiguration", "IpAddressType", "EndpointAccessMode"], why, report);
    properties.needless(&["SecurityPolicy"], "TLS 1.2 and newer are spoken", report);
    properties.needless(&["ProtocolType", "RouteSelectionExpression"], "is what an HTTP API has", report);
    properties.needless(&["Tags"], TAGS, report);
    let description = properties.text("Description").or_else(|| properties.text("Version"));
    inspect(&body, report);
    let mut spec = json!({ "openapi": body });
    if let Some(description) = description {
        spec["description"] = description.into();
    }
    made.apis.insert(resource.to_owned(), Api { name, spec });
}

/// `AllowOrigins` of a template is `allowOrigins` of a document.
fn lower_camel(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let lower = map.iter().map(|(key, value)| {
        let mut letters = key.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        (first.into_iter().chain(letters).collect::<String>(), value.clone())
    });
    Value::Object(lower.collect())
}
