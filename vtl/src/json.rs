//! JSON as json-smart reads it in permissive mode, which is what stands behind `$input` and
//! `$util.parseJson`: quotes may be single or missing, commas may be too many, anything may follow the
//! value, and what opens like nothing else is a string.
//!
//! Compared with json-smart 2.3 row by row; the recordings of payloads agree (`a=b`, `a{b`, `true{` are
//! strings, `{` alone is an error).

use std::rc::Rc;

use crate::text::Text;
use crate::value::{Map, Value, integer_literal};

/// Deepest nesting accepted; json-smart itself has stopped at 400 since 2.4.9.
const DEPTH: u32 = 400;

/// Why a text is not JSON, in json-smart's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(Box<str>);

/// Reads one value.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    parse_shared(&Rc::new(text.into()))
}

/// The same; strings of the result share the text instead of copying from it.
pub(crate) fn parse_shared(text: &Rc<Box<str>>) -> Result<Value, JsonError> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        items: Vec::with_capacity(16),
        members: Vec::with_capacity(16),
        unescaped: String::new(),
    };
    reader.skip_blanks();
    if reader.peek().is_none() {
        return Ok(Value::from_static(""));
    }
    // The outermost value has no stop characters: an unquoted text runs to the end.
    reader.value(Place::Item, b"", 0)?;
    Ok(reader.items.pop().unwrap_or_default())
}

struct Reader<'a> {
    text: &'a Rc<Box<str>>,
    bytes: &'a [u8],
    at: usize,
    /// Items and members of the containers being read, outermost first; a finished container takes its own
    /// off the end, so that each is allocated once and in its size. Values are made where they belong: a
    /// value returned is a value copied several times.
    items: Vec<Value>,
    members: Vec<(Value, Value)>,
    /// The text with escapes being read: one buffer for all of them.
    unescaped: String,
}

/// Where a value goes.
#[derive(Clone, Copy)]
enum Place {
    /// The end of the items.
    Item,
    /// The last member, whose key is there.
    Member,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn end(&self, what: &str) -> JsonError {
        JsonError(format!("Unexpected End Of File position {}: {what}", self.at.saturating_sub(1)).into())
    }

    fn unexpected(&self) -> JsonError {
        let c = self.text[self.at..].chars().next().unwrap_or(' ');
        JsonError(format!("Unexpected character ({c}) at position {}.", self.at).into())
    }

    #[inline(always)]
    fn set(&mut self, place: Place, value: Value) {
        match place {
            Place::Item => self.items.push(value),
            Place::Member => {
                if let Some((_, member)) = self.members.last_mut() {
                    *member = value;
                }
            }
        }
    }

    /// Reads a value to its place. Only containers cost a call.
    #[inline(always)]
    fn value(&mut self, place: Place, stops: &[u8], depth: u32) -> Result<(), JsonError> {
        self.skip_blanks();
        match self.peek() {
            None => return Err(self.end("EOF")),
            Some(b':' | b'}' | b']') => return Err(self.unexpected()),
            Some(b'{') => return self.object(place, depth + 1),
            Some(b'[') => return self.array(place, depth + 1),
            Some(quote @ (b'"' | b'\'')) => match self.plain_quoted(quote) {
                Some((start, end)) => self.set(place, Value::Str(Text::window(self.text, start, end))),
                None => {
                    let text = self.quoted(quote)?;
                    self.set(place, Value::Str(text));
                }
            },
            Some(first) => match self.simple(stops) {
                Some(simple) => self.set(place, simple),
                None => {
                    let number = first.is_ascii_digit() || first == b'-';
                    let value = if number { self.number(stops) } else { self.word(stops) };
                    self.set(place, value);
                }
            },
        }
        Ok(())
    }

    fn enter(&self, depth: u32) -> Result<(), JsonError> {
        if depth > DEPTH {
            let message = format!("Maximum nesting depth of {DEPTH} reached at position {}.", self.at);
            return Err(JsonError(message.into()));
        }
        Ok(())
    }

    fn word(&mut self, stops: &[u8]) -> Value {
        let (start, end) = self.unquoted(stops);
        match &self.text[start..end] {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "NaN" => Value::Double(f64::NAN),
            _ => Value::Str(Text::window(self.text, start, end)),
        }
    }

    /// The common case: a word or a short whole number, with a stop right after it.
    fn simple(&mut self, stops: &[u8]) -> Option<Value> {
        let rest = &self.bytes[self.at..];
        let (value, length) = match rest.first()? {
            b't' if rest.starts_with(b"true") => (Value::Bool(true), 4),
            b'f' if rest.starts_with(b"false") => (Value::Bool(false), 5),
            b'n' if rest.starts_with(b"null") => (Value::Null, 4),
            b'0'..=b'9' => {
                let digits = rest.iter().take(10).take_while(|c| c.is_ascii_digit());
                let (number, length) = digits.fold((0_i32, 0), |(number, length), c| {
                    (number.wrapping_mul(10) + i32::from(c - b'0'), length + 1)
                });
                (Value::Int(number), length)
            }
            _ => return None,
        };
        // Ten digits may not fit.
        if length > 9 || !rest.get(length).is_some_and(|c| stops.contains(c)) {
            return None;
        }
        self.at += length;
        Some(value)
    }

