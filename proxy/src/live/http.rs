//! HTTP and HTTP_PROXY integrations, parsed.

/// An HTTP integration.
pub struct Http {}

/// An HTTP_PROXY integration.
pub struct HttpProxy {}

impl Http {
    pub fn parse(http: &bundle::integration::Http, scope: &crate::live::Scope<'_>) -> Result<Self, String> {
        let _ = (http, scope);
        Ok(Self {})
    }
}

impl HttpProxy {
    pub fn parse(proxy: &bundle::integration::HttpProxy, scope: &crate::live::Scope<'_>) -> Result<Self, String> {
        let _ = (proxy, scope);
        Ok(Self {})
    }
}
