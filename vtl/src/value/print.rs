//! Values as text: Java's `toString` and json-smart's JSON, with the mixture the real service prints.

use std::fmt::Write;

use super::{Access, Form, Value, write_double};
use crate::error::{Eval, Fault};

/// Deepest value that prints. The JSON reader stops before; a template can build deeper.
const DEPTH: u32 = 500;

/// Which characters JSON strings escape besides those that must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `$input.json`: json-smart's `LT_COMPRESS`.
    Plain,
    /// A list printed as it is: json-smart's `NO_COMPRESS` also writes `/` as `\/`.
    Web,
}

/// Appends what `toString` gives; nothing for null. Fails beyond `limit` bytes of output.
#[inline(always)]
pub(crate) fn print_java(value: &Value, out: &mut String, limit: usize) -> Eval<()> {
    match value {
        Value::Null => Ok(()),
        // The most common case, without the ways into containers.
        Value::Str(text) => {
            out.push_str(text);
            if out.len() > limit { Err(too_long(limit)) } else { Ok(()) }
        }
        other => java(other, out, limit, DEPTH),
    }
}

/// Appends JSON.
pub(crate) fn write_json(value: &Value, out: &mut String, style: Style, limit: usize) -> Eval<()> {
    json(value, out, style, limit, DEPTH)
}

fn java(value: &Value, out: &mut String, limit: usize, depth: u32) -> Eval<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(n) => write_integer(i64::from(*n), out),
        Value::Long(n) => write_integer(*n, out),
        Value::Double(n) => write_double(*n, out),
        Value::Str(text) => out.push_str(text),
        Value::Big(digits) => out.push_str(digits),
        Value::List(list) if list.form() == Form::Json => {
            return json(value, out, Style::Web, limit, depth);
        }
        Value::List(list) => {
            check(out, limit, depth)?;
            out.push('[');
            for (nth, item) in list.items().iter().enumerate() {
                if nth > 0 {
                    out.push_str(", ");
                }
                java(item, out, limit, depth - 1)?;
            }
            out.push(']');
        }
        Value::Map(map) if map.access() != Access::Open => {}
        Value::Map(map) => {
            check(out, limit, depth)?;
            out.push('{');
            for (nth, (key, item)) in map.pairs().iter().enumerate() {
                if nth > 0 {
                    out.push_str(", ");
                }
                java(key, out, limit, depth - 1)?;
                out.push('=');
                java(item, out, limit, depth - 1)?;
            }
            out.push('}');
        }
        Value::Entry(entry) => {
            check(out, limit, depth)?;
            java(&entry.key, out, limit, depth - 1)?;
            out.push('=');
            java(&entry.value, out, limit, depth - 1)?;
        }
    }
    if out.len() > limit { Err(too_long(limit)) } else { Ok(()) }
}

fn json(value: &Value, out: &mut String, style: Style, limit: usize, depth: u32) -> Eval<()> {
    match value {
        Value::Double(n) if !n.is_finite() => out.push_str("null"),
        Value::Str(text) => write_json_string(text, out, style),
        Value::List(list) => {
            check(out, limit, depth)?;
            out.push('[');
            for (nth, item) in list.items().iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                json(item, out, style, limit, depth - 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            check(out, limit, depth)?;
            out.push('{');
            for (nth, (key, item)) in map.pairs().iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                match key {
                    Value::Str(name) => write_json_string(name, out, style),
                    other => {
                        let mut name = String::new();
                        java(other, &mut name, limit, depth - 1)?;
                        write_json_string(&name, out, style);
                    }
                }
                out.push(':');
                json(item, out, style, limit, depth - 1)?;
            }
            out.push('}');
        }
        Value::Entry(_) => {
            let mut text = String::new();
            java(value, &mut text, limit, depth)?;
            write_json_string(&text, out, style);
        }
        scalar => return java(scalar, out, limit, depth),
    }
    if out.len() > limit { Err(too_long(limit)) } else { Ok(()) }
}

fn check(out: &str, limit: usize, depth: u32) -> Eval<()> {
    if depth == 0 {
        return Err(Fault::limit(
            format!("a value is nested more than {DEPTH} deep"),
            "do not put lists and maps into each other in a loop",
        ));
    }
    if out.len() > limit { Err(too_long(limit)) } else { Ok(()) }
}

fn too_long(limit: usize) -> Box<Fault> {
    Fault::limit(format!("the template renders to more than {limit} bytes"), "render less text")
}

/// Like `write!`, without the machinery of formatting: templates print a lot of small numbers.
fn write_integer(n: i64, out: &mut String) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// A JSON string as json-smart 2 writes it, quotes included.
fn write_json_string(text: &str, out: &mut String, style: Style) {
    out.push('"');
    let mut done = 0;
    let plain = |c: &u8| c.is_ascii_graphic() && !matches!(c, b'"' | b'\\' | b'/') || *c == b' ';
    if text.bytes().all(|c| plain(&c)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '/' if style == Style::Web => "\\/",
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2000}'..='\u{20ff}' => "",
            _ => continue,
        };
        out.push_str(&text[done..at]);
        if escape.is_empty() {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "\\u{:04X}", u32::from(c));
        } else {
            out.push_str(escape);
        }
        done = at + c.len_utf8();
    }
    out.push_str(&text[done..]);
    out.push('"');
}
