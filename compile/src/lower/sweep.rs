//! One walk over a whole document for what may stand anywhere: references and extensions.

use std::collections::BTreeSet;

use bundle::route::Refusal;
use serde_json::{Map, Value};

use super::draft::refusal;
use crate::finding::{Findings, Reason, Severity};
use crate::read::{Node, Unresolved, VERBS, escape, follow};
use crate::support::{EXTENSIONS, GUARDS, Place};

/// Told to who calls a route of a document that has lost a guard: the findings tell the author which.
const LOST: &str = "the document says who may call what in a place where it is not read";

/// Deeper values are refused: walks are recursive.
const MAX_DEPTH: usize = 256;

/// Fields of a path besides its methods. `security` is none; whoever lowers the path refuses it.
const PATH_FIELDS: [&str; 6] = ["$ref", "summary", "description", "servers", "parameters", "security"];

/// Models that an API of Amazon's has from the start, so that documents refer to them without saying what they are.
const NATIVE_MODELS: [&str; 4] =
    ["#/definitions/Empty", "#/definitions/Error", "#/components/schemas/Empty", "#/components/schemas/Error"];

/// What a document turned out to be on the way.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// It describes an HTTP API.
    pub(super) http_api: bool,
    /// A guard or a method of it is lost, and what it was for is not known: nothing of the document may be served.
    pub(super) lost: Option<Refusal>,
}

/// What the keys of an object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Keys {
    /// Words of OpenAPI, in an object at this place.
    Words(Place),
    /// Paths, and extensions among them.
    Paths,
    /// Names that the author chose, of objects at this place. One that is a guard's was meant as the guard.
    Names(Place),
    /// Names of data, which may be any.
    Members,
    /// Anything: an extension's content.
    Content,
}

struct Sweep<'d, 'f> {
    root: &'d Value,
    findings: &'f mut Findings,
    facts: Facts,
    pointer: String,
    too_deep: bool,
    /// Targets of references that have been walked, and as what.
    walked: BTreeSet<(Keys, String)>,
}

/// Walks the document.
pub(super) fn sweep(root: &Node<'_>, findings: &mut Findings) -> Facts {
    let mut sweep = Sweep {
        root: root.value,
        findings,
        facts: Facts::default(),
        pointer: String::new(),
        too_deep: false,
        walked: BTreeSet::new(),
    };
    sweep.facts.http_api = root.has("x-amazon-apigateway-importexport-version");
    sweep.value(root.value, Keys::Words(Place::Root), 0);
    sweep.facts
}

