//! From a finding's object and pointer to a file's line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bundle::StageKey;
use compile::{Document, Finding, ObjectRef, Origin, Severity};

use super::object::{Key, Kind};
use super::plain;
use super::strict::escape;
use crate::print::{Diagnostic, Level, Place};

/// Where an object is.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(super) document: Arc<Document>,
    pub(super) file: PathBuf,
    /// Which document of the stream, from 0.
    pub(super) index: usize,
    /// JSON pointer of the object in that document: `/items/3` in a List.
    pub(super) prefix: String,
    /// A bare OpenAPI document stands for the object: `/spec/openapi` is all of it.
    pub(super) bare: bool,
}

impl Site {
    /// The place of a JSON pointer in the object.
    pub(super) fn place(&self, pointer: &str) -> Place {
        let inner = match (self.bare, pointer.strip_prefix("/spec/openapi")) {
            (false, _) => pointer,
            (true, Some(inner)) => inner,
            (true, None) => "",
        };
        let location = self.document.locate(self.index, &format!("{}{inner}", self.prefix));
        self.line(location.line, location.column)
    }

    fn line(&self, line: usize, column: usize) -> Place {
        let snippet = self.document.line(line).unwrap_or_default().to_owned();
        Place { file: self.file.clone(), line, column, snippet }
    }

    /// The place of a line within a text that is a value of the object, if the text stands there line by line.
    fn within(&self, pointer: &str, line: usize, column: usize) -> Option<Place> {
        let key = self.place(pointer);
        let head = key.snippet.trim_end();
        let (_, header) = head.rsplit_once(": ")?;
        // `key: |`, with or without an indicator; a folded (`>`) or quoted text has other lines.
        if !header.starts_with('|') {
            return None;
        }
        let first = (key.line + 1..).map_while(|line| self.document.line(line)).find(|line| !line.trim().is_empty())?;
        let indent = first.len() - first.trim_start().len();
        Some(self.line(key.line + line, indent + column))
    }
}

/// Where all objects are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sites: BTreeMap<(&'static str, String, String), Site>,
}

impl Places {
    pub(super) fn insert(&mut self, key: &Key, site: Site) {
        self.sites.insert((key.kind.as_str(), key.namespace.clone(), key.name.clone()), site);
    }

    fn site(&self, kind: &'static str, namespace: &str, name: &str) -> Option<&Site> {
        self.sites.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// A finding of the compiler with its place. `origin` says where an API's document comes from, and its text.
    pub(crate) fn locate(&self, finding: &Finding, origin: Option<&Origin>) -> Diagnostic {
        let Finding { object, in_document: _, pointer, severity, reason, message, help } = finding;
        let level = match severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        let mut place = self.place(finding, origin);
        if let Some(place) = place.as_mut().filter(|_| object.kind == Kind::Secret.as_str()) {
            // What stands there may be what must not be shown.
            place.snippet.clear();
        }
        let mut diagnostic = plain(level, reason.as_str(), message, place);
        diagnostic.object = Some(object.to_string());
        diagnostic.pointer = Some(pointer.clone());
        diagnostic.help = help.clone();
        diagnostic
    }

    /// The place of a JSON pointer in a Stage.
    pub(crate) fn of_stage(&self, stage: &StageKey, pointer: &str) -> Option<Place> {
        Some(self.site(Kind::Stage.as_str(), &stage.namespace, &stage.name)?.place(pointer))
    }

    fn place(&self, finding: &Finding, origin: Option<&Origin>) -> Option<Place> {
        let ObjectRef { kind, namespace, name } = &finding.object;
        let own = self.site(kind, namespace, name)?;
        match origin {
            Some(Origin::ConfigMaps(parts)) if finding.in_document => {
                let Some((map, key)) = parts.first() else { return Some(own.place("/spec/openapiFrom")) };
                let Some(site) = self.site(Kind::ConfigMap.as_str(), namespace, map) else {
                    return Some(own.place("/spec/openapiFrom"));
                };
                let pointer = format!("/data/{}", escape(key));
                // A document cut into several keys has no line of its own in any of them.
                let inner = (parts.len() == 1).then(|| site.inner(&pointer, &finding.pointer)).flatten();
                Some(inner.unwrap_or_else(|| site.place(&pointer)))
            }
            _ => Some(own.place(&finding.object_pointer())),
        }
    }
}

impl Site {
    /// The place of a pointer into a document that is a text in the object.
    fn inner(&self, text_pointer: &str, pointer: &str) -> Option<Place> {
        let values = self.document.values().ok()?;
        let text = values.get(self.index)?.pointer(&format!("{}{text_pointer}", self.prefix))?.as_str()?;
        let location = Document::new("", text).locate(0, pointer);
        self.within(text_pointer, location.line, location.column)
    }
}
