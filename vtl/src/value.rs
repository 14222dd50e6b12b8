//! Values as templates see them: Java's, because the language calls methods on Java objects.

mod container;
mod equality;
mod number;
mod print;

use std::rc::Rc;

use crate::text::Text;
pub use container::{Access, Entry, Form, List, Map};
pub(crate) use equality::{equals_metered, java_equals};
pub(crate) use number::{Number, integer_literal, whole, write_double};
pub(crate) use print::{Style, print_java, write_json};

/// A value. Lists and maps are shared: whoever holds one sees what another puts into it, which is what
/// `$map.put(…)` relies on.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Java's null; also what an unknown reference or a missing path is.
    #[default]
    Null,
    /// `java.lang.Boolean`.
    Bool(bool),
    /// `java.lang.Integer`.
    Int(i32),
    /// `java.lang.Long`.
    Long(i64),
    /// `java.lang.Double`.
    Double(f64),
    /// A number too long for the others (`BigInteger`, `BigDecimal`), as its digits.
    Big(Rc<str>),
    /// `java.lang.String`.
    Str(Text),
    /// `java.util.List`, and arrays.
    List(Rc<List>),
    /// `java.util.Map`, in insertion order.
    Map(Rc<Map>),
    /// `java.util.Map.Entry`.
    Entry(Rc<Entry>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<Text>) -> Value {
        Value::Str(text.into())
    }

    /// A string known at compile time; costs nothing.
    pub const fn from_static(text: &'static str) -> Value {
        Value::Str(Text::from_static(text))
    }

    /// A list as list literals make them: prints `[a, b]`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(List::new(Form::Java, items)))
    }

    /// A map that templates may read and change: prints `{a=b}`. Later entries of a name win.
    pub fn map(entries: impl IntoIterator<Item = (Text, Value)>) -> Value {
        Value::Map(Rc::new(Map::collect(Access::Open, entries)))
    }

    /// The same for headers: their names are found in any case.
    pub fn headers(entries: impl IntoIterator<Item = (Text, Value)>) -> Value {
        Value::Map(Rc::new(Map::any_case(entries)))
    }

    /// A map that templates may read only, and that prints as empty text: `$context` and its sub-maps,
    /// as recorded from the real service.
    pub fn sealed(entries: impl IntoIterator<Item = (Text, Value)>) -> Value {
        Value::Map(Rc::new(Map::collect(Access::Sealed, entries)))
    }

    /// Null?
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The characters of a string; none for anything else.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number in an `Integer` or `Long`.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(i64::from(*n)),
            Value::Long(n) => Some(*n),
            _ => None,
        }
    }

    /// The value under a name, if this is a map and has it; null otherwise.
    pub fn get(&self, name: &str) -> Value {
        match self {
            Value::Map(map) => map.get(name).unwrap_or_default(),
            _ => Value::Null,
        }
    }

    /// What the value prints as in a template: empty for null. Very deep values are cut short.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // A cut-off print is still the best there is to show; templates themselves get the error.
        let _cut = print_java(self, &mut out, usize::MAX);
        out
    }

    /// The value as JSON text. Very deep values are cut short.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        let _cut = write_json(self, &mut out, Style::Plain, usize::MAX);
        out
    }

    pub(crate) fn json_list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(List::new(Form::Json, items)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        i32::try_from(number).map_or(Value::Long(number), Value::Int)
    }
}

impl From<&serde_json::Value> for Value {
    /// For values that come from elsewhere as JSON, such as an authorizer's context.
    fn from(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(*truth),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(integer) => integer.into(),
                None => n.as_f64().map_or_else(|| Value::Big(n.to_string().into()), Value::Double),
            },
            serde_json::Value::String(text) => text.as_str().into(),
            serde_json::Value::Array(items) => Value::json_list(items.iter().map(Value::from).collect()),
            serde_json::Value::Object(members) => {
                Value::map(members.iter().map(|(name, member)| (Text::from(name.as_str()), member.into())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
