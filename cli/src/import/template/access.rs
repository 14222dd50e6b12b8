//! Who may call, and under which names: domains, usage plans, API keys.

use serde_json::{Value, json};

use super::super::output::{Manifest, object_name};
use super::super::properties::{Properties, reference};
use super::super::report::Report;
use super::{Made, Stage};

/// The label by which a plan finds its keys.
const LABEL: &str = "stagegate.dev/plan";

pub(super) struct Domain {
    name: String,
    mutual_tls: bool,
    /// Base path, and the index of the stage.
    mappings: Vec<(String, usize)>,
}

pub(super) struct Plan {
    pub(super) spec: Value,
}

pub(super) struct Key {
    path: String,
    value: Option<String>,
    enabled: bool,
    plans: Vec<String>,
}

/// A rate limit, if both of its numbers are there.
pub(super) fn throttle(properties: &Properties, rate: &str, burst: &str) -> Option<Value> {
    let (rate, burst) = (properties.number(rate), properties.number(burst));
    let rate = rate.or_else(|| burst.map(|burst| burst.max(1.0)))?;
    // Amazon takes a bucket for as many requests as a second refills, if it is told nothing else.
    let burst = burst.unwrap_or_else(|| rate.ceil());
    Some(json!({"rate": rate, "burst": burst as u64}))
}

pub(super) fn domain(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let Some(name) = properties.text("DomainName") else {
        return report.error(&properties.path, "the domain has no `DomainName`");
    };
    let mutual_tls = properties.take("MutualTlsAuthentication").is_some();
    let why = "certificates are Secrets: name one in the Stage's `hosts[].tls`";
    properties.without(&["CertificateArn", "RegionalCertificateArn", "DomainNameConfigurations"], why, report);
    properties.without(&["OwnershipVerificationCertificateArn"], "has no counterpart", report);
    properties.needless(
        &["EndpointConfiguration", "SecurityPolicy", "Tags", "RoutingMode"],
        "has no counterpart",
        report,
    );
    made.domains.insert(resource.to_owned(), Domain { name, mutual_tls, mappings: Vec::new() });
}

pub(super) fn mapping(properties: &Properties, made: &mut Made, report: &mut Report) {
    let path = &properties.path;
    let id = if properties.take("RestApiId").is_some() { "RestApiId" } else { "ApiId" };
    let Some(api) = made.api_of(properties, id, report) else { return };
    let written = properties.take("DomainName").cloned().unwrap_or_default();
    let stage = properties.take("Stage").cloned().unwrap_or_default();
    let stage = reference(&stage).or_else(|| stage.as_str().map(str::to_owned));
    let Some(stage) = stage.and_then(|stage| made.stage_of(&api, &stage)) else {
        return report
            .warning(format!("{path}/Stage"), "is no stage that this template makes: the mapping is left out");
    };
    let base = properties.text("BasePath").or_else(|| properties.text("ApiMappingKey")).unwrap_or_default();
    let resource = reference(&written).or_else(|| {
        let name = written.as_str()?;
        made.domains.iter().find(|(_, domain)| domain.name == name).map(|(resource, _)| resource.clone())
    });
    let domain = match (resource.and_then(|resource| made.domains.get_mut(&resource)), written.as_str()) {
        (Some(domain), _) => domain,
        (None, Some(name)) => {
            let domain = Domain { name: name.to_owned(), mutual_tls: false, mappings: Vec::new() };
            report.note(format!("{path}/DomainName"), "the domain itself is not in this template");
            made.domains.entry(name.to_owned()).or_insert(domain)
        }
        (None, None) => return report.warning(format!("{path}/DomainName"), "names no domain: left out"),
    };
    let base = if base == "(none)" { String::new() } else { base.trim_matches('/').to_owned() };
    domain.mappings.push((base, stage));
}

impl Domain {
    pub(super) fn finish(self, resource: &str, stages: &mut [Stage], report: &mut Report) {
        let Self { name, mutual_tls, mappings } = self;
        let path = format!("Resources/{resource}");
        if mappings.is_empty() {
            report.warning(&path, format!("nothing is mapped to the domain `{name}`: left out"));
        }
        let secret = format!("{}-client-ca", object_name(&name));
        if mutual_tls {
            let text = format!("put the CAs of the trust store into the Secret `{secret}` as `ca.crt`");
            report.warning(format!("{path}/Properties/MutualTlsAuthentication"), text);
        }
        for (base, index) in mappings {
            let Some(stage) = stages.get_mut(index) else { continue };
            let mut host = json!({ "name": name });
            if !base.is_empty() {
                host["basePath"] = format!("/{base}").into();
            }
            if mutual_tls {
                host["clientCA"] = json!({ "secretName": secret });
            }
            match stage.spec.get_mut("hosts").and_then(Value::as_array_mut) {
                Some(hosts) => hosts.push(host),
                None => stage.spec["hosts"] = json!([host]),
            }
        }
    }
}

