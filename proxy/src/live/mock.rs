//! A MOCK integration, parsed.

/// A MOCK integration.
pub struct Mock {}
