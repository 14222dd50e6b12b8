//! Values against schemas: every field that is not known, missing or of the wrong type, not only the first.
//!
//! The schemas are those of the CRDs, so what is refused here is what an API server with strict validation refuses.

use std::sync::LazyLock;

use compile::Reason;
use serde_json::{Map, Value, json};

/// Something a schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// JSON pointer in the object.
    pub(crate) pointer: String,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Reported at most of one object.
const MAX_VIOLATIONS: usize = 100;

/// A schema with its definitions.
pub(crate) struct Schema(Value);

pub(crate) static API_DEFINITION: LazyLock<Schema> =
    LazyLock::new(|| Schema::of_spec(schemars::schema_for!(crds::ApiDefinitionSpec).to_value()));
pub(crate) static STAGE: LazyLock<Schema> =
    LazyLock::new(|| Schema::of_spec(schemars::schema_for!(crds::StageSpec).to_value()));
pub(crate) static USAGE_PLAN: LazyLock<Schema> =
    LazyLock::new(|| Schema::of_spec(schemars::schema_for!(crds::UsagePlanSpec).to_value()));
pub(crate) static SECRET: LazyLock<Schema> = LazyLock::new(|| {
    Schema::of_fields(json!({
        "type": {"type": "string"},
        "immutable": {"type": "boolean"},
        "data": {"additionalProperties": {"type": "string"}},
        "stringData": {"additionalProperties": {"type": "string"}},
    }))
});
pub(crate) static CONFIG_MAP: LazyLock<Schema> = LazyLock::new(|| {
    Schema::of_fields(json!({
        "immutable": {"type": "boolean"},
        "data": {"additionalProperties": {"type": "string"}},
        "binaryData": {"additionalProperties": {"type": "string"}},
    }))
});

/// The Gateway API's: its schema is that of its own definition, as far as it is read here.
pub(crate) static REFERENCE_GRANT: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let entry = |properties: Value, required: Value| json!({"type": "array", "items": {"type": "object", "properties": properties, "required": required}});
    Schema::of_spec(json!({
        "type": "object",
        "properties": {
            "from": entry(json!({"group": text, "kind": text, "namespace": text}), json!(["kind", "namespace"])),
            "to": entry(json!({"group": text, "kind": text, "name": text}), json!(["kind"])),
        },
        "required": ["from", "to"],
    }))
});

impl Schema {
    /// A custom resource with this spec.
    fn of_spec(mut spec: Value) -> Self {
        let definitions = spec.as_object_mut().and_then(|spec| spec.remove("$defs")).unwrap_or_else(|| json!({}));
        let mut object = Self::of_fields(json!({"spec": spec, "status": true}));
        if let Value::Object(object) = &mut object.0 {
            object.insert("$defs".to_owned(), definitions);
            object.insert("required".to_owned(), json!(["metadata", "spec"]));
        }
        object
    }

    /// An object with these fields besides those that every object has.
    fn of_fields(fields: Value) -> Self {
        let strings = json!({"additionalProperties": {"type": "string"}});
        let mut properties = json!({
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "namespace": {"type": "string"},
                    "labels": strings,
                    "annotations": strings,
                    // What `kubectl get -o yaml` prints besides.
                    "creationTimestamp": true, "deletionTimestamp": true, "deletionGracePeriodSeconds": true,
                    "finalizers": true, "generateName": true, "generation": true, "managedFields": true,
                    "ownerReferences": true, "resourceVersion": true, "selfLink": true, "uid": true,
                },
            },
        });
        if let (Value::Object(properties), Value::Object(fields)) = (&mut properties, fields) {
            properties.extend(fields);
        }
        Self(json!({"properties": properties, "required": ["metadata"]}))
    }

    /// Everything in a value that the schema does not allow.
    pub(crate) fn check(&self, value: &Value) -> Vec<Violation> {
        let mut check = Check { definitions: self.0.get("$defs").and_then(Value::as_object), found: Vec::new() };
        check.value(&self.0, value, "");
        check.found
    }
}

