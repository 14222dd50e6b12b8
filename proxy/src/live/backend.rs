//! Our own reverse proxy, parsed.

/// A backend.
pub struct Backend {}
