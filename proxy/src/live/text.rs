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

/// Which references a text may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `$context.…`, `$stageVariables.…` and `method.request.…`; everything else stands as it is.
    GatewayResponse,
    /// The mapping language without directives, calls and variables of its own.
    Template,
}

impl Text {
    /// A body of a gateway response.
    pub fn of_gateway_response(text: &str, variables: &BTreeMap<String, String>) -> Self {
        let mut scan =
            Scan { pieces: Vec::new(), literal: String::new(), variables, dialect: Dialect::GatewayResponse };
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

    /// A mapping template that holds nothing but text and references to `$context` and `$stageVariables`.
    ///
    /// # Errors
    /// When it holds more.
    pub fn of_template(text: &str, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut scan = Scan { pieces: Vec::new(), literal: String::new(), variables, dialect: Dialect::Template };
        let mut rest = text;
        while let Some(start) = rest.find(['$', '#', '\\']) {
            scan.literal.push_str(&rest[..start]);
            rest = &rest[start..];
            match scan.reference(rest) {
                Some(length) if !rest[length..].starts_with(['(', '[']) => rest = &rest[length..],
                Some(_) => return Err(unsupported(rest)),
                None if is_plain(rest) => rest = scan.keep(rest),
                None => return Err(unsupported(rest)),
            }
        }
        Ok(scan.finish(rest))
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
    dialect: Dialect,
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
        if self.dialect == Dialect::Template {
            return None;
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

/// True if the mapping language takes the `$`, `#` or `\` that `rest` begins with for itself.
fn is_plain(rest: &str) -> bool {
    let next = rest.as_bytes().get(1).copied().unwrap_or(b' ');
    match rest.as_bytes().first() {
        Some(b'$') => !(next.is_ascii_alphabetic() || matches!(next, b'_' | b'!' | b'{' | b'$')),
        Some(b'#') => !(next.is_ascii_alphabetic() || matches!(next, b'#' | b'*' | b'[' | b'{' | b'@')),
        _ => !matches!(next, b'$' | b'#' | b'\\'),
    }
}

fn unsupported(rest: &str) -> String {
    let shown: String = rest.chars().take(24).collect();
    format!("the template holds `{shown}`, which this proxy does not evaluate")
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

    #[test]
    fn templates_are_plain_or_refused() {
        for (text, expected) in [
            (r#"{"statusCode": 200}"#, r#"{"statusCode": 200}"#),
            ("$context.stage/$stageVariables.v method.request.header.A", "<stage>/$context.x method.request.header.A"),
            ("100 $ # \\n $5", "100 $ # \\n $5"),
        ] {
            let text = Text::of_template(text, &variables()).unwrap();
            assert_eq!(text.render(value), expected);
        }
        for text in [
            "$input.body",
            "$x",
            "$!x",
            "${x}",
            "#set($x = 1)",
            "## x",
            "#[[x]]#",
            "\\$context.a",
            "$context.a.b('x')",
            "$context['a']",
        ] {
            assert!(Text::of_template(text, &variables()).is_err(), "{text}");
        }
    }
}
