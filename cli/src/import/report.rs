//! What an import says: a line for everything that is not simply taken over.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Nothing can be written.
    Error,
    /// Something has no counterpart, or has to be done by hand.
    Warning,
    /// Something was assumed, or means nothing here.
    Note,
}

/// The lines of an import.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<(Level, String, String)>,
}

impl Report {
    pub(crate) fn error(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Error, path.into(), text.into());
    }

    pub(crate) fn warning(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Warning, path.into(), text.into());
    }

    pub(crate) fn note(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Note, path.into(), text.into());
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.lines.iter().any(|(level, ..)| *level == Level::Error)
    }

    fn add(&mut self, level: Level, path: String, text: String) {
        let line = (level, path, text);
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, path, text) in &self.lines {
            let level = match level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Note => "note",
            };
            writeln!(f, "{level}: {path}: {text}")?;
        }
        Ok(())
    }
}
