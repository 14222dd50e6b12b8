//! Strings and numbers.

use super::{Declared, Parser};
use crate::ast::{Expr, Node};
use crate::error::{Eval, Fault};

impl<'s> Parser<'s, '_> {
    /// `'…'` as it is; `"…"` with references and directives. A quote inside is written twice.
    pub(super) fn string(&mut self) -> Eval<Expr> {
        let open = self.at;
        let quote = self.source.as_bytes()[open];
        let mut end = open + 1;
        let mut doubled = false;
        loop {
            let Some(length) = self.source[end..].bytes().position(|c| c == quote) else {
                return Err(self.wrong(
                    open,
                    "this string has no closing quote",
                    "close it; a quote inside a string is written twice",
                ));
            };
            end += length;
            if self.source.as_bytes().get(end + 1) != Some(&quote) {
                break;
            }
            doubled = true;
            end += 2;
        }
        let raw = &self.source[open + 1..end];
        self.at = end + 1;
        let text = if doubled {
            let quote = char::from(quote).to_string();
            raw.replace(&quote.repeat(2), &quote)
        } else {
            raw.to_owned()
        };
        if quote == b'\'' {
            return Ok(Expr::Text(text.into()));
        }
        let text = unescape_unicode(text);
        if !text.contains(['$', '#']) {
            return Ok(Expr::Text(text.into()));
        }
        self.interpolated(&text, open + 1)
    }

    fn interpolated(&mut self, text: &str, start: usize) -> Eval<Expr> {
        let declared: &mut Declared = self.declared;
        let mut inner = Parser { source: text, at: 0, base: self.base + start, depth: self.depth, declared };
        let (mut block, end) = inner.block()?;
        if let Some(end) = end {
            let at = self.base + start + end.at;
            return Err(Fault::syntax(
                at,
                format!("`#{}` closes nothing in this string", end.word),
                "open the block in the same string",
            ));
        }
        Ok(match block.as_mut_slice() {
            [] => Expr::Text("".into()),
            [Node::Text(text)] => Expr::Text(std::mem::take(text)),
            _ => Expr::Interpolated(block),
        })
    }

    /// Digits, perhaps with a sign, a fraction and an exponent. `1..3` is two whole numbers.
    pub(super) fn number(&mut self) -> Eval<Expr> {
        let start = self.at;
        let bytes = self.source.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut at = digits(start + usize::from(bytes[start] == b'-'));
        let mut floating = false;
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
            floating = true;
            at = digits(at + 1);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(at + 1 + sign);
            if end > at + 1 + sign {
                floating = true;
                at = end;
            }
        }
        self.at = at;
        let text: &'s str = &self.source[start..at];
        // Not even a digit: `..` where a value should be. Whoever reads values in a row would not get ahead.
        if !text.bytes().any(|c| c.is_ascii_digit()) {
            self.at = start;
            return Err(self.wrong(start, "expected a number", "a range is [1..5]"));
        }
        if floating {
            return match text.parse() {
                Ok(number) => Ok(Expr::Double(number)),
                Err(_) => Err(self.wrong(start, format!("`{text}` is not a number"), "a number is 1, -2.5 or 1e3")),
            };
        }
        Ok(match (text.parse(), text.parse()) {
            (Ok(number), _) => Expr::Int(number),
            (_, Ok(number)) => Expr::Long(number),
            _ => Expr::Digits(text.into()),
        })
    }
}

/// `\uXXXX` in strings in double quotes; no other escape exists there.
fn unescape_unicode(text: String) -> String {
    if !text.contains("\\u") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\\u") {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 2..at + 6).filter(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()));
        match code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32) {
            Some(c) => {
                out.push(c);
                rest = &rest[at + 6..];
            }
            None => {
                out.push_str("\\u");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}
