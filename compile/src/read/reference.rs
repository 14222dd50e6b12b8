//! `$ref`: to any place in the document, in circles too, and never out of it.

use serde_json::Value;

use super::{escape, unescape};

/// References to references that are followed: more is a circle without content.
const MAX_HOPS: usize = 32;

/// Why a `$ref` cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// It points out of the document.
    Remote,
    /// There is nothing.
    Nothing,
    /// It leads to itself.
    Circle,
}

/// Follows the `$ref`s of a value until there is none. A schema of many parents is not followed further than asked.
pub(crate) fn follow<'d>(
    root: &'d Value,
    mut value: &'d Value,
    pointer: &str,
) -> Result<(&'d Value, String), Unresolved> {
    let mut place = pointer.to_owned();
    for _ in 0..MAX_HOPS {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok((value, place)) };
        place = target(root, reference)?;
        value = root.pointer(&place).ok_or(Unresolved::Nothing)?;
    }
    Err(Unresolved::Circle)
}

/// The JSON pointer a reference means.
fn target(root: &Value, reference: &str) -> Result<String, Unresolved> {
    if let Some(fragment) = reference.strip_prefix('#') {
        let pointer = percent_decode(fragment);
        return if pointer.is_empty() || pointer.starts_with('/') { Ok(pointer) } else { Err(Unresolved::Nothing) };
    }
    // How an export names another model of the same API.
    if let Some((_, name)) = reference
        .strip_prefix("https://apigateway.amazonaws.com/restapis/")
        .and_then(|rest| rest.split_once("/models/"))
    {
        let schemas = if root.get("swagger").is_some() { "/definitions" } else { "/components/schemas" };
        return Ok(format!("{schemas}/{}", escape(&unescape(name))));
    }
    Err(Unresolved::Remote)
}

fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
