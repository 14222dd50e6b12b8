//! Our own reverse proxy, parsed.

/// A backend.
pub struct Backend {}

impl Backend {
    pub fn parse(backend: &bundle::integration::Backend, scope: &crate::live::Scope<'_>) -> Result<Self, String> {
        let _ = (backend, scope);
        Ok(Self {})
    }
}
