//! Manifests to bundles and findings, as `stagegate lint` and `dev` do it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test target uses its part of this, and a broken one may panic"
)]

use std::fmt::Write as _;
use std::sync::Arc;

use compile::world::ApiKeys;
use compile::{
    Attached, Document, Finding, Gateway, Linked, ObjectKey, Unit, World, attach, callers, check_api, compile_stage,
    link,
};
use serde_json::Value;

/// A text's objects. A bare OpenAPI document becomes an ApiDefinition `api` and a Stage `dev`.
pub fn world(text: &str) -> World {
    let mut world = World::default();
    for value in Document::new("in.yaml", text).values().unwrap() {
        match value["kind"].as_str() {
            Some(kind) => {
                let kind = kind.to_owned();
                add(&mut world, &kind, value);
            }
            None => {
                add(
                    &mut world,
                    "ApiDefinition",
                    serde_json::json!({"metadata": {"name": "api"}, "spec": {"openapi": value}}),
                );
                add(
                    &mut world,
                    "Stage",
                    serde_json::json!({"metadata": {"name": "dev"}, "spec": {"apiRef": {"name": "api"}}}),
                );
            }
        }
    }
    world
}

fn add(world: &mut World, kind: &str, mut value: Value) {
    let name = value["metadata"]["name"].as_str().unwrap().to_owned();
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    let key = ObjectKey::new(namespace, name);
    let object = value.as_object_mut().unwrap();
    if kind == "ReferenceGrant" {
        world.reference_grants.insert(key, Arc::new(serde_json::from_value(value).unwrap()));
        return;
    }
    let version = if matches!(kind, "Secret" | "ConfigMap") { "v1" } else { "stagegate.dev/v1alpha1" };
    object.insert("apiVersion".into(), version.into());
    object.insert("kind".into(), kind.into());
    match kind {
        "ApiDefinition" => drop(world.api_definitions.insert(key, Arc::new(serde_json::from_value(value).unwrap()))),
        "Stage" => drop(world.stages.insert(key, Arc::new(serde_json::from_value(value).unwrap()))),
        "UsagePlan" => drop(world.usage_plans.insert(key, Arc::new(serde_json::from_value(value).unwrap()))),
        "Secret" => {
            let secret = serde_json::from_value(value).unwrap();
            if let Some(keys) = ApiKeys::read(&secret) {
                world.api_keys.insert(key.clone(), Arc::new(keys));
            }
            world.secrets.insert(key, Arc::new(secret));
        }
        "ConfigMap" => drop(world.config_maps.insert(key, Arc::new(serde_json::from_value(value).unwrap()))),
        other => panic!("unexpected kind {other}"),
    }
}

/// Everything there is to say about a world.
pub struct Outcome {
    pub attached: Attached,
    pub units: Vec<Unit>,
    pub linked: Linked,
    pub findings: Vec<Finding>,
}

pub fn compile(text: &str) -> Outcome {
    let gateway = Gateway::dev();
    let world = world(text);
    let attached = attach(&world, &gateway);
    let units: Vec<_> = attached.stages.iter().map(compile_stage).collect();
    let linked = link(&units, callers(&world, &gateway), &gateway, &world.reference_grants);
    let mut findings = attached.findings.clone();
    findings.extend(units.iter().flat_map(|unit| unit.findings.clone()));
    findings.extend(attached.unused().flat_map(|contract| check_api(contract)));
    findings.extend(linked.findings.clone());
    findings.sort();
    findings.dedup();
    Outcome { attached, units, linked, findings }
}

impl Outcome {
    pub fn bundle_json(&self) -> String {
        let set = &self.linked.set;
        let stages: Vec<_> = set.stages.iter().map(|stage| serde_json::to_value(&**stage).unwrap()).collect();
        let hosts: Vec<_> = set.hosts.iter().map(|host| serde_json::to_value(&**host).unwrap()).collect();
        let mut all = serde_json::json!({"hosts": hosts, "stages": stages});
        if !set.plans.is_empty() {
            all["plans"] = set.plans.iter().map(|plan| serde_json::to_value(&**plan).unwrap()).collect();
            all["keys"] = set.keys.iter().map(|keys| serde_json::to_value(&**keys).unwrap()).collect();
        }
        serde_json::to_string_pretty(&all).unwrap() + "\n"
    }

    pub fn findings_text(&self) -> String {
        self.findings.iter().fold(String::new(), |mut text, finding| {
            writeln!(text, "{finding}").unwrap();
            text
        })
    }

    pub fn errors(&self) -> Vec<String> {
        let errors = self.findings.iter().filter(|finding| finding.severity == compile::Severity::Error);
        errors.map(ToString::to_string).collect()
    }
}

/// A document by itself, as one Stage.
pub fn compile_value(document: Value) -> Unit {
    let mut world = World::default();
    add(&mut world, "ApiDefinition", serde_json::json!({"metadata": {"name": "api"}, "spec": {"openapi": document}}));
    add(&mut world, "Stage", serde_json::json!({"metadata": {"name": "dev"}, "spec": {"apiRef": {"name": "api"}}}));
    compile_stage(&attach(&world, &Gateway::dev()).stages[0])
}

/// Every document of the golden cases.
pub fn golden_documents() -> Vec<Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let inputs = cases.iter().flat_map(|case| [case.join("in.yaml"), case.join("in.json")]);
    let texts = inputs.filter_map(|path| std::fs::read_to_string(path).ok());
    let values = texts.flat_map(|text| Document::new("in", text).values().unwrap());
    let documents = values.filter_map(|value| match value["kind"].as_str() {
        None => Some(value),
        Some("ApiDefinition") => value["spec"].get("openapi").cloned(),
        Some(_) => None,
    });
    documents.collect()
}
