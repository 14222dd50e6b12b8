//! Stages and deployments.

use serde_json::{Map, Value, json};

use super::super::intrinsics::text;
use super::super::properties::Properties;
use super::super::report::Report;
use super::Made;
use super::access::throttle;

const DEPLOYMENTS: &str = "deployments are made of the document, whenever it changes";

pub(super) fn rest(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let Some(api) = made.api_of(properties, "RestApiId", report) else { return };
    let Some(name) = properties.text("StageName") else {
        return report.error(&properties.path, "the stage has no `StageName`");
    };
    properties.needless(&["DeploymentId"], DEPLOYMENTS, report);
    let stage = made.stage(resource, &api, &name);
    resource.clone_into(&mut stage.resource);
    settings(properties, &mut stage.spec, report);
}

pub(super) fn deployment(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let path = &properties.path;
    let Some(api) = made.api_of(properties, "RestApiId", report) else { return };
    properties.needless(&["Description"], DEPLOYMENTS, report);
    if properties.take("DeploymentCanarySettings").is_some() {
        report.warning(format!("{path}/DeploymentCanarySettings"), "a canary names a deployment that is made first");
    }
    let description = properties.inner("StageDescription");
    match properties.text("StageName") {
        Some(name) => {
            let stage = made.stage(resource, &api, &name);
            if let Some(description) = description {
                settings(&description, &mut stage.spec, report);
                description.finish(report);
            }
        }
        None => report.note(path, DEPLOYMENTS),
    }
}

pub(super) fn http(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let Some(api) = made.api_of(properties, "ApiId", report) else { return };
    let name = properties.text("StageName").unwrap_or_else(|| "$default".to_owned());
    properties.needless(&["DeploymentId"], DEPLOYMENTS, report);
    let stage = made.stage(resource, &api, &name);
    resource.clone_into(&mut stage.resource);
    variables(properties, "StageVariables", &mut stage.spec);
    if properties.flag("AutoDeploy") == Some(false) {
        stage.spec["deployPolicy"] = "Manual".into();
    }
    access_log(properties, "AccessLogSettings", &mut stage.spec, report);
    let mut all = Vec::new();
    let mut add = |method: &str, path: &str, settings: &Properties, report: &mut Report| {
        let mut setting = json!({"method": method, "path": path});
        if let Some(limit) = throttle(settings, "ThrottlingRateLimit", "ThrottlingBurstLimit") {
            setting["throttle"] = limit;
        }
        if let Some(detailed) = settings.flag("DetailedMetricsEnabled") {
            setting["metrics"] = json!({ "detailed": detailed });
        }
        settings.finish(report);
        all.push(setting);
    };
    if let Some(settings) = properties.inner("DefaultRouteSettings") {
        add("*", "/*", &settings, report);
    }
    if let Some(routes) = properties.take("RouteSettings").and_then(Value::as_object) {
        for (key, value) in routes {
            let settings = Properties::new(format!("{}/RouteSettings/{key}", properties.path), value.clone());
            match key.split_once(' ') {
                Some((method, path)) => add(if method == "ANY" { "*" } else { method }, path, &settings, report),
                None => report.warning(&settings.path, "settings of this route have no counterpart"),
            }
        }
    }
    if !all.is_empty() {
        stage.spec["methodSettings"] = Value::Array(all);
    }
    properties.without(&["ClientCertificateId"], "is not presented to backends", report);
    properties.needless(&["Tags", "Description"], "has no counterpart: use labels and annotations", report);
}

/// The stage that SAM makes of an API.
pub(super) fn serverless(resource: &str, kind: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let default = if kind == "AWS::Serverless::HttpApi" { "$default" } else { "Prod" };
    let name = properties.text("StageName").unwrap_or_else(|| default.to_owned());
    let stage = made.stage(resource, resource, &name);
    settings(properties, &mut stage.spec, report);
    if kind == "AWS::Serverless::HttpApi" {
        variables(properties, "StageVariables", &mut stage.spec);
        access_log(properties, "AccessLogSettings", &mut stage.spec, report);
    }
    let Some(domain) = properties.inner("Domain") else { return };
    let Some(host) = domain.text("DomainName") else { return };
    let paths = domain.list("BasePath");
    let paths: Vec<_> = if paths.is_empty() { vec!["/".to_owned()] } else { paths.iter().filter_map(text).collect() };
    let hosts = paths.iter().map(|path| {
        let mut entry = json!({ "name": host });
        let path = path.trim_matches('/');
        if !path.is_empty() {
            entry["basePath"] = format!("/{path}").into();
        }
        if domain.take("MutualTlsAuthentication").is_some() {
            entry["clientCA"] = json!({"secretName": format!("{}-client-ca", stage.name)});
        }
        entry
    });
    stage.spec["hosts"] = hosts.collect();
    if domain.take("MutualTlsAuthentication").is_some() {
        let text = format!("put the CAs of the trust store into the Secret `{}-client-ca` as `ca.crt`", stage.name);
        report.warning(format!("{}/MutualTlsAuthentication", domain.path), text);
    }
    let why = "certificates are Secrets: name one in the Stage's `hosts[].tls`";
    domain.without(&["CertificateArn"], why, report);
    domain.needless(&["EndpointConfiguration", "Route53", "SecurityPolicy"], "has no counterpart", report);
    domain.finish(report);
}

