//! `$context.error.validationErrorString`: what is wrong with a body, in the words of the validator that Amazon uses
//! (the Java library json-schema-validator).

use std::collections::BTreeSet;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// Faults that are told.
const MAX_FAULTS: usize = 20;

/// Longest text of one fault, in bytes: it may quote what the client sent.
const MAX_BYTES: usize = 500;

/// All that is wrong, as `[first, second]`.
pub(super) fn text<'e>(errors: impl Iterator<Item = ValidationError<'e>>) -> String {
    let mut texts: Vec<String> = Vec::new();
    // What is missing in one place is one fault.
    let mut missing: Vec<(String, usize, BTreeSet<String>)> = Vec::new();
    for error in errors.take(MAX_FAULTS) {
        if let Kind::Required { property } = error.kind() {
            let place = error.instance_path().to_string();
            let property = property.to_string();
            match missing.iter_mut().find(|(known, _, _)| *known == place) {
                Some((_, _, names)) => drop(names.insert(property)),
                None => {
                    missing.push((place, texts.len(), BTreeSet::from([property])));
                    texts.push(String::new());
                }
            }
            continue;
        }
        texts.push(fault(&error));
    }
    for (_, at, names) in missing {
        let names: Vec<_> = names.into_iter().collect();
        texts[at] = format!("object has missing required properties ([{}])", names.join(","));
    }
    for text in &mut texts {
        let end = (0..=MAX_BYTES.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    format!("[{}]", texts.join(", "))
}

fn fault(error: &ValidationError<'_>) -> String {
    let found = &**error.instance();
    let count = || found.as_array().map_or(0, Vec::len);
    let fields = || found.as_object().map_or(0, serde_json::Map::len);
    let characters = || found.as_str().map_or(0, |text| text.chars().count());
    match error.kind() {
        Kind::Type { kind } => {
            let allowed: BTreeSet<String> = match kind {
                TypeKind::Single(kind) => BTreeSet::from([format!("\"{kind}\"")]),
                TypeKind::Multiple(kinds) => kinds.iter().map(|kind| format!("\"{kind}\"")).collect(),
            };
            let allowed: Vec<_> = allowed.into_iter().collect();
            format!(
                "instance type ({}) does not match any allowed primitive type (allowed: [{}])",
                type_of(found),
                allowed.join(",")
            )
        }
        Kind::Enum { options } => format!("instance value ({found}) not found in enum (possible values: {options})"),
        Kind::Constant { expected_value } => {
            format!("instance value ({found}) not found in enum (possible values: [{expected_value}])")
        }
        Kind::Pattern { pattern } => format!("ECMA 262 regex \"{pattern}\" does not match input string {found}"),
        Kind::MinLength { limit } => {
            format!("string {found} is too short (length: {}, required minimum: {limit})", characters())
        }
        Kind::MaxLength { limit } => {
            format!("string {found} is too long (length: {}, maximum allowed: {limit})", characters())
        }
        Kind::MinItems { limit } => {
            format!("array is too short: must have at least {limit} elements but instance has {} elements", count())
        }
        Kind::MaxItems { limit } => {
            format!("array is too long: must have at most {limit} elements but instance has {} elements", count())
        }
        Kind::UniqueItems => "array must not contain duplicate elements".to_owned(),
        Kind::Minimum { limit } => {
            format!("numeric instance is lower than the required minimum (minimum: {limit}, found: {found})")
        }
        Kind::Maximum { limit } => {
            format!("numeric instance is greater than the required maximum (maximum: {limit}, found: {found})")
        }
        Kind::ExclusiveMinimum { limit } => {
            format!("numeric instance is not strictly greater than the required minimum {limit}")
        }
        Kind::ExclusiveMaximum { limit } => {
            format!("numeric instance is not strictly lower than the required maximum {limit}")
        }
        Kind::MultipleOf { multiple_of } => format!("remainder of division is not zero ({found} / {multiple_of})"),
        Kind::AdditionalProperties { unexpected } => {
            let names: Vec<_> = unexpected.iter().map(|name| Value::from(name.as_str()).to_string()).collect();
            format!("object instance has properties which are not allowed by the schema: [{}]", names.join(","))
        }
        Kind::MinProperties { limit } => {
            format!("object has too few properties (found {} but schema requires at least {limit})", fields())
        }
        Kind::MaxProperties { limit } => {
            format!("object has too many properties (found {} but schema requires at most {limit})", fields())
        }
        Kind::AnyOf { context } => {
            format!("instance failed to match at least one required schema among {}", context.len())
        }
        Kind::OneOfNotValid { context } => {
            format!("instance failed to match exactly one schema (matched 0 out of {})", context.len())
        }
        Kind::OneOfMultipleValid { context } => {
            let matched = context.iter().filter(|errors| errors.is_empty()).count();
            format!("instance failed to match exactly one schema (matched {matched} out of {})", context.len())
        }
        Kind::Not { .. } => "instance matched a schema which it should not have".to_owned(),
        Kind::Format { format } => format!("string {found} is invalid against requested format {format}"),
        _ => error.masked().to_string(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, body: Value, expected: &str) {
        let model = jsonschema::options().with_draft(jsonschema::Draft::Draft4).build(&schema).unwrap();
        assert_eq!(text(model.iter_errors(&body)), expected);
    }

    #[test]
    fn faults_in_the_words_of_amazons_validator() {
        let required = json!({"required": ["name", "age"]});
        check(required, json!({}), r#"[object has missing required properties (["age","name"])]"#);
        let number = json!({"properties": {"n": {"type": ["number", "null"]}}});
        check(
            number,
            json!({"n": "x"}),
            r#"[instance type (string) does not match any allowed primitive type (allowed: ["null","number"])]"#,
        );
        check(
            json!({"properties": {"s": {"minLength": 2, "pattern": "^[a-z]+$"}}}),
            json!({"s": "B"}),
            "[string \"B\" is too short (length: 1, required minimum: 2), \
             ECMA 262 regex \"^[a-z]+$\" does not match input string \"B\"]",
        );
        check(
            json!({"maximum": 10}),
            json!(11),
            "[numeric instance is greater than the required maximum (maximum: 10, found: 11)]",
        );
        check(
            json!({"enum": ["red", "blue"]}),
            json!("green"),
            r#"[instance value ("green") not found in enum (possible values: ["red","blue"])]"#,
        );
        check(
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"z": 1}),
            r#"[object instance has properties which are not allowed by the schema: ["z"]]"#,
        );
        check(
            json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
            json!(1),
            "[instance failed to match exactly one schema (matched 0 out of 2)]",
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let model = jsonschema::options().build(&json!({"maxLength": 1})).unwrap();
        let body = json!("é".repeat(10_000));
        assert!(text(model.iter_errors(&body)).len() <= MAX_BYTES + 2);
    }
}
