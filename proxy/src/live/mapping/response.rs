//! Integration responses, parsed.

use std::collections::BTreeMap;

use bundle::integration::{ContentHandling, IntegrationResponse as Wire};
use http::{HeaderName, StatusCode};
use regex::{Regex, RegexBuilder};

use crate::integrate::mapping::headers::mapped_to_client;
use crate::live::mapping::payload::Payloads;
use crate::live::mapping::{HeaderSource, Source, header_name};

/// Largest compiled selection pattern, in bytes.
const MAX_PATTERN: usize = 256 << 10;

/// One integration response.
#[derive(Debug)]
pub struct IntegrationResponse {
    /// Must match the whole text; `None` is the default.
    pattern: Option<Regex>,
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderSource)>,
    pub payloads: Payloads,
    /// A header comes from the body, which must be collected.
    pub wants_body: bool,
}

impl IntegrationResponse {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(wire: &Wire, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let Wire { selection_pattern, status, headers: mapped, templates, content_handling } = wire;
        if *content_handling == Some(ContentHandling::ConvertToBinary) {
            return Err("contentHandling CONVERT_TO_BINARY is not served".into());
        }
        let status = StatusCode::from_u16(*status)
            .ok()
            .filter(|status| !status.is_informational())
            .ok_or_else(|| format!("{status} is not the status of an answer"))?;
        let mut headers = Vec::with_capacity(mapped.len());
        let mut wants_body = false;
        for (name, source) in mapped {
            let Some(source) = Source::parse(source, variables)? else { continue };
            match source {
                Source::Path(_) | Source::Query(_) | Source::MultiQuery(_) => {
                    return Err(format!("the response header `{name}` cannot come from the request"));
                }
                Source::Body => wants_body = true,
                Source::Header(_) | Source::MultiHeader(_) | Source::Context(_) | Source::Static(_) => {}
            }
            if let Some(name) = mapped_to_client(&header_name(name)?) {
                headers.push((name, HeaderSource::parse(source)?));
            }
        }
        let pattern = match selection_pattern.as_deref() {
            None | Some("") => None,
            Some(pattern) => Some(whole(pattern)?),
        };
        Ok(Self { pattern, status, headers, payloads: Payloads::parse(templates)?, wants_body })
    }
}

/// The response that a text selects: the first whose pattern matches all of it, else the default.
pub fn select<'a>(responses: &'a [IntegrationResponse], text: &str) -> Option<&'a IntegrationResponse> {
    let matches =
        |response: &&IntegrationResponse| response.pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
    responses.iter().find(matches).or_else(|| responses.iter().find(|response| response.pattern.is_none()))
}

fn whole(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
        .size_limit(MAX_PATTERN)
        .dfa_size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| format!("`{pattern}` cannot select a response: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(patterns: &[(Option<&str>, u16)]) -> Vec<IntegrationResponse> {
        patterns
            .iter()
            .map(|(pattern, status)| {
                let wire = Wire {
                    selection_pattern: pattern.map(Into::into),
                    status: *status,
                    headers: BTreeMap::new(),
                    templates: BTreeMap::new(),
                    content_handling: None,
                };
                IntegrationResponse::parse(&wire, &BTreeMap::new()).unwrap()
            })
            .collect()
    }

    fn selected(responses: &[IntegrationResponse], text: &str) -> Option<u16> {
        select(responses, text).map(|response| response.status.as_u16())
    }

    #[test]
    fn a_pattern_matches_the_whole_text_and_the_first_wins() {
        let known = responses(&[(Some("4"), 404), (Some(r"4\d{2}|x"), 400), (Some(r"4\d\d"), 499), (None, 200)]);
        assert_eq!(selected(&known, "404"), Some(400));
        assert_eq!(selected(&known, "4"), Some(404));
        assert_eq!(selected(&known, "503"), Some(200));
        assert_eq!(selected(&known, "40"), Some(200), "alternatives are anchored together");
    }

    #[test]
    fn the_default_is_the_empty_pattern_wherever_it_stands_and_may_be_missing() {
        assert_eq!(selected(&responses(&[(Some(""), 200), (Some("2.."), 201)]), "204"), Some(201));
        assert_eq!(selected(&responses(&[(Some("2.."), 201)]), "418"), None);
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(whole("(").is_err());
        assert!(whole(r"(\w{100}){100}").is_err());
    }
}
