//! Parameter mapping: where a value comes from and where it goes.

use serde::{Deserialize, Serialize};

/// Target of a request mapping, `integration.request.…`. In JSON: `header:X-Name`, `querystring:q`, `path:id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RequestTarget {
    /// A request header, spelt as the document spells it.
    Header(String),
    /// A `{name}` of the integration's URI.
    Path(String),
    /// A query parameter.
    Query(String),
}

impl From<RequestTarget> for String {
    fn from(target: RequestTarget) -> String {
        match target {
            RequestTarget::Header(name) => format!("header:{name}"),
            RequestTarget::Path(name) => format!("path:{name}"),
            RequestTarget::Query(name) => format!("querystring:{name}"),
        }
    }
}

impl TryFrom<String> for RequestTarget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("header", name)) => Ok(Self::Header(name.to_owned())),
            Some(("path", name)) => Ok(Self::Path(name.to_owned())),
            Some(("querystring", name)) => Ok(Self::Query(name.to_owned())),
            _ => Err(format!("`{text}` is not a mapping target: want header:, path: or querystring:")),
        }
    }
}

/// Name of a header the client gets, `method.response.header.…`, spelt as the document spells it.
pub type ResponseHeader = String;

/// Where a mapped value comes from. Of a request mapping the sources are the client's request, of a response
/// mapping the integration's answer; both know stage variables, `$context` and literals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A path parameter.
    Path(String),
    /// The last value of a query parameter.
    Query(String),
    /// All values of a query parameter.
    MultiQuery(String),
    /// The last value of a header.
    Header(String),
    /// All values of a header.
    MultiHeader(String),
    /// The body, or what a JSONPath (with its `$`) finds in it.
    Body(Option<String>),
    /// A stage variable.
    StageVariable(String),
    /// A `$context` variable, without `$context.`: `identity.sourceIp`.
    Context(String),
    /// A literal.
    Static(String),
}

/// A value of an HTTP API's parameter mapping: its parts, one after another.
pub type Expression = Vec<Part>;

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// A literal.
    Text(String),
    /// `$request.path`: the path below the stage.
    RequestPath,
    /// Anything else; of a response mapping, headers and body are the integration's.
    From(Source),
}

/// One entry of an HTTP API's parameter mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What is done.
    pub verb: ChangeVerb,
    /// To what.
    pub target: ChangeTarget,
    /// With which value; empty to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value: Expression,
}

/// What a mapping does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeVerb {
    /// Adds a value.
    Append,
    /// Puts the value in place of what is there.
    Overwrite,
    /// Takes away what is there.
    Remove,
}

/// What a mapping changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeTarget {
    /// A header.
    Header(String),
    /// A query parameter, of requests only.
    Query(String),
    /// The path, of requests only.
    Path,
    /// The status, of responses only.
    Status,
}
