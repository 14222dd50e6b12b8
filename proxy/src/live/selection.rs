//! Integration responses, and which of them a status selects.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bundle::integration::{ContentHandling, IntegrationResponse};
use bundle::mapping::Source;
use http::{HeaderName, HeaderValue, StatusCode};
use vtl::pattern::Pattern;

use crate::integrate::mapping::headers::mapped_to_client;
use crate::live::Scope;
use crate::live::mapping::Wants;
use crate::live::mapping::json_path::JsonPath;
use crate::live::template::ResponseTemplates;

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
    /// By the index of `responses`, if texts select: their patterns; `None` for the default.
    patterns: Box<[Option<Arc<Pattern>>]>,
}

/// What an integration's responses are selected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The status of the backend, or of a MOCK.
    Status,
    /// A text, such as a function's error message.
    Text,
}

/// What selects a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector<'a> {
    /// A status.
    Status(i64),
    /// A text. Only for responses parsed with [`By::Text`].
    Text(&'a str),
    /// The default, whatever the patterns say: what a function's success selects.
    Default,
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
    /// What its headers need of the answer's body.
    pub wants: Wants,
}

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A literal, or a stage variable.
    Ready(HeaderValue),
    /// Known with the integration's answer.
    From(Source),
    /// What a JSONPath finds in the integration's answer.
    Body(Arc<JsonPath>),
}

impl Responses {
    /// Parses a method's integration responses.
    ///
    /// # Errors
    /// When a pattern, a header or a template of them does not work.
    pub fn parse(responses: &[IntegrationResponse], by: By, scope: &Scope<'_>) -> Result<Self, String> {
        let mut responses: Vec<Response> =
            responses.iter().map(|response| Response::parse(response, scope)).collect::<Result<_, _>>()?;
        // `None`, the default, is tried last.
        responses.sort_by_key(|response| response.pattern.is_none());
        if by == By::Text {
            let regex = |response: &Response| response.pattern.as_deref().map(|text| scope.patterns.regex(text));
            let patterns = responses.iter().map(|response| regex(response).transpose()).collect::<Result<_, _>>()?;
            return Ok(Self { responses: responses.into(), runs: Box::default(), patterns });
        }
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
        Ok(Self { responses: responses.into(), runs: runs.into(), patterns: Box::default() })
    }

    /// The response that is selected.
    ///
    /// # Errors
    /// A pattern that looks around has given up: why. It is not known then which response it should be.
    pub fn select(&self, selector: Selector<'_>) -> Result<Option<&Response>, String> {
        match selector {
            Selector::Status(status) if self.patterns.is_empty() => Ok(self.select_status(status)),
            Selector::Status(status) => self.select_text(&status.to_string()),
            Selector::Text(text) => self.select_text(text),
            Selector::Default => Ok(self.responses.iter().find(|response| response.pattern.is_none())),
        }
    }

