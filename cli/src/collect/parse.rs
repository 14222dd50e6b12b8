//! One file's text to the objects in it.

use std::path::Path;
use std::sync::Arc;

use compile::{Document, Reason, SourceError};
use crds::reference_grant;
use serde_json::{Value, json};

use super::object::{Key, Kind, Object};
use super::places::Site;
use super::plain;
use super::strict::{MISSING_FIELD, closest};
use crate::print::{Diagnostic, Level, Place};

/// A file's text and what is in it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) document: Arc<Document>,
    outcome: Result<Vec<Found>, SourceError>,
}

/// One thing in a file.
#[derive(Debug)]
pub(super) enum Found {
    Object {
        key: Key,
        object: Object,
        site: Site,
    },
    /// An object of a kind that is served, and broken.
    Fault {
        key: Option<Key>,
        diagnostics: Vec<Diagnostic>,
    },
    /// Something else.
    Nothing {
        diagnostic: Diagnostic,
    },
}

/// Objects in one file at most.
const MAX_OBJECTS: usize = 10_000;

/// Reads a file's text.
pub(super) fn parse(path: &Path, text: &str) -> Parsed {
    let document = Arc::new(Document::new(path.to_string_lossy(), text));
    let outcome = document.values().map(|values| {
        let mut found = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let site = Site {
                document: Arc::clone(&document),
                file: path.to_owned(),
                index,
                prefix: String::new(),
                bare: false,
            };
            split(value, site, &mut found);
        }
        found
    });
    Parsed { document, outcome }
}

impl Parsed {
    pub(super) fn found(&self) -> &[Found] {
        self.outcome.as_deref().unwrap_or_default()
    }

    /// What is wrong with the file as a whole. One that is empty is at fault only if something is expected of it: it
    /// may be in the middle of being written.
    pub(super) fn whole_file_fault(&self, path: &Path, expected: bool) -> Option<Diagnostic> {
        if self.document.text().trim().is_empty() {
            let level = if expected { Level::Error } else { Level::Warning };
            let place = Place { file: path.to_owned(), line: 0, column: 0, snippet: String::new() };
            return Some(plain(level, "EmptyFile", "the file is empty", Some(place)));
        }
        let SourceError { line, column, message } = self.outcome.as_ref().err()?;
        let snippet = self.document.line(*line).unwrap_or_default().to_owned();
        let place = Place { file: path.to_owned(), line: *line, column: *column, snippet };
        Some(plain(Level::Error, "SyntaxError", message, Some(place)))
    }

    /// Plain words that kubectl reads as booleans, in a file of ours.
    pub(super) fn ambiguities(&self, path: &Path) -> Vec<Diagnostic> {
        let ours = |found: &Found| matches!(found, Found::Object { .. } | Found::Fault { .. });
        if !self.found().iter().any(ours) {
            return Vec::new();
        }
        let diagnostic = |found: &compile::source::Ambiguity| {
            let snippet = self.document.line(found.location.line).unwrap_or_default().to_owned();
            let place =
                Place { file: path.to_owned(), line: found.location.line, column: found.location.column, snippet };
            let message = format!("plain `{}` is a boolean to kubectl", found.text);
            Diagnostic {
                pointer: Some(found.pointer.clone()),
                help: Some("quote it if text is meant".to_owned()),
                ..plain(Level::Warning, Reason::AmbiguousScalar.as_str(), &message, Some(place))
            }
        };
        self.document.ambiguities().iter().map(diagnostic).collect()
    }
}