    #[inline(never)]
    fn object(&mut self, place: Place, depth: u32) -> Result<(), JsonError> {
        self.enter(depth)?;
        self.at += 1;
        let own = self.members.len();
        loop {
            match self.peek() {
                None => return Err(self.end("null")),
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',') => {
                    self.at += 1;
                    continue;
                }
                Some(b':' | b']' | b'[' | b'{') => return Err(self.unexpected()),
                Some(b'}') => {
                    self.at += 1;
                    let map = Map::of_members(&mut self.members, own);
                    self.set(place, Value::Map(Rc::new(map)));
                    return Ok(());
                }
                Some(quote @ (b'"' | b'\'')) => match self.plain_quoted(quote) {
                    Some((start, end)) => {
                        self.members.push((Value::Str(Text::window(self.text, start, end)), Value::Null));
                    }
                    None => {
                        let key = self.quoted(quote)?;
                        self.members.push((Value::Str(key), Value::Null));
                    }
                },
                Some(_) => {
                    let (start, end) = self.unquoted(b":");
                    self.members.push((Value::Str(Text::window(self.text, start, end)), Value::Null));
                }
            }
            self.skip_blanks();
            match self.peek() {
                None => return Err(self.end("null")),
                Some(b':') => self.at += 1,
                Some(_) => return Err(self.unexpected()),
            }
            self.value(Place::Member, b",}", depth)?;
            self.skip_blanks();
            match self.peek() {
                None => return Err(self.end("null")),
                Some(b',' | b'}') => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    #[inline(never)]
    fn array(&mut self, place: Place, depth: u32) -> Result<(), JsonError> {
        self.enter(depth)?;
        self.at += 1;
        let own = self.items.len();
        loop {
            match self.peek() {
                None => return Err(self.end("EOF")),
                Some(b' ' | b'\t' | b'\r' | b'\n' | b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    let list = Value::json_list(self.items.split_off(own));
                    self.set(place, list);
                    return Ok(());
                }
                Some(b':' | b'}') => return Err(self.unexpected()),
                Some(_) => self.value(Place::Item, b",]", depth)?,
            }
        }
    }

    /// Text up to a stop character or the end, without blanks around it.
    fn unquoted(&mut self, stops: &[u8]) -> (usize, usize) {
        let start = self.at;
        let rest = &self.bytes[start..];
        self.at += rest.iter().position(|c| stops.contains(c)).unwrap_or(rest.len());
        let raw = &self.text[start..self.at];
        let blank = |c: char| c <= ' ';
        let from = start + raw.len() - raw.trim_start_matches(blank).len();
        (from, from + raw.trim_matches(blank).len())
    }

    fn number(&mut self, stops: &[u8]) -> Value {
        let (start, end) = self.unquoted(stops);
        let text = &self.text[start..end];
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.bytes().all(|c| c.is_ascii_digit()) {
            // A lone minus counts as 0 in json-smart.
            return if digits.is_empty() { Value::Int(0) } else { integer_literal(text) };
        }
        if !is_float(digits) {
            return Value::Str(Text::window(self.text, start, end));
        }
        match text.parse() {
            // Beyond 18 characters json-smart keeps every digit (`BigDecimal`).
            Ok(number) if text.len() <= 18 => Value::Double(number),
            _ => Value::Big(text.into()),
        }
    }

    /// The ends of a quoted text, if it has no escape and has an end.
    #[inline]
    fn plain_quoted(&mut self, quote: u8) -> Option<(usize, usize)> {
        let start = self.at + 1;
        let end = up_to_quote_or_escape(self.bytes, start, quote)?;
        if self.bytes[end] != quote {
            return None;
        }
        self.at = end + 1;
        Some((start, end))
    }

    #[inline(never)]
    fn quoted(&mut self, quote: u8) -> Result<Text, JsonError> {
        self.at += 1;
        self.unescaped.clear();
        loop {
            let start = self.at;
            let Some(end) = up_to_quote_or_escape(self.bytes, start, quote) else {
                self.at = self.bytes.len() + 1;
                return Err(self.end("null"));
            };
            self.unescaped.push_str(&self.text[start..end]);
            self.at = end + 1;
            if self.bytes[end] == quote {
                return Ok(self.unescaped.as_str().into());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let Some(c) = self.peek() else {
            return Err(self.end("null"));
        };
        self.at += 1;
        let meant = match c {
            b't' => '\t',
            b'n' => '\n',
            b'r' => '\r',
            b'f' => '\u{c}',
            b'b' => '\u{8}',
            b'\\' | b'/' | b'"' | b'\'' => char::from(c),
            b'x' => char::from(self.hex(2)? as u8),
            b'u' => self.utf16()?,
            // An unknown escape vanishes with its letter, which may have several bytes.
            _ => {
                while !self.text.is_char_boundary(self.at) {
                    self.at += 1;
                }
                return Ok(());
            }
        };
        self.unescaped.push(meant);
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<u16, JsonError> {
        let text = self.bytes.get(self.at..self.at + digits).ok_or_else(|| self.end("EOF"))?;
        let mut code = 0;
        for digit in text {
            let digit = char::from(*digit).to_digit(16).ok_or_else(|| self.unexpected())?;
            code = code << 4 | digit as u16;
        }
        self.at += digits;
        Ok(code)
    }

    fn utf16(&mut self) -> Result<char, JsonError> {
        let first = self.hex(4)?;
        if (0xD800..0xDC00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex(4)?;
            if let Some(Ok(c)) = char::decode_utf16([first, second]).next() {
                return Ok(c);
            }
            self.at = back;
        }
        // Rust strings cannot hold half a surrogate pair; Java would send it out as `?`.
        Ok(char::from_u32(u32::from(first)).unwrap_or('?'))
    }
}

/// Where the first quote or backslash from a place on is. Eight bytes are looked at at once: most strings are
/// short, and their ends are where a processor guesses wrong.
#[inline]
fn up_to_quote_or_escape(text: &[u8], from: usize, quote: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The highest bit of each byte that is zero; above the lowest such byte there may be false ones.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHEST_BITS;
    let mut at = from;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * u64::from(quote))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text.get(at..)?;
    Some(at + rest.iter().position(|c| *c == quote || *c == b'\\')?)
}

/// Digits with a fraction, an exponent or both.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(|exponent| {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !digits.is_empty() && all_digits(digits)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(value) => value.to_json(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn reads_what_json_smart_reads() {
        let rows = [
            (
                "{a:b, 'c':d e, f:[1,x y,], g:007, h:-5, i:+5, j:1.50, k:1e3, l:.5, n:tru, o:null, p:nul}",
                r#"{"a":"b","c":"d e","f":[1,"x y"],"g":7,"h":-5,"i":"+5","j":1.5,"k":1000.0,"l":".5","n":"tru","o":null,"p":"nul"}"#,
            ),
            (r#"[1,,2 3,"a" "b"] trailing"#, r#"[1,"2 3","a","b"]"#),
            ("  a b  ", r#""a b""#),
            (r#""abc" tail"#, r#""abc""#),
            ("12 34", r#""12 34""#),
            ("12", "12"),
            ("null{", r#""null{""#),
            ("true{", r#""true{""#),
            ("a=b", r#""a=b""#),
            ("a[", r#""a[""#),
            ("-", "0"),
            ("1.2.3", r#""1.2.3""#),
            ("1e", r#""1e""#),
            (r#"{"a":1 b}"#, r#"{"a":"1 b"}"#),
            (r#"{"a":"x","a":2,"e":"\u007f\u0001é\x41\qz\/"}"#, r#"{"a":2,"e":"\u007F\u0001éAz/"}"#),
            (r#""\ud83d\ude00 \ud83d""#, "\"😀 ?\""),
            ("'single'", r#""single""#),
            (
                r#"{"d":0.1234567890123456789, "b":9223372036854775808, "f":1.0, "g":100000000.0}"#,
                r#"{"d":0.1234567890123456789,"b":9223372036854775808,"f":1.0,"g":1.0E8}"#,
            ),
            ("", r#""""#),
        ];
        for (text, json) in rows {
            assert_eq!(read(text), json, "{text}");
        }
    }

    #[test]
    fn refuses_what_json_smart_refuses_in_its_words() {
        let rows = [
            ("{", "! Unexpected End Of File position 0: null"),
            (r#"{"a""#, "! Unexpected End Of File position 3: null"),
            (r#"{"a":1"#, "! Unexpected End Of File position 5: null"),
            (r#"{"a":"#, "! Unexpected End Of File position 4: EOF"),
            ("[1", "! Unexpected End Of File position 1: EOF"),
            (r#"{"a":[}"#, "! Unexpected character (}) at position 6."),
            ("}", "! Unexpected character (}) at position 0."),
            (r#""unclosed"#, "! Unexpected End Of File position 9: null"),
        ];
        for (text, error) in rows {
            assert_eq!(read(text), error, "{text}");
        }
        assert!(read(&"[".repeat(100_000)).starts_with("! Maximum nesting depth"));
    }
}
