//! What holds for every document: the golden ones, cut and spoilt and shuffled.

mod common;

use bundle::route::Action;
use common::{compile_value, golden_documents};
use compile::{Contract, Document, ObjectKey};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// Something that does not belong there.
fn junk() -> impl Strategy<Value = Value> {
    let words =
        ["", "/", "{", "$ref", "#/paths", "mock", "http_proxy", "arn:aws:x", "'", "${stageVariables.a}", "(", "é"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1e300)),
        select(words.to_vec()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{"a": [null]}]])),
        Just(json!({"$ref": "#/paths"})),
        Just(json!({"$ref": "#"})),
    ]
}

/// Every place in a value, parents first.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| {
                places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            });
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn spoil(document: &mut Value, at: &Index, with: Value, as_key: bool) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    let Some(place) = document.pointer_mut(at.get(&found).as_str()) else { return };
    match place {
        Value::Object(map) if as_key => drop(map.insert(with.as_str().unwrap_or("x").to_owned(), with)),
        place => *place = with,
    }
}

/// The same with the keys of every object turned round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect(),
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

fn spoilt() -> impl Strategy<Value = Value> {
    let faults = proptest::collection::vec((any::<Index>(), junk(), any::<bool>()), 0..4);
    (select(golden_documents()), faults).prop_map(|(mut document, faults)| {
        faults.into_iter().for_each(|(at, with, as_key)| spoil(&mut document, &at, with, as_key));
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_panics_and_everything_travels(document in spoilt()) {
        let unit = compile_value(document);
        if let Some(stage) = &unit.bundle {
            let encoded = bundle::encode(&**stage, bundle::FORMAT).unwrap();
            let decoded: bundle::StageBundle = bundle::decode(&encoded).unwrap();
            prop_assert_eq!(&decoded, &**stage);
            prop_assert_eq!(&encoded.digest, &stage.digest);
        }
        let errors = unit.findings.iter().any(|finding| finding.severity == compile::Severity::Error);
        prop_assert_eq!(unit.compiled, !errors);
        prop_assert!(unit.bundle.is_some() || !unit.compiled, "no bundle and nobody says why");
    }

    #[test]
    fn the_order_of_keys_means_nothing(document in spoilt()) {
        let key = || ObjectKey::new("a", "b");
        let turned = reversed(&document);
        let digests = [&document, &turned].map(|document| Contract::of(key(), None, document.clone()).digest);
        prop_assert_eq!(&digests[0], &digests[1]);
        let (one, other) = (compile_value(document), compile_value(turned));
        prop_assert_eq!(one.bundle, other.bundle);
        prop_assert_eq!(one.findings, other.findings);
    }

    /// Whatever else is wrong with it: what has a guard is not served without.
    #[test]
    fn a_guarded_document_serves_nothing_without_its_guard(document in spoilt(), guard in 0..4) {
        let mut document = document;
        let Some(root) = document.as_object_mut() else { return Ok(()) };
        match guard {
            0 => drop(root.insert("x-amazon-apigateway-policy".into(), json!({"Statement": []}))),
            1 => guard_operations(root, "x-amazon-apigateway-auth", &json!({"type": "AWS_IAM"})),
            2 => guard_operations(root, "security", &json!([{"nobody defines this": []}])),
            _ => guard_operations(root, "security", &json!([{"api_key": []}])),
        }
        // A scheme of that name without an authorizer would be documentation.
        for place in ["/securityDefinitions", "/components/securitySchemes"] {
            if let Some(Value::Object(schemes)) = document.pointer_mut(place) {
                schemes.remove("api_key");
                schemes.remove("nobody defines this");
            }
        }
        let unit = compile_value(document);
        for route in unit.bundle.iter().flat_map(|bundle| &bundle.routes) {
            let keyed = guard == 3 && route.requires.contains(bundle::api_key::GUARD);
            prop_assert!(keyed || matches!(route.action, Action::Refuse(_)), "{route:?}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}:,\"'&*#a-e0-9 \\n-]{0,80}") {
        let document = Document::new("x", text);
        if let Ok(values) = document.values() {
            for (number, value) in values.iter().enumerate() {
                let mut found = Vec::new();
                places(value, "", &mut found);
                for place in found {
                    let at = document.locate(number, &place);
                    prop_assert!(at.line >= 1 && at.column >= 1);
                }
            }
        }
        document.ambiguities();
    }
}

/// Puts a guard on every operation, wherever paths and what they refer to are.
fn guard_operations(root: &mut serde_json::Map<String, Value>, key: &str, guard: &Value) {
    const METHODS: [&str; 9] =
        ["get", "put", "post", "delete", "patch", "options", "head", "trace", "x-amazon-apigateway-any-method"];
    fn walk(value: &mut Value, key: &str, guard: &Value) {
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| {
                walk(value, key, guard);
                if let Value::Object(operation) = value
                    && METHODS.contains(&name.as_str())
                {
                    operation.insert(key.to_owned(), guard.clone());
                }
            }),
            Value::Array(items) => items.iter_mut().for_each(|value| walk(value, key, guard)),
            _ => {}
        }
    }
    root.iter_mut().for_each(|(_, value)| walk(value, key, guard));
    if key == "security" {
        root.insert(key.to_owned(), guard.clone());
    }
}