struct Check<'a> {
    definitions: Option<&'a Map<String, Value>>,
    found: Vec<Violation>,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, value: &Value, pointer: &str) {
        let Some(schema) = self.resolve(schema, value) else { return };
        // A field that is there and empty counts as absent, as for an API server.
        if value.is_null() || self.found.len() >= MAX_VIOLATIONS {
            return;
        }
        if let Some(allowed) = choices(schema) {
            return self.choice(&allowed, value, pointer);
        }
        if let Some(wanted) = wrong_type(schema, value) {
            let message = format!("want {wanted}, found {}", describe(value));
            return self.note(pointer, Reason::Malformed.as_str(), message, None);
        }
        match value {
            Value::Object(fields) => self.fields(schema, fields, pointer),
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(schema, item, &format!("{pointer}/{index}"));
                    }
                }
            }
            Value::Number(number) => self.range(schema, number.as_f64(), pointer),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    /// Follows references and takes the branch of a choice that is not null.
    fn resolve(&self, schema: &'a Value, value: &Value) -> Option<&'a Value> {
        let mut schema = schema;
        // Schemas of the CRDs are not recursive; the bound is for a mistake.
        for _ in 0..16 {
            if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
                schema = self.definitions?.get(name.strip_prefix("#/$defs/")?)?;
            } else if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
                let null = |branch: &&Value| branch.get("type").is_some_and(|kind| kind == "null");
                schema = branches.iter().find(|branch| null(branch) == value.is_null())?;
            } else {
                return schema.is_object().then_some(schema);
            }
        }
        None
    }

    fn fields(&mut self, schema: &'a Value, fields: &Map<String, Value>, pointer: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for (name, value) in fields {
            let here = format!("{pointer}/{}", escape(name));
            match (properties.and_then(|known| known.get(name)), others, properties) {
                (Some(schema), _, _) | (None, Some(schema), _) => self.value(schema, value, &here),
                (None, None, Some(known)) => {
                    let help =
                        closest(name, known.keys()).map(|known| format!("did you mean `{known}`?")).unwrap_or_else(
                            || format!("known here: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
                        );
                    self.note(&here, Reason::UnknownField.as_str(), format!("unknown field `{name}`"), Some(help));
                }
                // Nothing is known about what may be here.
                (None, None, None) => {}
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if fields.get(name).is_none_or(Value::is_null) {
                self.note(pointer, MISSING_FIELD, format!("`{name}` is missing"), None);
            }
        }
    }

    fn choice(&mut self, allowed: &[&str], value: &Value, pointer: &str) {
        if value.as_str().is_some_and(|text| allowed.contains(&text)) {
            return;
        }
        let help = value.as_str().and_then(|text| closest(text, allowed.iter().copied()));
        let help = help.map(|known| format!("did you mean `{known}`?"));
        let message = format!("want one of {}, found {}", allowed.join(", "), describe(value));
        self.note(pointer, Reason::InvalidEnum.as_str(), message, help);
    }

    fn range(&mut self, schema: &Value, number: Option<f64>, pointer: &str) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let Some(number) = number else { return };
        if bound("minimum").is_some_and(|least| number < least) || bound("maximum").is_some_and(|most| number > most) {
            let least = bound("minimum").unwrap_or(f64::MIN);
            let message = match bound("maximum") {
                Some(most) => format!("want {least} to {most}, found {number}"),
                None => format!("want at least {least}, found {number}"),
            };
            self.note(pointer, Reason::Malformed.as_str(), message, None);
        }
    }

    fn note(&mut self, pointer: &str, reason: &'static str, message: String, help: Option<String>) {
        if self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { pointer: pointer.to_owned(), reason, message, help });
        }
    }
}

/// Reason of a field that must be there and is not.
pub(crate) const MISSING_FIELD: &str = "MissingField";

/// The texts of a closed choice.
fn choices(schema: &Value) -> Option<Vec<&str>> {
    let plain = schema.get("enum").and_then(Value::as_array);
    if let Some(plain) = plain {
        return Some(plain.iter().filter_map(Value::as_str).collect());
    }
    let branches = schema.get("oneOf").and_then(Value::as_array)?;
    let mut texts = Vec::new();
    for branch in branches {
        match (branch.get("const").and_then(Value::as_str), branch.get("enum").and_then(Value::as_array)) {
            (Some(text), _) => texts.push(text),
            (None, Some(plain)) => texts.extend(plain.iter().filter_map(Value::as_str)),
            (None, None) => return None,
        }
    }
    Some(texts)
}

