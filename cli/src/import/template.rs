//! A CloudFormation or SAM template: its API resources become manifests, everything else a line of the report.

mod access;
mod api;
mod stage;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::intrinsics::Resolver;
use super::output::{Manifest, object_name};
use super::properties::Properties;
use super::report::Report;

/// Key of the object that stands for a resource of the template.
pub(crate) const RESOURCE: &str = "::resource";

/// What the template's resources became so far, by their logical names.
#[derive(Default)]
struct Made {
    apis: BTreeMap<String, Api>,
    stages: Vec<Stage>,
    /// Domain names by the resource, with what TLS needs.
    domains: BTreeMap<String, access::Domain>,
    plans: BTreeMap<String, access::Plan>,
    keys: BTreeMap<String, access::Key>,
}

struct Api {
    name: String,
    spec: Value,
}

struct Stage {
    /// The resource it comes from.
    resource: String,
    /// The API's resource.
    api: String,
    name: String,
    spec: Value,
}

/// The manifests of a template.
pub(crate) fn manifests(
    template: &Value,
    parameters: &[(String, String)],
    folder: &Path,
    report: &mut Report,
) -> Vec<Manifest> {
    let resolver = Resolver::new(template, parameters);
    for section in ["Outputs", "Metadata", "Rules", "Hooks", "Globals"] {
        if template.get(section).is_some() {
            report.note(section, "has no counterpart");
        }
    }
    let resources: Vec<_> = template.get("Resources").and_then(Value::as_object).into_iter().flatten().collect();
    let mut made = Made::default();
    // Who is named comes before who names it.
    for round in 0..4 {
        for (name, resource) in &resources {
            let path = format!("Resources/{name}");
            let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
            if rank(kind) != round {
                continue;
            }
            if !resolver.is_made(resource, &path, report) {
                report.note(&path, "its condition does not hold: left out");
                continue;
            }
            if round == 3 {
                other(&path, kind, report);
                continue;
            }
            let value = resource.get("Properties").cloned().unwrap_or_else(|| json!({}));
            let path = format!("{path}/Properties");
            let properties = Properties::new(path.clone(), resolver.resolve(&value, &path, report));
            match kind {
                "AWS::ApiGateway::RestApi" | "AWS::ApiGatewayV2::Api" => {
                    api::cloudformation(name, kind, &properties, &mut made, report);
                }
                "AWS::Serverless::Api" | "AWS::Serverless::HttpApi" => {
                    api::serverless(name, kind, &properties, folder, &resolver, &mut made, report);
                }
                "AWS::ApiGateway::Stage" => stage::rest(name, &properties, &mut made, report),
                "AWS::ApiGateway::Deployment" => stage::deployment(name, &properties, &mut made, report),
                "AWS::ApiGatewayV2::Stage" => stage::http(name, &properties, &mut made, report),
                "AWS::ApiGateway::DomainName" | "AWS::ApiGatewayV2::DomainName" => {
                    access::domain(name, &properties, &mut made, report);
                }
                "AWS::ApiGateway::UsagePlan" => access::plan(name, &properties, &mut made, report),
                "AWS::ApiGateway::ApiKey" => access::key(name, &properties, &mut made, report),
                "AWS::ApiGateway::UsagePlanKey" => access::plan_key(&properties, &mut made, report),
                "AWS::ApiGateway::BasePathMapping" | "AWS::ApiGatewayV2::ApiMapping" => {
                    access::mapping(&properties, &mut made, report);
                }
                _ => {}
            }
            properties.finish(report);
        }
    }
    finish(made, report)
}

/// When a resource is looked at.
fn rank(kind: &str) -> usize {
    match kind {
        "AWS::ApiGateway::RestApi"
        | "AWS::ApiGatewayV2::Api"
        | "AWS::Serverless::Api"
        | "AWS::Serverless::HttpApi"
        | "AWS::ApiGateway::DomainName"
        | "AWS::ApiGatewayV2::DomainName"
        | "AWS::ApiGateway::ApiKey" => 0,
        "AWS::ApiGateway::Stage" | "AWS::ApiGateway::Deployment" | "AWS::ApiGatewayV2::Stage" => 1,
        "AWS::ApiGateway::UsagePlan"
        | "AWS::ApiGateway::UsagePlanKey"
        | "AWS::ApiGateway::BasePathMapping"
        | "AWS::ApiGatewayV2::ApiMapping" => 2,
        _ => 3,
    }
}

fn other(path: &str, kind: &str, report: &mut Report) {
    let of_an_api = [
        "Resource",
        "Method",
        "Model",
        "Authorizer",
        "RequestValidator",
        "GatewayResponse",
        "Route",
        "Integration",
        "RouteResponse",
        "IntegrationResponse",
    ];
    let parts = kind.strip_prefix("AWS::ApiGateway::").or_else(|| kind.strip_prefix("AWS::ApiGatewayV2::"));
    match parts {
        Some(part) if of_an_api.contains(&part) => {
            report.error(path, format!("a {kind} is not imported: export the deployed API and import that file"));
        }
        Some(_) => report.warning(path, format!("{kind} has no counterpart")),
        None if kind.starts_with("AWS::WAF") => {
            report.warning(path, format!("{kind} has no counterpart: nothing filters requests before the gateway"));
        }
        None => report.note(path, format!("{kind} is no part of an API: left out")),
    }
}

fn finish(made: Made, report: &mut Report) -> Vec<Manifest> {
    let Made { apis, mut stages, domains, plans, keys } = made;
    for (resource, domain) in domains {
        domain.finish(&resource, &mut stages, report);
    }
    let mut manifests = Vec::new();
    for (resource, api) in apis {
        if !stages.iter().any(|stage| stage.api == resource) {
            report.warning(format!("Resources/{resource}"), "no Stage of the template serves it");
        }
        manifests.push(Manifest::new("ApiDefinition", &api.name, api.spec));
    }
    manifests.extend(stages.into_iter().map(|stage| Manifest::new("Stage", &stage.name, stage.spec)));
    for (name, plan) in plans {
        manifests.push(Manifest::new("UsagePlan", &object_name(&name), plan.spec));
    }
    manifests.extend(keys.into_iter().filter_map(|(name, key)| key.manifest(&name, report)));
    manifests
}

impl Made {
    /// The API a property names, or a report.
    fn api_of(&self, properties: &Properties, name: &str, report: &mut Report) -> Option<String> {
        let found = properties.resource(name).filter(|resource| self.apis.contains_key(resource));
        if found.is_none() {
            report.warning(format!("{}/{name}", properties.path), "is no API that this template makes: left out");
        }
        found
    }

    fn stage_of(&self, api: &str, stage: &str) -> Option<usize> {
        self.stages.iter().position(|known| {
            known.api == api
                && (known.resource == stage || known.spec.get("stageName").and_then(Value::as_str) == Some(stage))
        })
    }

    /// A stage, or the one that is there under this name.
    fn stage(&mut self, resource: &str, api: &str, stage_name: &str) -> &mut Stage {
        let index = self.stage_of(api, stage_name).unwrap_or_else(|| {
            let api_name = self.apis.get(api).map_or(api, |api| &api.name).to_owned();
            self.stages.push(Stage {
                resource: resource.to_owned(),
                api: api.to_owned(),
                name: object_name(&format!("{api_name}-{}", stage_name.trim_start_matches('$'))),
                spec: json!({"apiRef": {"name": api_name}, "stageName": stage_name}),
            });
            self.stages.len() - 1
        });
        &mut self.stages[index]
    }
}
