//! HTTP and HTTP_PROXY integrations, parsed.

/// An HTTP integration.
pub struct Http {}

/// An HTTP_PROXY integration.
pub struct HttpProxy {}
