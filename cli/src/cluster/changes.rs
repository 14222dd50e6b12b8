//! What differs between two bundles of a Stage, for people.

use std::collections::BTreeMap;

use bundle::StageBundle;
use bundle::route::{Route, Verb};
use serde_json::{Map, Value};

/// Longest value shown.
const SHOWN: usize = 120;

/// Lines that say what the second has and the first has not, and the other way round; none when they serve the same.
pub(super) fn changes(before: &StageBundle, after: &StageBundle) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (routes(before), routes(after));
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        match (old.get(name), new.get(name)) {
            (Some(_), None) => lines.push(format!("- {name}")),
            (None, Some(_)) => lines.push(format!("+ {name}")),
            (Some(one), Some(other)) => {
                let differences = differences(&json(*one), &json(*other));
                if !differences.is_empty() {
                    lines.push(format!("~ {name}"));
                    lines.extend(differences.into_iter().map(|line| format!("    {line}")));
                }
            }
            (None, None) => {}
        }
    }
    let whole = differences(&settings(before), &settings(after));
    if !whole.is_empty() {
        lines.push("~ the API as a whole".to_owned());
        lines.extend(whole.into_iter().map(|line| format!("    {line}")));
    }
    lines
}

/// Routes by what people call them, `GET /orders/{id}`.
fn routes(bundle: &StageBundle) -> BTreeMap<String, &Route> {
    let name = |route: &Route| {
        let verb = match &route.verb {
            Verb::Any => "ANY",
            Verb::One(verb) => verb,
        };
        // By path first, as a document has them.
        format!("{} {verb}", route.resource)
    };
    bundle.routes.iter().map(|route| (name(route), route)).collect()
}

/// Everything but the routes and what names the deployment.
fn settings(bundle: &StageBundle) -> Value {
    let mut value = json(bundle);
    if let Value::Object(members) = &mut value {
        for member in ["routes", "deployment", "canary", "key", "stage_name"] {
            members.remove(member);
        }
    }
    value
}

fn json(value: &impl serde::Serialize) -> Value {
    // Bundle types have string keys and finite numbers only, so they always serialise.
    serde_json::to_value(value).unwrap_or_default()
}

/// `path: before → after` of every difference.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", before, after, &mut lines);
    lines
}

fn walk(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let missing = Value::Null;
            let names = |one: &Map<String, Value>| one.keys().cloned().collect::<Vec<_>>();
            let mut all = names(before);
            all.extend(names(after).into_iter().filter(|name| !before.contains_key(name)));
            all.sort();
            for name in all {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&path, before.get(&name).unwrap_or(&missing), after.get(&name).unwrap_or(&missing), lines);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                walk(&format!("{path}[{index}]"), before, after, lines);
            }
        }
        (one, other) if one == other => {}
        // What holds credentials is never shown, only that it differs.
        _ if path.contains("access_key") => lines.push(format!("{path}: changed")),
        (one, other) => lines.push(format!("{path}: {} → {}", shown(one), shown(other))),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use compile::{Contract, Gateway, ObjectKey, World, attach, compile_stage};
    use serde_json::json;

    use super::*;

    fn bundle(paths: &Value) -> StageBundle {
        let object = |kind: &str, name: &str, spec: Value| {
            json!({"apiVersion": "stagegate.dev/v1alpha1", "kind": kind,
                   "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
        };
        let document = json!({"openapi": "3.0.3", "info": {"title": "x", "version": "1"}, "paths": paths});
        let api = object("ApiDefinition", "orders", json!({"openapi": document}));
        let stage = object("Stage", "prod", json!({"apiRef": {"name": "orders"}}));
        let mut world = World::default();
        let key = |name| ObjectKey::new("shop", name);
        world.api_definitions.insert(key("orders"), serde_json::from_value::<crds::ApiDefinition>(api).unwrap().into());
        world.stages.insert(key("prod"), serde_json::from_value::<crds::Stage>(stage).unwrap().into());
        let inputs = attach(&world, &Gateway::dev()).stages.remove(0);
        let contract: &Contract = &inputs.contract;
        assert!(contract.is_sound());
        StageBundle::clone(&compile_stage(&inputs).bundle.unwrap())
    }

    fn proxy(uri: &str) -> Value {
        json!({"x-amazon-apigateway-integration": {"type": "http_proxy", "httpMethod": "GET", "uri": uri}})
    }

    #[test]
    fn routes_come_go_and_change() {
        let before = bundle(&json!({"/a": {"get": proxy("http://one/")}, "/b": {"get": proxy("http://one/")}}));
        let after = bundle(&json!({"/a": {"get": proxy("http://two/")}, "/c": {"get": proxy("http://one/")}}));
        let lines = changes(&before, &after);
        assert_eq!(lines[0], "~ /a GET");
        assert!(lines[1].ends_with(r#"uri: "http://one/" → "http://two/""#), "{lines:?}");
        assert_eq!(lines[2..], ["- /b GET", "+ /c GET"]);
        assert!(changes(&before, &before).is_empty());
    }
}
