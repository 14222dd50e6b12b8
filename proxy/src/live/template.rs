//! Mapping templates and how one is chosen.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bundle::integration::{Passthrough, RequestMapping};
use vtl::Template;

use crate::live::Scope;
use crate::rejection::Rejection;

/// Templates by media type, sorted by it. `None` passes the body through.
#[derive(Debug, Default)]
struct ByType(Box<[OfType]>);

/// A media type and its template.
type OfType = (Box<str>, Option<Arc<Template>>);

impl ByType {
    fn parse(kind: &str, templates: &BTreeMap<String, String>, scope: &Scope<'_>) -> Result<Self, String> {
        let parse = |(media_type, text): (&String, &String)| {
            // The console writes an empty template for "pass the body through".
            let template = if text.is_empty() {
                None
            } else {
                Some(scope.templates.parse(&format!("{kind} template {media_type}"), text)?)
            };
            Ok((media_type.to_ascii_lowercase().into(), template))
        };
        let mut templates: Vec<_> = templates.iter().map(parse).collect::<Result<_, String>>()?;
        templates.sort_by(|a: &OfType, b| a.0.cmp(&b.0));
        Ok(Self(templates.into()))
    }

    fn get(&self, media_type: &str) -> Option<Option<&Template>> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(media_type));
        found.map(|(_, template)| template.as_deref())
    }
}

/// Templates met while a stage is parsed. Documents repeat themselves; each text is parsed and kept once.
#[derive(Default)]
pub struct Templates {
    known: RefCell<HashMap<NameAndText, Arc<Template>>>,
}

type NameAndText = (Box<str>, Box<str>);

impl Templates {
    fn parse(&self, name: &str, text: &str) -> Result<Arc<Template>, String> {
        let key = (Box::from(name), Box::from(text));
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(Arc::clone(known));
        }
        let template = Arc::new(Template::parse(name, text).map_err(|error| error.to_string())?);
        self.known.borrow_mut().insert(key, Arc::clone(&template));
        Ok(template)
    }
}

/// Templates of a request and what happens to a body that none is for.
#[derive(Debug, Default)]
pub struct RequestTemplates {
    templates: ByType,
    passthrough: Passthrough,
}

impl RequestTemplates {
    /// Parses a mapping's templates.
    ///
    /// # Errors
    /// When one of them cannot be evaluated.
    pub fn parse(mapping: &RequestMapping, scope: &Scope<'_>) -> Result<Self, String> {
        Ok(Self { templates: ByType::parse("request", &mapping.templates, scope)?, passthrough: mapping.passthrough })
    }

    /// Is there any template?
    pub fn any(&self) -> bool {
        !self.templates.0.is_empty()
    }

    /// The template for a `Content-Type`; `None` passes the body through.
    ///
    /// # Errors
    /// When the mapping refuses bodies of this type.
    pub fn select(&self, content_type: Option<&str>) -> Result<Option<&Template>, Rejection> {
        let media_type = media_type(content_type.unwrap_or("application/json"));
        if let Some(template) = self.templates.get(media_type).or_else(|| self.templates.get("$default")) {
            return Ok(template);
        }
        match self.passthrough {
            Passthrough::WhenNoMatch => Ok(None),
            Passthrough::WhenNoTemplates if self.templates.0.is_empty() => Ok(None),
            Passthrough::WhenNoTemplates | Passthrough::Never => Err(Rejection::UnsupportedMediaType),
        }
    }
}

/// Templates of an answer.
#[derive(Debug, Default)]
pub struct ResponseTemplates {
    templates: ByType,
}

impl ResponseTemplates {
    /// Parses a response's templates.
    ///
    /// # Errors
    /// When one of them cannot be evaluated.
    pub fn parse(templates: &BTreeMap<String, String>, scope: &Scope<'_>) -> Result<Self, String> {
        Ok(Self { templates: ByType::parse("response", templates, scope)? })
    }

    /// The media type and template for an `Accept`: its first type that has one, else JSON's, else any. `None` passes
    /// the body through.
    pub fn select(&self, accept: Option<&str>) -> Option<(&str, &Template)> {
        let (media_type, template) = choose(&self.templates.0, accept, |(media_type, _)| media_type)?;
        Some((media_type, template.as_deref()?))
    }
}

/// A media type without its parameters.
pub fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// The entry for an `Accept`: of the first type it lists that has one, else JSON's, else any.
pub fn choose<'a, T>(entries: &'a [T], accept: Option<&str>, type_of: impl Fn(&T) -> &str) -> Option<&'a T> {
    let exact = |wanted: &str| entries.iter().find(|entry| type_of(entry).eq_ignore_ascii_case(wanted));
    let listed = accept.unwrap_or_default().split(',').map(media_type);
    listed.filter_map(exact).next().or_else(|| exact("application/json")).or_else(|| entries.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|&(media_type, text)| (media_type.to_owned(), text.to_owned())).collect()
    }

    fn request(entries: &[(&str, &str)], passthrough: Passthrough) -> RequestTemplates {
        let mapping = RequestMapping { templates: templates(entries), passthrough, ..Default::default() };
        Scope::with_test_scope(|scope| RequestTemplates::parse(&mapping, scope).unwrap())
    }

    #[test]
    fn passthrough() {
        use Passthrough::{Never, WhenNoMatch, WhenNoTemplates};
        let json: &[(&str, &str)] = &[("application/json", "j")];
        let default: &[(&str, &str)] = &[("$default", "d"), ("application/json", "j")];
        let refused = Err(Rejection::UnsupportedMediaType);
        for (entries, passthrough, content_type, expected) in [
            (json, WhenNoMatch, Some("application/json"), Ok(Some("j"))),
            (json, WhenNoMatch, Some("Application/JSON; charset=utf-8"), Ok(Some("j"))),
            (json, WhenNoMatch, None, Ok(Some("j"))),
            (json, WhenNoMatch, Some("text/plain"), Ok(None)),
            (json, WhenNoTemplates, Some("text/plain"), refused.clone()),
            (&[], WhenNoTemplates, Some("text/plain"), Ok(None)),
            (json, Never, Some("text/plain"), refused.clone()),
            (&[], Never, None, refused),
            (default, Never, Some("text/csv"), Ok(Some("d"))),
            (default, Never, Some("application/json"), Ok(Some("j"))),
            (&[("application/json", "")], Never, None, Ok(None)),
        ] {
            let parsed = request(entries, passthrough);
            let selected = parsed.select(content_type);
            assert_eq!(selected.map(|template| template.and_then(Template::as_plain)), expected);
        }
    }

    #[test]
    fn responses_by_accept() {
        let parse =
            |entries| Scope::with_test_scope(|scope| ResponseTemplates::parse(&templates(entries), scope).unwrap());
        let both = parse(&[("application/json", "j"), ("application/xml", "x")]);
        for (accept, expected) in [
            (None, "application/json"),
            (Some("application/xml"), "application/xml"),
            (Some("text/html, application/xml;q=0.9, */*"), "application/xml"),
            (Some("image/png"), "application/json"),
        ] {
            assert_eq!(both.select(accept).unwrap().0, expected);
        }
        assert_eq!(parse(&[("text/plain", "t")]).select(Some("*/*")).unwrap().0, "text/plain");
        assert!(parse(&[]).select(None).is_none());
        assert!(parse(&[("application/json", "")]).select(None).is_none());
    }
}
