//! Findings for people, for programs and for GitHub.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use crate::args::Format;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Note => "\x1b[1;36m",
        }
    }
}

/// A finding with its place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Diagnostic {
    #[serde(flatten)]
    pub(crate) place: Option<Place>,
    pub(crate) level: Level,
    /// CamelCase, the same as in a condition.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// `ApiDefinition default/orders`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// JSON pointer in the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

/// Where in which file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// From 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// The line's text.
    #[serde(skip)]
    pub(crate) snippet: String,
}

/// Whether colours are written: to a terminal, unless NO_COLOR is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colours(bool);

impl Colours {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(false);

    pub(crate) fn of_stderr() -> Self {
        Self::wanted(io::stderr().is_terminal())
    }

    pub(crate) fn of_stdout() -> Self {
        Self::wanted(io::stdout().is_terminal())
    }

    fn wanted(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(terminal && !refused)
    }

    pub(crate) fn paint(self, colour: &str, text: &str) -> String {
        if self.0 { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("\x1b[1m", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("\x1b[2m", text)
    }
}

/// Writes for people. Nobody to read it is no reason to stop serving.
pub(crate) fn to_stderr(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}

/// Writes results. A reader who has had enough (`| head`) is no error.
pub(crate) fn to_stdout(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// All findings as one text.
pub(crate) fn render(diagnostics: &[Diagnostic], format: Format, colours: Colours) -> String {
    match format {
        Format::Text => diagnostics.iter().map(|diagnostic| text(diagnostic, colours)).collect(),
        Format::Github => diagnostics.iter().map(github).collect(),
        // Diagnostics hold texts and numbers only, so they are always JSON.
        Format::Json => serde_json::to_string_pretty(diagnostics).unwrap_or_default() + "\n",
    }
}

/// Sorts findings by place, and drops what two Stages of one API both say.
pub(crate) fn in_order(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort();
    diagnostics.dedup();
}

/// `2 errors, 1 warning`; empty when there is nothing.
pub(crate) fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |level: Level| {
        let number = diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count();
        let plural = if number == 1 { "" } else { "s" };
        (number > 0).then(|| format!("{number} {}{plural}", level.word()))
    };
    [Level::Error, Level::Warning].into_iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

/// As rustc writes them: head, place, the line with a mark under it, help.
fn text(diagnostic: &Diagnostic, colours: Colours) -> String {
    let Diagnostic { place, level, reason, message, object, pointer: _, help } = diagnostic;
    let mut out = String::new();
    let head = colours.paint(level.colour(), &format!("{}[{reason}]", level.word()));
    line(&mut out, format_args!("{head}: {}", colours.bold(message)));
    match place {
        None => {
            if let Some(object) = object {
                line(&mut out, format_args!("  {} {object}", colours.dim("-->")));
            }
        }
        Some(Place { file, line: 0, .. }) => {
            line(&mut out, format_args!("  {} {}", colours.dim("-->"), file.display()));
        }
        Some(Place { file, line: number, column, snippet }) => {
            let margin = number.to_string().len();
            let bar = colours.dim("|");
            let arrow = colours.dim("-->");
            line(&mut out, format_args!("{:margin$}{arrow} {}:{number}:{column}", "", file.display()));
            if !snippet.is_empty() {
                line(&mut out, format_args!("{:margin$} {bar}", ""));
                let (shown, mark) = excerpt(snippet, *column);
                line(&mut out, format_args!("{} {bar} {shown}", colours.dim(&number.to_string())));
                let caret = colours.paint(level.colour(), "^");
                line(&mut out, format_args!("{:margin$} {bar} {:mark$}{caret}", "", ""));
            }
        }
    }
    if let Some(help) = help {
        line(&mut out, format_args!("  {} help: {help}", colours.dim("=")));
    }
    out.push('\n');
    out
}

/// At most so many characters of a line are shown: documents may be one line.
const WIDTH: usize = 100;

/// What of a line is shown, and where in it the column is.
fn excerpt(snippet: &str, column: usize) -> (String, usize) {
    let at = column.saturating_sub(1);
    // A tab is as wide as a blank here, so that the mark stands where it should.
    let characters: Vec<char> = snippet.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let start = if characters.len() <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2).min(characters.len() - WIDTH) };
    let shown: String = characters.iter().skip(start).take(WIDTH).collect();
    (shown.trim_end().to_owned(), at - start.min(at))
}

/// `::error file=a.yaml,line=3,col=7,title=Reason::message`.
fn github(diagnostic: &Diagnostic) -> String {
    let Diagnostic { place, level, reason, message, object, pointer: _, help } = diagnostic;
    let command = match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut out = format!("::{command} ");
    match place {
        Some(Place { file, line: 0, .. }) => {
            write(&mut out, format_args!("file={},", property(&file.to_string_lossy())))
        }
        Some(Place { file, line, column, .. }) => {
            write(&mut out, format_args!("file={},line={line},col={column},", property(&file.to_string_lossy())));
        }
        None => {}
    }
    write(&mut out, format_args!("title={}::", property(reason)));
    if let (None, Some(object)) = (place, object) {
        write(&mut out, format_args!("{}: ", data(object)));
    }
    out.push_str(&data(message));
    if let Some(help) = help {
        write(&mut out, format_args!("%0A{}", data(help)));
    }
    out.push('\n');
    out
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    write(out, arguments);
    out.push('\n');
}

fn write(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    out.write_fmt(arguments).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(column: usize, snippet: &str) -> Diagnostic {
        Diagnostic {
            place: Some(Place { file: "api.yaml".into(), line: 12, column, snippet: snippet.to_owned() }),
            level: Level::Error,
            reason: "UnknownField".into(),
            message: "100% wrong".into(),
            object: None,
            pointer: Some("/spec/x".into()),
            help: Some("try y".into()),
        }
    }

    #[test]
    fn text_marks_the_column() {
        let out = render(&[diagnostic(3, "  x: 1")], Format::Text, Colours::NONE);
        let want =
            "error[UnknownField]: 100% wrong\n  --> api.yaml:12:3\n   |\n12 |   x: 1\n   |   ^\n  = help: try y\n\n";
        assert_eq!(out, want);
    }

    #[test]
    fn a_document_of_one_line_is_shown_around_the_mark() {
        let long = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let (shown, mark) = excerpt(&long, 501);
        assert_eq!(shown.len(), WIDTH);
        assert!(shown.get(mark..).unwrap().starts_with("HERE"));
        assert_eq!(excerpt("abc", 99).0, "abc");
    }

    #[test]
    fn github_commands_are_escaped() {
        let out = render(&[diagnostic(3, "")], Format::Github, Colours::NONE);
        assert_eq!(out, "::error file=api.yaml,line=12,col=3,title=UnknownField::100%25 wrong%0Atry y\n");
    }

    #[test]
    fn json_has_the_place_in_line_with_the_rest() {
        let out = render(&[diagnostic(3, "x")], Format::Json, Colours::NONE);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value[0]["line"], 12);
        assert_eq!(value[0]["level"], "error");
        assert_eq!(render(&[], Format::Json, Colours::NONE), "[]\n");
    }
}
