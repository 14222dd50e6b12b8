//! Integration responses, and which of them a status selects.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bundle::integration::{ContentHandling, IntegrationResponse};
use bundle::mapping::Source;
use http::{HeaderName, HeaderValue, StatusCode};
use regex::{Regex, RegexBuilder};

use crate::integrate::mapping::headers::mapped_to_client;
use crate::live::Scope;
use crate::live::template::ResponseTemplates;

/// Largest selection pattern, compiled.
const PATTERN_BYTES: usize = 1 << 20;

/// The statuses a backend can give. Which response each selects is worked out at load: a pattern costs tens of
/// kilobytes once compiled, the answers a few bytes.
const STATUSES: std::ops::Range<i64> = 100..600;

/// Integration responses of one method.
#[derive(Debug, Default)]
pub struct Responses {
    /// In the order they are tried; the default last.
    responses: Box<[Response]>,
    /// Where the selected response changes: the first status of each run.
    runs: Box<[(i64, Option<u32>)]>,
}

/// One integration response.
#[derive(Debug)]
pub struct Response {
    /// `None`: the default.
    pattern: Option<Box<str>>,
    pub status: StatusCode,
    pub headers: Box<[(HeaderName, Value)]>,
    pub templates: ResponseTemplates,
    pub content_handling: Option<ContentHandling>,
}

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A literal, or a stage variable.
    Ready(HeaderValue),
    /// Known with the integration's answer.
    From(Source),
}

impl Responses {
    /// Parses a method's integration responses.
    ///
    /// # Errors
    /// When a pattern, a header or a template of them does not work.
    pub fn parse(responses: &[IntegrationResponse], scope: &Scope<'_>) -> Result<Self, String> {
        let mut responses: Vec<Response> =
            responses.iter().map(|response| Response::parse(response, scope)).collect::<Result<_, _>>()?;
        // `None`, the default, is tried last.
        responses.sort_by(|a, b| (a.pattern.is_none(), &a.pattern).cmp(&(b.pattern.is_none(), &b.pattern)));
        let mut candidates = Vec::new();
        for (index, response) in responses.iter().enumerate() {
            let matches = response.pattern.as_deref().map(|pattern| scope.patterns.statuses(pattern)).transpose()?;
            candidates.push((u32::try_from(index).map_err(|_| "too many integration responses")?, matches));
        }
        let selected = |status: i64| {
            let fits = |matches: &Option<Rc<Statuses>>| matches.as_ref().is_none_or(|matches| matches.hold(status));
            candidates.iter().find(|(_, matches)| fits(matches)).map(|&(index, _)| index)
        };
        let mut runs: Vec<(i64, Option<u32>)> = Vec::new();
        for status in STATUSES {
            let index = selected(status);
            if runs.last().is_none_or(|run| run.1 != index) {
                runs.push((status, index));
            }
        }
        Ok(Self { responses: responses.into(), runs: runs.into() })
    }

    /// The response that a status selects.
    pub fn select(&self, status: i64) -> Option<&Response> {
        if !STATUSES.contains(&status) {
            return self.select_unusual(status);
        }
        let run = self.runs.partition_point(|run| run.0 <= status).checked_sub(1)?;
        self.responses.get(self.runs[run].1? as usize)
    }

    /// For what only a MOCK can make up: any integer. So rare that the patterns are not kept for it.
    fn select_unusual(&self, status: i64) -> Option<&Response> {
        let text = status.to_string();
        let fits = |pattern: &str| compile(pattern).is_ok_and(|pattern| pattern.is_match(&text));
        self.responses.iter().find(|response| response.pattern.as_deref().is_none_or(fits))
    }
}

impl Response {
    fn parse(response: &IntegrationResponse, scope: &Scope<'_>) -> Result<Self, String> {
        let IntegrationResponse { selection_pattern, status, headers, templates, content_handling } = response;
        let headers: Vec<_> = headers
            .iter()
            .filter_map(|(name, source)| header(name, source, scope).transpose())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pattern: selection_pattern.as_deref().filter(|pattern| !pattern.is_empty()).map(Into::into),
            // Interim answers end no request.
            status: StatusCode::from_u16(*status)
                .ok()
                .filter(|status| (200..600).contains(&status.as_u16()))
                .ok_or_else(|| format!("{status} is no status of an answer"))?,
            headers: headers.into(),
            templates: ResponseTemplates::parse(templates, scope)?,
            content_handling: *content_handling,
        })
    }
}

