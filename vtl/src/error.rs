//! What went wrong, where, and what to do about it.

use std::fmt;
use std::ops::Deref;

/// A template that does not parse, or a rendering that failed. One pointer wide; see [`Report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Report>);

/// The contents of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name given to [`crate::Template::parse`].
    pub template: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// What sort of failure it is.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub message: String,
    /// What to do about it; empty if there is nothing to add.
    pub help: &'static str,
    /// The line of the template it happened on.
    pub source_line: String,
}

/// Sorts of failure. A gateway answers [`Kind::Payload`] with 400 and all others with 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The template is not well-formed, or uses what is refused; only from parsing and `#evaluate`.
    Syntax,
    /// The template is fine but an operation in it failed, as an exception in Java would.
    Evaluation,
    /// A bound was reached.
    Limit,
    /// The payload opens like JSON and is not.
    Payload,
}

impl Error {
    /// The line of the template with a caret under the place.
    pub fn snippet(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent: String = self
            .source_line
            .chars()
            .take(self.column.saturating_sub(1) as usize)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!("{number} | {}\n{margin} | {indent}^", self.source_line)
    }
}

impl Report {
    /// The message without any value it quotes: fit for a log, where nothing of a payload may stand.
    pub fn gist(&self) -> &str {
        let ends = [self.message.find(['"', '`']), self.message.find(" (")];
        let end = ends.into_iter().flatten().min().unwrap_or(self.message.len());
        self.message[..end].trim_end_matches([' ', ':'])
    }
}

impl Deref for Error {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.template, self.line, self.column, self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// A failure before its place in the source has been worked out: a byte offset at most.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) help: &'static str,
    pub(crate) at: Option<u32>,
}

/// Results inside the crate; boxed, because a rendering passes thousands of them up.
pub(crate) type Eval<T> = Result<T, Box<Fault>>;

impl Fault {
    pub(crate) fn new(kind: Kind, message: impl Into<String>, help: &'static str) -> Box<Fault> {
        Box::new(Fault { kind, message: message.into(), help, at: None })
    }

    pub(crate) fn failed(message: impl Into<String>, help: &'static str) -> Box<Fault> {
        Fault::new(Kind::Evaluation, message, help)
    }

    pub(crate) fn limit(message: impl Into<String>, help: &'static str) -> Box<Fault> {
        Fault::new(Kind::Limit, message, help)
    }

    pub(crate) fn syntax(at: usize, message: impl Into<String>, help: &'static str) -> Box<Fault> {
        let mut fault = Fault::new(Kind::Syntax, message, help);
        fault.at = Some(u32::try_from(at).unwrap_or(u32::MAX));
        fault
    }

    /// Names the place, unless a more exact one is known already.
    pub(crate) fn at(mut self: Box<Self>, at: u32) -> Box<Self> {
        self.at.get_or_insert(at);
        self
    }

    /// The error to hand out, with line and column.
    pub(crate) fn locate(self, template: &str, source: &str) -> Error {
        let mut at = (self.at.unwrap_or(0) as usize).min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = source[..at].bytes().filter(|b| *b == b'\n').count() + 1;
        let whole_line = source[start..].lines().next().unwrap_or("");
        Error(Box::new(Report {
            template: template.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(source[start..at].chars().count() + 1).unwrap_or(u32::MAX),
            kind: self.kind,
            message: self.message,
            help: self.help,
            source_line: whole_line.chars().take(200).collect(),
        }))
    }
}