pub(super) fn plan(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let mut stages = Vec::new();
    for entry in properties.elements("ApiStages") {
        let api = made.api_of(&entry, "ApiId", report);
        let written = entry.take("Stage").cloned().unwrap_or_default();
        let stage = reference(&written).or_else(|| written.as_str().map(str::to_owned));
        let index = api.zip(stage).and_then(|(api, stage)| made.stage_of(&api, &stage));
        let limits = entry.take("Throttle").cloned();
        entry.finish(report);
        let Some(index) = index else {
            report.warning(&entry.path, "names no stage that this template makes: left out");
            continue;
        };
        let mut stage = json!({"name": made.stages[index].name});
        let mut methods = Vec::new();
        for (key, limit) in limits.iter().filter_map(Value::as_object).flatten() {
            let path = format!("{}/Throttle/{key}", entry.path);
            let limit = Properties::new(path.clone(), limit.clone());
            match (key.rsplit_once('/'), throttle(&limit, "RateLimit", "BurstLimit")) {
                (Some((resource, method)), Some(throttle)) => {
                    let resource = if resource.is_empty() { "/" } else { resource };
                    methods.push(json!({"method": method, "path": resource, "throttle": throttle}));
                }
                _ => report.warning(path, "is no limit of a method"),
            }
        }
        if !methods.is_empty() {
            stage["methods"] = Value::Array(methods);
        }
        stages.push(stage);
    }
    let mut spec = json!({"stages": stages, "apiKeys": {"selector": {"matchLabels": {LABEL: object_name(resource)}}}});
    if let Some(limits) = properties.inner("Throttle") {
        if let Some(throttle) = throttle(&limits, "RateLimit", "BurstLimit") {
            spec["throttle"] = throttle;
        }
        limits.finish(report);
    }
    if let Some(quota) = properties.inner("Quota") {
        let period = quota.text("Period").unwrap_or_default();
        let period = match period.to_ascii_uppercase().as_str() {
            "DAY" => Some("Day"),
            "WEEK" => Some("Week"),
            "MONTH" => Some("Month"),
            _ => None,
        };
        let offset = quota.number("Offset").unwrap_or_default();
        match (quota.number("Limit"), period) {
            (Some(limit), Some(period)) => {
                spec["quota"] = json!({"limit": limit as u64, "period": period, "offset": offset as u64});
            }
            _ => report.error(&quota.path, "a quota has a `Limit` and a `Period` of DAY, WEEK or MONTH"),
        }
        quota.finish(report);
    }
    properties.needless(
        &["UsagePlanName", "Description", "Tags"],
        "is not taken over: the plan has the resource's name",
        report,
    );
    made.plans.insert(resource.to_owned(), Plan { spec });
}

pub(super) fn key(resource: &str, properties: &Properties, made: &mut Made, report: &mut Report) {
    let key = Key {
        path: properties.path.clone(),
        value: properties.text("Value"),
        enabled: properties.flag("Enabled").unwrap_or(false),
        plans: Vec::new(),
    };
    properties.needless(
        &["GenerateDistinctId", "Name", "Description", "CustomerId", "Tags"],
        "is not taken over",
        report,
    );
    properties.without(&["StageKeys"], "a key is for the plans it belongs to", report);
    made.keys.insert(resource.to_owned(), key);
}

pub(super) fn plan_key(properties: &Properties, made: &mut Made, report: &mut Report) {
    properties.needless(&["KeyType"], "keys are API keys", report);
    let (key, plan) = (properties.resource("KeyId"), properties.resource("UsagePlanId"));
    match key.and_then(|key| made.keys.get_mut(&key)).zip(plan) {
        Some((key, plan)) => key.plans.push(object_name(&plan)),
        None => report.warning(&properties.path, "names no key or no plan of this template: left out"),
    }
}

impl Key {
    pub(super) fn manifest(self, resource: &str, report: &mut Report) -> Option<Manifest> {
        let Self { path, value, enabled, plans } = self;
        let Some(value) = value else {
            let text = "Amazon made this key's value: read it there and write a Secret of type stagegate.dev/api-key";
            report.warning(format!("{path}/Value"), text);
            return None;
        };
        let mut metadata = json!({"name": object_name(resource)});
        match plans.as_slice() {
            [] => report.warning(&path, "the key belongs to no plan"),
            [plan] => metadata["labels"] = json!({ LABEL: plan }),
            [plan, rest @ ..] => {
                metadata["labels"] = json!({ LABEL: plan });
                let text = format!("the key is also one of {}: give it another label for each", rest.join(", "));
                report.warning(&path, text);
            }
        }
        if !enabled {
            metadata["annotations"] = json!({"stagegate.dev/enabled": "false"});
        }
        Some(Manifest(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "stagegate.dev/api-key",
            "metadata": metadata,
            "stringData": {"key": value},
        })))
    }
}
