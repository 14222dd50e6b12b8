//! Request validators, compiled once; a model that several routes name is one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bundle::validation::{Dialect, Models as Wire, PATTERN_BACKTRACKS, PATTERN_BYTES, Parameter};
use http::HeaderName;
use jsonschema::{Draft, PatternOptions, Validator};

/// What is checked before a route is served.
#[derive(Debug)]
pub struct Validation {
    /// Parameters that must be there, in the order in which the missing ones are listed.
    pub parameters: Box<[Required]>,
    /// Models by media type.
    models: Box<[(Box<str>, Arc<Validator>)]>,
}

/// A parameter that must be there.
#[derive(Debug, PartialEq, Eq)]
pub enum Required {
    /// As the document spells it, and as requests do.
    Header(Box<str>, HeaderName),
    Path(Box<str>),
    Query(Box<str>),
}

/// A compiled model, or why it does not work.
type Known = Result<Arc<Validator>, String>;

/// Models met while a stage is parsed, each compiled once.
pub struct Models<'a> {
    wire: &'a Wire,
    known: RefCell<HashMap<Box<str>, Known>>,
}

impl<'a> Models<'a> {
    pub fn new(wire: &'a Wire) -> Self {
        Self { wire, known: RefCell::default() }
    }

    fn get(&self, name: &str) -> Known {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let compiled = compile(self.wire, name).map(Arc::new);
        self.known.borrow_mut().insert(name.into(), compiled.clone());
        compiled
    }
}

fn compile(wire: &Wire, name: &str) -> Result<Validator, String> {
    let document = wire.document(name).ok_or_else(|| format!("there is no model `{name}`"))?;
    let draft = match wire.dialect {
        Dialect::Draft4 => Draft::Draft4,
        Dialect::Draft202012 => Draft::Draft202012,
    };
    let patterns = PatternOptions::fancy_regex().backtrack_limit(PATTERN_BACKTRACKS).size_limit(PATTERN_BYTES);
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .build(&document)
        .map_err(|error| format!("the model `{name}` cannot be checked: {error}"))
}

impl Validation {
    /// Parses what a route's validator checks.
    ///
    /// # Errors
    /// When a model does not work, or a parameter cannot be one.
    pub fn parse(validation: &bundle::validation::Validation, models: &Models<'_>) -> Result<Self, String> {
        let bundle::validation::Validation { parameters, models: names } = validation;
        let parameters = parameters.iter().map(Required::parse).collect::<Result<_, _>>()?;
        let models = names
            .iter()
            .map(|(media_type, name)| Ok((media_type.to_ascii_lowercase().into(), models.get(name)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { parameters, models })
    }

    /// Whether bodies are checked at all.
    pub fn wants_body(&self) -> bool {
        !self.models.is_empty()
    }

    /// The model for a media type: its own, that of its family, that of all, `$default`'s.
    pub fn model(&self, media_type: &str) -> Option<&Validator> {
        let exact = |wanted: &str| self.models.iter().find(|(known, _)| known.eq_ignore_ascii_case(wanted));
        let family = || {
            let (family, _) = media_type.split_once('/')?;
            let fits = |known: &str| {
                known.split_once('/').is_some_and(|(own, all)| all == "*" && own.eq_ignore_ascii_case(family))
            };
            self.models.iter().find(|(known, _)| fits(known))
        };
        let found = exact(media_type).or_else(family).or_else(|| exact("*/*")).or_else(|| exact("$default"));
        found.map(|(_, model)| &**model)
    }
}

impl Required {
    fn parse(parameter: &Parameter) -> Result<Self, String> {
        Ok(match parameter {
            Parameter::Header(name) => {
                let header = name.parse().map_err(|_| format!("`{name}` is no header's name"))?;
                Self::Header(name.as_str().into(), header)
            }
            Parameter::Path(name) => Self::Path(name.as_str().into()),
            Parameter::Query(name) => Self::Query(name.as_str().into()),
        })
    }

    /// The name as the document spells it.
    pub fn name(&self) -> &str {
        match self {
            Self::Header(name, _) | Self::Path(name) | Self::Query(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use bundle::validation::Validation as Written;
    use serde_json::json;

    use super::*;
    use crate::fixture::worked;

    fn parse(models: &[(&str, serde_json::Value)], named: &[(&str, &str)]) -> Result<Validation, String> {
        let schemas = models.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        let wire = Wire { dialect: Dialect::Draft4, schemas };
        let named = named.iter().map(|&(media, name)| (media.to_owned(), name.to_owned())).collect();
        Validation::parse(&Written { parameters: Default::default(), models: named }, &Models::new(&wire))
    }

    #[test]
    fn models_by_media_type() {
        let models = [("N", json!({"type": "number"})), ("S", json!({"type": "string"}))];
        let parsed = parse(&models, &[("application/json", "N"), ("text/*", "S"), ("$default", "S")]).unwrap();
        let takes_numbers = |media| parsed.model(media).unwrap().is_valid(&json!(1));
        assert!(takes_numbers("application/json"));
        assert!(takes_numbers("Application/JSON"));
        assert!(!takes_numbers("text/plain"));
        assert!(!takes_numbers("image/png"));
        assert!(parse(&models, &[("application/json", "N")]).unwrap().model("text/plain").is_none());
    }

    #[test]
    fn models_refer_to_each_other_and_in_circles() {
        let node = json!({
            "type": "object", "required": ["value"],
            "properties": {"value": {"type": "number"}, "next": {"$ref": "#/definitions/Node"}},
        });
        let parsed = parse(&[("Node", node)], &[("application/json", "Node")]).unwrap();
        let model = parsed.model("application/json").unwrap();
        assert!(model.is_valid(&json!({"value": 1, "next": {"value": 2, "next": {"value": 3}}})));
        assert!(!model.is_valid(&json!({"value": 1, "next": {"value": 2, "next": {}}})));
    }

    #[test]
    fn draft_4_and_its_formats() {
        let model = json!({
            "properties": {
                "n": {"minimum": 1, "exclusiveMinimum": true},
                "when": {"type": "string", "format": "date-time"},
                "id": {"type": "integer", "format": "int64"},
            },
        });
        let parsed = parse(&[("M", model)], &[("application/json", "M")]).unwrap();
        let model = parsed.model("application/json").unwrap();
        for (body, fits) in [
            (json!({"n": 2}), true),
            (json!({"n": 1}), false),
            (json!({"when": "2026-11-24T07:00:00Z"}), true),
            (json!({"when": "yesterday"}), false),
            (json!({"id": 7}), true),
            (json!({"id": 7.5}), false),
        ] {
            assert_eq!(model.is_valid(&body), fits, "{body}");
        }
    }

    #[test]
    fn a_model_that_does_not_work_is_refused() {
        for schema in [
            json!({"type": "strin"}),
            json!({"pattern": "("}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "#/definitions/None"}),
            json!({"minLength": -1}),
        ] {
            assert!(parse(&[("M", schema.clone())], &[("application/json", "M")]).is_err(), "{schema}");
        }
        assert!(parse(&[], &[("application/json", "Gone")]).is_err());
    }

    #[test]
    fn a_pattern_that_takes_forever_does_not() {
        let pattern = json!({"properties": {"s": {"pattern": "^(?=(a+)+$)x|(a|aa)+$"}}});
        let parsed = parse(&[("M", pattern)], &[("application/json", "M")]).unwrap();
        let model = parsed.model("application/json").unwrap();
        let began = worked();
        assert!(!model.is_valid(&json!({"s": format!("{}!", "a".repeat(50_000))})));
        let took = worked() - began;
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}
