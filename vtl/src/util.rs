//! `$util`, as Amazon's guide lists it, and `qr`, which is used though not listed.
//!
//! What AppSync has beyond (`toJson`, `time`, `error`) does not exist here and renders empty.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Eval, Fault};
use crate::json;
use crate::limits::Meter;
use crate::text::Text;
use crate::value::{Value, print_java};

/// What `java.net.URLEncoder` escapes; blanks come out as `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

/// Padding may be missing, as with most Java decoders.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `$util.name(argument)`
pub(crate) fn call(name: &str, argument: &Value, meter: &mut Meter) -> Eval<Value> {
    if !matches!(name, "escapeJavaScript" | "parseJson" | "urlEncode" | "urlDecode" | "base64Encode" | "base64Decode")
        || argument.is_null()
    {
        return Ok(Value::Null);
    }
    let text = match argument {
        Value::Str(text) => text.clone(),
        other => {
            let mut text = String::new();
            print_java(other, &mut text, meter.output_limit())?;
            Text::from(text)
        }
    };
    // Escapes make a text up to six times as long.
    meter.scratch(text.len())?;
    let made = match name {
        "escapeJavaScript" if !text.bytes().any(|c| NEEDS_ESCAPE[usize::from(c)]) => return Ok(Value::Str(text)),
        "escapeJavaScript" => {
            let mut escaped = String::with_capacity(text.len() + 16);
            escape_java_script(&text, &mut escaped);
            escaped
        }
        "parseJson" => {
            meter.step(text.len() as u64 / 16)?;
            meter.scratch(text.len().saturating_mul(4).min(meter.output_limit()))?;
            return json::parse(&text).map_err(|error| {
                Fault::failed(format!("$util.parseJson failed: {error}"), "check that the text is JSON")
            });
        }
        "urlEncode" => utf8_percent_encode(&text, FORM).to_string().replace(' ', "+"),
        "urlDecode" => url_decode(&text)?,
        "base64Encode" => BASE64.encode(text.as_bytes()),
        _ => base64_decode(&text)?,
    };
    meter.scratch(made.len())?;
    Ok(Value::from(made))
}

fn url_decode(text: &str) -> Eval<String> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let broken = bytes.iter().enumerate().any(|(at, c)| *c == b'%' && !(hex(at + 1) && hex(at + 2)));
    if broken {
        return Err(Fault::failed("$util.urlDecode failed: bad % escape", "check that the text is URL encoded"));
    }
    let spaced = text.replace('+', " ");
    Ok(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

fn base64_decode(text: &str) -> Eval<String> {
    let compact: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    match BASE64.decode(&compact) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            Err(Fault::failed(format!("$util.base64Decode failed: {error}"), "check that the text is base64"))
        }
    }
}

/// By byte; those of characters beyond ASCII need one.
const NEEDS_ESCAPE: [bool; 256] = {
    let mut needs = [true; 256];
    let mut c = b' ';
    while c <= b'~' {
        needs[c as usize] = matches!(c, b'"' | b'\'' | b'\\' | b'/');
        c += 1;
    }
    needs
};

/// `StringEscapeUtils.escapeJavaScript` of commons-lang 2, which also escapes `'` and `/`. The guide tells
/// users to undo the former, since JSON has no `\'`.
pub(crate) fn escape_java_script(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|c| NEEDS_ESCAPE[usize::from(c)]) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            None => {}
            Some('"') => out.push_str("\\\""),
            Some('\'') => out.push_str("\\'"),
            Some('\\') => out.push_str("\\\\"),
            Some('/') => out.push_str("\\/"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\u{7f}') => out.push('\u{7f}'),
            Some(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(char::from(b"0123456789ABCDEF"[usize::from(*unit >> shift & 15)]));
                    }
                }
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}