    fn select_text(&self, text: &str) -> Result<Option<&Response>, String> {
        for (pattern, response) in self.patterns.iter().zip(&self.responses) {
            let fits = match pattern {
                Some(pattern) => pattern.is_match(text)?,
                None => true,
            };
            if fits {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    fn select_status(&self, status: i64) -> Option<&Response> {
        if !STATUSES.contains(&status) {
            return self.select_unusual(status);
        }
        let run = self.runs.partition_point(|run| run.0 <= status).checked_sub(1)?;
        self.responses.get(self.runs[run].1? as usize)
    }

    /// For what only a MOCK can make up: any integer. So rare that the patterns are not kept for it.
    fn select_unusual(&self, status: i64) -> Option<&Response> {
        let text = status.to_string();
        let fits = |pattern: &str| compile(pattern).and_then(|pattern| pattern.is_match(&text)).unwrap_or(false);
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
        let wants = headers.iter().map(|(_, value): &(HeaderName, Value)| match value {
            Value::Body(_) => Wants::Json,
            Value::From(Source::Body(_)) => Wants::Text,
            Value::From(_) | Value::Ready(_) => Wants::Nothing,
        });
        Ok(Self {
            wants: wants.max().unwrap_or_default(),
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
        Source::Path(_) | Source::Query(_) | Source::MultiQuery(_) => {
            return Err(format!("the response header `{name}` cannot come from the request"));
        }
        Source::Body(Some(path)) => return Ok(Some((name, Value::Body(Arc::new(JsonPath::parse(path)?))))),
        source @ (Source::Header(_) | Source::MultiHeader(_) | Source::Body(None) | Source::Context(_)) => {
            return Ok(Some((name, Value::From(source.clone()))));
        }
    };
    let value = HeaderValue::from_str(text).map_err(|_| format!("the value of header `{name}` cannot be sent"))?;
    Ok(Some((name, Value::Ready(value))))
}

/// A pattern to match texts with, or why it does not work.
type Compiled = Result<Arc<Pattern>, String>;

/// What a pattern matches, or why it does not work.
type Known = Result<Rc<Statuses>, String>;

/// Selection patterns met while a stage is parsed, each compiled once.
#[derive(Default)]
pub struct Patterns {
    known: RefCell<HashMap<Box<str>, Known>>,
    /// Those that select by texts, and so are kept.
    regexes: RefCell<HashMap<Box<str>, Compiled>>,
}

/// The statuses that a pattern matches.
struct Statuses([bool; (STATUSES.end - STATUSES.start) as usize]);

impl Statuses {
    fn hold(&self, status: i64) -> bool {
        usize::try_from(status - STATUSES.start).ok().and_then(|index| self.0.get(index)).copied().unwrap_or(false)
    }
}

impl Patterns {
    fn regex(&self, pattern: &str) -> Compiled {
        let mut regexes = self.regexes.borrow_mut();
        regexes.entry(pattern.into()).or_insert_with(|| compile(pattern).map(Arc::new)).clone()
    }

    fn statuses(&self, pattern: &str) -> Known {
        if let Some(known) = self.known.borrow().get(pattern) {
            return known.clone();
        }
        let statuses = compile(pattern).and_then(|regex| {
            let mut statuses = Statuses([false; _]);
            for (status, matches) in STATUSES.zip(&mut statuses.0) {
                *matches = regex.is_match(&status.to_string())?;
            }
            Ok(Rc::new(statuses))
        });
        self.known.borrow_mut().insert(pattern.into(), statuses.clone());
        statuses
    }
}

/// Compiles a pattern that must match the whole text.
fn compile(pattern: &str) -> Result<Pattern, String> {
    Pattern::whole(pattern).map_err(|_| format!("the selection pattern `{pattern}` is not supported"))
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
        Scope::with_test_scope(|scope| Responses::parse(&responses, By::Status, scope))
    }

    #[track_caller]
    fn check(patterns: &[Option<&str>], status: i64, expected: Option<usize>) {
        let responses = parse(patterns).unwrap();
        let selected = responses.select(Selector::Status(status)).unwrap();
        let selected = selected.map(|response| usize::from(response.status.as_u16()) - 200);
        assert_eq!(selected, expected, "{status} of {patterns:?}");
    }

    #[test]
    fn patterns_match_the_whole_status_in_their_order() {
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
        check(&[Some("500"), Some("5..")], 500, Some(0));
        check(&[Some(""), Some("200")], 201, Some(0));
        check(&[Some("200|404")], 404, Some(0));
        check(&[None, Some("(?!2).*")], 404, Some(1));
        check(&[None, Some("(?!2).*")], 204, Some(0));
        check(&[None, Some(r"\Q404\E")], 404, Some(1));
        check(&[], 200, None);
    }

    #[test]
    fn texts_select_as_a_whole_over_all_lines() {
        let responses = |patterns: &[&str]| {
            let of = |(index, pattern): (usize, &&str)| IntegrationResponse {
                selection_pattern: (*pattern != "default").then(|| (*pattern).to_owned()),
                status: 200 + index as u16,
                headers: Default::default(),
                templates: Default::default(),
                content_handling: None,
            };
            let responses: Vec<_> = patterns.iter().enumerate().map(of).collect();
            Scope::with_test_scope(|scope| Responses::parse(&responses, By::Text, scope)).unwrap()
        };
        let negative = responses(&[r"(?!\[4\d\d\])(.|\n)+", "default"]);
        for (text, expected) in [("broken\nat line 2", Some(200)), ("[404] nothing", Some(201)), ("", Some(201))] {
            assert_eq!(
                negative.select(Selector::Text(text)).unwrap().map(|response| response.status.as_u16()),
                expected,
                "{text}"
            );
        }
        assert!(negative.select(Selector::Text(&"x".repeat(5000))).is_err(), "which one is not known");
        let patterns = [".*Not found.*", r"(\n|.)+timed out(\n|.)*", "default"];
        let parsed = responses(&patterns);
        for (selector, expected) in [
            (Selector::Text("Item Not found"), Some(200)),
            (Selector::Text("Not found\nat line 2"), Some(202)),
            (Selector::Text("Task\ntimed out\n"), Some(201)),
            (Selector::Text(""), Some(202)),
            (Selector::Default, Some(202)),
            (Selector::Status(404), Some(202)),
        ] {
            let selected = parsed.select(selector).unwrap().map(|response| response.status.as_u16());
            assert_eq!(selected, expected, "{selector:?}");
        }
        assert!(responses(&patterns[..2]).select(Selector::Text("other")).unwrap().is_none());
        assert!(responses(&patterns[..2]).select(Selector::Default).unwrap().is_none());
        let of_statuses = parse(&[None, Some("4..")]).unwrap();
        assert_eq!(of_statuses.select(Selector::Default).unwrap().unwrap().status, 200);
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["(", "a)|(b", "(?=x", r"\d{1000000}"] {
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
            let parsed = Scope::with_test_scope(|scope| Responses::parse(&[with(status)], By::Status, scope));
            assert_eq!(parsed.is_ok(), fine, "{status}");
        }
    }
}
