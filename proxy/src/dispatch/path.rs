//! The canonical path: one form for match, auth, cache key and upstream.

use std::borrow::Cow;

use http::Uri;

/// A request's path in its one canonical form.
///
/// Slashes at the very beginning are one; those after a stage's name stay, because `$context.path` shows them: where
/// the resource begins is `Routed::resource_start`'s to say.
#[derive(Clone, Debug, Default)]
pub struct CanonicalPath {
    uri: Uri,
    /// Set where the canonical form differs from what was received.
    rewritten: Option<Box<str>>,
}

impl CanonicalPath {
    /// The canonical form of a request's path.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn parse(uri: &Uri) -> Result<Self, &'static str> {
        let rewritten = match canonical(uri.path())? {
            Cow::Borrowed(path) if path.len() == uri.path().len() => None,
            path => Some(path.into()),
        };
        Ok(Self { uri: uri.clone(), rewritten })
    }

    /// The path, with its leading slash.
    pub fn as_str(&self) -> &str {
        self.rewritten.as_deref().unwrap_or(self.uri.path())
    }
}

/// Refuses what two readers could read differently, decodes escapes of unreserved characters, and leaves the rest as
/// it is. Borrows unless an escape is decoded.
///
/// # Errors
/// The reason of the refusal.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    let extra = path.bytes().take_while(|&byte| byte == b'/').count() - 1;
    let path = &path[extra..];
    let bytes = path.as_bytes();
    if !bytes.iter().fold(false, |found, &byte| found | is_notable(byte)) {
        return Ok(Cow::Borrowed(path));
    }
    let mut output: Option<String> = None;
    let mut dots = Dots::default();
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            match byte {
                0..=0x1f | 0x7f => return Err("the path holds a control character"),
                b'\\' => return Err("the path holds a backslash"),
                _ => dots.see(byte)?,
            }
            at += 1;
            continue;
        }
        let Some(decoded) = bytes.get(at + 1..at + 3).and_then(escape) else {
            return Err("the path holds a bad escape");
        };
        match decoded {
            0..=0x1f | 0x7f => return Err("the path holds a control character"),
            b'\\' => return Err("the path holds a backslash"),
            _ => dots.see(decoded)?,
        }
        if is_unreserved(decoded) {
            let output = output.get_or_insert_with(|| String::with_capacity(path.len()));
            output.push_str(&path[copied..at]);
            output.push(char::from(decoded));
            copied = at + 3;
        }
        at += 3;
    }
    dots.end()?;
    Ok(match output {
        None => Cow::Borrowed(path),
        Some(mut output) => {
            output.push_str(&path[copied..]);
            Cow::Owned(output)
        }
    })
}

/// Whether a byte needs a closer look.
fn is_notable(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | 0x7f | b'%' | b'\\' | b'.')
}

/// Watches for segments that are `.` or `..`. `%2F` never separates, but it ends a segment here: a backend that
/// decodes it before it resolves dots would leave the route that was matched and guarded.
#[derive(Default)]
struct Dots {
    length: usize,
    dots: usize,
}

impl Dots {
    fn see(&mut self, byte: u8) -> Result<(), &'static str> {
        if byte == b'/' {
            self.end()?;
            *self = Self::default();
        } else {
            self.length += 1;
            self.dots += usize::from(byte == b'.');
        }
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        match (self.length, self.dots) {
            (1, 1) | (2, 2) => Err("the path holds a dot segment"),
            _ => Ok(()),
        }
    }
}

/// The byte that two hexadecimal digits stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests;