/// What stages of REST APIs have.
fn settings(properties: &Properties, spec: &mut Value, report: &mut Report) {
    variables(properties, "Variables", spec);
    access_log(properties, "AccessLogSetting", spec, report);
    let mut all = Vec::new();
    for settings in properties.elements("MethodSettings") {
        all.extend(method(&settings, report));
        settings.finish(report);
    }
    if !all.is_empty() {
        spec["methodSettings"] = Value::Array(all);
    }
    if properties.flag("CacheClusterEnabled") == Some(true) || properties.flag("CachingEnabled") == Some(true) {
        let gigabytes = properties.number("CacheClusterSize").unwrap_or(0.5);
        spec["cache"] = json!({"enabled": true, "size": format!("{}Mi", (gigabytes * 1024.0).round() as u64)});
    } else {
        properties.needless(&["CacheClusterSize"], "the cache is off", report);
    }
    let why = "a canary names a deployment that is made first: see `canary` of the Stage";
    properties.without(&["CanarySetting"], why, report);
    properties.without(&["ClientCertificateId"], "is not presented to backends", report);
    properties.needless(&["TracingEnabled"], "tracing is set for the gateway as a whole", report);
    properties.needless(&["DocumentationVersion"], "documentation has no effect", report);
    properties.needless(&["Tags", "Description"], "has no counterpart: use labels and annotations", report);
}

fn variables(properties: &Properties, name: &str, spec: &mut Value) {
    let Some(variables) = properties.take(name).and_then(Value::as_object) else { return };
    let texts: Map<_, _> =
        variables.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?.into()))).collect();
    if !texts.is_empty() {
        spec["variables"] = Value::Object(texts);
    }
}

fn access_log(properties: &Properties, name: &str, spec: &mut Value, report: &mut Report) {
    let Some(log) = properties.inner(name) else { return };
    log.needless(&["DestinationArn"], "the access log goes to standard output", report);
    if let Some(format) = log.text("Format") {
        spec["accessLog"] = json!({ "format": format.trim_end() });
    }
    log.finish(report);
}

fn method(settings: &Properties, report: &mut Report) -> Option<Value> {
    let method = settings.text("HttpMethod").unwrap_or_else(|| "*".to_owned());
    let path = settings.text("ResourcePath").unwrap_or_else(|| "/*".to_owned()).replace("~1", "/");
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    // A leading `~1` is the slash that is there already.
    let path = path.replacen("//", "/", 1);
    let mut setting = json!({"method": method, "path": path});
    if let Some(limit) = throttle(settings, "ThrottlingRateLimit", "ThrottlingBurstLimit") {
        setting["throttle"] = limit;
    }
    let mut cache = Map::new();
    if let Some(enabled) = settings.flag("CachingEnabled") {
        cache.insert("enabled".into(), enabled.into());
    }
    if let Some(ttl) = settings.number("CacheTtlInSeconds") {
        cache.insert("ttlSeconds".into(), json!(ttl as u64));
    }
    if let Some(required) = settings.flag("RequireAuthorizationForCacheControl") {
        cache.insert("requireAuthorizationForCacheControl".into(), required.into());
    }
    if let Some(strategy) = settings.text("UnauthorizedCacheControlHeaderStrategy") {
        let strategy = match strategy.as_str() {
            "FAIL_WITH_403" => "FailWith403",
            "SUCCEED_WITHOUT_RESPONSE_HEADER" => "SucceedWithoutResponseHeader",
            _ => "SucceedWithResponseHeader",
        };
        cache.insert("unauthorizedCacheControlHeaderStrategy".into(), strategy.into());
    }
    if !cache.is_empty() {
        setting["cache"] = Value::Object(cache);
    }
    settings.needless(&["CacheDataEncrypted"], "encryption is set for the stage's cache as a whole", report);
    if let Some(detailed) = settings.flag("MetricsEnabled") {
        setting["metrics"] = json!({ "detailed": detailed });
    }
    let level = settings.text("LoggingLevel").map(|level| match level.to_ascii_uppercase().as_str() {
        "INFO" => "Info",
        "ERROR" => "Error",
        _ => "Off",
    });
    let trace = settings.flag("DataTraceEnabled");
    if level.is_some() || trace.is_some() {
        let mut logging = Map::new();
        logging.extend(level.map(|level| ("level".to_owned(), level.into())));
        logging.extend(trace.map(|trace| ("dataTrace".to_owned(), trace.into())));
        setting["logging"] = Value::Object(logging);
    }
    (setting.as_object().is_some_and(|map| map.len() > 2)).then_some(setting)
}
