//! A MOCK integration, parsed.

use crate::integrate::mapping::headers::Flavor;
use crate::live::Scope;
use crate::live::custom::Custom;
use crate::live::selection::By;

/// A MOCK integration.
#[derive(Debug)]
pub struct Mock {
    /// The request renders an object with an integer `statusCode`, which selects the response.
    pub custom: Custom,
}

impl Mock {
    /// Parses a MOCK integration. Its parameter mappings lead nowhere.
    ///
    /// # Errors
    /// When a template or a response of it does not work.
    pub fn parse(mock: &bundle::integration::Mock, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::Mock { request, responses } = mock;
        let (custom, _paths) = Custom::parse(request, responses, Flavor::Http, By::Status, scope)?;
        Ok(Self { custom })
    }
}
