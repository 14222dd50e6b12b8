//! JSON written straight into a buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::observe::json::escape;

/// A JSON object, or a list, that is being written.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Writer<'a> {
    /// Writes an object.
    pub(super) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Writer<'_>)) {
        out.push(b'{');
        fill(&mut Writer { out, empty: true });
        out.push(b'}');
    }

    /// A text member; what is not UTF-8 in it becomes U+FFFD. Its name needs no escapes.
    pub(super) fn text(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        string(self.plain(name), value.as_ref());
    }

    /// A text or `null`.
    pub(super) fn text_or_null(&mut self, name: &'static str, value: Option<impl AsRef<[u8]>>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// JSON of our own.
    pub(super) fn raw(&mut self, name: &'static str, json: &[u8]) {
        self.plain(name).extend_from_slice(json);
    }

    /// An object.
    pub(super) fn nested(&mut self, name: &'static str, fill: impl FnOnce(&mut Writer<'_>)) {
        Writer::object(self.plain(name), fill);
    }

    /// Begins a member whose name needs no escapes; its value goes to what is returned.
    pub(super) fn plain(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Begins a member whose name is somebody else's.
    pub(super) fn member(&mut self, name: &[u8]) -> &mut Vec<u8> {
        self.comma();
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
    }
}

/// A string.
pub(super) fn string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    escape(out, value);
    out.push(b'"');
}

/// A list of strings.
pub(super) fn strings<T: AsRef<[u8]>>(out: &mut Vec<u8>, values: impl Iterator<Item = T>) {
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, value.as_ref());
    }
    out.push(b']');
}

/// One string of several values.
pub(super) fn joined<T: AsRef<[u8]>>(out: &mut Vec<u8>, values: impl Iterator<Item = T>) {
    out.push(b'"');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        escape(out, value.as_ref());
    }
    out.push(b'"');
}

/// Bytes as a string of base64.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    // Four characters for every three bytes.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_parses_back() {
        let mut out = Vec::new();
        Writer::object(&mut out, |object| {
            object.text("a", "quoted \" \u{1} é");
            object.text_or_null("b", None::<&str>);
            object.nested("c", |nested| strings(nested.member(b"d\"e"), ["x", "y"].iter()));
            base64(object.plain("f"), b"\0\x01\x02\xff");
            joined(object.plain("g"), [&b"1"[..], b"\xff"].iter());
            object.nested("h", |_| {});
        });
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let wanted = serde_json::json!({
            "a": "quoted \" \u{1} é", "b": null, "c": {"d\"e": ["x", "y"]}, "f": "AAEC/w==", "g": "1,\u{fffd}", "h": {},
        });
        assert_eq!(value, wanted);
    }
}