/// One document of a stream, or one item of a List.
fn split(value: Value, site: Site, found: &mut Vec<Found>) {
    if found.len() >= MAX_OBJECTS {
        return;
    }
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if kind.ends_with("List") && value.get("items").is_some_and(Value::is_array) {
        let Some(Value::Array(items)) = value.get("items").cloned() else { return };
        for (number, item) in items.into_iter().enumerate() {
            split(item, Site { prefix: format!("{}/items/{number}", site.prefix), ..site.clone() }, found);
        }
        return;
    }
    if kind.is_empty() && (value.get("openapi").is_some() || value.get("swagger").is_some()) {
        return bare(value, site, found);
    }
    match kind_of(kind, api_version) {
        Ok(kind) => found.push(manifest(kind, value, site)),
        Err(Other::Fault { reason, message, pointer, help }) => {
            let diagnostic = Diagnostic { help, ..plain(Level::Error, reason, &message, Some(site.place(pointer))) };
            found.push(Found::Fault { key: None, diagnostics: vec![diagnostic] });
        }
        Err(Other::Foreign { level, message }) => {
            let place = site.place("/kind");
            found.push(Found::Nothing { diagnostic: plain(level, "UnknownKind", &message, Some(place)) });
        }
    }
}

/// Why a document is no object of ours.
enum Other {
    /// It was meant to be one.
    Fault {
        reason: &'static str,
        message: String,
        pointer: &'static str,
        help: Option<String>,
    },
    Foreign {
        level: Level,
        message: String,
    },
}

fn kind_of(kind: &str, api_version: &str) -> Result<Kind, Other> {
    let expected = format!("{}/{}", crds::GROUP, crds::VERSION);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let own = Kind::OWN.into_iter().find(|known| known.as_str() == kind);
    match own {
        Some(known) if api_version == expected => return Ok(known),
        Some(_) if group == crds::GROUP || api_version.is_empty() => {
            let message = format!("`{kind}` has apiVersion {expected}, not `{api_version}`");
            let help = Some(format!("write `apiVersion: {expected}`"));
            return Err(Other::Fault { reason: "UnknownVersion", message, pointer: "/apiVersion", help });
        }
        _ if group == crds::GROUP => {
            let known = Kind::OWN.map(Kind::as_str);
            let help = closest(kind, known).map(|known| format!("did you mean `{known}`?"));
            let help = help.or_else(|| Some(format!("known here: {}", known.join(", "))));
            let message = format!("there is no kind `{kind}` in {}", crds::GROUP);
            return Err(Other::Fault { reason: "UnknownKind", message, pointer: "/kind", help });
        }
        _ => {}
    }
    match (api_version, kind) {
        ("v1", "Secret") => Ok(Kind::Secret),
        ("v1", "ConfigMap") => Ok(Kind::ConfigMap),
        _ if kind == "ReferenceGrant" && grants_of(api_version) => Ok(Kind::ReferenceGrant),
        (_, "") => {
            let message = "neither a manifest (no `kind`) nor an OpenAPI document; ignored".to_owned();
            Err(Other::Foreign { level: Level::Note, message })
        }
        _ => {
            // Kubernetes' own groups are expected beside ours.
            let usual =
                api_version == "v1" || !group.is_empty() && (!group.contains('.') || group.ends_with(".k8s.io"));
            let level = if usual { Level::Note } else { Level::Warning };
            let of = if api_version.is_empty() { String::new() } else { format!(" of {api_version}") };
            Err(Other::Foreign { level, message: format!("`{kind}`{of} is not served here; ignored") })
        }
    }
}

/// Whether it is a version of the Gateway API whose ReferenceGrants are read.
fn grants_of(api_version: &str) -> bool {
    api_version
        .split_once('/')
        .is_some_and(|(group, version)| group == reference_grant::GROUP && reference_grant::VERSIONS.contains(&version))
}

