//! A body as parameter mappings read it.

use std::borrow::Cow;

use bytes::Bytes;
use vtl::Value;

use crate::live::mapping::Wants;
use crate::live::mapping::json_path::JsonPath;
use crate::rejection::Rejection;

/// A body as parameter mappings read it.
pub struct Document {
    text: Bytes,
    /// Present if a mapping wants it.
    json: Option<Value>,
}

/// The body is not JSON, and a mapping wants it to be.
pub struct NotJson;

impl Document {
    /// Reads what is wanted of a body.
    ///
    /// # Errors
    /// When JSON is wanted and it is none.
    pub fn read(text: Bytes, wants: Wants) -> Result<Self, NotJson> {
        let json = match wants {
            Wants::Json => Some(vtl::json::parse(readable(&text).as_ref()).map_err(|_| NotJson)?),
            Wants::Nothing | Wants::Text => None,
        };
        Ok(Self { text, json })
    }

    /// A body that was read as JSON already.
    pub fn with_json(text: Bytes, json: Option<Value>) -> Self {
        Self { text, json }
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The whole of it. An empty body reads `{}`, as recorded.
    pub fn text(&self) -> Cow<'_, str> {
        readable(&self.text)
    }

    /// What a path finds in it: a string as it is, anything else as JSON.
    ///
    /// # Errors
    /// When the search reaches a bound.
    pub fn find(&self, path: &JsonPath) -> Result<Option<String>, Rejection> {
        let Some(json) = &self.json else { return Ok(None) };
        match path.path().find(json) {
            Ok(Some(Value::Str(text))) => Ok(Some(text.to_string())),
            Ok(Some(Value::Null) | None) => Ok(None),
            Ok(Some(value)) => Ok(Some(value.to_json())),
            Err(error) if error.limit => {
                Err(Rejection::Configuration("the JSONPath of a mapped parameter reaches too many values".to_owned()))
            }
            // A function that has no value for what it was given.
            Err(_) => Ok(None),
        }
    }
}

fn readable(text: &[u8]) -> Cow<'_, str> {
    if text.is_empty() { Cow::Borrowed("{}") } else { text_of(text) }
}

/// Bytes as text; what is not UTF-8 is replaced, as recorded. Most is, and a check alone is faster.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}
