//! Parameter mappings, parsed: what can be decided at load is.

pub mod json_path;
pub mod uri;

use std::collections::BTreeMap;
use std::sync::Arc;

use bundle::mapping::RequestTarget;
use http::{HeaderName, HeaderValue};
use percent_encoding::utf8_percent_encode;

use crate::integrate::mapping::headers::{Flavor, Mapped, mapped_to_backend};
use crate::live::mapping::json_path::JsonPath;
use crate::live::mapping::uri::COMPONENT;

/// Where a mapped value comes from. Stage variables have become literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path parameter.
    Path(Box<str>),
    /// The last value of a query parameter.
    Query(Box<str>),
    /// All values of a query parameter.
    MultiQuery(Box<str>),
    /// The last value of a header.
    Header(HeaderName),
    /// All values of a header.
    MultiHeader(HeaderName),
    /// The whole body.
    Body,
    /// What a JSONPath finds in the body.
    BodyPath(Arc<JsonPath>),
    /// A `$context` variable, without `$context.`.
    Context(Box<str>),
    Static(Box<str>),
}

/// `requestParameters` of an integration, except for paths, which are part of its URI.
#[derive(Debug, Default)]
pub struct RequestParameters {
    pub headers: Vec<HeaderParameter>,
    pub queries: Vec<QueryParameter>,
    /// What the values need of the body, those of the URI's `{name}`s among them.
    pub wants: Wants,
    /// Whose rules the headers follow.
    pub flavor: Flavor,
}

/// What mapped values need of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// Nothing: it can be streamed.
    #[default]
    Nothing,
    /// Its text.
    Text,
    /// Its text as JSON.
    Json,
}

/// A header for the backend.
#[derive(Debug)]
pub struct HeaderParameter {
    pub name: HeaderName,
    /// Setting it makes the request fail.
    pub illegal: bool,
    pub value: HeaderSource,
}

/// Where a header's value comes from.
#[derive(Debug)]
pub enum HeaderSource {
    Static(HeaderValue),
    From(Source),
}

/// A query parameter for the backend.
#[derive(Debug)]
pub struct QueryParameter {
    /// Escaped.
    pub name: Box<str>,
    pub source: Source,
}

impl Source {
    /// `None` for a stage variable that is not set: its target is left out.
    ///
    /// # Errors
    /// For what this gateway cannot evaluate, as a sentence.
    pub fn parse(
        source: &bundle::mapping::Source,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, String> {
        use bundle::mapping::Source as Wire;
        let boxed = |name: &str| Box::<str>::from(name);
        Ok(Some(match source {
            Wire::Path(name) => Self::Path(boxed(name)),
            Wire::Query(name) => Self::Query(boxed(name)),
            Wire::MultiQuery(name) => Self::MultiQuery(boxed(name)),
            Wire::Header(name) => Self::Header(header_name(name)?),
            Wire::MultiHeader(name) => Self::MultiHeader(header_name(name)?),
            Wire::Body(None) => Self::Body,
            Wire::Body(Some(path)) => Self::BodyPath(Arc::new(JsonPath::parse(path)?)),
            Wire::StageVariable(name) => match variables.get(name) {
                Some(value) => Self::Static(boxed(value)),
                None => return Ok(None),
            },
            Wire::Context(name) => Self::Context(boxed(name)),
            Wire::Static(text) => Self::Static(boxed(text)),
        }))
    }

    /// What it needs of the body.
    pub fn wants(&self) -> Wants {
        match self {
            Self::Body => Wants::Text,
            Self::BodyPath(_) => Wants::Json,
            Self::Path(_)
            | Self::Query(_)
            | Self::MultiQuery(_)
            | Self::Header(_)
            | Self::MultiHeader(_)
            | Self::Context(_)
            | Self::Static(_) => Wants::Nothing,
        }
    }
}

/// What `requestParameters` say: the parameters, and the sources of the URI's `{name}`s.
type Parsed = (RequestParameters, BTreeMap<String, Source>);

impl RequestParameters {
    /// # Errors
    /// For what cannot be a header, or not be evaluated, as a sentence.
    pub fn parse(
        parameters: &BTreeMap<RequestTarget, bundle::mapping::Source>,
        variables: &BTreeMap<String, String>,
        flavor: Flavor,
    ) -> Result<Parsed, String> {
        let mut parsed = Self { flavor, ..Self::default() };
        let mut paths = BTreeMap::new();
        for (target, source) in parameters {
            let Some(source) = Source::parse(source, variables)? else { continue };
            parsed.wants = parsed.wants.max(source.wants());
            match target {
                RequestTarget::Header(name) => {
                    let name = header_name(name)?;
                    let mapped = mapped_to_backend(&name, flavor);
                    if mapped != Mapped::Dropped {
                        let value = HeaderSource::parse(source)?;
                        parsed.headers.push(HeaderParameter { name, illegal: mapped == Mapped::Illegal, value });
                    }
                }
                RequestTarget::Query(name) => {
                    let name = utf8_percent_encode(name, COMPONENT).to_string().into();
                    parsed.queries.push(QueryParameter { name, source });
                }
                RequestTarget::Path(name) => {
                    paths.insert(name.clone(), source);
                }
            }
        }
        Ok((parsed, paths))
    }
}

impl HeaderSource {
    /// # Errors
    /// When a literal cannot be a header's value, as a sentence.
    pub fn parse(source: Source) -> Result<Self, String> {
        Ok(match source {
            Source::Static(text) => Self::Static(header_value(&text)?),
            source => Self::From(source),
        })
    }
}

/// # Errors
/// When it is no header's name, as a sentence.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header's name"))
}

/// # Errors
/// When it cannot be a header's value, as a sentence.
pub fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` cannot be a header's value"))
}
