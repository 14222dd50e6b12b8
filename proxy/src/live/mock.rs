//! A MOCK integration, parsed.

use crate::live::Scope;
use crate::live::selection::Responses;
use crate::live::template::RequestTemplates;

/// A MOCK integration.
#[derive(Debug)]
pub struct Mock {
    /// Renders an object with an integer `statusCode`.
    pub request: RequestTemplates,
    /// Selected by that status.
    pub responses: Responses,
}

impl Mock {
    /// Parses a MOCK integration. Its parameter mappings lead nowhere, so they are not read.
    ///
    /// # Errors
    /// When a template or a response of it does not work.
    pub fn parse(mock: &bundle::integration::Mock, scope: &Scope<'_>) -> Result<Self, String> {
        Ok(Self {
            request: RequestTemplates::parse(&mock.request, scope)?,
            responses: Responses::parse(&mock.responses, scope)?,
        })
    }
}
