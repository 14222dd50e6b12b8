//! A resource's properties: whatever nobody asks for is reported.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use super::intrinsics::text;
use super::report::Report;
use super::template::RESOURCE;

/// Properties without functions, and where they stand.
pub(crate) struct Properties {
    pub(crate) path: String,
    value: Value,
    taken: RefCell<BTreeSet<String>>,
}

impl Properties {
    pub(crate) fn new(path: String, value: Value) -> Self {
        Self { path, value, taken: RefCell::default() }
    }

    pub(crate) fn take(&self, name: &str) -> Option<&Value> {
        self.taken.borrow_mut().insert(name.to_owned());
        self.value.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.take(name).and_then(text)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    pub(crate) fn list(&self, name: &str) -> Vec<Value> {
        match self.take(name) {
            Some(Value::Array(items)) => items.clone(),
            Some(_) | None => Vec::new(),
        }
    }

    /// The logical name of a resource of this template.
    pub(crate) fn resource(&self, name: &str) -> Option<String> {
        reference(self.take(name)?)
    }

    /// Properties of a property.
    pub(crate) fn inner(&self, name: &str) -> Option<Self> {
        let value = self.take(name).filter(|value| value.is_object())?;
        Some(Self::new(format!("{}/{name}", self.path), value.clone()))
    }

    /// The elements of a list, each with its properties.
    pub(crate) fn elements(&self, name: &str) -> Vec<Self> {
        let items = self.list(name).into_iter().enumerate();
        items.map(|(index, item)| Self::new(format!("{}/{name}/{index}", self.path), item)).collect()
    }

    /// Says of a property why it is not taken over.
    pub(crate) fn without(&self, names: &[&str], why: &str, report: &mut Report) {
        for name in names {
            if self.take(name).is_some() {
                report.warning(format!("{}/{name}", self.path), why);
            }
        }
    }

    /// Says of a property that means nothing here.
    pub(crate) fn needless(&self, names: &[&str], why: &str, report: &mut Report) {
        for name in names {
            if self.take(name).is_some() {
                report.note(format!("{}/{name}", self.path), why);
            }
        }
    }

    /// Reports what nobody took.
    pub(crate) fn finish(&self, report: &mut Report) {
        for (name, _) in self.value.as_object().into_iter().flatten() {
            if !self.taken.borrow().contains(name) {
                report.warning(format!("{}/{name}", self.path), "has no counterpart");
            }
        }
    }
}

/// The logical name in a value, if it is a resource of this template.
pub(crate) fn reference(value: &Value) -> Option<String> {
    value.get(RESOURCE)?.as_str().map(str::to_owned)
}
