//! Reading the status out of what a MOCK's template rendered, as leniently as Amazon's gateway does.

/// Deepest nesting within a value.
const DEPTH: usize = 64;

/// The integer `statusCode` of an object. JSON, or what people take for it: keys and values without quotes or in single
/// ones, commas too many, and whatever follows the object's end.
pub(super) fn parse(text: &str) -> Option<i64> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.get("statusCode")?.as_i64(),
        Err(_) => Lenient { text, at: 0 }.object(),
    }
}

/// A reader of what is nearly JSON.
struct Lenient<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lenient<'a> {
    fn object(&mut self) -> Option<i64> {
        self.take(b'{')?;
        let mut status = None;
        loop {
            while self.take(b',').is_some() {}
            match self.peek()? {
                b'}' => return status,
                b'{' | b'[' => return None,
                _ => {}
            }
            let key = match self.quoted() {
                Some(key) => key?,
                None => self.until(b":")?.trim(),
            };
            self.take(b':')?;
            let value = self.value()?;
            if key == "statusCode" {
                status = value.and_then(integer);
            }
            if self.take(b',').is_none() && self.peek()? != b'}' {
                return None;
            }
        }
    }

    /// A value; its text if it is a word without quotes.
    fn value(&mut self) -> Option<Option<&'a str>> {
        if let Some(quoted) = self.quoted() {
            return quoted.map(|_| None);
        }
        match self.peek()? {
            b'{' | b'[' => self.nested().map(|()| None),
            _ => Some(Some(self.until(b",}")?.trim())),
        }
    }

    /// Skips an object or a list.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            if let Some(quoted) = self.quoted() {
                quoted?;
                continue;
            }
            match self.peek()? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
            if depth > DEPTH {
                return None;
            }
        }
    }

    /// A text in quotes, if one begins here; `Some(None)` if it does not end.
    fn quoted(&mut self) -> Option<Option<&'a str>> {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let start = self.at + 1;
        let mut escaped = false;
        for (offset, &byte) in self.text.as_bytes()[start..].iter().enumerate() {
            if byte == quote && !escaped {
                self.at = start + offset + 1;
                return Some(self.text.get(start..start + offset));
            }
            escaped = byte == b'\\' && !escaped;
        }
        Some(None)
    }

    /// The text before the first of some bytes; `None` if there is none of them.
    fn until(&mut self, stops: &[u8]) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|byte| stops.contains(&byte))?;
        self.at += length;
        Some(&rest[..length])
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_counts_as_a_status() {
        for text in [
            r#"{"statusCode": 200}"#,
            "{ statusCode: 200 }",
            "{'statusCode': 200}",
            r#"{statusCode: 200, "value": 'goog'}"#,
            "{statusCode: 200, foo'}: [ba r]}",
            "{statusCode: 200, foo}: [ba r]}",
            "{statusCode: 200, }foo: ''}",
            "{statusCode: 200, }foo: [ba r]}",
            r#"{statusCode: 200, " ": " "}"#,
            "{'statusCode': 200, '': ''}",
            r#"{"statusCode": 200 , }"#,
            r#"{"statusCode": 200 , null: null }"#,
            "\n{\n  statusCode: 200,\n  body: {a: [1, '}']}\n}\n",
            r#"{"é": "é", statusCode: 100, statusCode: 200}"#,
        ] {
            assert_eq!(parse(text), Some(200), "{text}");
        }
        assert_eq!(parse("{statusCode: -1000}"), Some(-1000));
    }

    #[test]
    fn what_does_not() {
        for text in [
            "",
            "200",
            r#""statusCode""#,
            r#"{"statusCode": "200"}"#,
            "{statusCode: '200'}",
            "{statusCode: 200.5}",
            r#"{"statusCode": 200.0}"#,
            "{statusCode: 2OO}",
            "{statusCode: }",
            "{statusCode: 99999999999999999999}",
            "statusCode: 200",
            "{statusCode: 200",
            r#"{"statusCode": 200"#,
            r#"{'statusCode": 200 }"#,
            r#"{"statusCode': 200 }"#,
            "{'statusCode: 200 }",
            "{statusCode: 200, {foo: [ba r]}",
            r#"{"other": 1}"#,
            "{other: 1}",
            "[200]",
            "{}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{{statusCode: 200, a: {}", "[".repeat(100_000))), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r#"([{}\[\],:'"\\ é]|statusCode|200){0,24}"#) {
            let _ = parse(&text);
        }
    }
}