impl Sweep<'_, '_> {
    fn value(&mut self, value: &Value, keys: Keys, depth: usize) {
        if depth > MAX_DEPTH {
            if !std::mem::replace(&mut self.too_deep, true) {
                let text = format!("the document is nested more than {MAX_DEPTH} deep");
                self.findings.document(Severity::Error, Reason::Malformed, &self.pointer, text);
            }
            return;
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(&index.to_string(), |sweep| sweep.value(item, keys, depth + 1));
                }
            }
            Value::Object(map) => {
                self.beside_reference(map, keys);
                for (key, value) in map {
                    self.within(key, |sweep| sweep.field(key, value, keys, depth));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn within(&mut self, key: &str, walk: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escape(key));
        walk(self);
        self.pointer.truncate(length);
    }

    fn field(&mut self, key: &str, value: &Value, keys: Keys, depth: usize) {
        if key == "$ref" && value.is_string() {
            return self.reference(value, keys, depth);
        }
        let place = match keys {
            // Extensions among the paths: other vendors' say nothing to us, and none of Amazon's belongs there.
            Keys::Paths if key.starts_with("x-") || is_amazon(key) => {
                if is_amazon(key) {
                    self.extension(key, Place::Other);
                }
                return;
            }
            Keys::Paths => return self.value(value, Keys::Words(Place::PathItem), depth + 1),
            Keys::Names(place) => {
                if is_guard(key) {
                    return self.extension(key, Place::Other);
                }
                return self.value(value, Keys::Words(place), depth + 1);
            }
            Keys::Members => return self.value(value, Keys::Words(Place::Other), depth + 1),
            Keys::Content => {
                if is_guard(key) {
                    self.extension(key, Place::Other);
                }
                self.facts.http_api |= key == "payloadFormatVersion" && is_version_2(value);
                return self.value(value, keys, depth + 1);
            }
            Keys::Words(place) => place,
        };
        if is_amazon(key) {
            self.extension(key, place);
            // What holds an operation is walked as one; of the others only references count.
            let inside = if key == crate::read::ANY && place == Place::PathItem {
                Keys::Words(Place::Operation)
            } else {
                Keys::Content
            };
            return self.value(value, inside, depth + 1);
        }
        // Other vendors' extensions and examples hold whatever they like.
        if key.starts_with("x-") || matches!(key, "example" | "examples" | "default" | "enum" | "const") {
            return;
        }
        if place == Place::PathItem {
            self.path_field(key);
        }
        self.value(value, below(key, place), depth + 1);
    }

    /// A method that is lost hands its requests to another route, which may be less guarded.
    fn path_field(&mut self, key: &str) {
        if VERBS.contains(&key) || PATH_FIELDS.contains(&key) {
            return;
        }
        if let Some(verb) = VERBS.iter().find(|verb| verb.eq_ignore_ascii_case(key)) {
            let text = format!("a path has no field `{key}`: methods are written in small letters");
            self.lost(Reason::UnknownField, text);
            self.findings.help(format!("did you mean `{verb}`?"));
        } else {
            let text = format!("a path has no field `{key}`; it has no effect");
            self.findings.document(Severity::Warning, Reason::UnknownField, &self.pointer, text);
        }
    }

    /// An operation or a scheme that refers to another is that one; what is written beside it has no effect.
    fn beside_reference(&mut self, map: &Map<String, Value>, keys: Keys) {
        let whose = match keys {
            Keys::Words(Place::Operation) => "an operation",
            Keys::Words(Place::SecurityScheme) => "a security scheme",
            Keys::Words(_) | Keys::Paths | Keys::Names(_) | Keys::Members | Keys::Content => return,
        };
        if !map.get("$ref").is_some_and(Value::is_string) {
            return;
        }
        let silent =
            |key: &str| matches!(key, "$ref" | "summary" | "description") || (key.starts_with("x-") && !is_amazon(key));
        for key in map.keys().filter(|key| !silent(key)) {
            let text = format!(
                "{whose} that refers to another has no `{key}` of its own: write it there, or do without `$ref`"
            );
            self.within(key, |sweep| sweep.lost(Reason::Malformed, text));
        }
    }

    /// An error that takes a guard, or a method, away from the document.
    fn lost(&mut self, reason: Reason, text: String) {
        self.facts.lost.get_or_insert_with(|| refusal(Reason::UnknownExtension, LOST));
        self.findings.document(Severity::Error, reason, &self.pointer, text);
    }

    /// What `$ref` leads to. An author's own extension may hold what paths are made of, and is walked only as that.
    fn reference(&mut self, reference: &Value, keys: Keys, depth: usize) {
        let holder = serde_json::json!({ "$ref": reference });
        let text = reference.as_str().unwrap_or_default();
        let (reason, text) = match follow(self.root, &holder, "") {
            Ok((target, place)) => {
                let used = matches!(keys, Keys::Words(Place::PathItem | Place::Operation | Place::SecurityScheme));
                if used && place.contains("/x-") && self.walked.insert((keys, place.clone())) {
                    let from = std::mem::replace(&mut self.pointer, place);
                    self.value(target, keys, depth + 1);
                    self.pointer = from;
                }
                return;
            }
            Err(Unresolved::Nothing) if NATIVE_MODELS.contains(&text) => {
                let text = format!("`{text}` leads to nothing in the document; in Amazon's APIs there is always one");
                self.findings.document(Severity::Warning, Reason::UnresolvedReference, &self.pointer, text);
                return;
            }
            Err(Unresolved::Remote) => {
                (Reason::RemoteReference, format!("`{text}` leads out of the document; nothing is fetched"))
            }
            Err(Unresolved::Nothing) => {
                (Reason::UnresolvedReference, format!("`{text}` leads to nothing in the document"))
            }
            Err(Unresolved::Circle) => (Reason::UnresolvedReference, format!("`{text}` leads only to itself")),
        };
        self.findings.document(Severity::Error, reason, &self.pointer, text);
    }

    fn extension(&mut self, key: &str, place: Place) {
        if is_guard(key) && !EXTENSIONS.iter().any(|(name, places)| *name == key && places.contains(&place)) {
            let text = match key.eq_ignore_ascii_case(crate::read::ANY) {
                true => format!("`{key}` is not read in this place: its requests would be another route's"),
                false => format!("`{key}` is not read in this place: it would keep nobody out"),
            };
            return self.lost(Reason::UnknownExtension, text);
        }
        let text = match EXTENSIONS.iter().find(|(name, _)| *name == key) {
            Some((_, places)) if places.contains(&place) => return,
            Some(_) => format!("`{key}` is not read in this place"),
            None => format!("`{key}` is not known here and has no effect"),
        };
        self.findings.document(Severity::Warning, Reason::UnknownExtension, &self.pointer, text);
    }
}

/// Amazon's extensions, in any case: a guard that is misspelt so must not be lost.
fn is_amazon(key: &str) -> bool {
    key.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("x-amazon-"))
}

fn is_guard(key: &str) -> bool {
    GUARDS.iter().any(|guard| guard.eq_ignore_ascii_case(key))
}

/// What a field's value holds.
fn below(key: &str, place: Place) -> Keys {
    match (place, key) {
        (Place::Root, "paths") => Keys::Paths,
        (Place::Root, "components") => Keys::Words(Place::Components),
        (Place::Root, "securityDefinitions") | (Place::Components, "securitySchemes") => {
            Keys::Names(Place::SecurityScheme)
        }
        (Place::Components, "pathItems") => Keys::Names(Place::PathItem),
        (Place::Root, "servers") => Keys::Words(Place::Server),
        (Place::Root, "tags") => Keys::Words(Place::Tag),
        (Place::PathItem, verb) if VERBS.contains(&verb) => Keys::Words(Place::Operation),
        (
            _,
            "definitions" | "$defs" | "schemas" | "responses" | "parameters" | "requestBodies" | "links" | "callbacks"
            | "webhooks",
        ) => Keys::Names(Place::Other),
        (
            _,
            "properties" | "patternProperties" | "dependentSchemas" | "headers" | "content" | "variables" | "mapping"
            | "scopes",
        ) => Keys::Members,
        _ => Keys::Words(Place::Other),
    }
}

fn is_version_2(value: &Value) -> bool {
    value.as_str() == Some("2.0") || value.as_f64() == Some(2.0)
}
