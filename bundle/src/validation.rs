//! Request validation: required parameters, and models of bodies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of this guard in [`crate::route::Route::requires`].
pub const GUARD: &str = "validation";

/// Steps a pattern of a model may take back while it is matched. Beyond it the text does not match.
pub const PATTERN_BACKTRACKS: usize = 100_000;

/// Largest compiled pattern of a model, in bytes.
pub const PATTERN_BYTES: usize = 1 << 20;

/// What a route's request validator checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// Parameters that must be there and not blank, in the order in which the missing ones are listed.
    #[serde(default)]
    pub parameters: BTreeSet<Parameter>,
    /// Names of models by media type: exact ones, `type/*`, `*/*` and `$default`. A body of any other type passes.
    #[serde(default)]
    pub models: BTreeMap<String, String>,
}

/// A parameter of the client's request. Amazon lists them in the order of `method.request.{place}.{name}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Parameter {
    /// A header.
    Header(String),
    /// A path parameter, which the resource may lack: then it is always missing.
    Path(String),
    /// A query parameter.
    Query(String),
}

/// Which JSON Schema a document's models are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// Draft 4: Swagger 2.0 and OpenAPI 3.0, as Amazon reads them.
    #[default]
    Draft4,
    /// Draft 2020-12: OpenAPI 3.1.
    Draft202012,
}

/// The models that routes of a stage name, and those they refer to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// What they are written in.
    #[serde(default)]
    pub dialect: Dialect,
    /// Schemas by name. They refer to each other as `#/definitions/{name}`, the name escaped as in a JSON pointer
    /// within a URI.
    #[serde(default)]
    pub schemas: BTreeMap<String, Value>,
}

impl Models {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty()
    }

    /// The reference to a model.
    pub fn reference(name: &str) -> String {
        let mut reference = "#/definitions/".to_owned();
        for byte in name.bytes() {
            match byte {
                b'~' => reference.push_str("~0"),
                b'/' => reference.push_str("~1"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => reference.push(char::from(byte)),
                byte => reference.push_str(&format!("%{byte:02X}")),
            }
        }
        reference
    }

    /// A schema that stands alone: the model with all that it refers to. `None` if there is no such model.
    pub fn document(&self, name: &str) -> Option<Value> {
        let by_reference: BTreeMap<String, &String> =
            self.schemas.keys().map(|name| (Self::reference(name), name)).collect();
        let (name, _) = self.schemas.get_key_value(name)?;
        let mut wanted = vec![name];
        let mut definitions = serde_json::Map::new();
        while let Some(name) = wanted.pop() {
            if definitions.contains_key(name) {
                continue;
            }
            let Some(schema) = self.schemas.get(name) else { continue };
            definitions.insert(name.clone(), schema.clone());
            each_reference(schema, &mut |reference| wanted.extend(by_reference.get(reference).copied()));
        }
        Some(serde_json::json!({ "$ref": Self::reference(name), "definitions": definitions }))
    }
}

fn each_reference<'v>(value: &'v Value, found: &mut impl FnMut(&'v str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, found)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => found(text),
                    value => each_reference(value, found),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_holds_what_its_model_reaches_and_nothing_else() {
        let name = "/paths/~1a b/get";
        let schemas = [
            ("A", json!({"items": {"$ref": Models::reference(name)}})),
            (name, json!({"properties": {"a": {"$ref": "#/definitions/A"}}})),
            ("B", json!({"type": "object"})),
        ];
        let schemas = schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        let models = Models { dialect: Dialect::Draft4, schemas };
        let document = models.document("A").unwrap();
        assert_eq!(document["$ref"], "#/definitions/A");
        let names: Vec<_> = document["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["A", name]);
        assert_eq!(Models::reference(name), "#/definitions/~1paths~1~01a%20b~1get");
        assert_eq!(models.document("C"), None);
    }

    #[test]
    fn parameters_are_listed_in_amazons_order() {
        let mut parameters = [
            Parameter::Query("qs1".into()),
            Parameter::Path("issuer".into()),
            Parameter::Header("x-header-param".into()),
        ];
        parameters.sort();
        assert_eq!(parameters[0], Parameter::Header("x-header-param".into()));
        assert_eq!(parameters[2], Parameter::Query("qs1".into()));
    }
}