/// A mapped header, under the name the client gets; `None` if it does not, or a stage variable is not set.
fn header(name: &str, source: &Source, scope: &Scope<'_>) -> Result<Option<(HeaderName, Value)>, String> {
    let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
    let Some(name) = mapped_to_client(&name).cloned() else { return Ok(None) };
    let text = match source {
        Source::Static(text) => text,
        Source::StageVariable(variable) => match scope.bundle.variables.get(variable) {
            Some(text) => text,
            None => return Ok(None),
        },
        source => return Ok(Some((name, Value::From(source.clone())))),
    };
    let value = HeaderValue::from_str(text).map_err(|_| format!("the value of header `{name}` cannot be sent"))?;
    Ok(Some((name, Value::Ready(value))))
}

/// What a pattern matches, or why it does not work.
type Known = Result<Rc<Statuses>, String>;

/// Selection patterns met while a stage is parsed, each compiled once.
#[derive(Default)]
pub struct Patterns {
    known: RefCell<HashMap<Box<str>, Known>>,
}

/// The statuses that a pattern matches.
struct Statuses([bool; (STATUSES.end - STATUSES.start) as usize]);

impl Statuses {
    fn hold(&self, status: i64) -> bool {
        usize::try_from(status - STATUSES.start).ok().and_then(|index| self.0.get(index)).copied().unwrap_or(false)
    }
}

impl Patterns {
    fn statuses(&self, pattern: &str) -> Known {
        if let Some(known) = self.known.borrow().get(pattern) {
            return known.clone();
        }
        let statuses = compile(pattern).map(|regex| {
            let mut statuses = Statuses([false; _]);
            for (status, matches) in STATUSES.zip(&mut statuses.0) {
                *matches = regex.is_match(&status.to_string());
            }
            Rc::new(statuses)
        });
        self.known.borrow_mut().insert(pattern.into(), statuses.clone());
        statuses
    }
}

/// Compiles a pattern that must match the whole text.
fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
    // Alone first: `a)|(b` is a pattern only between the parentheses.
    build(pattern)
        .and_then(|_| build(&format!(r"\A(?:{pattern})\z")))
        .map_err(|_| format!("the selection pattern `{pattern}` is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(patterns: &[Option<&str>]) -> Result<Responses, String> {
        let of = |(index, pattern): (usize, &Option<&str>)| IntegrationResponse {
            selection_pattern: pattern.map(str::to_owned),
            status: 200 + index as u16,
            headers: Default::default(),
            templates: Default::default(),
            content_handling: None,
        };
        let responses: Vec<_> = patterns.iter().enumerate().map(of).collect();
        Scope::with_test_scope(|scope| Responses::parse(&responses, scope))
    }

    #[track_caller]
    fn check(patterns: &[Option<&str>], status: i64, expected: Option<usize>) {
        let responses = parse(patterns).unwrap();
        let selected = responses.select(status).map(|response| usize::from(response.status.as_u16()) - 200);
        assert_eq!(selected, expected, "{status} of {patterns:?}");
    }

    #[test]
    fn patterns_match_the_whole_status_in_the_order_of_their_keys() {
        let pick = &[None, Some(r"4\d{2}"), Some("503")];
        check(pick, 418, Some(1));
        check(pick, 503, Some(2));
        check(pick, 201, Some(0));
        check(pick, -1000, Some(0));
        check(pick, 4180, Some(0));
        check(&[Some("5..")], 418, None);
        check(&[Some(r"-1\d+")], -1000, Some(0));
        check(&[Some("4")], 418, None);
        check(&[Some("5.."), Some("500")], 500, Some(0));
        check(&[Some("500"), Some("5..")], 500, Some(1));
        check(&[Some(""), Some("200")], 201, Some(0));
        check(&[Some("200|404")], 404, Some(0));
        check(&[], 200, None);
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["(", "a)|(b", "(?=x)", r"\d{1000000}"] {
            assert!(parse(&[Some(pattern)]).is_err(), "{pattern}");
        }
    }

    #[test]
    fn statuses_of_answers() {
        let with = |status| IntegrationResponse {
            selection_pattern: None,
            status,
            headers: Default::default(),
            templates: Default::default(),
            content_handling: None,
        };
        for (status, fine) in [(200, true), (599, true), (101, false), (600, false), (0, false)] {
            let parsed = Scope::with_test_scope(|scope| Responses::parse(&[with(status)], scope));
            assert_eq!(parsed.is_ok(), fine, "{status}");
        }
    }
}
