//! What every integration has that is no proxy (MOCK, HTTP, AWS): mappings and templates of its request, and
//! integration responses.

use std::collections::BTreeMap;

use bundle::integration::{ContentHandling, IntegrationResponse, RequestMapping};

use crate::integrate::mapping::headers::Flavor;
use crate::live::Scope;
use crate::live::mapping::{RequestParameters, Source};
use crate::live::selection::{By, Responses};
use crate::live::template::RequestTemplates;

/// What every integration has that is no proxy.
#[derive(Debug)]
pub struct Custom {
    /// Headers and query parameters; values for its path are part of the integration's URI.
    pub parameters: RequestParameters,
    pub templates: RequestTemplates,
    /// `contentHandling` of the request.
    pub content_handling: Option<ContentHandling>,
    pub responses: Responses,
}

/// The sources of the URI's `{name}`s.
pub type Paths = BTreeMap<String, Source>;

impl Custom {
    /// Parses what they share. `by` says what the integration's responses are selected by.
    ///
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(
        request: &RequestMapping,
        responses: &[IntegrationResponse],
        flavor: Flavor,
        by: By,
        scope: &Scope<'_>,
    ) -> Result<(Self, Paths), String> {
        let (parameters, paths) = RequestParameters::parse(&request.parameters, &scope.bundle.variables, flavor)?;
        let custom = Self {
            parameters,
            templates: RequestTemplates::parse(request, scope)?,
            content_handling: request.content_handling,
            responses: Responses::parse(responses, by, scope)?,
        };
        Ok((custom, paths))
    }
}
