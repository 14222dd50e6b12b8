//! What a request template put in `$context.requestOverride`.

use http::{HeaderName, HeaderValue};
use percent_encoding::utf8_percent_encode;

use crate::live::mapping::uri::COMPONENT;
use crate::rejection::Rejection;

/// What a request template put in `$context.requestOverride`: each replaces a mapped value, or adds one.
#[derive(Debug, Default)]
pub struct Overridden {
    pub headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// Names are escaped.
    pub queries: Vec<(String, Vec<String>)>,
    pub paths: Vec<(String, String)>,
}

impl Overridden {
    /// Reads the overrides.
    ///
    /// # Errors
    /// When a header is none.
    pub fn read(overrides: &vtl::Overrides) -> Result<Self, Rejection> {
        let escaped = |name: String| utf8_percent_encode(&name, COMPONENT).to_string();
        Ok(Self {
            headers: headers(overrides.request_headers())?,
            queries: overrides.request_query().into_iter().map(|(name, values)| (escaped(name), values)).collect(),
            paths: overrides.request_path(),
        })
    }

    /// The values of a query parameter, named escaped.
    pub fn query(&self, name: &str) -> Option<&[String]> {
        self.queries.iter().find(|(known, _)| known == name).map(|(_, values)| &values[..])
    }

    /// The value of a path parameter.
    pub fn path(&self, name: &str) -> Option<&str> {
        self.paths.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Overridden headers as headers.
///
/// # Errors
/// When one is none.
pub fn headers(overridden: Vec<(String, Vec<String>)>) -> Result<Vec<(HeaderName, Vec<HeaderValue>)>, Rejection> {
    let header = |(name, values): (String, Vec<String>)| {
        let parsed = HeaderName::try_from(&*name).ok()?;
        let values = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        Some((parsed, values.collect::<Option<Vec<_>>>()?))
    };
    overridden
        .into_iter()
        .map(|overridden| {
            header(overridden)
                .ok_or_else(|| Rejection::Configuration("a template overrides a header that is none".to_owned()))
        })
        .collect()
}
