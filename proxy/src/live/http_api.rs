//! An HTTP API's parameter mapping, parsed.

use std::collections::BTreeMap;

use bundle::mapping::{ChangeTarget, ChangeVerb};
use http::HeaderName;
use percent_encoding::utf8_percent_encode;

use crate::live::mapping::uri::COMPONENT;
use crate::live::mapping::{Source, Wants, header_name};

/// A value: its parts, one after another. Stage variables have become text.
#[derive(Debug, Default)]
pub struct Expression(pub Vec<Part>);

/// A part of a value.
#[derive(Debug)]
pub enum Part {
    Text(Box<str>),
    /// The path below the stage.
    RequestPath,
    From(Source),
}

/// What a mapping does to a message.
#[derive(Debug)]
pub struct Change {
    pub verb: ChangeVerb,
    pub target: Target,
    pub value: Expression,
}

/// What a mapping changes.
#[derive(Debug)]
pub enum Target {
    Header(HeaderName),
    Query {
        /// Escaped.
        name: Box<str>,
    },
    Path,
    Status,
}

/// An HTTP API's mappings of one integration.
#[derive(Debug, Default)]
pub struct Changes {
    pub request: Vec<Change>,
    pub responses: BTreeMap<u16, Vec<Change>>,
    /// What the request's values need of its body.
    pub wants: Wants,
}

impl Expression {
    /// # Errors
    /// For what cannot be evaluated, as a sentence.
    pub fn parse(
        expression: &bundle::mapping::Expression,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        use bundle::mapping::Part as Wire;
        let mut parts = Vec::with_capacity(expression.len());
        for part in expression {
            match part {
                Wire::Text(text) => parts.push(Part::Text(text.as_str().into())),
                Wire::RequestPath => parts.push(Part::RequestPath),
                // A stage variable that is not set is nothing.
                Wire::From(source) => parts.extend(Source::parse(source, variables)?.map(Part::From)),
            }
        }
        Ok(Self(parts))
    }

    /// What it needs of the body.
    pub fn wants(&self) -> Wants {
        let wants = |part: &Part| match part {
            Part::Text(_) | Part::RequestPath => Wants::Nothing,
            Part::From(source) => source.wants(),
        };
        self.0.iter().map(wants).max().unwrap_or_default()
    }
}

impl Changes {
    /// `None` if there are none.
    ///
    /// # Errors
    /// For what cannot be evaluated, as a sentence.
    pub fn parse(
        request: &[bundle::mapping::Change],
        responses: &BTreeMap<u16, Vec<bundle::mapping::Change>>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Box<Self>>, String> {
        if request.is_empty() && responses.is_empty() {
            return Ok(None);
        }
        let list = |changes: &[bundle::mapping::Change]| {
            changes.iter().map(|change| Change::parse(change, variables)).collect::<Result<Vec<_>, _>>()
        };
        let request = list(request)?;
        let wants = request.iter().map(|change| change.value.wants()).max().unwrap_or_default();
        let responses = responses.iter().map(|(status, changes)| Ok::<_, String>((*status, list(changes)?)));
        Ok(Some(Box::new(Self { request, responses: responses.collect::<Result<_, _>>()?, wants })))
    }
}

impl Change {
    fn parse(change: &bundle::mapping::Change, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let bundle::mapping::Change { verb, target, value } = change;
        let target = match target {
            ChangeTarget::Header(name) => Target::Header(header_name(name)?),
            ChangeTarget::Query(name) => {
                Target::Query { name: utf8_percent_encode(name, COMPONENT).to_string().into() }
            }
            ChangeTarget::Path => Target::Path,
            ChangeTarget::Status => Target::Status,
        };
        Ok(Self { verb: *verb, target, value: Expression::parse(value, variables)? })
    }
}
