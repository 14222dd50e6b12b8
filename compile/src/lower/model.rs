//! Models: the schemas that request validators check bodies against.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bundle::validation::{Dialect, Models as Wire, PATTERN_BACKTRACKS, PATTERN_BYTES};
use jsonschema::{Draft as Standard, PatternOptions};
use serde_json::{Map, Value};

use super::draft::Draft;
use crate::finding::Reason;
use crate::read::Node;

/// Fields of a schema that say nothing about a value, and OpenAPI's own.
const NOTES: [&str; 16] = [
    "$anchor",
    "$comment",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "nullable",
    "readOnly",
    "title",
    "writeOnly",
    "xml",
];

/// The models of a document that anybody names, and what they refer to.
pub(super) struct Models {
    wire: Wire,
    /// Whether a model that was named can be used; else why not.
    known: BTreeMap<String, Result<(), String>>,
}

impl Models {
    pub(super) fn new(root: &Node<'_>) -> Self {
        let newer = root.get("openapi").and_then(|node| node.loose_text()).is_some_and(|text| text.starts_with("3.1"));
        let dialect = if newer { Dialect::Draft202012 } else { Dialect::Draft4 };
        Self { wire: Wire { dialect, schemas: BTreeMap::new() }, known: BTreeMap::new() }
    }

    /// The name of the model at a schema. One that cannot be used refuses the route: a guard is never left out.
    pub(super) fn name(&mut self, schema: &Node<'_>, draft: &mut Draft<'_>) -> Option<String> {
        let Some(node) = schema.clone().resolve() else {
            draft.refuse(Reason::InvalidModel, "the model is a reference to nothing");
            return None;
        };
        let name = self.add(&node);
        let wire = &self.wire;
        let checked = self.known.entry(name.clone()).or_insert_with(|| check(wire, &name));
        if let Err(text) = checked {
            draft.error(Reason::InvalidModel, &node, text.clone());
            return None;
        }
        Some(name)
    }

    /// Without a model the dialect means nothing, and does not travel.
    pub(super) fn into_wire(self) -> Wire {
        if self.wire.is_empty() { Wire::default() } else { self.wire }
    }

    /// Adds a schema and what it refers to.
    fn add(&mut self, node: &Node<'_>) -> String {
        let first = name_of(&node.pointer);
        let mut wanted = vec![node.clone()];
        while let Some(node) = wanted.pop() {
            if let Entry::Vacant(entry) = self.wire.schemas.entry(name_of(&node.pointer)) {
                entry.insert(schema(&node, &mut wanted));
            }
        }
        first
    }
}

/// The name of the schema at a place: its own where it has one.
fn name_of(pointer: &str) -> String {
    let named = ["/components/schemas/", "/definitions/"].iter().find_map(|place| pointer.strip_prefix(place));
    match named {
        Some(name) if !name.contains(['/', '~']) => name.to_owned(),
        Some(_) | None => pointer.to_owned(),
    }
}

/// A schema with its references to others by their names; these are wanted too.
fn schema<'d>(node: &Node<'d>, wanted: &mut Vec<Node<'d>>) -> Value {
    if !node.value.is_object() {
        return ordered(node.value);
    }
    let mut lowered = Map::new();
    for (key, field) in node.entries() {
        if NOTES.contains(&key) || key.starts_with("x-") || (key == "id" && field.value.is_string()) {
            continue;
        }
        let value = match key {
            // Where a reference leads to nothing, the document's own check has said so.
            "$ref" if field.value.is_string() => match node.clone().resolve() {
                Some(target) => {
                    let reference = Wire::reference(&name_of(&target.pointer));
                    wanted.push(target);
                    Value::from(reference)
                }
                None => ordered(field.value),
            },
            // What is referred to is wanted by its place.
            "definitions" | "$defs" => continue,
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" => {
                let each = |(name, node): (&str, Node<'d>)| (name.to_owned(), schema(&node, wanted));
                if field.value.is_object() {
                    Value::Object(field.entries().into_iter().map(each).collect())
                } else {
                    ordered(field.value)
                }
            }
            "additionalItems"
            | "additionalProperties"
            | "contains"
            | "else"
            | "if"
            | "items"
            | "not"
            | "propertyNames"
            | "then"
            | "unevaluatedItems"
            | "unevaluatedProperties"
                if field.value.is_object() =>
            {
                schema(&field, wanted)
            }
            "allOf" | "anyOf" | "items" | "oneOf" | "prefixItems" if field.value.is_array() => {
                Value::Array(field.items().iter().map(|item| schema(item, wanted)).collect())
            }
            _ => ordered(field.value),
        };
        lowered.insert(key.to_owned(), value);
    }
    Value::Object(lowered)
}

/// A value whose objects have their members in the order of their names: the order in a document means nothing.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), ordered(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(ordered).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whether a proxy can compile the model.
fn check(wire: &Wire, name: &str) -> Result<(), String> {
    let document = wire.document(name).ok_or_else(|| format!("there is no model `{name}`"))?;
    let standard = match wire.dialect {
        Dialect::Draft4 => Standard::Draft4,
        Dialect::Draft202012 => Standard::Draft202012,
    };
    let patterns = PatternOptions::fancy_regex().backtrack_limit(PATTERN_BACKTRACKS).size_limit(PATTERN_BYTES);
    let options = jsonschema::options()
        .with_draft(standard)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns);
    match options.build(&document) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = error.instance_path().to_string();
            let place = place.strip_prefix("/definitions").unwrap_or(&place);
            Err(format!("the model is no JSON Schema that is understood here: {error} (at `{place}`)"))
        }
    }
}
