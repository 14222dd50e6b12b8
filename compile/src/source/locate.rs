//! JSON pointer to line and column. JSON is YAML, so one event reader serves both.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

use super::{Ambiguity, Location};

/// Where everything in a text is.
#[derive(Debug, Default)]
pub(super) struct Index {
    documents: Vec<Node>,
    pub(super) ambiguities: Vec<Ambiguity>,
}

#[derive(Debug)]
struct Node {
    at: Location,
    /// Keys of a mapping or numbers of a sequence, as a JSON pointer writes them.
    children: Vec<(Box<str>, Node)>,
}

/// A collection that is being read.
struct Open {
    key: Option<(Box<str>, Location)>,
    node: Node,
    sequence: bool,
    pending: Option<(Box<str>, Location)>,
}

impl Index {
    pub(super) fn of(text: &str) -> Self {
        let mut index = Self::default();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            // What does not parse was reported when it was read; what is before it can still be located.
            let Ok((event, span)) = event else { break };
            let at = Location { line: span.start.line(), column: span.start.col() + 1 };
            match event {
                Event::DocumentStart(..) => open.clear(),
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    let sequence = matches!(event, Event::SequenceStart(..));
                    let key = open.last_mut().and_then(Open::next_key);
                    open.push(Open { key, node: Node { at, children: Vec::new() }, sequence, pending: None });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    if let Some(done) = open.pop() {
                        index.close(&mut open, done.key, done.node);
                    }
                }
                Event::Scalar(value, style, ..) => {
                    index.scalar(&mut open, &value, matches!(style, ScalarStyle::Plain), at);
                }
                Event::Alias(..) => index.scalar(&mut open, "", false, at),
                _ => {}
            }
        }
        index
    }

    fn scalar(&mut self, open: &mut [Open], value: &str, plain: bool, at: Location) {
        let is_key = open.last().is_some_and(|parent| !parent.sequence && parent.pending.is_none());
        let ambiguous = plain && is_ambiguous(value);
        if is_key {
            if let Some(parent) = open.last_mut() {
                parent.pending = Some((value.into(), at));
            }
            if ambiguous {
                self.note(open, value, at);
            }
            return;
        }
        let key = open.last_mut().and_then(Open::next_key);
        if ambiguous {
            self.note_value(open, key.as_ref().map(|(key, _)| &**key), value, at);
        }
        // An empty document of a stream is a null scalar at the top; it does not count.
        if open.is_empty() && matches!(value, "" | "~" | "null") {
            return;
        }
        self.close(open, key, Node { at, children: Vec::new() });
    }

    fn note(&mut self, open: &[Open], text: &str, location: Location) {
        self.note_value(open, Some(text), text, location);
    }

    fn note_value(&mut self, open: &[Open], key: Option<&str>, text: &str, location: Location) {
        let keys = open.iter().filter_map(|open| open.key.as_ref().map(|(key, _)| &**key)).chain(key);
        let pointer = keys.map(|key| format!("/{}", crate::read::escape(key))).collect();
        self.ambiguities.push(Ambiguity { location, text: text.to_owned(), document: self.documents.len(), pointer });
    }

    fn close(&mut self, open: &mut [Open], key: Option<(Box<str>, Location)>, mut node: Node) {
        match (open.last_mut(), key) {
            (Some(parent), Some((key, at))) => {
                // A mapping's entry is where its key is.
                if !parent.sequence {
                    node.at = at;
                }
                parent.node.children.push((key, node));
            }
            (None, _) => self.documents.push(node),
            (Some(_), None) => {}
        }
    }

    pub(super) fn locate(&self, document: usize, pointer: &str) -> Location {
        let Some(mut node) = self.documents.get(document) else { return Location { line: 1, column: 1 } };
        for segment in pointer.split('/').skip(1) {
            let key = crate::read::unescape(segment);
            match node.children.iter().find(|(name, _)| **name == *key) {
                Some((_, child)) => node = child,
                None => break,
            }
        }
        node.at
    }
}

impl Open {
    /// Key of the value that comes next.
    fn next_key(&mut self) -> Option<(Box<str>, Location)> {
        if self.sequence {
            let number = self.node.children.len().to_string().into_boxed_str();
            return Some((number, Location { line: 1, column: 1 }));
        }
        self.pending.take()
    }
}

/// YAML 1.1's booleans beyond `true` and `false`, as kubectl's reader has them.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    if text.is_empty() || text.len() > 3 || !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return false;
    }
    // `yES` is text to it: lower case, upper case or one capital.
    let rest = text.get(1..).unwrap_or_default();
    rest.bytes().all(|byte| byte.is_ascii_lowercase()) || text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether it is worth looking: most texts have no such word, and a second pass over 6 MB costs.
pub(super) fn may_be_ambiguous(text: &str) -> bool {
    let delimiter = |byte: u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'\'' | b'"'));
    text.as_bytes().split(|byte| delimiter(*byte)).any(|word| std::str::from_utf8(word).is_ok_and(is_ambiguous))
}
