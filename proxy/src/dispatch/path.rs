//! The canonical path: one form for match, auth, cache key and upstream.

use http::Uri;

/// A request's path in its one canonical form.
#[derive(Clone, Debug, Default)]
pub struct CanonicalPath {
    uri: Uri,
    /// Set where the canonical form differs from what was received.
    rewritten: Option<Box<str>>,
}

impl CanonicalPath {
    /// The path, with its leading slash.
    pub fn as_str(&self) -> &str {
        self.rewritten.as_deref().unwrap_or(self.uri.path())
    }
}
