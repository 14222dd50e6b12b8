//! The URI of an HTTP integration, parsed.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::integrate::upstream::{Destination, Verification};
use crate::live::mapping::Source;

/// Escaped in a query's names and values.
pub const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Escaped in the literal parts of a URI, whose author may have left something out.
const LITERAL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// The URI of an HTTP integration.
#[derive(Debug)]
pub struct UriTemplate {
    pub origin: Origin,
    pub path: Vec<Piece>,
    /// Without `?`.
    pub query: Vec<Piece>,
    /// Path and query, if nothing in them comes from the request.
    pub fixed: Option<PathAndQuery>,
}

/// Where to.
#[derive(Debug)]
pub enum Origin {
    Fixed(Destination),
    /// The host comes from the request.
    Rendered {
        scheme: Box<str>,
        authority: Vec<Piece>,
        verification: Verification,
    },
}

/// A piece of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(Box<str>),
    /// A `{name}` that is mapped, or that a template may fill in.
    Value {
        name: Box<str>,
        source: Option<Source>,
    },
}

impl UriTemplate {
    /// `paths` are the sources of `{name}`s; one without stays as it is written, unless `open` says that a template
    /// may fill it in for a request.
    ///
    /// # Errors
    /// When it is no URI of an endpoint, as a sentence.
    pub fn parse(
        uri: &str,
        verification: Verification,
        paths: &BTreeMap<String, Source>,
        open: bool,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let text = with_variables(uri, variables);
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("`{uri}` is not a URL"))?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return Err(format!("`{uri}` is not an HTTP URL"));
        }
        let authority = pieces(authority, paths, false);
        let origin = match &*authority {
            [Piece::Literal(authority)] => Origin::Fixed(Destination::parse(&scheme, authority, verification, false)?),
            [] => return Err(format!("`{uri}` has no host")),
            [Piece::Value { .. }, ..] | [Piece::Literal(_), ..] => {
                Origin::Rendered { scheme: scheme.into(), authority, verification }
            }
        };
        let escaped = |text: &str| pieces(&utf8_percent_encode(text, LITERAL).to_string(), paths, open);
        let path = if path.is_empty() { vec![Piece::Literal("/".into())] } else { escaped(path) };
        let query = escaped(query);
        let fixed = fixed(&path, &query)?;
        Ok(Self { origin, path, query, fixed })
    }

    /// Where to, if that does not depend on the request.
    pub fn destination(&self) -> Option<&Destination> {
        match &self.origin {
            Origin::Fixed(destination) => Some(destination),
            Origin::Rendered { .. } => None,
        }
    }
}

/// Replaces `${stageVariables.x}`; a variable that is not set is empty.
pub fn with_variables(text: &str, variables: &BTreeMap<String, String>) -> String {
    const OPEN: &str = "${stageVariables.";
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, reference) = rest.split_at(at);
        let Some((name, after)) = reference[OPEN.len()..].split_once('}') else { break };
        replaced.push_str(before);
        replaced.push_str(variables.get(name).map_or("", String::as_str));
        rest = after;
    }
    replaced + rest
}

fn pieces(text: &str, paths: &BTreeMap<String, Source>, open: bool) -> Vec<Piece> {
    let may_be_filled = |name: &str| open && !name.contains(['{', '/', '?']);
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, reference) = rest.split_at(open);
        literal.push_str(before);
        let known = reference[1..].split_once('}').map(|(name, after)| (name, paths.get(name), after));
        let known = known.filter(|(name, source, _)| source.is_some() || may_be_filled(name));
        match known {
            Some((name, source, after)) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Value { name: name.into(), source: source.cloned() });
                rest = after;
            }
            None => {
                literal.push('{');
                rest = &reference[1..];
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    pieces
}

fn fixed(path: &[Piece], query: &[Piece]) -> Result<Option<PathAndQuery>, String> {
    let text = match (path, query) {
        ([Piece::Literal(path)], []) => path.to_string(),
        ([Piece::Literal(path)], [Piece::Literal(query)]) => format!("{path}?{query}"),
        _ => return Ok(None),
    };
    text.parse().map(Some).map_err(|_| format!("`{text}` is not the path of a URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<UriTemplate, String> {
        let paths = BTreeMap::from([("id".to_owned(), Source::Path("id".into()))]);
        let variables = BTreeMap::from([("host".to_owned(), "h:81".to_owned()), ("part".to_owned(), "p".to_owned())]);
        UriTemplate::parse(uri, Verification::default(), &paths, false, &variables)
    }

    #[test]
    fn stage_variables_are_replaced_at_load_and_missing_ones_are_empty() {
        let uri = parse("http://${stageVariables.host}/${stageVariables.part}/${stageVariables.none}x").unwrap();
        assert_eq!(uri.destination().unwrap().authority(), "h:81");
        assert_eq!(uri.fixed.unwrap(), "/p/x");
    }

    #[test]
    fn a_mapped_name_is_a_piece_and_another_stays_as_written() {
        let uri = parse("https://a/x/{id}/{other}?q={id}").unwrap();
        assert!(uri.fixed.is_none());
        let value = Piece::Value { name: "id".into(), source: Some(Source::Path("id".into())) };
        assert_eq!(uri.path, [Piece::Literal("/x/".into()), value.clone(), Piece::Literal("/{other}".into())]);
        assert_eq!(uri.query, [Piece::Literal("q=".into()), value]);
        assert_eq!(parse("http://a/{other}").unwrap().fixed.unwrap(), "/{other}");
    }

    #[test]
    fn a_host_may_come_from_the_request() {
        assert!(parse("http://{id}.example.com/").unwrap().destination().is_none());
        assert!(parse("http://{other}.example.com/").is_err());
    }

    #[test]
    fn an_empty_path_is_the_root_and_what_is_illegal_is_escaped() {
        assert_eq!(parse("http://a").unwrap().fixed.unwrap(), "/");
        assert_eq!(parse("http://a?x=1").unwrap().fixed.unwrap(), "/?x=1");
        assert_eq!(parse("http://a/b c/ü#frag").unwrap().fixed.unwrap(), "/b%20c/%C3%BC");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for uri in ["", "a/b", "ftp://a/", "http:///x", "http://${stageVariables.none}/", "arn:aws:apigateway"] {
            assert!(parse(uri).is_err(), "{uri}");
        }
    }
}
