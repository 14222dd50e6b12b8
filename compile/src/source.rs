//! Text to values, and values back to lines.

mod locate;

use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use locate::Index;

/// Why text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct SourceError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// One sentence.
    pub message: String,
}

/// A place in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A plain scalar that YAML 1.1, and so kubectl, takes for a boolean.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ambiguity {
    /// Where.
    pub location: Location,
    /// The scalar as it stands.
    pub text: String,
    /// Which document of the stream, from 0.
    pub document: usize,
    /// JSON pointer of it in that document; of a key the pointer with that key.
    pub pointer: String,
}

/// Named text in JSON or YAML, chosen by its content.
#[derive(Debug)]
pub struct Document {
    name: String,
    text: String,
    index: OnceLock<Index>,
}

impl Document {
    /// Text under a name for messages, a file's path for instance.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), index: OnceLock::new() }
    }

    /// Reads text that is one document.
    ///
    /// # Errors
    /// When it is neither JSON nor YAML, or not one document.
    pub fn parse(name: impl Into<String>, text: impl Into<String>) -> Result<Value, SourceError> {
        Self::new(name, text).value()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The one document in the text.
    ///
    /// # Errors
    /// When it is neither JSON nor YAML, or not one document.
    pub fn value(&self) -> Result<Value, SourceError> {
        parse_one(&self.text)
    }

    /// Every document of a YAML stream (empty ones left out), or the one JSON document.
    ///
    /// # Errors
    /// When any of it is neither JSON nor YAML.
    pub fn values(&self) -> Result<Vec<Value>, SourceError> {
        if looks_like_json(&self.text)
            && let Ok(value) = serde_json::from_str(&self.text)
        {
            return Ok(vec![value]);
        }
        serde_saphyr::from_multiple_with_options(&self.text, yaml_options()).map_err(yaml_error)
    }

    /// Where a JSON pointer of the `document`-th document is; the nearest parent where it is not there itself. The
    /// first call parses the text again, so nothing is paid while nothing is wrong. Empty documents of a stream do
    /// not count, as in [`Document::values`].
    pub fn locate(&self, document: usize, pointer: &str) -> Location {
        self.index().locate(document, pointer)
    }

    /// A line of the text, from 1.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.text.lines().nth(line.checked_sub(1)?)
    }

    /// Plain `no`, `on`, `y` and their like, which kubectl reads as booleans.
    pub fn ambiguities(&self) -> &[Ambiguity] {
        if looks_like_json(&self.text) || !locate::may_be_ambiguous(&self.text) {
            return &[];
        }
        &self.index().ambiguities
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(&self.text))
    }
}

pub(crate) fn parse_one(text: &str) -> Result<Value, SourceError> {
    if !looks_like_json(text) {
        return serde_saphyr::from_str_with_options(text, yaml_options()).map_err(yaml_error);
    }
    serde_json::from_str(text).or_else(|json| {
        // A YAML flow mapping begins like JSON. If it is not YAML either, JSON's message is the better one.
        serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|_| SourceError {
            line: json.line(),
            column: json.column(),
            message: json.to_string(),
        })
    })
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '['])
}

/// Bounds of what is read: a document of 32 MiB, as deep as serde_json reads.
fn yaml_options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    if let Some(budget) = options.budget.as_mut() {
        budget.max_events = 20_000_000;
        budget.max_nodes = 10_000_000;
        budget.max_depth = 128;
    }
    options
}

fn yaml_error(error: serde_saphyr::Error) -> SourceError {
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    let number = |value: u64| usize::try_from(value).unwrap_or(1).max(1);
    let message = error.without_snippet().to_string();
    SourceError { line: number(line), column: number(column), message }
}

#[cfg(test)]
mod tests;