/// A manifest of a kind that is served.
fn manifest(kind: Kind, mut value: Value, site: Site) -> Found {
    let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = text(&value, "/metadata/name");
    let namespace = text(&value, "/metadata/namespace").unwrap_or_else(|| "default".to_owned());
    let key = name.map(|name| Key { kind, namespace, name });
    let object = key.as_ref().map(ToString::to_string);
    let fault = |pointer: &str, reason: &str, message: &str, help: Option<String>| {
        let (mut place, mut message) = (site.place(pointer), message);
        if kind == Kind::Secret {
            // What stands there may be what must not be shown.
            place.snippet.clear();
            message = message.split_once(", found").map_or(message, |(wanted, _)| wanted);
        }
        let (object, pointer) = (object.clone(), Some(pointer.to_owned()));
        Diagnostic { object, pointer, help, ..plain(Level::Error, reason, message, Some(place)) }
    };
    let mut diagnostics = Vec::new();
    if let Some(key) = &key {
        for (pointer, name, label) in
            [("/metadata/name", &key.name, false), ("/metadata/namespace", &key.namespace, true)]
        {
            if !is_dns_name(name, label) {
                let help = Some("want lower-case letters, digits and `-`".to_owned());
                diagnostics.push(fault(pointer, "InvalidName", &format!("`{name}` is not a name"), help));
            }
        }
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("namespace").is_none_or(Value::is_null)
    {
        metadata.insert("namespace".to_owned(), json!("default"));
    }
    match (Object::read(kind, value), key) {
        (Ok(object), Some(key)) if diagnostics.is_empty() => Found::Object { key, object, site },
        (Ok(_), key) => {
            if key.is_none() {
                diagnostics.push(fault("/metadata", MISSING_FIELD, "`name` is missing", None));
            }
            Found::Fault { key, diagnostics }
        }
        (Err(violations), key) => {
            diagnostics.extend(
                violations.into_iter().map(|found| fault(&found.pointer, found.reason, &found.message, found.help)),
            );
            Found::Fault { key, diagnostics }
        }
    }
}

/// A bare OpenAPI document: an ApiDefinition named after the file, and a Stage called `dev`.
fn bare(document: Value, site: Site, found: &mut Vec<Found>) {
    let stem = site.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let api = dns_label(&stem);
    let site = Site { bare: true, ..site };
    let version = format!("{}/{}", crds::GROUP, crds::VERSION);
    let definition = json!({"apiVersion": version, "kind": "ApiDefinition",
        "metadata": {"name": api, "namespace": "default"}, "spec": {"openapi": document}});
    // Two bare documents are two Stages, so the object is named after its API; the URL says `dev`.
    let stage = json!({"apiVersion": version, "kind": "Stage",
        "metadata": {"name": stage_object(&api), "namespace": "default"},
        "spec": {"apiRef": {"name": api}, "stageName": "dev"}});
    found.push(manifest(Kind::ApiDefinition, definition, site.clone()));
    found.push(manifest(Kind::Stage, stage, site));
}

fn stage_object(api: &str) -> String {
    format!("{api}-dev")
}

/// A file's name as an object's.
fn dns_label(text: &str) -> String {
    let mapped: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    // Room for `-dev` within the 63 letters of a label.
    let cut: String = mapped.trim_matches('-').chars().take(59).collect();
    let cut = cut.trim_end_matches('-');
    if cut.is_empty() { "api".to_owned() } else { cut.to_owned() }
}

/// RFC 1123: a label, or labels with dots between them.
fn is_dns_name(text: &str, label: bool) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |part: &str| {
        (1..=63).contains(&part.len()) && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    if label { is_label(text) } else { text.len() <= 253 && text.split('.').all(is_label) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_api_a_name() {
        for (file, name) in [
            ("orders", "orders"),
            ("Orders API v2", "orders-api-v2"),
            ("_", "api"),
            ("pet.store", "pet-store"),
            ("ÄÖ", "api"),
        ] {
            assert_eq!(dns_label(file), name);
        }
        assert!(is_dns_name(&dns_label(&"x".repeat(200)), true));
    }

    #[test]
    fn names_stay_names_of_folders() {
        for bad in ["", "..", "a/b", "A", "a..b", "-a", "a-"] {
            assert!(!is_dns_name(bad, false), "{bad}");
        }
        assert!(is_dns_name("a.b-c", false) && !is_dns_name("a.b", true));
    }
}
