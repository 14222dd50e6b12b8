//! An OpenAPI document as Amazon exports it.

use std::path::Path;

use serde_json::{Value, json};

use super::output::{Manifest, object_name};
use super::report::Report;

/// The API and its stage.
pub(crate) fn manifests(document: Value, file: &Path, name: Option<&str>, report: &mut Report) -> Vec<Manifest> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("api");
    let title = document.pointer("/info/title").and_then(Value::as_str);
    let name = object_name(name.or(title).unwrap_or(stem));
    let stage = stage_name(&document, report);
    report.note("info/title", format!("the ApiDefinition is called `{name}`, its Stage `{name}-{stage}`"));
    inspect(&document, report);
    let spec = json!({"apiRef": {"name": name}, "stageName": stage});
    vec![
        Manifest::new("ApiDefinition", &name, json!({ "openapi": document })),
        Manifest::new("Stage", &object_name(&format!("{name}-{stage}")), spec),
    ]
}

/// The stage that was exported: the first segment of the path.
fn stage_name(document: &Value, report: &mut Report) -> String {
    let server = document.pointer("/servers/0");
    let default = server.and_then(|server| server.pointer("/variables/basePath/default"));
    let path = default.or_else(|| document.get("basePath")).and_then(Value::as_str).unwrap_or_default();
    let name = path.trim_matches('/').split('/').next().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        report.note("servers", "names no stage: it is called `prod`");
        return "prod".to_owned();
    }
    name.to_owned()
}

/// What the document says that has to be done in a Stage, or elsewhere.
pub(crate) fn inspect(document: &Value, report: &mut Report) {
    for key in ["x-amazon-apigateway-documentation", "x-amazon-apigateway-tag-value"] {
        if document.get(key).is_some() {
            report.note(key, "is kept and has no effect");
        }
    }
    let mut functions = Vec::new();
    let mut services = Vec::new();
    let mut links = false;
    walk(document, &mut |key, value| {
        let Some(text) = value.as_str() else { return };
        match key {
            "uri" | "authorizerUri" => {
                if let Some(function) = function_of(text) {
                    push(&mut functions, function);
                } else if let Some(service) = service_of(text) {
                    push(&mut services, service);
                }
            }
            "connectionType" => links |= text.eq_ignore_ascii_case("VPC_LINK"),
            _ => {}
        }
    });
    for function in functions {
        let text = format!("the Stage's `functions` has to say who answers for the Lambda function `{function}`");
        report.warning(format!("functions/{function}"), text);
    }
    for service in services {
        let text = "calls need `aws.credentials`, or credentials in the gateway's environment";
        report.warning(format!("aws/{service}"), text);
    }
    if links {
        report.warning("connectionType", "a VPC link is not used: each uri is called directly");
    }
}

fn push(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

fn walk(value: &Value, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                see(key, value);
                walk(value, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The function in an invocation's ARN.
fn function_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.rsplit_once(":function:")?;
    let name = rest.split([':', '/']).next()?;
    (!name.is_empty()).then_some(name)
}

fn service_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.strip_prefix("arn:aws")?.split_once(":apigateway:")?;
    let service = rest.split(':').nth(1)?;
    (service != "lambda").then_some(service)
}