/// What the schema wants, if the value is something else.
fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    let fits = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // `3.0` is an integer in JSON Schema, and is none to serde.
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_null(),
    };
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").or(schema.get("additionalProperties")).is_some() => vec!["object"],
        _ => return None,
    };
    if kinds.iter().any(|kind| fits(kind)) {
        return None;
    }
    let article = |kind: &&str| match *kind {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        kind => format!("a {kind}"),
    };
    Some(kinds.iter().filter(|kind| **kind != "null").map(article).collect::<Vec<_>>().join(" or "))
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("the boolean {truth}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", text.chars().take(60).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A segment of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The known word that was probably meant.
pub(crate) fn closest<T: AsRef<str>>(word: &str, known: impl IntoIterator<Item = T>) -> Option<String> {
    let lower = word.to_lowercase();
    let near = known.into_iter().map(|candidate| {
        let candidate = candidate.as_ref();
        (distance(&lower, &candidate.to_lowercase()), candidate.to_owned())
    });
    let limit = (word.chars().count() / 3).max(1);
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Edits from one word to another: insertions, deletions, replacements, swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(spec: Value) -> Vec<String> {
        let object =
            json!({"apiVersion": "stagegate.dev/v1alpha1", "kind": "Stage", "metadata": {"name": "x"}, "spec": spec});
        STAGE
            .check(&object)
            .into_iter()
            .map(|found| format!("{} {}: {}", found.reason, found.pointer, found.message))
            .collect()
    }

    #[test]
    fn every_fault_is_found_where_it_is() {
        let found = stage(json!({
            "apiRef": {"nam": "orders"},
            "deployPolicy": "automatic",
            "historyLimit": "50",
            "hosts": [{"name": "a", "baspath": "/x"}],
            "variables": {"a": 1},
            "functions": {"f": {"service": {"name": "f", "port": 99999}}},
            "methodSettings": [{"method": "*", "path": "/*", "throttle": {"rate": -1, "burst": 2}}],
        }));
        let want = [
            "UnknownField /spec/apiRef/nam: unknown field `nam`",
            "MissingField /spec/apiRef: `name` is missing",
            "InvalidEnum /spec/deployPolicy: want one of Automatic, Manual, found the text `automatic`",
            "Malformed /spec/historyLimit: want a whole number, found the text `50`",
            "UnknownField /spec/hosts/0/baspath: unknown field `baspath`",
            "Malformed /spec/variables/a: want a string, found the number 1",
            "Malformed /spec/functions/f/service/port: want 1 to 65535, found 99999",
            "Malformed /spec/methodSettings/0/throttle/rate: want at least 0, found -1",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn what_the_documentation_shows_is_allowed() {
        let found = stage(json!({
            "apiRef": {"name": "orders"}, "stageName": "prod", "deployPolicy": "Automatic", "historyLimit": 50,
            "gateway": "default", "variables": {"backendHost": "orders-v1"},
            "hosts": [{"name": "api.example.com", "basePath": "/orders", "tls": {"secretName": "a"}, "clientCA": {"secretName": "b"}}],
            "methodSettings": [{"method": "*", "path": "/*", "throttle": {"rate": 1000, "burst": 2000},
                "metrics": {"detailed": true}, "logging": {"level": "Error"}}],
            "cache": {"enabled": true, "size": "256Mi", "encrypted": false},
            "canary": {"deployment": 8, "percent": 10, "variables": {"a": "b"}, "useStageCache": false},
            "accessLog": {"format": "$context.requestId"},
            "functions": {"getOrder": {"service": {"name": "get-order", "port": 8080}}, "audit": {"url": "http://127.0.0.1:9001"}},
            "aws": {"region": "eu-west-1", "accountId": "123456789012", "endpoints": {"lambda": "http://x"}, "credentials": {"secretName": "c"}},
            "principals": {"secretName": "iam-principals"},
        }));
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn an_api_may_hold_any_document() {
        let object = json!({"metadata": {"name": "x"}, "spec": {"openapi": {"anything": [1, {"a": null}]},
            "backend": {"service": {"name": "o", "port": 80, "scheme": "h2c"}}}});
        assert_eq!(API_DEFINITION.check(&object), []);
        let object = json!({"metadata": {"name": "x"}, "spec": {"openApi": {}}});
        assert_eq!(API_DEFINITION.check(&object)[0].help.as_deref(), Some("did you mean `openapi`?"));
    }

    #[test]
    fn a_plan_and_its_keys_are_allowed() {
        let plan = json!({"metadata": {"name": "gold"}, "spec": {
            "stages": [{"name": "orders-prod", "methods": [{"method": "POST", "path": "/orders", "throttle": {"rate": 5, "burst": 10}}]}],
            "quota": {"limit": 100000, "period": "Month", "offset": 0},
            "apiKeys": {"selector": {"matchLabels": {"plan": "gold"}}}}});
        assert_eq!(USAGE_PLAN.check(&plan), []);
        let secret = json!({"kind": "Secret", "type": "stagegate.dev/api-key", "metadata": {"name": "a", "labels": {"plan": "gold"}},
            "stringData": {"key": "x"}});
        assert_eq!(SECRET.check(&secret), []);
    }

    #[test]
    fn the_nearest_word_is_offered_and_no_far_one() {
        assert_eq!(closest("stageNmae", ["stageName", "apiRef"]).as_deref(), Some("stageName"));
        assert_eq!(closest("zzz", ["stageName", "apiRef"]), None);
    }
}
