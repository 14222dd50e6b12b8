//! Which template a body meets. The one place where the mapping-template language will be plugged in.

use std::collections::BTreeMap;

use bundle::integration::Passthrough;
use bytes::Bytes;

use crate::rejection::Rejection;

/// Templates by media type.
#[derive(Debug, Default)]
pub struct Payloads {
    /// Sorted by media type.
    by_type: Vec<(Box<str>, Payload)>,
}

/// What becomes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// It passes as it is.
    Passthrough,
    /// This text replaces it.
    Text(Bytes),
}

impl Payload {
    /// # Errors
    /// For a template that refers to something, as a sentence.
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Passthrough);
        }
        if text.contains('$') || text.contains('#') {
            return Err("templates with references or directives are not evaluated".into());
        }
        Ok(Self::Text(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl Payloads {
    /// # Errors
    /// For a template that cannot be evaluated, as a sentence.
    pub fn parse(templates: &BTreeMap<String, String>) -> Result<Self, String> {
        let by_type = templates
            .iter()
            .map(|(media_type, text)| Ok((media_type.to_ascii_lowercase().into(), Payload::parse(text)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { by_type })
    }

    fn get(&self, media_type: &str) -> Option<&(Box<str>, Payload)> {
        self.by_type.iter().find(|(known, _)| known.eq_ignore_ascii_case(media_type))
    }

    /// What becomes of a request's body.
    ///
    /// # Errors
    /// 415, as `passthroughBehavior` wants it.
    pub fn for_request(&self, content_type: Option<&str>, passthrough: Passthrough) -> Result<&Payload, Rejection> {
        let media_type = content_type.map_or("application/json", essence);
        match self.get(media_type).or_else(|| self.get("$default")) {
            Some((_, payload)) => Ok(payload),
            None => match passthrough {
                Passthrough::WhenNoMatch => Ok(&Payload::Passthrough),
                Passthrough::WhenNoTemplates if self.by_type.is_empty() => Ok(&Payload::Passthrough),
                Passthrough::WhenNoTemplates | Passthrough::Never => Err(Rejection::UnsupportedMediaType),
            },
        }
    }

    /// What becomes of an answer's body: the first type of `Accept`, else JSON, else any. With the type it has then.
    pub fn for_response(&self, accept: Option<&str>) -> (&str, &Payload) {
        let first = accept.and_then(|accept| accept.split(',').next()).map_or("application/json", essence);
        self.get(first)
            .or_else(|| self.get("application/json"))
            .or_else(|| self.by_type.first())
            .map_or(("application/json", &Payload::Passthrough), |(media_type, payload)| (media_type, payload))
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(types: &[(&str, &str)]) -> Payloads {
        let templates = types.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Payloads::parse(&templates).unwrap()
    }

    #[test]
    fn passthrough_behaviours() {
        let none = payloads(&[]);
        let json = payloads(&[("application/json", "x")]);
        let any = payloads(&[("$default", "y")]);
        let xml = Some("application/xml; charset=utf-8");
        let pass = Ok(&Payload::Passthrough);
        assert_eq!(none.for_request(xml, Passthrough::WhenNoTemplates), pass);
        assert_eq!(json.for_request(xml, Passthrough::WhenNoMatch), pass);
        assert_eq!(json.for_request(xml, Passthrough::WhenNoTemplates), Err(Rejection::UnsupportedMediaType));
        assert_eq!(none.for_request(xml, Passthrough::Never), Err(Rejection::UnsupportedMediaType));
        assert_eq!(any.for_request(xml, Passthrough::Never), Ok(&Payload::Text("y".into())));
        assert_eq!(json.for_request(None, Passthrough::Never), Ok(&Payload::Text("x".into())));
        assert_eq!(
            json.for_request(Some("Application/JSON ; a=b"), Passthrough::Never),
            Ok(&Payload::Text("x".into()))
        );
    }

    #[test]
    fn the_answer_follows_accept_then_json_then_anything() {
        let both = payloads(&[("application/json", "j"), ("text/plain", "t")]);
        assert_eq!(both.for_response(Some("text/plain;q=0.5, application/json")).0, "text/plain");
        assert_eq!(both.for_response(Some("image/png")).0, "application/json");
        assert_eq!(payloads(&[("text/plain", "t")]).for_response(None).0, "text/plain");
        assert_eq!(payloads(&[]).for_response(None), ("application/json", &Payload::Passthrough));
    }

    #[test]
    fn references_are_refused() {
        assert!(Payload::parse("$input.body").is_err());
        assert_eq!(Payload::parse(""), Ok(Payload::Passthrough));
    }
}
