//! A reader of OpenAPI documents that loses nothing: it hands out nodes of the document itself, each with its JSON
//! pointer, and follows `$ref`s when asked to.

mod operation;
mod reference;

use std::borrow::Cow;

use serde_json::Value;

pub(crate) use operation::{ANY, Operation, VERBS, operations};
pub(crate) use reference::{Unresolved, follow};

/// A place in a document.
#[derive(Clone, Debug)]
pub(crate) struct Node<'d> {
    root: &'d Value,
    pub(crate) value: &'d Value,
    pub(crate) pointer: String,
}

impl<'d> Node<'d> {
    pub(crate) fn root(root: &'d Value) -> Self {
        Self { root, value: root, pointer: String::new() }
    }

    /// The document's root, from wherever.
    pub(crate) fn document(&self) -> Self {
        Self::root(self.root)
    }

    fn child(&self, key: &str, value: &'d Value) -> Self {
        Self { root: self.root, value, pointer: format!("{}/{}", self.pointer, escape(key)) }
    }

    /// A field as it stands, null counting as absent.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.as_object()?.get(key)?;
        (!value.is_null()).then(|| self.child(key, value))
    }

    /// Follows `$ref`s from here. Every reference of a document is checked once, so what does not resolve has been
    /// reported.
    pub(crate) fn resolve(self) -> Option<Self> {
        follow(self.root, self.value, &self.pointer).ok().map(|(value, pointer)| Self {
            root: self.root,
            value,
            pointer,
        })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some_and(|value| !value.is_null())
    }

    /// Fields in the order of their names: the order in the document means nothing.
    pub(crate) fn entries(&self) -> Vec<(&'d str, Self)> {
        let Some(map) = self.value.as_object() else { return Vec::new() };
        let mut keys: Vec<_> = map.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        keys.into_iter().map(|(key, value)| (key.as_str(), self.child(key, value))).collect()
    }

    /// Elements.
    pub(crate) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(index, value)| self.child(&index.to_string(), value)).collect()
    }

    pub(crate) fn text(&self) -> Option<&'d str> {
        self.value.as_str()
    }

    /// The value for a message: what is in objects and lists is not shown, their order means nothing.
    pub(crate) fn shown(&self) -> String {
        match self.value {
            Value::Object(_) => "an object".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            scalar => format!("`{scalar}`"),
        }
    }

    /// Text, or a number written as such: `200` and `"200"`, `1.0` and `"1.0"` mean the same.
    pub(crate) fn loose_text(&self) -> Option<Cow<'d, str>> {
        match self.value {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// A whole number, or text that is one.
    pub(crate) fn loose_integer(&self) -> Option<u64> {
        match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// A key as a JSON pointer writes it.
pub(crate) fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { Cow::Owned(key.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(key) }
}

/// The key that a JSON pointer's segment means.
pub(crate) fn unescape(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

#[cfg(test)]
mod tests;
