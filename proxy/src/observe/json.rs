//! JSON objects written straight into a byte buffer: one line of the access log is one of them.

use std::time::Duration;

/// An object being written. Names are ours and need no escapes.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens it.
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Closes it.
    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    /// A text of at most `limit` bytes before escapes; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&mut self, name: &'static str, value: &[u8], limit: usize) {
        self.name(name);
        self.out.push(b'"');
        escape(self.out, cut(value, limit));
        self.out.push(b'"');
    }

    /// A text that may be missing; then so is the member.
    pub(crate) fn text_if(&mut self, name: &'static str, value: Option<&[u8]>, limit: usize) {
        if let Some(value) = value {
            self.text(name, value, limit);
        }
    }

    /// A text that needs no escapes.
    pub(crate) fn plain(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// A whole number.
    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        digits(self.out, value);
    }

    /// Milliseconds with three decimals.
    pub(crate) fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        digits(self.out, micros / 1000);
        let rest = micros % 1000;
        if rest > 0 {
            let digit = |value: u64| b'0' + (value % 10) as u8;
            self.out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
        }
    }

    /// `true`.
    pub(crate) fn flag(&mut self, name: &'static str) {
        self.name(name);
        self.out.extend_from_slice(b"true");
    }

    fn name(&mut self, name: &'static str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// A whole number in decimal.
pub(crate) fn digits(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `value` cut to `limit` bytes, not within a character.
fn cut(value: &[u8], limit: usize) -> &[u8] {
    if value.len() <= limit {
        return value;
    }
    let is_start = |end: &usize| value.get(*end).is_none_or(|byte| byte & 0xC0 != 0x80);
    // A character has at most four bytes; what has no start among them is no UTF-8 anyway.
    let end = (limit.saturating_sub(3)..=limit).rev().find(is_start).unwrap_or(limit);
    value.get(..end).unwrap_or(value)
}

/// Writes the inside of a JSON string.
pub(crate) fn escape(out: &mut Vec<u8>, value: &[u8]) {
    // What is logged is nearly always printable ASCII: one pass to see it, one copy.
    if value.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// True for what stands for itself in a JSON string and is a character by itself.
fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(write: impl FnOnce(&mut Object<'_>)) -> serde_json::Value {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write(&mut object);
        object.close();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn numbers() {
        let value = object(|object| {
            object.number("n", u64::MAX);
            object.millis("a", Duration::from_micros(1_234_007));
            object.millis("b", Duration::from_millis(5));
            object.flag("c");
        });
        assert_eq!(value, serde_json::json!({"n": u64::MAX, "a": 1234.007, "b": 5, "c": true}));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aé".as_bytes(), 2), b"a");
        assert_eq!(cut("aé".as_bytes(), 3), "aé".as_bytes());
        assert_eq!(cut(b"abc", 0), b"");
    }

    proptest! {
        #[test]
        fn any_text_parses_back(text in any::<String>(), other in "[\\x00-\\x7f]{0,40}") {
            let value = object(|object| {
                object.text("a", text.as_bytes(), usize::MAX);
                object.text("b", other.as_bytes(), usize::MAX);
            });
            prop_assert_eq!(&value["a"], &serde_json::Value::String(text));
            prop_assert_eq!(&value["b"], &serde_json::Value::String(other));
        }

        #[test]
        fn any_bytes_are_valid_json(bytes in any::<Vec<u8>>(), limit in 0usize..64) {
            let value = object(|object| object.text("a", &bytes, usize::MAX));
            prop_assert_eq!(value["a"].as_str(), Some(&*String::from_utf8_lossy(&bytes)));
            object(|object| object.text("a", &bytes, limit));
        }

        #[test]
        fn a_cut_text_is_a_prefix(text in any::<String>(), limit in 0usize..64) {
            let value = object(|object| object.text("a", text.as_bytes(), limit));
            let shown = value["a"].as_str().unwrap();
            prop_assert!(text.starts_with(shown) && shown.len() <= limit);
            prop_assert!(text.len() <= limit || shown.len() + 4 > limit);
        }
    }
}
