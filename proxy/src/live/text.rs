//! Text with references: what stands between them is kept, what they name is looked up per request. Scanned once, at
//! load.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderName;

/// Text with references.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    pieces: Box<[Piece]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    From(Reference),
}

/// What a reference names. Stage variables are none: they are known at load.
#[derive(Debug, PartialEq, Eq)]
pub enum Reference {
    /// `$context.…`, without `$context.`.
    Context(Box<str>),
    /// The last value of a request header.
    Header(HeaderName),
    /// The last value of a query parameter.
    Query(Box<str>),
    /// A path parameter.
    Path(Box<str>),
}

impl Text {
    /// A body of a gateway response.
    pub fn of_gateway_response(text: &str, variables: &BTreeMap<String, String>) -> Self {
        let mut scan = Scan { pieces: Vec::new(), literal: String::new(), variables };
        let mut rest = text;
        while let Some(start) = rest.find(['$', 'm']) {
            scan.literal.push_str(&rest[..start]);
            rest = &rest[start..];
            match scan.reference(rest) {
                Some(length) => rest = &rest[length..],
                None => rest = scan.keep(rest),
            }
        }
        scan.finish(rest)
    }

    /// The text with every reference's value; what has none leaves nothing.
    pub fn render<'a>(&'a self, value: impl Fn(&'a Reference) -> Option<Cow<'a, str>>) -> String {
        let mut output = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => output.push_str(text),
                Piece::From(reference) => output.push_str(&value(reference).unwrap_or_default()),
            }
        }
        output
    }
}

/// A text that is being scanned.
struct Scan<'a> {
    pieces: Vec<Piece>,
    literal: String,
    variables: &'a BTreeMap<String, String>,
}

impl Scan<'_> {
    /// Takes the reference that `rest` begins with; the length of its text.
    fn reference(&mut self, rest: &str) -> Option<usize> {
        let after = |prefix: &str| {
            let name = dotted(rest.strip_prefix(prefix)?);
            (!name.is_empty()).then(|| (name, prefix.len() + name.len()))
        };
        if let Some((name, length)) = after("$stageVariables.") {
            self.literal.push_str(self.variables.get(name).map_or("", String::as_str));
            return Some(length);
        }
        if let Some((name, length)) = after("$context.") {
            self.push(Reference::Context(name.into()));
            return Some(length);
        }
        let dollar = usize::from(rest.starts_with('$'));
        let (place, name) = rest[dollar..].strip_prefix("method.request.").and_then(|rest| rest.split_once('.'))?;
        let name = dotted(name);
        let reference = match place {
            _ if name.is_empty() => return None,
            "header" => Reference::Header(name.parse().ok()?),
            "querystring" => Reference::Query(name.into()),
            "path" => Reference::Path(name.into()),
            _ => return None,
        };
        self.push(reference);
        Some(dollar + "method.request.".len() + place.len() + 1 + name.len())
    }

    fn push(&mut self, reference: Reference) {
        self.flush();
        self.pieces.push(Piece::From(reference));
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Literal(std::mem::take(&mut self.literal).into()));
        }
    }

    /// Keeps the first character of `rest` as it is.
    fn keep<'r>(&mut self, rest: &'r str) -> &'r str {
        let (kept, rest) = rest.split_at(1);
        self.literal.push_str(kept);
        rest
    }

    fn finish(mut self, rest: &str) -> Text {
        self.literal.push_str(rest);
        self.flush();
        Text { pieces: self.pieces.into() }
    }
}

/// The longest name of words and dots that `text` begins with; a dot at its end is a full stop.
fn dotted(text: &str) -> &str {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let end = text.bytes().position(|byte| !part(byte)).unwrap_or(text.len());
    let name = text[..end].trim_end_matches('.');
    if name.starts_with('.') { "" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(reference: &Reference) -> Option<Cow<'_, str>> {
        match reference {
            Reference::Context(name) if &**name == "nothing" => None,
            Reference::Context(name) => Some(format!("<{name}>").into()),
            Reference::Header(name) => Some(format!("<header {name}>").into()),
            Reference::Query(name) => Some(format!("<query {name}>").into()),
            Reference::Path(name) => Some(format!("<path {name}>").into()),
        }
    }

    fn variables() -> BTreeMap<String, String> {
        BTreeMap::from([("v".to_owned(), "$context.x".to_owned())])
    }

    #[test]
    fn gateway_responses_are_no_templates() {
        for (text, expected) in [
            ("", ""),
            ("#set($x = 1)#if(true)$context.error.message#end", "#set($x = 1)#if(true)<error.message>#end"),
            ("$context.stage. $context. $contextual $context", "<stage>. $context. $contextual $context"),
            ("\"$stageVariables.v\" $stageVariables.w!", "\"$context.x\" !"),
            ("method.request.header.X-Mine, method", "<header x-mine>, method"),
            ("$method.request.querystring.q method.request.path.id", "<query q> <path id>"),
            ("method.request.body method.request.header.", "method.request.body method.request.header."),
            ("a${context.stage}é$context.nothing$", "a${context.stage}é$"),
        ] {
            assert_eq!(Text::of_gateway_response(text, &variables()).render(value), expected, "{text}");
        }
    }
}
