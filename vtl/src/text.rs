//! Strings that are cheap to hand around: every value of a request is read far more often than made.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::rc::Rc;

/// An immutable string. Cloning never copies the characters, so a field of a parsed body can be a
/// window into the body and a well-known key costs nothing.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Rc<str>),
    /// A thin pointer, so that a `Text` takes three words.
    /// Start and length in one word: halves written apart and read together would stall the processor.
    Window {
        whole: Rc<Box<str>>,
        span: u64,
    },
}

impl Text {
    /// A string that lives as long as the program: no allocation.
    pub const fn from_static(text: &'static str) -> Self {
        Text(Repr::Static(text))
    }

    /// The part of `whole` between two byte offsets. Falls back to a copy where a window cannot say it.
    #[inline(always)]
    pub(crate) fn window(whole: &Rc<Box<str>>, start: usize, end: usize) -> Self {
        // `start` is not beyond `end`.
        if end <= u32::MAX as usize {
            Text(Repr::Window { whole: Rc::clone(whole), span: (start as u64) << 32 | (end - start) as u64 })
        } else {
            Text::from(&whole[start..end])
        }
    }

    /// Length in bytes.
    fn size(&self) -> usize {
        match &self.0 {
            Repr::Static(text) => text.len(),
            Repr::Shared(text) => text.len(),
            Repr::Window { span, .. } => (*span & LENGTH) as usize,
        }
    }

    /// Are these its characters? Cheaper than comparing strings, since most differ in length.
    pub(crate) fn is(&self, other: &str) -> bool {
        self.size() == other.len() && self.as_bytes() == other.as_bytes()
    }

    /// A number that differs for most texts that differ.
    pub(crate) fn mark(&self) -> u32 {
        let bytes = self.as_bytes();
        let end = |byte: Option<&u8>| byte.map_or(0, |byte| u32::from(*byte));
        bytes.len() as u32 * 7 + end(bytes.first()) * 5 + end(bytes.last())
    }

    /// The bytes; unlike the characters they need no look at where characters start.
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Static(text) => text.as_bytes(),
            Repr::Shared(text) => text.as_bytes(),
            Repr::Window { whole, span } => &whole.as_bytes()[bounds(*span)],
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(text) => text,
            Repr::Shared(text) => text,
            Repr::Window { whole, span } => &whole[bounds(*span)],
        }
    }
}

const LENGTH: u64 = 0xffff_ffff;

fn bounds(span: u64) -> Range<usize> {
    let start = (span >> 32) as usize;
    start..start + (span & LENGTH) as usize
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_empty() { Text::from_static("") } else { Text(Repr::Shared(Rc::from(text))) }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.is_empty() { Text::from_static("") } else { Text(Repr::Shared(Rc::from(text))) }
    }
}

impl From<Rc<str>> for Text {
    fn from(text: Rc<str>) -> Self {
        Text(Repr::Shared(text))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.size() == other.size() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
